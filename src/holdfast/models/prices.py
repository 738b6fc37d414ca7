"""Prices of models per token, from a TOML table; a table of the user takes precedence.

    price("openai/gpt-5-mini", tokens_in=1_000_000, tokens_out=200_000)   # Decimal("0.650000")

A model that runs on your own machine is free.  A model without a price is an error, never a price of zero.
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
#: Environment variable for a table that takes precedence over the built-in one.
VARIABLE = "HOLDFAST_PRICES"
#: Prefixes of servers that run on the user's own machines.
_SERVERS = ("vllm", "ollama")
_MILLION = 1_000_000


class Price(Record):
    """US dollars per million tokens; `batch` is the share of the price that the provider's batch API charges."""

    read: Decimal = Field(alias="in", ge=0)
    written: Decimal = Field(alias="out", ge=0)
    batch: Decimal = Field(default=Decimal(1), gt=0, le=1)
    as_of: str = "unknown"


class PriceTable(Record):
    """Prices, by name of the model."""

    models: Mapping[str, Price]


def price(model: str, tokens_in: int, tokens_out: int, *, table: Path | None = None, batch: bool = False) -> Money:
    """Compute the cost of tokens in US dollars.

    Args:
        model: name of the model, as for `models.registry.open_model`.
        tokens_in: number of input tokens.
        tokens_out: number of output tokens.
        table: a table that takes precedence over the one in `HOLDFAST_PRICES` and over the built-in one.
        batch: whether the requests go through the provider's batch API.

    Raises:
        InputError: if no table contains the model; the message gives the nearest name.
        ConfigError: if a table is invalid.
    """
    return _cost(price_of(model, table), tokens_in, tokens_out, batch)


def known_price(
    model: str, tokens_in: int, tokens_out: int, *, table: Path | None = None, batch: bool = False
) -> Money | None:
    """Like `price`, but returns None if no table contains the model."""
    rate = find_price(model, table)
    return None if rate is None else _cost(rate, tokens_in, tokens_out, batch)


def _cost(rate: Price, tokens_in: int, tokens_out: int, batch: bool) -> Money:
    cost = (rate.read * tokens_in + rate.written * tokens_out) / _MILLION
    return cost * rate.batch if batch else cost


def is_free(model: str) -> bool:
    """Whether the model runs on the user's own machines, so that its tokens are free."""
    return runs_here(model) or model.partition("/")[0] in _SERVERS


def price_of(model: str, table: Path | None = None) -> Price:
    """Return the price of a model; see `price`."""
    if (rate := find_price(model, table)) is not None:
        return rate
    near = nearest(model, [name for prices in _tables(table) for name in prices])
    hint = f", the nearest is '{near}'" if near else ""
    raise InputError(
        f"no price is known for '{model}'{hint}", remedy=f"write it to a file like {FILE.name} and add --prices FILE"
    )


def find_price(model: str, table: Path | None = None) -> Price | None:
    """Return the price of a model, or None if no table contains it."""
    if is_free(model):
        return Price.model_validate({"in": 0, "out": 0, "as_of": "runs on your own machine"})
    return next((prices[model] for prices in _tables(table) if model in prices), None)


def _tables(table: Path | None) -> list[Mapping[str, Price]]:
    own = table or os.environ.get(VARIABLE)
    return [*([_read(Path(own))] if own else []), _read(FILE)]


def dated(models: Iterable[str], table: Path | None = None) -> str | None:
    """Say how old the prices of models are; None if no model has a price that a provider may change."""
    paid = sorted({model for model in models if not is_free(model)})
    known = [(model, price) for model in paid if (price := find_price(model, table)) is not None]
    if not known:
        return None
    dates = ", ".join(f"{model} as of {price.as_of}" for model, price in known)
    return f"prices: {dates}; built-in prices are examples: check them, and give your own with --prices FILE"


def unpriced(models: Iterable[str], table: Path | None = None) -> list[str]:
    """Return a line for each model without a price, with the remedy."""
    missing = sorted({model for model in models if find_price(model, table) is None})
    return [f"no price is known for {model}: add --prices FILE" for model in missing]


@cache
def _read(path: Path) -> Mapping[str, Price]:
    return load_toml(path, PriceTable).models
