"""`holdfast guard approve`: answer in a terminal."""

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli.guard_approve import command
from holdfast.core.errors import HoldfastError, RefusedError
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.concern import Concerns, Reviewer, Routing
from holdfast.guard.setup import open_audit_log

PASSPHRASE = "correct horse battery"
ACT = Act("run-1", "clerk", "mail", "send", {"to": "аnn@firm.example", "text": "a\x1b[2J\u202eb"}, "d1")
HOLD = Decision("hold", ("outsiders",), "to an outsider", "wait", "p1")
ROUTING = Routing(reviewers=(Reviewer(id="ann", name="Ann Ito", role="safety reviewer"),))


class Terminal:
    def __init__(self, folder: Path) -> None:
        self.state, self.key = folder / "guard", folder / "ann.key"
        made = self(
            "enrol",
            "ann",
            "--name",
            "Ann Ito",
            "--role",
            "safety reviewer",
            "--own-key",
            str(self.key),
            typed=[PASSPHRASE] * 2,
        )
        assert "ann is enrolled" in made.output

    def __call__(self, *arguments: str, typed: list[str] | None = None) -> Result:
        lines = "".join(f"{line}\n" for line in typed or [])
        return CliRunner().invoke(command, ["--state", str(self.state), *arguments], input=lines)

    def answers(self, *arguments: str, typed: list[str]) -> Result:
        return self(*arguments, "--person", "ann", "--own-key", str(self.key), typed=typed)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_act_is_shown_and_approved(terminal: Terminal) -> None:
    with open_audit_log(terminal.state) as store:
        ticket = Approvals(store).ask(ACT, HOLD, "trust me \u202e")
    assert ticket.id in terminal("list").output
    shown = terminal("show", ticket.id).output
    assert "а⟨U+0430 CYRILLIC SMALL LETTER A⟩nn" in shown
    assert "⟨U+001B⟩[2J⟨U+202E⟩b" in shown
    assert "\x1b" not in shown
    assert "untrusted):\n    │ trust me ⟨U+202E⟩" in shown
    wrong = terminal.answers("yes", ticket.id, typed=["wrong horse battery", "y"])
    assert isinstance(wrong.exception, RefusedError)
    assert terminal.answers("yes", ticket.id, typed=[PASSPHRASE, "n"]).exit_code == 1
    assert f"{ticket.id} is approved" in terminal.answers("yes", ticket.id, typed=[PASSPHRASE, "y"]).output
    with open_audit_log(terminal.state) as store:
        assert Approvals(store).consume(ACT, "p1") == ACT


def test_refused_act_stays_denied(terminal: Terminal) -> None:
    with open_audit_log(terminal.state) as store:
        ticket = Approvals(store).ask(ACT, HOLD)
    assert "is denied" in terminal.answers("no", ticket.id, typed=[PASSPHRASE, "y"]).output
    assert isinstance(terminal.answers("yes", ticket.id, typed=[PASSPHRASE, "y"]).exception, RefusedError)


def test_only_a_reviewer_reads_and_answers_a_concern(terminal: Terminal, tmp_path: Path) -> None:
    with open_audit_log(terminal.state) as store:
        receipt = Concerns(store, ROUTING).raise_("run-1", "clerk", "the plan", "they will wipe the logs")
    assert "they will wipe the logs" in terminal.answers("cases", typed=[PASSPHRASE]).output
    other = tmp_path / "ben.key"
    terminal("enrol", "ben", "--role", "operator", "--own-key", str(other), typed=[PASSPHRASE] * 2)
    as_ann = terminal("cases", "--person", "ann", "--own-key", str(other), typed=[PASSPHRASE])
    assert isinstance(as_ann.exception, RefusedError)
    assert "wipe" not in as_ann.output
    said = ("reply", receipt.case, "--finding", "founded", "--release", "--reply", "withdrawn")
    assert "tools released" in terminal.answers(*said, typed=[PASSPHRASE]).output
    assert "is stopped" in terminal.answers("stop", "run-1", typed=[PASSPHRASE]).output
    with open_audit_log(terminal.state) as store:
        assert Concerns(store, ROUTING).frozen("run-1", ACT)


def test_person_accepts_the_clock_after_a_jump(terminal: Terminal) -> None:
    db = sqlite3.connect(terminal.state / "guard.db", isolation_level=None)
    db.execute("UPDATE clock SET wall = wall + 9000")
    db.close()
    assert "the clock jumped" in str(terminal("list").exception)
    assert "accepted" in terminal("clock").output
    assert terminal("list").exit_code == 0


def test_folder_readable_by_others_is_refused(terminal: Terminal) -> None:
    terminal.state.chmod(0o755)
    failed = terminal("list").exception
    assert isinstance(failed, HoldfastError)
    assert "chmod 700" in str(failed)
