"""The stage engine: runs many items through a recipe's stages concurrently and yields them in order.

An item depends only on the recipe, the seed, its index and the answers, and every answer is in the response cache
before it is used. So a run that is killed at any moment and restarted gives the same items with the same ids.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from holdfast.core.errors import HoldfastError, IncompleteError
from holdfast.core.identity import key_of
from holdfast.data.assemble import act_of, act_request
from holdfast.data.first_probe import FirstProbe
from holdfast.data.recipes import Recipe, failed_check, new_item
from holdfast.data.response_cache import CachedResponse, ResponseCache, responses_of
from holdfast.data.stages import Draft, PromptStage, Role, request_of, take
from holdfast.models.base import Model, Output, Request
from holdfast.models.budget import Budget
from holdfast.models.pool import Pool, RateLimits
from holdfast.models.prices import Money

R = TypeVar("R")
#: Fewest requests before the share of failures is checked.
_ENOUGH = 50
#: Most answers of shared stages kept in memory.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Roles:
    """The endpoints of the model for each role. The teacher plays roles without a model of their own."""

    teacher: Sequence[Model]
    target: Sequence[Model] = ()
    judge: Sequence[Model] = ()

    def by_role(self) -> dict[Role, Sequence[Model]]:
        """Return the roles that have a model of their own."""
        given: dict[Role, Sequence[Model]] = {"teacher": self.teacher, "target": self.target, "judge": self.judge}
        return {role: models for role, models in given.items() if models}

    def identity(self) -> Mapping[str, str]:
        """Return role → identity of its model."""
        return {role: models[0].identity for role, models in self.by_role().items()}


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of a run.

    Attributes:
        rates: rate limits of the endpoints.
        max_failed: share of requests that may fail before the run stops.
        cap: maximum cost of the set in US dollars.
        prices: a price file that takes precedence over the built-in prices.
        batch: whether requests go through the provider's batch API.
        drain: seconds to wait for pending answers when a run stops, because they are paid for.
        skip_probe: do not probe served models before their first request; see `first_probe`.
    """

    rates: RateLimits = field(default_factory=RateLimits)
    max_failed: float = 0.2
    cap: Money | None = None
    prices: Path | None = None
    batch: bool = False
    drain: float = 30.0
    skip_probe: bool = False


@dataclass(slots=True)
class Account:
    """Counts of a run so far: requests sent, answered from the cache and failed; tokens (input, output)."""

    asked: int = 0
    reused: int = 0
    failed: int = 0
    tokens: tuple[int, int] = (0, 0)
    reasons: Counter[str] = field(default_factory=Counter)


class _Stopped(Exception):
    """Raised inside item tasks to abandon unfinished items when the run stops."""


