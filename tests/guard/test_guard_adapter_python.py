"""Guarded Python functions."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.errors import InputError
from holdfast.guard.adapters.python import Stopped, ToolGuard
from tests.guard.guard_office import GuardFixture, guarded, memory


@pytest.fixture
def guard() -> Iterator[GuardFixture]:
    with memory() as folder, guarded(folder) as made:
        yield made


@pytest.fixture
def tool_guard(guard: GuardFixture) -> ToolGuard:
    return ToolGuard(guard.gate, "run-1", "clerk", "office")


def test_allowed_calls_run_and_denied_calls_raise(tool_guard: ToolGuard, guard: GuardFixture) -> None:
    sent: list[tuple[str, str]] = []

    @tool_guard.guarded
    def send_mail(to: str, text: str = "hi") -> str:
        """Send."""
        sent.append((to, text))
        return "sent"

    assert send_mail("ann@firm.example") == "sent"
    with pytest.raises(Stopped, match="No rule allows") as stopped:
        send_mail("eve@evil.example")
    assert sent == [("ann@firm.example", "hi")] and not stopped.value.held
    assert send_mail.__name__ == "send_mail" and send_mail.__doc__ == "Send."
    assert guard.kinds().count("outcome") == 1


def test_coroutine_functions_are_guarded(tool_guard: ToolGuard) -> None:
    @tool_guard.guarded
    async def read_note(path: str) -> str:
        await asyncio.sleep(0)
        return f"read {path}"

    assert asyncio.run(read_note(path="/notes/a")) == "read /notes/a"
    with pytest.raises(Stopped):
        asyncio.run(read_note(path="/etc/passwd"))


def test_approved_call_passes_once(tool_guard: ToolGuard, guard: GuardFixture) -> None:
    gone: list[str] = []

    @tool_guard.guarded
    def delete_backup(name: str) -> None:
        gone.append(name)

    with pytest.raises(Stopped, match="ticket") as stopped:
        delete_backup("monday")
    assert stopped.value.held and not gone
    guard.approve(guard.approvals.tickets("pending")[0].id)
    delete_backup("monday")
    with pytest.raises(Stopped):
        delete_backup("monday")
    assert gone == ["monday"]


def test_outcome_of_a_raising_call_is_unknown(tool_guard: ToolGuard, guard: GuardFixture) -> None:
    @tool_guard.guarded
    def read_note(path: str) -> str:
        raise OSError(path)

    with pytest.raises(OSError, match="notes"):
        read_note("/notes/a")
    assert guard.evidence.entries("outcome")[-1].content["ok"] is None


def test_arguments_are_copied_before_judging(tool_guard: ToolGuard) -> None:
    seen: list[Any] = []

    @tool_guard.guarded
    def read_note(path: str, **more: Any) -> None:
        seen.append(more)

    with pytest.raises(Stopped):
        read_note("/notes/a", to="eve@evil.example")
    with pytest.raises(InputError, match="cannot be represented in JSON"):
        read_note("/notes/a", what=object())
    with pytest.raises(InputError, match="cannot be represented in JSON"):
        read_note("/notes/a", what=float("nan"))
    assert not seen


def test_functions_with_variadic_parameters_and_generators_are_refused(tool_guard: ToolGuard) -> None:
    def positions(*args: str) -> None: ...

    def pieces(path: str) -> Iterator[str]:
        yield path

    for function in (positions, pieces):
        with pytest.raises(InputError):
            tool_guard.guarded(function)


def test_concern_can_be_raised_through_the_tool_guard(tool_guard: ToolGuard) -> None:
    assert "Case" in tool_guard.raise_concern(concern="Something is wrong.")
