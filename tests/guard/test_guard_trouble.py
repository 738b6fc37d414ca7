"""What a running guard does in trouble: nothing passes, the agent learns nothing, and its operator reads one line."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.guard.gate import FAILED
from tests.guard.guard_office import Guarded, Office, Talk, guarded, memory

MAIL = {"to": "ann@firm.example", "text": "Hello."}


@pytest.fixture
def house() -> Iterator[Guarded]:
    with memory() as folder, guarded(folder) as made:
        yield made


def fill(house: Guarded) -> None:
    """Let the guard's file grow no more: SQLite says of it what it says of a full disk."""
    house.evidence.read("PRAGMA max_page_count = 1")


def free(house: Guarded) -> None:
    house.evidence.read("PRAGMA max_page_count = 1000000")


def jump(house: Guarded) -> None:
    db = sqlite3.connect(house.folder / "guard.db")
    db.execute("UPDATE clock SET wall = wall - 7200")
    db.commit()
    db.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "holdfast.guard.gate"]


def test_while_the_disk_is_full_nothing_passes(house: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    talk = Talk(house.link(), office)
    assert talk.call("read_note", path="/notes/a") == "done"
    fill(house)
    # What still fits into the file's last pages is written, and may pass.
    told = [talk.call("read_note", path="/notes/" + "a" * 3000) for _ in range(20)]
    passed = told.count("done")
    assert passed < 20 and set(told[passed:]) == {FAILED}
    assert talk.call("send_mail", **MAIL | {"text": "b" * 9000}) == FAILED
    assert len(office.calls) == 1 + passed
    [line] = lines(caplog)
    assert "nothing passes" in line and "the disk is full" in line and "guard.db" in line and "\n" not in line
    free(house)
    assert talk.call("send_mail", **MAIL) == "done"


def test_after_a_jump_of_the_clock_nothing_passes(house: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    talk = Talk(house.link(), office)
    assert talk.call("send_mail", **MAIL) == "done"
    jump(house)
    assert [talk.call("send_mail", **MAIL), talk.call("read_note", path="/notes/a")] == [FAILED, FAILED]
    assert len(office.calls) == 1
    [line] = lines(caplog)
    assert "the clock jumped forward by 7200 s" in line and "holdfast guard approve clock" in line
    house.evidence.accept_clock()
    assert talk.call("send_mail", **MAIL) == "done"
    jump(house)
    talk.call("send_mail", **MAIL)
    assert len(lines(caplog)) == 2
    house.evidence.accept_clock()


def test_an_outcome_that_cannot_be_written_is_not_handed_on(house: Guarded) -> None:
    office = Office()
    talk = Talk(house.link(), office)
    talk.call("read_note", path="/notes/a")

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        jump(house)
        return {"content": [{"type": "text", "text": "secret"}], "resultType": "complete"}

    office.answers["tools/call"] = answer
    told = talk.call("send_mail", **MAIL)
    assert told.startswith("the call may have been executed") and "secret" not in told
    house.evidence.accept_clock()
