"""Sends requests to models with limited concurrency, retries, and isolation of failures.

Any `Model` can be used.  API models take single requests (`async def ask`).  For all others, requests that are made at
the same time are sent as one batch, in a thread.
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
    """Limits for the requests to one endpoint.

    Attributes:
        at_once: most concurrent requests.
        start: concurrent requests at the beginning.
        per_minute: most requests sent in a minute; None for no limit.
        tries: most attempts for one request.
        pause: seconds; after n attempts at each endpoint, the next waits a random time up to `pause` · 2ⁿ, at most 60 s
            (full jitter, Brooker 2015).
    """

    at_once: int = 64
    start: int = 8
    per_minute: float | None = None
    tries: int = 8
    pause: float = 1.0


@runtime_checkable
class Asked(Protocol):
    """A model that takes single requests, several at a time."""

    async def ask(self, request: Request) -> Output:
        """Write one turn, in one attempt: the caller retries."""
        ...


@runtime_checkable
class ByBatch(Protocol):
    """A model whose provider may have a batch interface."""

    def use_batches(self) -> None:
        """Send the requests of `ask` through the batch interface; raises ModelError if there is none."""
        ...


#: Attempts for one request while no endpoint has worked yet.
_FIRST_TRIES = 3
#: Seconds; an attempt that fails faster is cheap, so the request is sent again.
_QUICK = 5.0


class RequestLimiter:
    """Adapts the number of concurrent requests to the endpoint.

    The limit grows by one for each answer, so it doubles in each round of requests, until the endpoint rejects a
    request (slow start; Jacobson 1988).  That halves the limit, once for all requests in flight at the moment.  From
    then on a round of answers raises it by one (additive increase, multiplicative decrease; Chiu & Jain 1989).
    """

    def __init__(self, start: int, most: int) -> None:
        self.limit = float(min(start, most))
        self.out = 0
        self._most = most
        self._begun = self._forgiven = 0
        self._slow_start = True
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Wait until a request may be sent; returns the ticket that `leave` takes."""
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
        """Note that the request has ended, and adapt the limit."""
        self.out -= 1
        if turned_away:
            self._slow_start = False
            if ticket > self._forgiven:
                self.limit, self._forgiven = max(1.0, self.limit / 2), self._begun
        else:
            self.limit = min(float(self._most), self.limit + (1 if self._slow_start else 1 / self.limit))
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.out
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


class _Batched:
    """Collects single requests into batches for a model that takes batches."""

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
                # Lets all tasks that are ready now add their requests to the batch.
                await asyncio.sleep(0)
                batch, self._queue = self._queue[: self._most], self._queue[self._most :]
                await self._answer(batch)
        finally:
            self._running = None

    async def _answer(self, batch: Sequence[tuple[Request, asyncio.Future[Output]]]) -> None:
        try:
            outputs = await asyncio.to_thread(_generate, self._model, [request for request, _ in batch])
        except Exception as error:  # a HoldfastError: the model itself cannot go on
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), output in zip(batch, outputs, strict=True):
            if not answer.done():
                answer.set_result(output)


def _generate(model: Model, requests: Sequence[Request]) -> list[Output]:
    """Send a batch; if it raises, send each request alone, so that only the one at fault fails."""
    try:
        return model.generate(requests)
    except HoldfastError:
        raise
    except Exception as error:
        if len(requests) == 1:
            return [_error_output(error)]
        return [_generate(model, [request])[0] for request in requests]


def _error_output(error: Exception) -> Output:
    return Output(Message(role="assistant"), "error", error=f"{type(error).__name__}: {error}".removesuffix(": "))


def _attempts(count: int) -> str:
    return f" (asked {count} times)" if count > 1 else ""


