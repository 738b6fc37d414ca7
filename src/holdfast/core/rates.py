"""The records of computed rates, differences and agreement, as `stats` computes them and `summary.json` holds them.

None stands for "not measured", never for zero.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class TolerantRecord(BaseModel):
    """Base of records that other versions may have written: frozen, unknown keys ignored, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def _with_bounds(value: Any) -> Any:
    """Read the bounds of an older file, which calls them `worst` and `best`: the greater depends on the measure."""
    if not isinstance(value, dict) or "upper_bound" in value or not value.keys() & {"worst", "best"}:
        return value
    lower, upper = value.get("best"), value.get("worst")
    if isinstance(lower, (int, float)) and isinstance(upper, (int, float)) and lower > upper:
        lower, upper = upper, lower
    return {**value, "lower_bound": lower, "upper_bound": upper}


class Rate(TolerantRecord):
    """`k` of `n` scored samples, with a 95% interval from `low` to `high`.

    `lower_bound` is the rate if no unscored sample counted, `upper_bound` the rate if every one did.
    """

    k: int | None = None
    n: int | None = None
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, value: Any) -> Any:
        return _with_bounds(value)


class PairedDifference(TolerantRecord):
    """A mean difference a - b over `pairs` cases that were scored on both sides; `excluded` samples were not scored.

    `p` tests the difference against zero, or against the bound of a claim.  `lower_bound` and `upper_bound` are the
    least and the greatest estimate that the unscored samples could have led to.  `by_seed` holds the estimate with each
    training of `a` alone, in order (of `b`, if `a` was not trained).  A single training gives no interval.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    pairs: int | None = None
    excluded: int | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    by_seed: tuple[float | None, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, value: Any) -> Any:
        return _with_bounds(value)


class AwarenessTax(TolerantRecord):
    """Harm among samples that say they take the situation for a test, among the others, and the difference.

    `tax` is harm unaware minus harm aware: positive if the model behaves better when it believes it is watched.
    """

    aware: Rate = Rate()
    unaware: Rate = Rate()
    tax: float | None = None
    low: float | None = None
    high: float | None = None


class Agreement(TolerantRecord):
    """Agreement of raters on the units that at least two of them rated; None if it cannot be computed.

    `observed` is the share of pairs of ratings that agree, `chance` the share expected at random.
    """

    units: int | None = None
    observed: float | None = None
    chance: float | None = None
    coefficient: float | None = None
    low: float | None = None
    high: float | None = None
