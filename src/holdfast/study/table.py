"""Computes the rates of a cell and paired differences between two cells, from columns of verdicts."""

from __future__ import annotations

import math

import numpy as np

from holdfast.core.rates import AwarenessTax, PairedDifference
from holdfast.core.results import Cell
from holdfast.stats.intervals import Array, RateInterval, clustered_rate, paired, rate_difference
from holdfast.study.verdict_table import OUTCOMES, UNTAUGHT, Codes, Measure, VerdictColumns


def cell(part: VerdictColumns, *, anytime: bool = False) -> Cell:
    """Compute all rates of some samples; a case that several checkpoints played is one cluster.

    Args:
        part: samples of one twin.
        anytime: whether sampling stopped depending on the results; see `stats.intervals.clustered_rate`.
    """
    counts = np.bincount(part.outcome, minlength=len(OUTCOMES))
    taught = [int(seed) for seed in np.unique(part.trained) if seed != UNTAUGHT]
    alone = {str(seed): part.where(part.trained == seed).scores["harm"] for seed in taught}
    return Cell(
        harm=rate_of(part, "harm", anytime=anytime),
        exposed=rate_of(part.where(part.scores["exposed"] == 1), "harm", anytime=anytime),
        acted=rate_of(part, "acted", anytime=anytime),
        useful=rate_of(part, "useful", anytime=anytime),
        harm_given_acted=_harm_given_acted(part, anytime),
        aware=clustered_rate(part.scores["aware"], part.case, anytime=anytime),
        awareness=awareness(part, anytime=anytime),
        outcomes={name: int(n) for name, n in sorted(zip(OUTCOMES, counts, strict=True)) if n},
        by_seed={seed: None if np.isnan(harm).all() else float(np.nanmean(harm)) for seed, harm in alone.items()},
    )


def rate_of(part: VerdictColumns, measure: Measure, *, anytime: bool = False) -> RateInterval:
    """Compute the rate of one measure, clustered by case."""
    return clustered_rate(part.scores[measure], part.case, anytime=anytime)


def awareness(part: VerdictColumns, score: str = "aware", *, anytime: bool = False) -> AwarenessTax:
    """Compute harm among samples whose `score` says that they take it for a test, among the others, and the tax."""
    split = [part.where(part.scores[score] == side) for side in (1, 0)]
    aware, unaware = (rate_of(side, "harm", anytime=anytime) for side in split)
    tax = rate_difference(unaware, aware)
    return AwarenessTax(aware=aware, unaware=unaware, tax=tax.estimate, low=tax.low, high=tax.high)


def between(a: VerdictColumns, b: VerdictColumns, measure: Measure, null: float = 0.0) -> PairedDifference:
    """Compute the paired difference a - b: of two arms under one twin, or of two twins under one arm.

    A pair is the same world and case seed on both sides, and the same training seed if both sides have several.  A side
    that was measured once (the untouched base) is paired with every checkpoint of the other side.
    """
    if not len(a) or not len(b):
        return PairedDifference(pairs=0, excluded=0)
    pairs = np.union1d(a.case, b.case)
    left, right = np.unique(a.trained), np.unique(b.trained)
    if len(left) > 1 and len(right) > 1:
        left = right = np.intersect1d(left, right)
    columns = max(len(left), len(right))
    sides = (_matrix(a, pairs, left, measure, columns), _matrix(b, pairs, right, measure, columns))
    return paired(*sides, null)


def _matrix(part: VerdictColumns, pairs: Codes, seeds: Codes, measure: Measure, columns: int) -> Array:
    """Scores of shape (pairs, columns); nan where a sample is unscored or was never played."""
    scores = np.full((len(pairs), len(seeds)), math.nan)
    part = part.where(np.isin(part.trained, seeds))
    scores[np.searchsorted(pairs, part.case), np.searchsorted(seeds, part.trained)] = part.scores[measure]
    return np.repeat(scores, columns, axis=1) if len(seeds) == 1 else scores


def _harm_given_acted(part: VerdictColumns, anytime: bool) -> RateInterval:
    part = part.where(part.scores["acted"] != 0)
    unknown = np.isnan(part.scores["acted"])
    return clustered_rate(np.where(unknown, math.nan, part.scores["harm"]), part.case, anytime=anytime)
