"""A model whose requests are charged to a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Message
from holdfast.models.base import Model, Output, Request
from holdfast.models.budget import Budget
from holdfast.models.pool import Asked, Pool, RateLimits


class MeteredModel:
    """A model behind a pool and a budget.  It is a `Model` itself, so judges and probes are charged like the agent.

    Args:
        model: the model.
        budget: the budget; models that share it must share `runner`.
        limits: rate limits of the pool.
        runner: the event loop to which the connections and the budget are bound.
        notice: called for each output that is retried.

    Attributes:
        tokens: input and output tokens so far.
        refusal: the error that ended the requests, such as a spent budget, or None.
    """

    def __init__(
        self,
        model: Model,
        budget: Budget,
        limits: RateLimits,
        runner: asyncio.Runner,
        notice: Callable[[Output], None] = lambda _: None,
    ) -> None:
        self.name, self.identity = model.name, model.identity
        self.model = model
        self.runner = runner
        self.tokens = (0, 0)
        self.refusal: HoldfastError | None = None
        self._budget, self._pool = budget, Pool([model], limits, notice)

    def close(self) -> None:
        """Close the connections."""
        if aclose := getattr(self.model, "aclose", None):
            self.runner.run(aclose())

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one Output for each Request.

        Raises:
            HoldfastError: if a request of an earlier call was refused, for example because the budget is spent.  The
                first such call still returns all paid answers, with an `error` for each refused request.
        """
        if not isinstance(self.model, Asked):
            return self.model.generate(requests)
        if self.refusal:
            raise self.refusal
        return self.runner.run(self._gather(requests))

    async def ask(self, request: Request) -> Output:
        """Request one turn and charge it.

        Raises:
            IncompleteError: if the budget does not allow it.
        """
        held = await self._budget.hold(self.name, request)
        tokens = (0, 0)
        try:
            output = await self._pool.ask(request)
            tokens = output.tokens
        finally:
            # Always release the reservation, because other requests may wait for it.
            self._budget.settle(held, self.name, tokens)
        if not any(output.tokens) and output.retry_after is None:
            # The server did not report the tokens, so charge the maximum cost.
            self._budget.spent += held
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
