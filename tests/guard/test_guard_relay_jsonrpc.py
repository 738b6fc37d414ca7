"""Frames that two parsers could interpret differently are refused."""

import json
from typing import Any, get_args

import pytest
from mcp_types import methods as official
from mcp_types.jsonrpc import jsonrpc_message_adapter

from holdfast.guard.relay.jsonrpc import MAX_DEPTH, Refused, dump, kind, parse
from holdfast.guard.relay.methods import FROM_CLIENT, FROM_SERVER, HANDSHAKE, MODERN, Method, check_parameters

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.mark.parametrize(
    "frame",
    [
        PING,
        '{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","arguments":{"n":1.5,"t":"é𝄞"}}}',
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}',
    ],
)
def test_valid_frame_round_trips_and_matches_the_official_types(frame: str) -> None:
    message = parse(frame.encode())
    assert json.loads(dump(message)) == json.loads(frame)
    jsonrpc_message_adapter.validate_json(dump(message))


@pytest.mark.parametrize(
    "frame",
    [
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":{"b":1,"b":2}}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":-Infinity}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":9007199254740993}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\\udc00":1}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":' + '{"a":' * MAX_DEPTH + "1" + "}" * (MAX_DEPTH + 1),
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":' + "[" * 100_000,
        f"[{PING}]",
        f"{PING} {PING}",
        '{"jsonrpc":"1.0","id":1,"method":"ping"}',
        '{"id":1,"method":"ping"}',
        '{"jsonrpc":"2.0","id":true,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1.0,"method":"ping"}',
        '{"jsonrpc":"2.0","id":null,"method":"ping"}',
        '{"jsonrpc":"2.0","id":{},"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        '{"jsonrpc":"2.0","id":1,"result":[]}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":1,"method":"ping",}',
        "",
        "null",
    ],
)
def test_invalid_frame_is_refused(frame: str) -> None:
    with pytest.raises(Refused):
        parse(frame.encode())


def test_non_utf8_and_oversized_frames_are_refused() -> None:
    with pytest.raises(Refused, match="UTF-8"):
        parse(PING.encode().replace(b"ping", b"\xff\xfe"))
    with pytest.raises(Refused, match="longer"):
        parse(PING.encode(), limit=10)


@pytest.mark.parametrize(("raw", "what"), [(PING, "request"), ('{"jsonrpc":"2.0","id":1,"result":{}}', "response")])
def test_kind_of_message(raw: str, what: str) -> None:
    assert kind(parse(raw.encode())) == what


def _parameters(model: Any) -> set[str]:
    annotation = model.model_fields["params"].annotation
    members = [m for m in (get_args(annotation) or (annotation,)) if hasattr(m, "model_fields")]
    return {field.alias or name for member in members for name, field in member.model_fields.items()}


@pytest.mark.parametrize("era", [HANDSHAKE, MODERN])
@pytest.mark.parametrize("side", ["client", "server"])
def test_tables_match_the_official_methods(era: Any, side: str) -> None:
    ours = (FROM_CLIENT if side == "client" else FROM_SERVER)[era]
    requests = official.CLIENT_REQUESTS if side == "client" else official.SERVER_REQUESTS
    notifications = official.CLIENT_NOTIFICATIONS if side == "client" else official.SERVER_NOTIFICATIONS
    theirs = {method: model for (method, version), model in {**requests, **notifications}.items() if version == era}
    assert set(ours) == set(theirs)
    for method, model in theirs.items():
        # Tasks are an extension that the guard does not pass.
        assert ours[method].params == _parameters(model) - {"_meta", "task"}, method


def test_unknown_fields_and_misplaced_methods_are_refused() -> None:
    table = {"ping": Method(frozenset(), gated=False), "notifications/x": Method(frozenset())}
    check_parameters({"id": 1, "method": "ping", "params": {"_meta": {"progressToken": 1}}}, table)
    for message in (
        {"id": 1, "method": "pong"},
        {"method": "ping"},
        {"id": 1, "method": "notifications/x"},
        {"id": 1, "method": "ping", "params": {"task": {}}},
        {"id": 1, "method": "ping", "params": {"_meta": "psst"}},
    ):
        with pytest.raises(Refused):
            check_parameters(message, table)
