"""What a run spends, and the cap it must not pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from holdfast.core.errors import IncompleteError
from holdfast.models.base import Request
from holdfast.models.prices import Money, Price, find_price, price_of

#: characters of a token, taken low so that what is held back is never too little
_CHARACTERS = 2.5
_MILLION = 1_000_000


class Budget:
    """Money held back for requests that are out, and spent for those that came back.

    Args:
        names: the models that are paid.
        cap: most US dollars to spend, those of earlier runs included; None for no cap.
        table: a file of prices that comes before ours.
        batch: whether requests go through the provider's batch interface.

    Raises:
        InputError: there is a cap, and no price is known for one of the models.
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
        """Whether all prices are known; where not, `spent` says nothing."""
        return None not in self._prices.values()

    @property
    def free(self) -> bool:
        """Whether nothing can cost anything."""
        return all(price is not None and not price.read and not price.written for price in self._prices.values())

    def cost(self, model: str, tokens: tuple[int, int]) -> Money:
        """US dollars for tokens read and written; 0 where the price is not known."""
        price = self._prices.get(model)
        if price is None:
            return Money(0)
        share = price.batch if self._batch else Decimal(1)
        return share * (price.read * tokens[0] + price.written * tokens[1]) / _MILLION

    async def hold(self, model: str, request: Request) -> Money:
        """Hold back the most a request can cost, waiting for requests that are out to come back cheaper.

        Raises:
            IncompleteError: the cap leaves no room for it.
        """
        read = sum(len(message.content) for message in request.messages) / _CHARACTERS
        worst = self.cost(model, (int(read), request.max_tokens))
        while self.cap is not None and self.spent + self.held + worst > self.cap:
            if not self.held:
                what = f"the cap of ${self.cap} is reached: ${self.spent:.4f} is spent"
                raise IncompleteError(what, remedy="what is answered is kept: run again with a higher cap")
            self._freed.clear()
            await self._freed.wait()
        self.held += worst
        return worst

    def settle(self, held: Money, model: str, tokens: tuple[int, int]) -> None:
        """Give back what was held and pay what it cost."""
        self.held -= held
        self.spent += self.cost(model, tokens)
        self._freed.set()
