"""The stage engine: items go through a recipe's stages, many at a time, and come out in order.

What an item becomes depends on the recipe, the seed, its place and the answers alone, and every answer is in the
ledger before it is used: a run killed at any moment and begun again gives the same items with the same ids.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast.core.errors import HoldfastError, IncompleteError
from holdfast.core.identity import key_of
from holdfast.data.assemble import act_of, act_request
from holdfast.data.recipes import Recipe, failed_check, new_item
from holdfast.data.response_cache import CachedResponse, Ledger, responses_of
from holdfast.data.stages import Draft, PromptStage, Role, request_of, take
from holdfast.models.base import Model, Output, Request
from holdfast.models.budget import Budget
from holdfast.models.pool import Pool, RateLimits
from holdfast.models.prices import Money

#: requests after which a share of failures means something
_ENOUGH = 50
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is asked, by role: the endpoints of one model each. Where a role has none, the teacher plays it."""

    teacher: Sequence[Model]
    target: Sequence[Model] = ()
    judge: Sequence[Model] = ()

    def roles(self) -> dict[Role, Sequence[Model]]:
        """The roles that somebody plays."""
        given: dict[Role, Sequence[Model]] = {"teacher": self.teacher, "target": self.target, "judge": self.judge}
        return {role: models for role, models in given.items() if models}

    def identity(self) -> Mapping[str, str]:
        """Role → identity of who plays it."""
        return {role: models[0].identity for role, models in self.roles().items()}


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a run keeps to.

    Attributes:
        manners: how endpoints are treated.
        max_failed: share of requests that may fail before the run stops.
        cap: most US dollars to spend on the set.
        prices: a file of prices that comes before ours.
        batch: whether API models are asked through their provider's batch interface.
        drain: seconds to wait, when a run stops, for answers that are on their way and paid for.
    """

    manners: RateLimits = field(default_factory=RateLimits)
    max_failed: float = 0.2
    cap: Money | None = None
    prices: Path | None = None
    batch: bool = False
    drain: float = 30.0


@dataclass(slots=True)
class Account:
    """What a run has done so far: requests asked, taken from the ledger and failed; tokens read and written."""

    asked: int = 0
    reused: int = 0
    failed: int = 0
    tokens: tuple[int, int] = (0, 0)
    reasons: Counter[str] = field(default_factory=Counter)


class _Stopped(Exception):
    """The run is over; an item in the making is left where it is."""


class Engine:
    """A recipe, who is asked, and what is known already.

    Args:
        recipe: see `recipes.load_recipe`.
        cast: who is asked.
        seed: of the draws and of the sampling.
        ledger: where answers are kept; None keeps none.
        bounds: what the run keeps to.
    """

    def __init__(self, recipe: Recipe, cast: Roles, seed: int, ledger: Ledger | None, bounds: RunLimits) -> None:
        self.recipe, self.seed, self.account = recipe, seed, Account()
        # A provider's batch is no strain on it, and one that begins small takes as long as one that does not.
        start = bounds.manners.at_once if bounds.batch else bounds.manners.start
        manners = replace(bounds.manners, start=start)
        self._pools = {role: Pool(models, manners) for role, models in cast.roles().items()}
        self._bounds, self._ledger = bounds, ledger
        self.purse = Budget({pool.name for pool in self._pools.values()}, bounds.cap, bounds.prices, bounds.batch)
        self._shared: OrderedDict[str, asyncio.Task[Output]] = OrderedDict()
        self._stop: HoldfastError | None = None
        self._over = False
        if ledger and not self.purse.free:
            for stage in recipe.stages:
                paid = (row for row in responses_of(ledger.path, stage.key) if row.paid)
                self.purse.spent += sum((self.purse.cost(row.model, row.tokens) for row in paid), Money(0))

    async def items(self, wanted: Callable[[], int] | None = None) -> AsyncGenerator[Draft, None]:
        """Finished items without end and in order, dropped ones included.

        Args:
            wanted: how many more will probably be taken, asked before each: no more than these are begun, for each that
                is begun costs money. As many as endpoints bear where it is not given.

        Raises:
            IncompleteError: too many requests fail, the cap is reached, or the disk is full; what is answered is kept.
        """
        ahead = 2 * self._bounds.manners.at_once * max(1, len(self._pools["teacher"].limits))
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
            self._over = True
            await self._drain(tasks)
            for pool in self._pools.values():
                await pool.aclose()

    async def _drain(self, tasks: Sequence[asyncio.Task[Draft]]) -> None:
        """Let answers arrive that are on their way: they are paid for."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._bounds.drain)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _item(self, index: int) -> Draft:
        item = new_item(self.recipe, index, self.seed)
        for stage in self.recipe.stages:
            if self._over:
                raise _Stopped
            try:
                take(stage, item, await self._answer(stage, item))
            except HoldfastError as error:
                self._stop, self._over = self._stop or error, True
                raise _Stopped from None
            if item.dropped is not None:
                return item
        item.dropped = failed_check(self.recipe, item)
        return item

    async def _answer(self, stage: PromptStage, item: Draft) -> Output:
        pool = self._pools.get(stage.head.role) or self._pools["teacher"]
        shared = stage.head.shared and self.recipe.drafts > 1
        place = item.index // self.recipe.drafts if shared else item.index
        # A target of its own is put before the situation itself; a teacher is told what to write.
        sampled = stage.head.role == "target" and "target" in self._pools
        request = act_request(stage, item, self.seed) if sampled else request_of(stage, item, self.seed, place)
        key = key_of(
            [stage.key, pool.identity, request.messages, request.max_tokens, request.temperature, request.seed]
        )
        if not shared:
            output = await self._known_or_asked(stage, item, pool, request, key)
        else:
            if key not in self._shared:
                asking = self._known_or_asked(stage, item, pool, request, key)
                self._shared[key] = asyncio.create_task(asking)
                while len(self._shared) > _REMEMBERED:
                    self._shared.popitem(last=False)
            output = await self._shared[key]
        return act_of(output) if sampled else output

    async def _known_or_asked(self, stage: PromptStage, item: Draft, pool: Pool, request: Request, key: str) -> Output:
        if self._ledger and (row := self._ledger.find(stage.key, key)):
            self.account.reused += 1
            return row.output()
        held = await self.purse.hold(pool.name, request)
        if self._over:
            self.purse.settle(held, pool.name, (0, 0))
            raise _Stopped
        tokens = (0, 0)
        try:
            output = await pool.ask(request)
            tokens = output.tokens
        finally:
            self.purse.settle(held, pool.name, tokens)
        if self._ledger:
            said = output.message
            self._ledger.add(
                stage.key,
                CachedResponse(
                    key=key,
                    item=item.index,
                    model=pool.name,
                    finish=output.finish,
                    text=said.content,
                    calls=said.tool_calls,
                    tokens=tokens,
                    error=output.error,
                ),
            )
        self._count(output, pool.name)
        return output

    def _count(self, output: Output, name: str) -> None:
        account = self.account
        account.asked += 1
        account.tokens = (account.tokens[0] + output.tokens[0], account.tokens[1] + output.tokens[1])
        if output.finish != "error":
            return
        account.failed += 1
        account.reasons[output.error or "no reason given"] += 1
        if account.asked >= _ENOUGH and account.failed > self._bounds.max_failed * account.asked:
            reason, times = account.reasons.most_common(1)[0]
            what = f"{account.failed} of {account.asked} requests to {name} failed, {times} of them with: {reason}"
            raise IncompleteError(what, remedy="mend it and run again: what is answered is kept")
