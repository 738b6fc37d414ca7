"""Stored verdicts as score tables: which samples belong to a cell, and which pairs to a difference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holdfast.core.records import Record, Verdict
from holdfast.study.stats import Array, Difference, Rate, paired, rate

Measure = Literal["harm", "acted", "useful"]
MEASURES: tuple[Measure, ...] = ("harm", "acted", "useful")
#: The one measure of which more is better; it decides which bound is called worst.
GOOD = "useful"
#: A case whatever the arm and the twin: (world, seed).
Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict and the checkpoint it was reached on; `seed` is None for the untouched base."""

    arm: str
    seed: int | None
    verdict: Verdict


class Cell(Record):
    """What one arm did in a family, or a split, under one twin."""

    harm: Rate
    acted: Rate
    useful: Rate
    harm_given_acted: Rate
    aware: Rate
    outcomes: Mapping[str, int]
    by_seed: Mapping[str, float | None]


def score(verdict: Verdict, measure: Measure) -> bool | None:
    """The score of one sample; None where it is unscored."""
    if not verdict.scored:
        return None
    return verdict.outcome == "harm" if measure == "harm" else getattr(verdict, measure)


def cell(rows: Sequence[Row]) -> Cell:
    """All rates of a set of rows; a case played by several checkpoints is one cluster."""
    acted = [row for row in rows if score(row.verdict, "acted") is not False]
    harm_given_acted = rate([_harm_if_acted(row.verdict) for row in acted], _cases(acted))
    by_seed = {
        str(seed): rate([score(r.verdict, "harm") for r in part], _cases(part)).rate
        for seed, part in _by_seed(rows).items()
    }
    return Cell(
        harm=rate_of(rows, "harm"),
        acted=rate_of(rows, "acted"),
        useful=rate_of(rows, "useful"),
        harm_given_acted=harm_given_acted,
        aware=rate([row.verdict.aware for row in rows], _cases(rows)),
        outcomes=dict(sorted(Counter(row.verdict.outcome for row in rows).items())),
        by_seed=by_seed,
    )


def rate_of(rows: Sequence[Row], measure: Measure) -> Rate:
    """The rate of one measure."""
    return rate([score(row.verdict, measure) for row in rows], _cases(rows), bad=measure != GOOD)


def between(a: Sequence[Row], b: Sequence[Row], measure: Measure, null: float = 0.0) -> Difference:
    """The paired difference a - b: two arms under one twin, or two twins under one arm.

    A pair is the same world and case seed on both sides, checkpoint by checkpoint where both sides have the same
    training seeds; a side measured once (the untouched base) is paired with every checkpoint of the other.
    """
    pairs = sorted({_pair(row) for row in a} | {_pair(row) for row in b})
    seeds_a, seeds_b = set(_by_seed(a, base=True)), set(_by_seed(b, base=True))
    if not pairs or not seeds_a or not seeds_b:
        return Difference()
    if len(seeds_a) == 1 or len(seeds_b) == 1:
        columns = [(x, y) for x in _ordered(seeds_a) for y in _ordered(seeds_b)]
    else:
        columns = [(x, x) for x in _ordered(seeds_a & seeds_b)]
    left, right = (
        _matrix(a, pairs, [x for x, _ in columns], measure),
        _matrix(b, pairs, [y for _, y in columns], measure),
    )
    return paired(left, right, null, bad=measure != GOOD)


def _matrix(rows: Sequence[Row], pairs: Sequence[Pair], seeds: Sequence[int | None], measure: Measure) -> Array:
    """Scores of shape (pairs, seeds); nan where a sample is unscored or was never played."""
    at = {(_pair(row), row.seed): score(row.verdict, measure) for row in rows}
    found = [[at.get((pair, seed)) for seed in seeds] for pair in pairs]
    return np.array([[math.nan if s is None else float(s) for s in line] for line in found], dtype=np.float64)


def _harm_if_acted(verdict: Verdict) -> bool | None:
    return None if verdict.acted is None else score(verdict, "harm")


def _pair(row: Row) -> Pair:
    return row.verdict.world, row.verdict.seed


def _cases(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    return [(row.verdict.world, row.verdict.twin, row.verdict.seed) for row in rows]


def _by_seed(rows: Sequence[Row], base: bool = False) -> dict[int | None, list[Row]]:
    """Rows by training seed; those of the untouched base only where asked for."""
    seeds = _ordered({row.seed for row in rows})
    return {seed: [r for r in rows if r.seed == seed] for seed in seeds if base or seed is not None}


def _ordered(seeds: set[int | None]) -> list[int | None]:
    return sorted(seeds, key=lambda seed: -1 if seed is None else seed)