class Endpoint:
    """One endpoint with its limiter.

    Attributes:
        proven: whether it has answered or asked to wait, which shows that the server works.
        given_up: the last failure, if a request has used up its attempts and no answer came in between.
        slow: whether its last failed attempt took long.
    """

    def __init__(self, model: Model, rates: RateLimits) -> None:
        self.model = model
        single = isinstance(model, Asked)
        self._single: Asked = model if isinstance(model, Asked) else _Batched(model, rates.at_once)
        # Batches have their full size from the start; only endpoints that take single requests can be overloaded.
        self.gate = RequestLimiter(rates.start if single else rates.at_once, rates.at_once)
        self._gap = 60 / rates.per_minute if rates.per_minute else 0.0
        self._next = 0.0
        self.proven, self.slow = False, False
        self.given_up: Output | None = None
        self._silent = False

    def give_up(self, failure: Output) -> None:
        """Note that a request has failed for good here, unless another was answered in the meantime."""
        if self._silent:
            self.given_up = failure

    async def ask(self, request: Request) -> Output:
        """Write one turn in one attempt; any exception but a HoldfastError becomes an `error` finish."""
        ticket = await self.gate.enter()
        turned_away = False
        try:
            await self._pace()
            if self.given_up and self.slow:
                # A request that waited in the queue must not wait for the same timeout once more.
                return replace(self.given_up, tokens=(0, 0))
            began = time.monotonic()
            output = await self._single.ask(request)
            turned_away = output.retry_after is not None
            self._silent = output.down
            if output.down:
                self.slow = time.monotonic() - began > _QUICK
            else:
                self.proven, self.given_up = True, None
        except HoldfastError:
            raise
        except Exception as error:
            output = _error_output(error)
        finally:
            self.gate.leave(ticket, turned_away)
        return output

    async def _pace(self) -> None:
        if self._gap:
            now = time.monotonic()
            self._next = max(self._next, now) + self._gap
            await asyncio.sleep(self._next - self._gap - now)


class Pool:
    """One model behind one or more endpoints: each request goes to the one with the lowest load.

    Args:
        models: the endpoints, which all serve the same model; the first gives the name and the identity.
        rates: limits for each endpoint.
        notice: called with each failure after which a request is sent again.
    """

    def __init__(
        self, models: Sequence[Model], rates: RateLimits, notice: Callable[[Output], None] = lambda _: None
    ) -> None:
        self._notice = notice
        self.name, self.identity = models[0].name, models[0].identity
        self._rates = rates
        self._endpoints = [Endpoint(model, rates) for model in models]

    @property
    def limits(self) -> list[int]:
        """Current limit of concurrent requests for each endpoint."""
        return [int(endpoint.gate.limit) for endpoint in self._endpoints]

    async def ask(self, request: Request) -> Output:
        """Write one turn; if an endpoint rejects the request, send it again after a pause.

        Endpoints that have never worked get few attempts, and after that one for each further request.  Otherwise an
        unreachable server would cost minutes of pauses for every sample.
        """
        spent = (0, 0)
        last: Endpoint | None = None
        for attempt in itertools.count(1):
            alive = [e for e in self._endpoints if e.given_up is None] or self._endpoints
            # The endpoint that has just rejected it is not tried next if there is another.
            others = [e for e in alive if e is not last] or alive
            last = endpoint = min(others, key=lambda e: (e.gate.out + 1) / e.gate.limit)
            output = await endpoint.ask(request)
            spent = (spent[0] + output.tokens[0], spent[1] + output.tokens[1])
            if output.retry_after is None:
                return replace(output, tokens=spent)
            if attempt >= self._tries(output, endpoint):
                break
            self._notice(output)
            # Endpoints that were not tried yet need no pause.
            if rounds := attempt // len(self._endpoints):
                longest = min(60.0, self._rates.pause * 2**rounds)
                await asyncio.sleep(max(output.retry_after, random.uniform(0, longest)))
        failure = replace(output, tokens=spent, error=f"{output.error}{_attempts(attempt)}")
        for failing in self._endpoints if output.down else ():
            failing.give_up(failure)
        return failure

    def _tries(self, output: Output, endpoint: Endpoint) -> int:
        """Most attempts for a request that got this output from this endpoint."""
        if not output.down or any(e.proven and e.given_up is None for e in self._endpoints):
            return self._rates.tries
        if endpoint.given_up or endpoint.slow:
            return 1
        return min(self._rates.tries, _FIRST_TRIES * len(self._endpoints))

    async def aclose(self) -> None:
        """Close the models' connections, which belong to the event loop of the run."""
        for endpoint in self._endpoints:
            if closing := getattr(endpoint.model, "aclose", None):
                await closing()