class Engine:
    """Runs items through the stages of a recipe.

    Args:
        recipe: see `recipes.load_recipe`.
        roles: models for each role.
        seed: seed of the draws and of sampling.
        cache: response cache; None stores no answers.
        limits: limits of the run.
    """

    def __init__(self, recipe: Recipe, roles: Roles, seed: int, cache: ResponseCache | None, limits: RunLimits) -> None:
        self.recipe, self.seed, self.account = recipe, seed, Account()
        # A batch puts no load on an endpoint, and a small first batch takes as long as a large one: no slow start.
        start = limits.rates.at_once if limits.batch else limits.rates.start
        rates = replace(limits.rates, start=start)
        self._pools = {role: Pool(models, rates) for role, models in roles.by_role().items()}
        self._limits, self._ledger, self._rates = limits, cache, rates
        self._first = FirstProbe(roles.by_role(), self._probed, skip=limits.skip_probe)
        self.budget = Budget({pool.name for pool in self._pools.values()}, limits.cap, limits.prices, limits.batch)
        self._shared: OrderedDict[str, asyncio.Task[Output]] = OrderedDict()
        self._stop: HoldfastError | None = None
        self._over = False
        if cache and not self.budget.free:
            for stage in recipe.every_stage:
                paid = (row for row in responses_of(cache.path, stage.key) if row.paid)
                self.budget.spent += sum((self.budget.cost(row.model, row.tokens) for row in paid), Money(0))

    async def items(self, wanted: Callable[[], int] | None = None) -> AsyncGenerator[Draft, None]:
        """Yield finished items in order, without end, dropped ones included.

        Args:
            wanted: returns the expected number of items still needed; called before each start. At most this many items
                run at a time, because each started item costs money. Without it, the rate limits decide.

        Raises:
            IncompleteError: too many requests fail, the cap is reached, or the disk is full; answers are kept.
        """
        ahead = 2 * self._limits.rates.at_once * max(1, len(self._pools["teacher"].limits))
        tasks: deque[asyncio.Task[Draft]] = deque()
        index = 0
        try:
            while True:
                while len(tasks) < (min(ahead, wanted()) if wanted else ahead) or not tasks:
                    tasks.append(asyncio.create_task(self._item(index)))
                    index += 1
                try:
                    item = await tasks.popleft()
                except _Stopped:
                    raise self._stop or IncompleteError("stopped") from None
                yield item
        finally:
            await self.aclose(tasks)

    async def aclose(self, tasks: Sequence[asyncio.Task[Any]] = ()) -> None:
        """Wait for pending answers, and close the connections to the models."""
        self._over = True
        await self._drain(tasks)
        for pool in self._pools.values():
            await pool.aclose()

    async def run_items(self, items: Sequence[Draft]) -> list[Draft]:
        """Run items that were created elsewhere through all stages at the same time; return them in their order.

        Raises:
            IncompleteError: as `items`.
        """
        return await self._all([self._finished(item) for item in items])

    async def ask_all(self, asks: Sequence[tuple[PromptStage, Draft]]) -> list[Output]:
        """Send the prompts of stages outside of the items' own; the draft's index identifies the request.

        Raises:
            IncompleteError: as `items`.
        """
        return await self._all([self._or_stop(self._answer(stage, item)) for stage, item in asks])

    async def _all(self, work: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
        tasks = [asyncio.create_task(each) for each in work]
        try:
            return [await task for task in tasks]
        except _Stopped:
            await self._drain(tasks)
            raise self._stop or IncompleteError("stopped") from None
        except BaseException:
            self._over = True
            await self._drain(tasks)
            raise

    async def _or_stop(self, answer: Awaitable[R]) -> R:
        """Await an answer; the first error stops the run."""
        if self._over:
            if isinstance(answer, Coroutine):
                answer.close()
            raise _Stopped
        try:
            return await answer
        except HoldfastError as error:
            self._stop, self._over = self._stop or error, True
            raise _Stopped from None

    async def _drain(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Wait for pending answers, because they are paid for."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._limits.drain)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _item(self, index: int) -> Draft:
        return await self._finished(new_item(self.recipe, index, self.seed))

    async def _finished(self, item: Draft) -> Draft:
        """Run an item through all stages; a stage that rejects it may send it back to earlier ones."""
        waiting, mended = deque(self.recipe.stages), Counter[str]()
        while waiting and item.dropped is None:
            stage = waiting.popleft()
            rejected = take(stage, item, await self._or_stop(self._answer(stage, item)))
            mending = [s for s in self.recipe.stages if s.head.name in stage.head.mend]
            if rejected and mending and mended[stage.key] < stage.head.tries:
                item.dropped = None
                mended[stage.key] += 1
                waiting.extendleft(reversed([*mending, stage]))
        item.dropped = item.dropped or failed_check(self.recipe, item)
        return item

    async def _answer(self, stage: PromptStage, item: Draft) -> Output:
        role: Role = stage.head.role if stage.head.role in self._pools else "teacher"
        pool = self._pools[role]
        shared = stage.head.shared and self.recipe.drafts > 1
        place = item.index // self.recipe.drafts if shared else item.index
        # A separate target model is given the situation itself; a teacher is given instructions on what to write.
        sampled = stage.head.role == "target" and "target" in self._pools
        request = act_request(stage, item, self.seed) if sampled else request_of(stage, item, self.seed, place)
        key = key_of(
            [stage.key, pool.identity, request.messages, request.max_tokens, request.temperature, request.seed]
        )
        if not shared:
            output = await self._cached_or_sent(stage, item, role, request, key)
        else:
            if key not in self._shared:
                answer = self._cached_or_sent(stage, item, role, request, key)
                self._shared[key] = asyncio.create_task(answer)
                while len(self._shared) > _REMEMBERED:
                    self._shared.popitem(last=False)
            output = await self._shared[key]
        return act_of(output) if sampled else output

    async def _cached_or_sent(self, stage: PromptStage, item: Draft, role: Role, request: Request, key: str) -> Output:
        if self._ledger and (row := self._ledger.find(stage.key, key)):
            self.account.reused += 1
            return row.output()
        await self._first.check(role, request)
        pool = self._pools[role]
        output = await self._paid(pool, request)
        if self._ledger:
            message = output.message
            self._ledger.add(
                stage.key,
                CachedResponse(
                    key=key,
                    item=item.index,
                    model=pool.name,
                    finish=output.finish,
                    text=message.content,
                    calls=message.tool_calls,
                    tokens=output.tokens,
                    error=output.error,
                ),
            )
        self._count(output, pool.name)
        return output

    async def _paid(self, pool: Pool, request: Request) -> Output:
        """Send one request and charge it to the budget."""
        held = await self.budget.hold(pool.name, request)
        if self._over:
            self.budget.settle(held, pool.name, (0, 0))
            raise _Stopped
        tokens = (0, 0)
        try:
            output = await pool.ask(request)
            tokens = output.tokens
        finally:
            self.budget.settle(held, pool.name, tokens)
        return output

    async def _probed(self, model: Model, request: Request) -> Output:
        """Send one request of a probe to one endpoint."""
        return await self._paid(Pool([model], self._rates), request)

    def _count(self, output: Output, name: str) -> None:
        account = self.account
        account.asked += 1
        account.tokens = (account.tokens[0] + output.tokens[0], account.tokens[1] + output.tokens[1])
        if output.finish != "error":
            return
        account.failed += 1
        account.reasons[output.error or "no reason given"] += 1
        if account.asked >= _ENOUGH and account.failed > self._limits.max_failed * account.asked:
            reason, times = account.reasons.most_common(1)[0]
            what = f"{account.failed} of {account.asked} requests to {name} failed, {times} of them with: {reason}"
            raise IncompleteError(what, remedy="fix the cause and run again; answers received so far are kept")
