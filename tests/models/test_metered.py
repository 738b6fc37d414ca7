"""A metered model releases its reservation if a request fails."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from holdfast.core.errors import ModelError
from holdfast.core.records import Message
from holdfast.models.base import Output, Request
from holdfast.models.budget import Budget
from holdfast.models.metered import MeteredModel
from holdfast.models.pool import RateLimits


class Breaking:
    """A model that fails at its first request and answers later ones."""

    name = identity = "dear/model"

    def __init__(self) -> None:
        self._asked = 0

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        raise AssertionError("generate must not be called")

    async def ask(self, request: Request) -> Output:
        self._asked += 1
        broken = self._asked == 1
        await asyncio.sleep(0)
        if broken:
            raise ModelError("the model is gone", remedy="start it again")
        return Output(Message(role="assistant", content="fine."), "stop", tokens=(0, 1))


def test_the_reservation_of_a_failed_request_is_released(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."dear/model"]\nin = 0.0\nout = 1000000.0\n')
    purse = Budget({"dear/model"}, Decimal(10), prices, batch=False)  # room for one answer of ten tokens at a time
    requests = [Request(f"c{i}", [Message(role="user", content="?")], max_tokens=10) for i in range(2)]
    with asyncio.Runner() as runner:
        payer = MeteredModel(Breaking(), purse, RateLimits(), runner)

        async def both() -> list[Output | BaseException]:
            async with asyncio.timeout(5):
                return await asyncio.gather(*map(payer.ask, requests), return_exceptions=True)

        broken, answered = runner.run(both())
    assert isinstance(broken, ModelError)
    assert isinstance(answered, Output) and answered.finish == "stop"
    assert (purse.held, purse.spent) == (Decimal(0), Decimal(1))
