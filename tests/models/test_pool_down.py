"""An unreachable server gets few attempts; one that is busy or fails sometimes gets all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from holdfast.core.records import Message
from holdfast.models.base import Output, Request
from holdfast.models.pool import Pool, RateLimits

FAST = RateLimits(pause=0.0)
REQUEST = Request("c", (Message(role="user", content="x"),))
GOOD = Output(Message(role="assistant", content="fine"))
DOWN = Output(Message(role="assistant"), "error", error="no connection to http://x", retry_after=0.0, down=True)
BUSY = Output(Message(role="assistant"), "error", error="429 from http://x", retry_after=0.0)


class Server:
    """Answers its n-th request (from 0) with `answer(n)`."""

    name = identity = "server"

    def __init__(self, answer: Callable[[int], Output]) -> None:
        self.asked = 0
        self._answer = answer

    async def ask(self, request: Request) -> Output:
        self.asked += 1
        return self._answer(self.asked - 1)

    def generate(self, requests: list[Request]) -> list[Output]:
        raise AssertionError("asked one by one")


def outcomes(server: Server, count: int, at_once: bool = False) -> list[Output]:
    async def all_of_them() -> list[Output]:
        pool = Pool([server], FAST)
        if at_once:
            return list(await asyncio.gather(*(pool.ask(REQUEST) for _ in range(count))))
        return [await pool.ask(REQUEST) for _ in range(count)]

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("at_once", [False, True])
def test_an_unreachable_server_gets_few_attempts(at_once: bool) -> None:
    server = Server(lambda _: DOWN)
    found = outcomes(server, 100, at_once)
    assert {o.finish for o in found} == {"error"}
    assert all((o.error or "").startswith("no connection to http://x") for o in found)
    # 3 tries of the first and one of each other; those that wait in line at once have 3 before the first has its third.
    assert server.asked <= (300 if at_once else 102)


def test_a_busy_server_gets_all_attempts() -> None:
    server = Server(lambda n: GOOD if n % 8 == 7 else BUSY)
    assert [o.finish for o in outcomes(server, 3)] == ["stop"] * 3
    busy = Server(lambda _: BUSY)
    [found] = outcomes(busy, 1)
    assert (busy.asked, found.error) == (8, "429 from http://x (asked 8 times)")


def test_a_server_that_recovers_is_used_again() -> None:
    server = Server(lambda n: DOWN if 1 <= n <= 20 else GOOD)
    found = outcomes(server, 20)
    # One answer, then two requests with 8 and 1 tries …, until the server is back; from then on all are answered.
    assert [o.finish for o in found][:2] == ["stop", "error"]
    assert found[-1].finish == "stop"
    assert sum(o.finish == "error" for o in found) == 1 + (20 - 8)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_hanging_server_gets_no_more_requests(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.models.pool._QUICK", -1.0)
    server = Server(lambda _: DOWN)
    found = outcomes(server, 50, at_once)
    assert server.asked <= (FAST.start if at_once else 1), "each try could take ten minutes"
    assert {o.error for o in found} == {DOWN.error}


def test_one_dead_endpoint_of_two_loses_no_requests() -> None:
    dead, alive = Server(lambda _: DOWN), Server(lambda _: GOOD)

    async def asked() -> list[Output]:
        pool = Pool([dead, alive], FAST)
        return [await pool.ask(REQUEST) for _ in range(20)]

    assert {o.finish for o in asyncio.run(asked())} == {"stop"}


def test_the_reason_of_a_retry_is_reported() -> None:
    told: list[str | None] = []
    server = Server(lambda n: GOOD if n == 3 else BUSY)

    async def asked() -> Output:
        return await Pool([server], FAST, lambda output: told.append(output.error)).ask(REQUEST)

    assert asyncio.run(asked()).finish == "stop"
    assert told == ["429 from http://x"] * 3
