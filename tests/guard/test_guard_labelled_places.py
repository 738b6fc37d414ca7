"""Labels follow a labelled file that is renamed, copied, archived or enclosed before anybody reads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.guard.act import Act
from holdfast.guard.policy.load import load_policy
from holdfast.guard.setup import open_gate
from tests.guard.guard_office import guarded, memory
from tests.guard.test_guard_labelled_content import HARMLESS, SECRET, Office

POLICY = """
policy: places
revision: 1
owner: The office
agents: [clerk]
labels:
  - {label: customer, tools: [files/read], where: {path: {under: [/customers]}}}
rules:
  - {name: files, allow: [files/*], where: any, why: Work.}
  - {name: mail, allow: [mail/send], where: any, why: Mail.}
  - {name: enclosing, allow: [files/send], where: any, why: Mail.}
  - name: customers-stay
    deny: [mail/send, files/send]
    after: [customer]
    why: Customer data stays.
    instead: Write a draft.
"""


@pytest.fixture
def office() -> Iterator[Office]:
    with memory() as folder, guarded(folder, policy=POLICY) as guard:
        yield Office(guard)


MOVES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "copied": [("files/copy", "done", {"source": "/customers/x", "destination": "/drafts/x"})],
    "renamed twice": [
        ("files/rename", "done", {"source": "/customers/x", "destination": "/drafts/y"}),
        ("files/rename", "done", {"source": "/drafts/y", "destination": "/drafts/x"})],
    "archived with another": [
        ("files/archive", "done", {"sources": ["/drafts/plan", "/customers/x"], "archive": "/drafts/x"})],
    "its folder copied": [("files/copy", "done", {"source": "/customers", "destination": "/drafts"})],
    "saved as a snapshot": [("files/snapshot", "/drafts/x", {"path": "/customers/x"})],
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_is_read_from_the_new_place_has_the_label(office: Office, name: str) -> None:
    for tool, result, arguments in MOVES[name]:
        assert office.act(tool, result, **arguments) == "allow"
    assert office.act("files/read", SECRET, run="b", path="/drafts/x") == "allow"
    assert office.mail("They are not doing well.", run="b") == "deny"
    assert office.mail(SECRET[:90], run="c") == "deny"


def test_other_files_and_other_parts_of_an_archive_stay_without_the_label(office: Office) -> None:
    for tool, result, arguments in MOVES["archived with another"]:
        office.act(tool, result, **arguments)
    office.act("files/copy", source="/drafts/plan", destination="/drafts/z")
    for place in ("/drafts/plan", "/drafts/z"):
        assert office.act("files/read", HARMLESS, run="d", path=place) == "allow"
    assert office.mail(HARMLESS, run="d") == "allow"


def test_file_into_which_labelled_content_was_written_cannot_be_enclosed(office: Office) -> None:
    office.reads_secret()
    assert office.act("files/write", path="/drafts/leaflet", text=f"Notes: {SECRET[:120]}") == "allow"
    assert office.act("files/write", path="/drafts/menu", text=HARMLESS, run="m") == "allow"
    assert office.act("files/send", run="b", to="vera@partner.example", enclosure="/drafts/leaflet") == "deny"
    assert office.act("files/send", run="c", to="vera@partner.example", enclosure="/customers/x") == "deny"
    assert office.act("files/send", run="d", to="vera@partner.example", enclosure="/drafts/menu") == "allow"


def test_places_are_known_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = load_policy(tmp_path / "policy.yaml")
    for run, tool, arguments in (
        ("a", "copy", {"source": "/customers/x", "destination": "/drafts/x"}),
        ("b", "read", {"path": "/drafts/x"}),
    ):
        with open_gate(tmp_path / "state", policy) as (gate, _):
            act = Act(run, "clerk", "files", tool, arguments)
            assert gate.judge(act).answer == "allow"
            gate.settle(act, {"ok": True}, SECRET if tool == "read" else "done")
    with open_gate(tmp_path / "state", policy) as (gate, _):
        mail = Act("b", "clerk", "mail", "send", {"to": "vera@partner.example", "body": "They are not doing well."})
        assert gate.judge(mail).answer == "deny"
