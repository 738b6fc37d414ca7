"""How a model is asked: as often as it bears, again when it turned us away, and never so that one request hurts others.

Any `Model` of the models door will do.  One that can be asked for single turns (`async def ask`, the API models) is;
to any other, what is asked in the same moment goes as one batch, in a thread.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Message
from holdfast.models.base import Model, Output, Request


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How to treat an endpoint.

    Attributes:
        at_once: most requests out at a time.
        start: how many to begin with.
        per_minute: most requests begun in a minute; None for no such limit.
        tries: how often one request is asked before it counts as failed.
        pause: seconds; after all endpoints were asked n times, the next try waits a random time up to `pause` · 2ⁿ, at
            most 60 s (full jitter, Brooker 2015).
    """

    at_once: int = 64
    start: int = 8
    per_minute: float | None = None
    tries: int = 8
    pause: float = 1.0


@runtime_checkable
class Asked(Protocol):
    """A model that can be asked for one turn while others are on their way."""

    async def ask(self, request: Request) -> Output:
        """One turn. Whoever calls this counts the tries."""
        ...


@runtime_checkable
class ByBatch(Protocol):
    """A model whose provider may have a batch interface."""

    def use_batches(self) -> None:
        """Let `ask` go through it; raises ModelError where there is none."""
        ...


#: Tries of one request while no endpoint has shown any sign of working yet.
_FIRST_TRIES = 3
#: Seconds: a try that fails faster than this costs nothing worth saving.
_QUICK = 5.0


