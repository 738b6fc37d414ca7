"""Plain functions behind the gate."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.errors import InputError
from holdfast.guard.adapters.python import Stopped, ToolGuard
from tests.guard.guard_office import Guarded, guarded, memory


@pytest.fixture
def house() -> Iterator[Guarded]:
    with memory() as folder, guarded(folder) as made:
        yield made


@pytest.fixture
def door(house: Guarded) -> ToolGuard:
    return ToolGuard(house.gate, "run-1", "clerk", "office")


def test_what_is_allowed_runs_and_what_is_not_does_not(door: ToolGuard, house: Guarded) -> None:
    sent: list[tuple[str, str]] = []

    @door.guarded
    def send_mail(to: str, text: str = "hi") -> str:
        """Send."""
        sent.append((to, text))
        return "sent"

    assert send_mail("ann@firm.example") == "sent"
    with pytest.raises(Stopped, match="No rule allows") as stopped:
        send_mail("eve@evil.example")
    assert sent == [("ann@firm.example", "hi")] and not stopped.value.held
    assert send_mail.__name__ == "send_mail" and send_mail.__doc__ == "Send."
    assert house.kinds().count("outcome") == 1


def test_a_coroutine_function_is_awaited_behind_the_gate(door: ToolGuard) -> None:
    @door.guarded
    async def read_note(path: str) -> str:
        await asyncio.sleep(0)
        return f"read {path}"

    assert asyncio.run(read_note(path="/notes/a")) == "read /notes/a"
    with pytest.raises(Stopped):
        asyncio.run(read_note(path="/etc/passwd"))


def test_a_held_call_passes_once_when_a_person_says_yes(door: ToolGuard, house: Guarded) -> None:
    gone: list[str] = []

    @door.guarded
    def delete_backup(name: str) -> None:
        gone.append(name)

    with pytest.raises(Stopped, match="ticket") as stopped:
        delete_backup("monday")
    assert stopped.value.held and not gone
    house.approve(house.approvals.tickets("pending")[0].id)
    delete_backup("monday")
    with pytest.raises(Stopped):
        delete_backup("monday")
    assert gone == ["monday"]


def test_a_call_that_fails_leaves_its_end_unknown(door: ToolGuard, house: Guarded) -> None:
    @door.guarded
    def read_note(path: str) -> str:
        raise OSError(path)

    with pytest.raises(OSError, match="notes"):
        read_note("/notes/a")
    assert house.evidence.entries("outcome")[-1].content["ok"] is None


def test_arguments_are_copied_before_they_are_judged(door: ToolGuard) -> None:
    seen: list[Any] = []

    @door.guarded
    def read_note(path: str, **more: Any) -> None:
        seen.append(more)

    with pytest.raises(Stopped):
        read_note("/notes/a", to="eve@evil.example")
    with pytest.raises(InputError, match="cannot be represented in JSON"):
        read_note("/notes/a", what=object())
    with pytest.raises(InputError, match="cannot be represented in JSON"):
        read_note("/notes/a", what=float("nan"))
    assert not seen


def test_functions_that_cannot_be_judged_cannot_be_guarded(door: ToolGuard) -> None:
    def positions(*args: str) -> None: ...

    def pieces(path: str) -> Iterator[str]:
        yield path

    for function in (positions, pieces):
        with pytest.raises(InputError):
            door.guarded(function)


def test_the_way_out_is_at_the_door(door: ToolGuard) -> None:
    assert "Case" in door.raise_concern(concern="Something is wrong.")
