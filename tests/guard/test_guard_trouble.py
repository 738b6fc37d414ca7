"""On a failure the guard denies every act, tells the agent no details, and logs one error for the operator."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.guard.gate import FAILED
from tests.guard.guard_office import Conversation, GuardFixture, Office, guarded, memory

MAIL = {"to": "ann@firm.example", "text": "Hello."}


@pytest.fixture
def guard() -> Iterator[GuardFixture]:
    with memory() as folder, guarded(folder) as made:
        yield made


def fill(guard: GuardFixture) -> None:
    """Limit the size of the database, so that SQLite reports a full disk."""
    guard.evidence.read("PRAGMA max_page_count = 1")


def free(guard: GuardFixture) -> None:
    guard.evidence.read("PRAGMA max_page_count = 1000000")


def jump(guard: GuardFixture) -> None:
    db = sqlite3.connect(guard.folder / "guard.db")
    db.execute("UPDATE clock SET wall = wall - 7200")
    db.commit()
    db.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "holdfast.guard.gate"]


def test_full_disk_denies_everything(guard: GuardFixture, caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office)
    assert conversation.call("read_note", path="/notes/a") == "done"
    fill(guard)
    # Entries that fit into the last pages are still written, so their acts may pass.
    told = [conversation.call("read_note", path="/notes/" + "a" * 3000) for _ in range(20)]
    passed = told.count("done")
    assert passed < 20 and set(told[passed:]) == {FAILED}
    assert conversation.call("send_mail", **MAIL | {"text": "b" * 9000}) == FAILED
    assert len(office.calls) == 1 + passed
    [line] = lines(caplog)
    assert "nothing passes" in line and "the disk is full" in line and "guard.db" in line and "\n" not in line
    free(guard)
    assert conversation.call("send_mail", **MAIL) == "done"


def test_clock_jump_denies_everything(guard: GuardFixture, caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office)
    assert conversation.call("send_mail", **MAIL) == "done"
    jump(guard)
    assert [conversation.call("send_mail", **MAIL), conversation.call("read_note", path="/notes/a")] == [FAILED, FAILED]
    assert len(office.calls) == 1
    [line] = lines(caplog)
    assert "the clock jumped forward by 7200 s" in line and "holdfast guard approve clock" in line
    guard.evidence.accept_clock()
    assert conversation.call("send_mail", **MAIL) == "done"
    jump(guard)
    conversation.call("send_mail", **MAIL)
    assert len(lines(caplog)) == 2
    guard.evidence.accept_clock()


def test_result_is_withheld_if_its_outcome_cannot_be_logged(guard: GuardFixture) -> None:
    office = Office()
    conversation = Conversation(guard.link(), office)
    conversation.call("read_note", path="/notes/a")

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        jump(guard)
        return {"content": [{"type": "text", "text": "secret"}], "resultType": "complete"}

    office.answers["tools/call"] = answer
    told = conversation.call("send_mail", **MAIL)
    assert told.startswith("done, answer lost") and "could not record" in told and "secret" not in told
    guard.evidence.accept_clock()
