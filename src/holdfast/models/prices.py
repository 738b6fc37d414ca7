"""What a model's tokens cost: a table in TOML, which a table of the user's comes before.

    price("openai/gpt-5-mini", tokens_in=1_000_000, tokens_out=200_000)   # Decimal("0.650000")

A model that runs on your own machine costs nothing here; one that is not in the table is an error, never a zero.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path

from pydantic import Field

from holdfast.core.config import load_toml, nearest
from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.models.registry import runs_here

#: US dollars
Money = Decimal
FILE = Path(__file__).parent / "prices.toml"
#: names a table that comes before ours
VARIABLE = "HOLDFAST_PRICES"
#: prefixes of servers that run on machines of one's own
_SERVERS = ("vllm", "ollama")
_MILLION = 1_000_000


class Price(Record):
    """US dollars for a million tokens; `batch` is the share that the provider's batch interface takes."""

    read: Decimal = Field(alias="in", ge=0)
    written: Decimal = Field(alias="out", ge=0)
    batch: Decimal = Field(default=Decimal(1), gt=0, le=1)
    as_of: str = "unknown"


class PriceTable(Record):
    """Prices by name of the model."""

    models: Mapping[str, Price]


def price(model: str, tokens_in: int, tokens_out: int, *, table: Path | None = None, batch: bool = False) -> Money:
    """What so many tokens of a model cost.

    Args:
        model: as `models.registry.open_model` takes it.
        tokens_in: tokens read.
        tokens_out: tokens written.
        table: a file that comes before the one in `HOLDFAST_PRICES` and before ours.
        batch: whether they go through the provider's batch interface.

    Raises:
        InputError: no table holds the model; the message names the nearest that one does.
        ConfigError: a table that is no table of prices.
    """
    return _cost(price_of(model, table), tokens_in, tokens_out, batch)


def known_price(
    model: str, tokens_in: int, tokens_out: int, *, table: Path | None = None, batch: bool = False
) -> Money | None:
    """As `price`, but None where no table holds the model."""
    found = find_price(model, table)
    return None if found is None else _cost(found, tokens_in, tokens_out, batch)


def _cost(found: Price, tokens_in: int, tokens_out: int, batch: bool) -> Money:
    cost = (found.read * tokens_in + found.written * tokens_out) / _MILLION
    return cost * found.batch if batch else cost


def is_free(model: str) -> bool:
    """Whether the model runs on a machine of one's own, so that nobody is paid for its tokens."""
    return runs_here(model) or model.partition("/")[0] in _SERVERS


def price_of(model: str, table: Path | None = None) -> Price:
    """The price of a model; see `price`."""
    if (found := find_price(model, table)) is not None:
        return found
    near = nearest(model, [name for prices in _tables(table) for name in prices])
    hint = f", the nearest is '{near}'" if near else ""
    raise InputError(
        f"no price is known for '{model}'{hint}", remedy=f"put it into a file like {FILE.name} and name it: --prices"
    )


def find_price(model: str, table: Path | None = None) -> Price | None:
    """The price of a model, or None where no table holds it."""
    if is_free(model):
        return Price.model_validate({"in": 0, "out": 0, "as_of": "runs on your own machine"})
    return next((prices[model] for prices in _tables(table) if model in prices), None)


def _tables(table: Path | None) -> list[Mapping[str, Price]]:
    own = table or os.environ.get(VARIABLE)
    return [*([_read(Path(own))] if own else []), _read(FILE)]


def dated(models: Iterable[str], table: Path | None = None) -> str | None:
    """How old the prices of models are, in words; None where no model has a price that a provider may change."""
    paid = sorted({model for model in models if not is_free(model)})
    found = [(model, price) for model in paid if (price := find_price(model, table)) is not None]
    if not found:
        return None
    said = ", ".join(f"{model} as of {price.as_of}" for model, price in found)
    return f"prices: {said}; ours are examples, not offers: look them up and name your own with --prices"


def unpriced(models: Iterable[str], table: Path | None = None) -> list[str]:
    """A line for each model without a price, which says how to give one."""
    missing = sorted({model for model in models if find_price(model, table) is None})
    return [f"no price known for {model}: --prices FILE" for model in missing]


@cache
def _read(path: Path) -> Mapping[str, Price]:
    return load_toml(path, PriceTable).models
