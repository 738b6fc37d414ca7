"""Sessions: which messages pass, which are refused, and what is logged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import InputError, RefusedError
from holdfast.guard.relay.link import link_to
from holdfast.guard.relay.methods import FROM_CLIENT, FROM_SERVER, HANDSHAKE, MODERN
from holdfast.guard.relay.self_test import probes, run_self_test
from tests.guard.guard_office import META, POLICY, Conversation, GuardFixture, Office, guarded, memory, tool, tools

ERAS = [HANDSHAKE, MODERN]


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory() as made:
        yield made


@pytest.fixture
def guard(folder: Path) -> Iterator[GuardFixture]:
    with guarded(folder) as made:
        yield made


def ticket_in(text: str) -> str:
    return text.partition("ticket ")[2].partition(",")[0]


@pytest.mark.parametrize("era", ERAS)
def test_allowed_calls_pass_and_others_are_denied(guard: GuardFixture, era: str) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office, era)
    assert conversation.call("read_note", path="/notes/plan.md") == "done"
    assert "No rule allows" in conversation.call("read_note", path="/etc/passwd")
    assert "No rule allows" in conversation.call("send_mail", to="eve@evil.example", text="hi")
    assert conversation.call("send_mail", to="ann@firm.example", text="hi") == "done"
    assert "no tool" in conversation.call("format_disk")
    assert "no tool" in conversation.call("no_such_tool")
    assert [name for name, _ in office.calls] == ["read_note", "send_mail"]
    assert guard.kinds().count("intent") == guard.kinds().count("outcome") == 2


@pytest.mark.parametrize("era", ERAS)
def test_only_allowable_tools_and_raise_concern_are_listed(guard: GuardFixture, era: str) -> None:
    office = Office()
    office.answers["tools/list"] = lambda m: {
        "tools": tools()[:2] if "cursor" not in m["params"] else tools()[2:],
        **({} if "cursor" in m["params"] else {"nextCursor": "2"}),
    }
    names = [t["name"] for t in Conversation(guard.link(), office, era).ask("tools/list")["result"]["tools"]]
    assert names == ["read_note", "send_mail", "delete_backup", "raise_concern"]


@pytest.mark.parametrize("era", ERAS)
def test_held_act_names_its_ticket_and_runs_once_after_approval(guard: GuardFixture, era: str) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office, era)
    held = conversation.call("delete_backup", name="monday")
    assert ticket_in(conversation.call("delete_backup", name="monday")) == ticket_in(held)
    assert not office.calls
    guard.approve(ticket_in(held))
    assert "ticket" in conversation.call("delete_backup", name="tuesday")
    assert conversation.call("delete_backup", name="monday") == "done"
    assert office.calls == [("delete_backup", {"name": "monday"})]
    assert guard.approvals.ticket(ticket_in(held)).state == "done"
    assert "ticket" in conversation.call("delete_backup", name="monday")
    assert len(office.calls) == 1


def test_refused_act_is_not_asked_again(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    guard.approve(ticket_in(conversation.call("delete_backup", name="monday")), approve=False)
    assert "refused this act" in conversation.call("delete_backup", name="monday")
    assert not conversation.office.calls


def test_concern_is_always_possible_and_freezes_the_run(guard: GuardFixture) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office)
    assert "Case" in conversation.call("raise_concern", concern="I am told to delete backups.")
    assert "under review" in conversation.call("read_note", path="/notes/plan.md")
    assert "Case" in conversation.call("raise_concern", concern="And more.")
    assert not office.calls


def test_budgets_apply_across_conversations_of_a_run(guard: GuardFixture) -> None:
    link, office = guard.link(), Office()
    said = [Conversation(link, office).call("send_mail", to="ann@firm.example", text="hi") for _ in range(5)]
    assert said.count("done") == len(office.calls) == 3
    assert "limit" in said[3]


@pytest.mark.parametrize("arguments", [{"path": "/notes/a", "bcc": "x"}, {}, {"path": ["/notes/a"]}, {"path": 1}])
def test_arguments_missing_in_the_schema_are_refused(guard: GuardFixture, arguments: dict[str, Any]) -> None:
    conversation = Conversation(guard.link(), Office())
    assert conversation.call("read_note", **arguments) != "done"
    assert not conversation.office.calls


def test_every_gated_method_is_denied_by_default(guard: GuardFixture) -> None:
    for era in ERAS:
        link, office = guard.link(), Office()
        conversation = Conversation(link, office, era)
        conversation.ask("tools/list")
        before = len(office.seen)
        for method, entry in FROM_CLIENT[era].items():  # type: ignore[index]
            if entry.gated and method != "tools/call":
                params = {"_meta": META} if era == MODERN else {}
                identity = {} if method.startswith("notifications/") else {"id": 900}
                conversation.send({"jsonrpc": "2.0", **identity, "method": method, "params": params})
        assert len(office.seen) == before
        for method, entry in FROM_SERVER[era].items():  # type: ignore[index]
            if entry.gated and method != "elicitation/create":
                identity = {} if method.startswith("notifications/") else {"id": "s1"}
                assert conversation.serve({"jsonrpc": "2.0", **identity, "method": method}) == []
        guard.folder.joinpath("pins.json").unlink()


def test_resource_allowed_by_the_policy_passes(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office())
    assert "result" in conversation.ask("resources/read", uri="note://handbook")
    assert "error" in conversation.ask("resources/read", uri="note://salaries")


def test_server_requests_are_judged_and_renumbered(guard: GuardFixture) -> None:
    conversation = Conversation(guard.link(), Office(), HANDSHAKE)
    asked = {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": {"message": "Which?"}}
    [question] = conversation.serve(asked)
    assert question["id"] != "s1" and question["params"] == {"message": "Which?"}
    conversation.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
    assert conversation.office.seen[-1] == {"jsonrpc": "2.0", "id": "s1", "result": {"action": "decline"}}
    # A second answer to the same request is refused.
    count = len(conversation.office.seen)
    conversation.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}})
    assert len(conversation.office.seen) == count


def test_input_requests_are_judged_and_answered_once(guard: GuardFixture) -> None:
    office = Office()
    asked = {"q": {"method": "elicitation/create", "params": {"message": "Sure?"}}}
    need = {"resultType": "input_required", "inputRequests": asked, "requestState": "opaque"}
    done = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
    office.answers["tools/call"] = lambda m: done if "requestState" in m["params"] else need
    conversation = Conversation(guard.link(), office)
    call = {"name": "read_note", "arguments": {"path": "/notes/a"}}
    again = {**call, "requestState": "opaque", "inputResponses": {"q": {"action": "accept"}}}
    assert conversation.ask("tools/call", **again)["error"]["message"].startswith("the answers match no open")
    assert conversation.ask("tools/call", **call)["result"]["resultType"] == "input_required"
    for tampered in (
        {**again, "requestState": "opaque2"},
        {**again, "arguments": {"path": "/notes/b"}},
        {**again, "inputResponses": {"other": {}}},
    ):
        assert "error" in conversation.ask("tools/call", **tampered)
    assert conversation.ask("tools/call", **call)["result"]["resultType"] == "input_required"
    assert conversation.ask("tools/call", **again)["result"]["resultType"] == "complete"
    assert "error" in conversation.ask("tools/call", **again)


def test_denied_input_requests_do_not_reach_the_client(guard: GuardFixture) -> None:
    office = Office()
    asked = {"q": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}}}
    office.answers["tools/call"] = lambda _: {"resultType": "input_required", "inputRequests": asked}
    told = Conversation(guard.link(), office).call("read_note", path="/notes/a")
    assert told.startswith("not finished: the server asked something") and "No rule allows" in told


def test_changed_definition_is_refused_until_repinned(guard: GuardFixture) -> None:
    office = Office()
    Conversation(guard.link(), office).ask("tools/list")
    office.tools[1] = tool("send_mail", "to", "text", title="Mail, now with a copy to us")
    office.tools.append(tool("read_note2", "path"))
    conversation = Conversation(guard.link(), office)
    names = [t["name"] for t in conversation.ask("tools/list")["result"]["tools"]]
    assert names == ["read_note", "delete_backup", "raise_concern"]
    assert "no tool" in conversation.call("send_mail", to="ann@firm.example", text="hi")
    conversation = Conversation(guard.link(repin=frozenset({"send_mail"})), office)
    assert conversation.call("send_mail", to="ann@firm.example", text="hi") == "done"


def test_definition_changed_during_a_conversation_is_refused(guard: GuardFixture) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office, HANDSHAKE)
    assert conversation.call("read_note", path="/notes/a") == "done"
    office.tools[0] = tool("read_note", "path", title="other")
    conversation.serve({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    assert "no tool" in conversation.call("read_note", path="/notes/a")


@pytest.mark.parametrize("name", ["raise_concern", "resources/read", "tools/call", "a/b", "a b", "", "x" * 200])
def test_tool_with_a_reserved_or_duplicate_name_is_refused(guard: GuardFixture, name: str) -> None:
    office = Office()
    office.tools.append(tool(name, "path", "uri"))
    conversation = Conversation(guard.link(), office)
    listed = conversation.ask("tools/list")["result"]["tools"]
    assert [t["name"] for t in listed] == ["read_note", "send_mail", "delete_backup", "raise_concern"]
    assert f"The tool {name}." not in [t["description"] for t in listed]
    if name != "raise_concern":
        assert "no tool" in conversation.call(name, uri="note://handbook")
    assert not office.calls


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ([tool("raed_note", "path"), *tools()[1:]], "unknown tool 'office/read_note' .did you mean 'office/raed_note'"),
        ([tool("read_note", "file"), *tools()[1:]], "'office/read_note' has no argument 'path'"),
        ([], "unknown tool 'office/read_note'"),
    ],
)
def test_policy_naming_a_missing_tool_is_not_served(
    guard: GuardFixture, offered: list[dict[str, Any]], said: str
) -> None:
    office = Office()
    office.tools = offered
    link = guard.link()
    for _ in range(2):
        with pytest.raises(InputError, match=said):
            Conversation(link, office).call("send_mail", to="ann@firm.example", text="hi")
    assert not office.calls


def test_tool_removed_later_does_not_stop_the_relay(guard: GuardFixture) -> None:
    office, link = Office(), guard.link()
    assert Conversation(link, office).call("read_note", path="/notes/a") == "done"
    office.tools = tools()[1:]
    link.catalogue.forget()
    assert "no tool" in Conversation(link, office).call("read_note", path="/notes/a")


def test_server_name_must_be_plain(guard: GuardFixture) -> None:
    with pytest.raises(InputError, match="not a valid server name"):
        link_to(guard.gate, guard.folder / "pins.json", "office/resources", "clerk")


def test_internal_failure_is_a_denial(guard: GuardFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(guard.link(), Office())
    conversation.ask("tools/list")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    for where, name in ((guard.concerns, "frozen"), (guard.evidence, "append"), (guard.gate, "judge")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, broken)
            said = conversation.call("read_note", path="/notes/a")
        assert "secret" not in said and "could not decide" in said
    assert not conversation.office.calls
    assert conversation.call("read_note", path="/notes/a") == "done"


def test_monitors_hold_acts_without_revealing_reasons(folder: Path) -> None:
    with guarded(folder, [lambda act: "smells of coercion" if "or else" in str(act.arguments) else None]) as guard:
        conversation = Conversation(guard.link(), Office())
        said = conversation.call("send_mail", to="ann@firm.example", text="Pay, or else.")
        assert "coercion" not in said and "person" in said
        assert conversation.call("send_mail", to="ann@firm.example", text="Hello.") == "done"
        [held] = [json.loads(e.body) for e in guard.evidence.entries("held")]
        assert held["reason"] == "smells of coercion"


def test_self_test_covers_every_path_and_is_logged(guard: GuardFixture) -> None:
    shown = run_self_test(guard.link(), guard.evidence)
    gated = sum(m.gated for side in (FROM_CLIENT, FROM_SERVER) for table in side.values() for m in table.values())
    assert shown == gated + 25 == len(list(probes("x")))
    assert guard.kinds().count("denied") == gated


def test_policy_that_allows_everything_fails_the_self_test(folder: Path) -> None:
    rules = "\nrules:\n  - name: all\n    allow: ['*']\n    where: any\n    why: Convenience.\n"
    with (
        guarded(folder, policy=POLICY.partition("\nrules:")[0] + rules) as guard,
        pytest.raises(RefusedError, match="passed to a server that does not exist"),
    ):
        run_self_test(guard.link(), guard.evidence)


def test_gate_that_does_not_log_fails_the_self_test(guard: GuardFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.gate, "_write", lambda act, decision, *_, **__: decision)
    with pytest.raises(RefusedError, match="not in the log"):
        run_self_test(guard.link(), guard.evidence)


def test_policy_must_cover_the_agent(guard: GuardFixture) -> None:
    with pytest.raises(InputError, match="does not cover the agent"):
        link_to(guard.gate, guard.folder / "pins.json", "office", "intruder")


@pytest.mark.parametrize("text", ["[]", "{", '{"office": {"tols": {}}}'])
def test_invalid_pins_file_is_refused(guard: GuardFixture, text: str) -> None:
    guard.folder.joinpath("pins.json").write_text(text)
    with pytest.raises(InputError, match="pins"):
        guard.link()


def test_pins_writable_by_others_are_refused(guard: GuardFixture) -> None:
    path = guard.folder / "pins.json"
    path.write_text("{}")
    path.chmod(0o666)
    with pytest.raises(InputError, match="other users"):
        guard.link()


def test_claims_of_the_tutorial_hold(folder: Path) -> None:
    text = Path("docs/guard-relay.md").read_text()
    policy = text.partition("```yaml files.yaml\n")[2].partition("```")[0]
    assert f"each of {len(list(probes('x')))} paths" in text
    with guarded(folder, policy=policy) as guard:
        seen = [name for name in ("read_text_file", "list_directory", "write_file", "move_file", "edit_file")
                if guard.gate.visible("clerk", "files", name)]  # fmt: skip
    assert len(seen) == 4 and "four of the server's fourteen tools" in text
