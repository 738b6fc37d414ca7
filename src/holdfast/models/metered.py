"""A model whose every answer is paid for before it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Message
from holdfast.models.base import Model, Output, Request
from holdfast.models.budget import Budget
from holdfast.models.pool import Asked, Pool, RateLimits


class Payer:
    """One model behind a pool and a purse; a `Model` itself, so that judges and probes pay like whoever plays.

    Attributes:
        runner: the one loop of all that pay from one purse: connections and purse belong to the loop they began in.
        tokens: read and written so far.
        refusal: why no more can be asked, once that is so.
    """

    def __init__(
        self,
        model: Model,
        purse: Budget,
        manners: RateLimits,
        runner: asyncio.Runner,
        notice: Callable[[Output], None] = lambda _: None,
    ) -> None:
        self.name, self.identity = model.name, model.identity
        self.model = model
        self.runner = runner
        self.tokens = (0, 0)
        self.refusal: HoldfastError | None = None
        self._purse, self._pool = purse, Pool([model], manners, notice)

    def close(self) -> None:
        """Let go of the connections."""
        if ending := getattr(self.model, "aclose", None):
            self.runner.run(ending())

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """One Output for each Request.

        Raises:
            HoldfastError: an earlier call was refused, for lack of money say.  The call that meets the refusal first
                still hands out the answers that were paid for, with an `error` for each that was not.
        """
        if not isinstance(self.model, Asked):
            return self.model.generate(requests)
        if self.refusal:
            raise self.refusal
        return self.runner.run(self._gather(requests))

    async def ask(self, request: Request) -> Output:
        """One turn, paid for.

        Raises:
            IncompleteError: the purse leaves no room for it.
        """
        held = await self._purse.hold(self.name, request)
        tokens = (0, 0)
        try:
            output = await self._pool.ask(request)
            tokens = output.tokens
        finally:
            # Whoever waits for this money would wait for ever.
            self._purse.settle(held, self.name, tokens)
        if not any(output.tokens) and output.again is None:
            # Nobody said what this answer cost: the most that it can have cost is what counts.
            self._purse.spent += held
        self.tokens = (self.tokens[0] + output.tokens[0], self.tokens[1] + output.tokens[1])
        return output

    async def _gather(self, requests: Sequence[Request]) -> list[Output]:
        return list(await asyncio.gather(*map(self._answer, requests)))

    async def _answer(self, request: Request) -> Output:
        try:
            return await self.ask(request)
        except HoldfastError as error:
            self.refusal = error
            return Output(Message(role="assistant"), "error", error=error.what)
