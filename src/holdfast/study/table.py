"""Computes the rates of a cell and differences between two cells, from columns of verdicts.

Where checkpoints were trained, training seeds are a level of every interval (`stats.trainings`).  A model that was not
trained has one checkpoint, and its intervals are over cases, or skeletons where a family has several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from holdfast.core.rates import AwarenessTax, PairedDifference, Rate
from holdfast.core.results import Cell
from holdfast.stats.intervals import Array, RateInterval, clustered_rate, paired, rate_difference
from holdfast.stats.trainings import (
    CaseLayout,
    TrainingGap,
    TrainingMean,
    case_layout,
    gap_between,
    mean_over_trainings,
)
from holdfast.study.verdict_table import OUTCOMES, Codes, Measure, VerdictColumns


def cell(part: VerdictColumns, *, anytime: bool = False) -> Cell:
    """Compute all rates of some samples.

    Args:
        part: samples of one twin.
        anytime: whether sampling stopped depending on the results; see `stats.intervals.clustered_rate`.
    """
    counts = np.bincount(part.outcome, minlength=len(OUTCOMES))
    return Cell(
        harm=rate_of(part, "harm", anytime=anytime),
        exposed=rate_of(part.where(part.scores["exposed"] == 1), "harm", anytime=anytime),
        acted=rate_of(part, "acted", anytime=anytime),
        useful=rate_of(part, "useful", anytime=anytime),
        work=work_done(part, anytime=anytime),
        harm_given_acted=harm_given_acted(part, anytime=anytime),
        aware=rate_of_scores(part, part.scores["aware"], anytime=anytime),
        awareness=awareness(part, anytime=anytime),
        outcomes={name: int(n) for name, n in sorted(zip(OUTCOMES, counts, strict=True)) if n},
        by_seed=by_training(part, "harm"),
        acted_by_seed=by_training(part, "acted"),
        useful_by_seed=by_training(part, "useful"),
    )


def by_training(part: VerdictColumns, measure: str) -> dict[str, float | None]:
    """The rate of one score on each training seed alone; None where nothing was scored."""
    scores = {seed: part.scores[measure][part.trained == seed] for seed in part.seeds}
    return {str(seed): None if np.isnan(one).all() else float(np.nanmean(one)) for seed, one in scores.items()}


def rate_of(part: VerdictColumns, measure: Measure, *, anytime: bool = False) -> RateInterval:
    """Compute the rate of one measure."""
    return rate_of_scores(part, part.scores[measure], anytime=anytime)


def work_done(part: VerdictColumns, *, anytime: bool = False) -> Rate:
    """Compute the mean share of the steps of the work that were done; empty where no case has steps."""
    if np.isnan(part.scores["work"]).all():
        return Rate()
    return Rate.model_validate(rate_of(part, "work", anytime=anytime).model_dump() | {"k": None})


def rate_of_scores(
    part: VerdictColumns, scores: Array, *, anytime: bool = False, weights: Array | None = None
) -> RateInterval:
    """Compute the rate of any scores of some samples.

    Args:
        part: samples of one twin.
        scores: 1, 0 or nan for each of them.
        anytime: see `cell`.
        weights: weight of each sample; equal by default.

    Returns:
        The rate; without an interval where a single training was measured, because it says nothing about others.
    """
    plain = clustered_rate(scores, part.case, anytime=anytime)
    if plain.rate is None or anytime or (_one_look(part) and weights is None):
        return plain
    mean = _mean(part.with_scores({"": scores}), "", weights)
    low, high = (_known(float(bound)) for bound in mean.bounds())
    return plain.model_copy(update={"rate": float(mean.rate), "low": low, "high": high})


def effective_cases(part: VerdictColumns, measure: Measure) -> float | None:
    """The number of independent samples that say as much about a rate; None for a single training."""
    mean = _mean(part, measure, None)
    return _known(float(mean.effective_size()))


def awareness(part: VerdictColumns, score: str = "aware", *, anytime: bool = False) -> AwarenessTax:
    """Compute harm among samples whose `score` says that they take it for a test, among the others, and the tax."""
    split = [part.where(part.scores[score] == side) for side in (1, 0)]
    aware, unaware = (rate_of(side, "harm", anytime=anytime) for side in split)
    tax = rate_difference(unaware, aware)
    return AwarenessTax(aware=aware, unaware=unaware, tax=tax.estimate, low=tax.low, high=tax.high)


def harm_given_acted(part: VerdictColumns, *, anytime: bool = False) -> RateInterval:
    """Compute the rate of harm among samples that acted; samples of which this is unknown are unscored."""
    part = part.where(part.scores["acted"] != 0)
    unknown = np.isnan(part.scores["acted"])
    return rate_of_scores(part, np.where(unknown, math.nan, part.scores["harm"]), anytime=anytime)


def between(
    a: VerdictColumns, b: VerdictColumns, measure: Measure, null: float = 0.0, *, same_checkpoints: bool = False
) -> PairedDifference:
    """Compute the difference a - b: of two arms under one twin, or of two twins under one arm.

    Both sides are compared over the cases (world and case seed) that were scored on both.  Where a side was trained,
    the interval is one over new trainings.

    Args:
        a: samples of the first side.
        b: samples of the second side.
        measure: the score.
        null: the difference to test against.
        same_checkpoints: whether both sides are samples of the same trainings, under two twins.
    """
    if not len(a) or not len(b):
        return PairedDifference(pairs=0, excluded=0)
    cases = np.union1d(a.case, b.case)
    left, right = (_matrix(side, measure, cases) for side in (a, b))
    if not a.seeds and not b.seeds:
        return paired(left[0], right[0], _layout([a, b], cases).unit, null)
    both = ~np.isnan(left).all(axis=0) & ~np.isnan(right).all(axis=0)
    excluded = int(np.isnan(left).sum() + np.isnan(right).sum())
    upper = float(np.nan_to_num(left, nan=1.0).mean() - np.nan_to_num(right, nan=0.0).mean())
    lower = float(np.nan_to_num(left, nan=0.0).mean() - np.nan_to_num(right, nan=1.0).mean())
    if not both.any():
        return PairedDifference(pairs=0, excluded=excluded)
    gap = _gap([a, b], [left[:, both], right[:, both]], cases[both], same_checkpoints)
    low, high = (_known(float(bound)) for bound in gap.bounds())
    return PairedDifference(
        estimate=float(gap.estimate),
        low=low,
        high=high,
        p=_known(float(gap.p_value(null))),
        pairs=int(both.sum()),
        excluded=excluded,
        lower_bound=lower,
        upper_bound=upper,
        by_seed=_by_seed(left[:, both], right[:, both], trained=bool(a.seeds)),
    )


def gap_of(a: VerdictColumns, b: VerdictColumns, measure: Measure) -> TrainingGap | None:
    """Compare two arms over new trainings, over the cases that were scored on both; None if there is none."""
    if not len(a) or not len(b):
        return None
    cases = np.union1d(a.case, b.case)
    sides = [_matrix(side, measure, cases) for side in (a, b)]
    both = ~np.isnan(sides[0]).all(axis=0) & ~np.isnan(sides[1]).all(axis=0)
    return _gap([a, b], [side[:, both] for side in sides], cases[both]) if both.any() else None


def _gap(
    parts: Sequence[VerdictColumns], sides: Sequence[Array], cases: Codes, same_checkpoints: bool = False
) -> TrainingGap:
    layout = _layout(parts, cases)
    means = [_mean_of_cases(side, layout, bool(part.seeds)) for side, part in zip(sides, parts, strict=True)]
    return gap_between(*means, same_checkpoints=same_checkpoints and parts[0].seeds == parts[1].seeds)


def _one_look(part: VerdictColumns) -> bool:
    """Whether cases are independent samples: one untouched checkpoint, and no family with several skeletons."""
    return not part.seeds and len(np.unique(part.skeleton)) == len(np.unique(part.family))


def _layout(parts: Sequence[VerdictColumns], cases: Codes) -> CaseLayout:
    """The families and skeletons of cases that some samples belong to."""
    known = np.concatenate([part.case for part in parts])
    first = np.unique(known, return_index=True)[1][np.searchsorted(np.unique(known), cases)]
    family, skeleton = (np.concatenate([getattr(part, name) for part in parts]) for name in ("family", "skeleton"))
    return case_layout(family[first], skeleton[first])


def _mean(part: VerdictColumns, measure: str, weights: Array | None) -> TrainingMean:
    """The mean of one score of some samples, each with its weight."""
    cases = np.unique(part.case)
    layout = _layout([part], cases)
    weight = None if weights is None else _matrix(part.with_scores({"": weights}), "", cases)
    return mean_over_trainings(_matrix(part, measure, cases), layout, trained=bool(part.seeds), weights=weight)


def _mean_of_cases(scores: Array, layout: CaseLayout, trained: bool) -> TrainingMean:
    """The mean over cases of the mean over trainings: a case counts once, however many of its samples are scored."""
    weights = np.broadcast_to(1 / (~np.isnan(scores)).sum(axis=0), scores.shape)
    return mean_over_trainings(scores, layout, trained=trained, weights=weights)


def _by_seed(left: Array, right: Array, *, trained: bool) -> tuple[float | None, ...]:
    """The difference with each training of the first side alone; of the second, if the first has no trainings."""
    many, other = (left, right) if trained else (right, left)
    level = np.nanmean(other, axis=0).mean()
    means = [None if np.isnan(one).all() else float(np.nanmean(one) - level) for one in many]
    return tuple(mean if trained or mean is None else -mean for mean in means)


def _matrix(part: VerdictColumns, measure: str, cases: Codes) -> Array:
    """Scores of shape (trainings, cases); nan where a sample is unscored or was never played."""
    trainings = np.unique(part.trained)
    scores = np.full((len(trainings), len(cases)), math.nan)
    scores[np.searchsorted(trainings, part.trained), np.searchsorted(cases, part.case)] = part.scores[measure]
    return scores


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
