"""The budget of a run: money spent, money reserved, and the cap."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from holdfast.core.errors import IncompleteError
from holdfast.models.base import Request
from holdfast.models.prices import Money, Price, find_price, price_of

#: Characters per token; a low value, so that the reservation is never too small.
_CHARACTERS = 2.5
_MILLION = 1_000_000


class Budget:
    """Reserves money for open requests and counts the cost of finished ones.

    Args:
        names: the models that cost money.
        cap: maximum cost in US dollars, including that of earlier runs; None for no cap.
        table: a price table that takes precedence over the built-in one.
        batch: whether requests go through the provider's batch API.

    Raises:
        InputError: if there is a cap and the price of a model is unknown.
    """

    def __init__(self, names: set[str], cap: Money | None, table: Path | None, batch: bool) -> None:
        self.cap, self._batch = cap, batch
        self.spent, self.held = Money(0), Money(0)
        self._prices: Mapping[str, Price | None] = {name: self._price(name, table) for name in sorted(names)}
        self._freed = asyncio.Event()

    def _price(self, name: str, table: Path | None) -> Price | None:
        return find_price(name, table) if self.cap is None else price_of(name, table)

    @property
    def known(self) -> bool:
        """Whether all prices are known; if not, `spent` is too low."""
        return None not in self._prices.values()

    @property
    def free(self) -> bool:
        """Whether all models are free."""
        return all(price is not None and not price.read and not price.written for price in self._prices.values())

    def cost(self, model: str, tokens: tuple[int, int]) -> Money:
        """Return the cost of (input, output) tokens in US dollars; 0 if the price is unknown."""
        price = self._prices.get(model)
        if price is None:
            return Money(0)
        share = price.batch if self._batch else Decimal(1)
        return share * (price.read * tokens[0] + price.written * tokens[1]) / _MILLION

    async def hold(self, model: str, request: Request) -> Money:
        """Reserve the maximum cost of a request; waits for open requests if the cap is too low for it now.

        Raises:
            IncompleteError: if the cap does not allow the request.
        """
        read = sum(len(message.content) for message in request.messages) / _CHARACTERS
        worst = self.cost(model, (int(read), request.max_tokens))
        while self.cap is not None and self.spent + self.held + worst > self.cap:
            if not self.held:
                what = f"the budget of ${self.cap} is reached: ${self.spent:.4f} is spent"
                raise IncompleteError(what, remedy="finished work is kept; run again with a higher budget to resume")
            self._freed.clear()
            await self._freed.wait()
        self.held += worst
        return worst

    def settle(self, held: Money, model: str, tokens: tuple[int, int]) -> None:
        """Release a reservation and count the actual cost."""
        self.held -= held
        self.spent += self.cost(model, tokens)
        self._freed.set()
