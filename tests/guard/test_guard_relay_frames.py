"""Frames and their answers: ids, cancelled requests, unreadable lines, and what is said of a lost answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.guard.relay.jsonrpc import dump
from holdfast.guard.relay.methods import HANDSHAKE, MODERN
from tests.guard.guard_office import META, Conversation, GuardFixture, Office, guarded, memory

ERAS = [HANDSHAKE, MODERN]


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory() as made:
        yield made


@pytest.fixture
def guard(folder: Path) -> Iterator[GuardFixture]:
    with guarded(folder) as made:
        yield made


def test_request_ids_are_renumbered(guard: GuardFixture) -> None:
    link, office = guard.link(), Office()
    conversation = Conversation(link, office)
    conversation.ask("tools/list")
    call = {"name": "read_note", "arguments": {"path": "/notes/a"}, "_meta": META}
    request = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": call}
    [out] = conversation.session.from_client(json.dumps(request).encode())
    [again] = conversation.session.from_client(json.dumps(request).encode())
    assert "still open" in again.message["error"]["message"]
    for forged in (7, "7", 10**6):
        raw = json.dumps({"jsonrpc": "2.0", "id": forged, "result": {"content": []}}).encode()
        assert conversation.session.from_server(raw) == []
    answer = json.dumps({"jsonrpc": "2.0", "id": out.message["id"], "result": {"content": []}}).encode()
    [back] = conversation.session.from_server(answer)
    assert back.message["id"] == 7
    assert conversation.session.from_server(answer) == []


def open_call(conversation: Conversation, identity: Any = 5, path: str = "/notes/a") -> list[Any]:
    """Send a call, and return the messages that the session writes, without an answer of the server."""
    call = {"name": "read_note", "arguments": {"path": path}, "_meta": META}
    request = {"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": call}
    return conversation.session.from_client(json.dumps(request).encode())


def outcomes(guard: GuardFixture) -> list[Any]:
    return [json.loads(entry.body) for entry in guard.evidence.entries("outcome")]


def test_cancelled_call_frees_its_id_and_its_late_outcome_is_logged(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    [out] = open_call(conversation, "x")
    told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x", "reason": "secret"}}
    [cancel] = conversation.session.from_client(json.dumps(told).encode())
    assert cancel.message["params"] == {"requestId": out.message["id"]}
    assert outcomes(guard)[-1]["ok"] is None
    [again] = open_call(conversation, "x")
    late = json.dumps({"jsonrpc": "2.0", "id": out.message["id"], "result": {"content": []}}).encode()
    assert conversation.session.from_server(late) == []
    assert outcomes(guard)[-1]["ok"] is True and outcomes(guard)[-1]["late"] is True
    assert outcomes(guard)[-1]["intent"] == outcomes(guard)[-2]["intent"]
    answer = json.dumps({"jsonrpc": "2.0", "id": again.message["id"], "result": {"content": []}}).encode()
    [back] = conversation.session.from_server(answer)
    assert back.message["id"] == "x" and conversation.session.from_server(late) == []


def test_call_cancelled_while_the_tools_are_listed_is_not_sent(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    [listing] = open_call(conversation, 5)
    told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    assert conversation.session.from_client(json.dumps(told).encode()) == []
    assert conversation._run([listing]) == [] and not conversation.office.calls
    assert conversation._run(open_call(conversation, 5))[0]["id"] == 5


@pytest.mark.parametrize(
    "noise", [b"INFO request received", b"[1] starting", b'{"level":30,"id":1,"msg":"in"}', b"\xff"]
)
def test_lines_that_are_no_messages_fail_no_request(guard: GuardFixture, noise: bytes) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    [out] = open_call(conversation)
    for _ in range(60):
        assert conversation.session.from_server(noise.replace(b'"id":1', b'"id":%d' % out.message["id"])) == []
    assert guard.kinds().count("refused") == 50
    [back] = conversation._run([out])
    assert back["result"]["content"][0]["text"] == "done"


def refused_answer(number: int, end: bool) -> bytes:
    """Return an answer of a server that the guard does not read, with the id at its start or its end."""
    result = b'"result":{"a":1,"a":2}'
    return b"{%s}" % b",".join([result, b'"jsonrpc":"2.0"', b'"id":%d' % number][:: 1 if end else -1])


@pytest.mark.parametrize("end", [True, False])
def test_unreadable_answer_fails_its_own_request_alone(guard: GuardFixture, end: bool) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    [first], [second] = open_call(conversation, 5), open_call(conversation, 6, "/notes/b")
    [back] = conversation.session.from_server(refused_answer(first.message["id"], end))
    assert back.to == "client" and back.message["id"] == 5
    told = back.message["result"]
    assert told["isError"] and told["content"][0]["text"].startswith("done, answer lost")
    assert "No rule" not in told["content"][0]["text"] and outcomes(guard)[-1]["ok"] is None
    [other] = conversation._run([second])
    assert other["id"] == 6 and other["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("end", [True, False])
def test_oversized_answer_is_called_done_and_fails_no_neighbour(guard: GuardFixture, end: bool) -> None:
    conversation = Conversation(replace(guard.link(), largest_response=5_000_000), Office())
    conversation.ask("tools/list")
    [first], [_] = open_call(conversation, 5), open_call(conversation, 6, "/notes/b")
    body = [b'"jsonrpc":"2.0"', b'"id":%d' % first.message["id"], b'"result":{"content":"%s"}' % (b"x" * 6_000_000)]
    frame = b"{%s}" % b",".join([body[2], body[0], body[1]] if end else body)
    [back] = conversation.session.from_server(frame)
    assert back.message["id"] == 5 and "done, answer lost" in back.message["result"]["content"][0]["text"]


def test_large_integers_and_half_characters_in_results_pass(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    [out] = open_call(conversation)
    result = b'{"content":[{"type":"text","text":"cut \\ud83d"}],"structuredContent":{"id":1234567890123456789}}'
    [back] = conversation.session.from_server(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (out.message["id"], result))
    assert back.message["result"]["structuredContent"] == {"id": 1234567890123456789}
    assert back.message["result"]["content"][0]["text"] == "cut \ufffd"
    assert json.loads(dump(back.message)) == back.message
    asked = (
        b'{"jsonrpc":"2.0","id":"s","method":"elicitation/create","params":{"message":"a","mode":12345678901234567890}}'
    )
    assert conversation.session.from_server(asked) == []


@pytest.mark.parametrize("extra", [b'"error":null', b'"took_ms":7', b'"error":null,"x":{"id":1}'])
def test_fields_beside_a_result_are_dropped(guard: GuardFixture, extra: bytes) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    [out] = open_call(conversation)
    [back] = conversation.session.from_server(
        b'{"jsonrpc":"2.0","id":%d,"result":{"content":[]},%s}' % (out.message["id"], extra)
    )
    assert back.message == {"jsonrpc": "2.0", "id": 5, "result": {"content": []}}


@pytest.mark.parametrize("end", [True, False])
def test_oversized_request_is_answered_by_its_id(guard: GuardFixture, end: bool) -> None:
    conversation = Conversation(guard.link(), Office())
    parts = [b'"jsonrpc":"2.0"', b'"id":7', b'"method":"tools/call"', b'"params":{"x":"%s"}' % (b"a" * 5_000_000)]
    [back] = conversation.send(b"{%s}" % b",".join(parts[2:] + parts[:2] if end else parts))
    assert back["id"] == 7 and "longer than" in back["error"]["message"] and not conversation.office.seen


def test_server_that_ends_leaves_an_unknown_outcome(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")
    open_call(conversation)
    [back] = conversation.session.fail_all("the server ended")
    assert back.message["result"]["content"][0]["text"].startswith("sent, outcome unknown: the server ended")


@pytest.mark.parametrize("era", ERAS)
def test_unknown_meta_keys_pass_and_are_logged(guard: GuardFixture, era: str) -> None:
    conversation = Conversation(guard.link(), Office(), era)
    meta = {"claudecode/toolUseId": "toolu_1", "vscode.requestId": {"a": [1]}, "progressToken": 2}
    answer = conversation.ask("tools/call", name="read_note", arguments={"path": "/notes/a"}, _meta=meta)
    assert answer["result"]["content"][0]["text"] == "done"
    sent = conversation.office.seen[-1]["params"]["_meta"]
    assert meta.items() <= sent.items()
    [logged] = [json.loads(entry.body)["meta"] for entry in guard.evidence.entries("meta")]
    assert logged == {name: value for name, value in meta.items() if name != "progressToken"}
    large = conversation.ask(
        "tools/call", name="read_note", arguments={"path": "/notes/a"}, _meta={"x/y": "z" * 20_000}
    )
    assert "error" in large and len(conversation.office.calls) == 1