class RequestLimiter:
    """Lets as many requests out as the endpoint bears (additive increase, multiplicative decrease; Chiu & Jain 1989).

    A round of requests that went well allows one more; being turned away halves the limit, once for all requests that
    were out at that moment.
    """

    def __init__(self, start: int, most: int) -> None:
        self.limit = float(min(start, most))
        self.out = 0
        self._most = most
        self._begun = self._forgiven = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Wait for a place; returns the ticket that `leave` takes."""
        while self.out >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()
                raise
        self.out += 1
        self._begun += 1
        return self._begun

    def leave(self, ticket: int, turned_away: bool) -> None:
        """Give the place back and say how it went."""
        self.out -= 1
        if not turned_away:
            self.limit = min(float(self._most), self.limit + 1 / self.limit)
        elif ticket > self._forgiven:
            self.limit, self._forgiven = max(1.0, self.limit / 2), self._begun
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.out
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


class _Batched:
    """A model that takes batches, asked one by one."""

    def __init__(self, model: Model, most: int) -> None:
        self._model, self._most = model, most
        self._queue: list[tuple[Request, asyncio.Future[Output]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Output:
        answer: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        self._queue.append((request, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        try:
            while self._queue:
                # Whoever is ready to ask now shall be in the batch.
                await asyncio.sleep(0)
                batch, self._queue = self._queue[: self._most], self._queue[self._most :]
                await self._answer(batch)
        finally:
            self._running = None

    async def _answer(self, batch: Sequence[tuple[Request, asyncio.Future[Output]]]) -> None:
        try:
            outputs = await asyncio.to_thread(_generate, self._model, [request for request, _ in batch])
        except Exception as error:  # of ours: the model itself cannot go on
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), output in zip(batch, outputs, strict=True):
            if not answer.done():
                answer.set_result(output)


def _generate(model: Model, requests: Sequence[Request]) -> list[Output]:
    """A batch; where it breaks, each request alone, so that the one that breaks it hurts no other."""
    try:
        return model.generate(requests)
    except HoldfastError:
        raise
    except Exception as error:
        if len(requests) == 1:
            return [_broken(error)]
        return [_generate(model, [request])[0] for request in requests]


def _broken(error: Exception) -> Output:
    return Output(Message(role="assistant"), "error", error=f"{type(error).__name__}: {error}".removesuffix(": "))


def _asked(times: int) -> str:
    return f" (asked {times} times)" if times > 1 else ""


class Endpoint:
    """One place that answers, with its gate.

    Attributes:
        proven: it has answered, or said to wait: there is a server, and it works.
        given_up: the last failure, once a request has used up its tries and no answer came in between.
        slow: its last failed try took long.
    """

    def __init__(self, model: Model, manners: RateLimits) -> None:
        self.model = model
        single = isinstance(model, Asked)
        self._asked: Asked = model if isinstance(model, Asked) else _Batched(model, manners.at_once)
        # A batch is as large as it may be from the start; only what answers one by one must be felt out.
        self.gate = RequestLimiter(manners.start if single else manners.at_once, manners.at_once)
        self._gap = 60 / manners.per_minute if manners.per_minute else 0.0
        self._next = 0.0
        self.proven, self.slow = False, False
        self.given_up: Output | None = None
        self._silent = False

    def give_up(self, failure: Output) -> None:
        """Take note that a request came to nothing here, unless an answer to another has come since."""
        if self._silent:
            self.given_up = failure

    async def ask(self, request: Request) -> Output:
        """One turn, asked once; whatever breaks is an `error` finish, but for errors of ours."""
        ticket = await self.gate.enter()
        turned_away = False
        try:
            await self._pace()
            if self.given_up and self.slow:
                # Whoever waited for a place must not wait as long once more for the same silence.
                return replace(self.given_up, tokens=(0, 0))
            began = time.monotonic()
            output = await self._asked.ask(request)
            turned_away = output.retry_after is not None
            self._silent = output.down
            if output.down:
                self.slow = time.monotonic() - began > _QUICK
            else:
                self.proven, self.given_up = True, None
        except HoldfastError:
            raise
        except Exception as error:
            output = _broken(error)
        finally:
            self.gate.leave(ticket, turned_away)
        return output

    async def _pace(self) -> None:
        if self._gap:
            now = time.monotonic()
            self._next = max(self._next, now) + self._gap
            await asyncio.sleep(self._next - self._gap - now)


class Pool:
    """One model, behind one endpoint or many: each request goes where there is most room.

    Args:
        models: the endpoints; the first gives the name and the identity, for all serve the same model.
        manners: how each of them is treated.
        notice: told of each failure after which a request is asked again.
    """

    def __init__(
        self, models: Sequence[Model], manners: RateLimits, notice: Callable[[Output], None] = lambda _: None
    ) -> None:
        self._notice = notice
        self.name, self.identity = models[0].name, models[0].identity
        self._manners = manners
        self._endpoints = [Endpoint(model, manners) for model in models]

    @property
    def limits(self) -> list[int]:
        """How many requests each endpoint is thought to bear at a time."""
        return [int(endpoint.gate.limit) for endpoint in self._endpoints]

    async def ask(self, request: Request) -> Output:
        """One turn, asked again after a pause where an endpoint turned it away.

        Endpoints that have shown no sign of working get few tries, and once these are used up each further request gets
        one: a server that is not there must not cost minutes of pauses for every sample.
        """
        spent = (0, 0)
        last: Endpoint | None = None
        for attempt in itertools.count(1):
            alive = [e for e in self._endpoints if e.given_up is None] or self._endpoints
            # Whoever turned it away just now is not asked next, if there is anybody else.
            others = [e for e in alive if e is not last] or alive
            last = endpoint = min(others, key=lambda e: (e.gate.out + 1) / e.gate.limit)
            output = await endpoint.ask(request)
            spent = (spent[0] + output.tokens[0], spent[1] + output.tokens[1])
            if output.retry_after is None:
                return replace(output, tokens=spent)
            if attempt >= self._tries(output, endpoint):
                break
            self._notice(output)
            # The pause is for an endpoint that is asked a second time, not for one that has not been asked.
            if rounds := attempt // len(self._endpoints):
                longest = min(60.0, self._manners.pause * 2**rounds)
                await asyncio.sleep(max(output.retry_after, random.uniform(0, longest)))
        failure = replace(output, tokens=spent, error=f"{output.error}{_asked(attempt)}")
        for failing in self._endpoints if output.down else ():
            failing.give_up(failure)
        return failure

    def _tries(self, output: Output, endpoint: Endpoint) -> int:
        """How often a request that met this output at this endpoint is asked in all."""
        if not output.down or any(e.proven and e.given_up is None for e in self._endpoints):
            return self._manners.tries
        if endpoint.given_up or endpoint.slow:
            return 1
        return min(self._manners.tries, _FIRST_TRIES * len(self._endpoints))

    async def aclose(self) -> None:
        """Close the connections of models that have any: they belong to the loop of the run."""
        for endpoint in self._endpoints:
            if closing := getattr(endpoint.model, "aclose", None):
                await closing()
