"""Rates and differences over new trainings: training seeds are a sample, crossed with the cases that all of them play.

    means = [mean_over_trainings(scores, layout, trained=True) for scores in (arm, control)]
    gap = gap_between(*means)
    gap.bounds(), gap.p_value()

Every checkpoint of an arm plays the same cases, as every reader of a multi-reader study reads the same images.  So the
variance of an arm's mean has two parts (Obuchowski and Rockette 1995; Hillis 2007): that between trainings, which holds
the noise of single samples too, and the covariance of the trainings through the cases that they share.  Each part has
its own t quantile (Banerjee 1960): with few trainings their variance may come out small by chance, and Satterthwaite's
degrees of freedom of both would then be those of the cases.  Families are strata: an interval holds for the families
that it names, for new skeletons and cases of these, and for new trainings.  Where a family has a single skeleton, its
cases are the sample, and the interval holds for this skeleton.

The interval of a rate is the exact interval (Clopper and Pearson 1934) at the effective sample size of Korn and
Graubard (1998), so that it stays within 0 and 1 and is skewed as rates near them are.  With few trainings the variance
between them is badly estimated where rates are near 0 or 1, because a training that stands out is rarely among them.
So it is never taken below the noise of the samples, nor below what the spread of the trainings' logits implies.

The interval of a difference combines those of the two rates (Zou 2007, MOVER), with their correlation through common
cases.  `python -m bench.seeds` measures the coverage of both.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from holdfast.stats.intervals import LEVEL, Array, Codes, codes_of

#: Fewer training seeds than this show nothing about new trainings: the verdict is "not shown".
LEAST_SEEDS = 5
#: Replaces zero where a special function would divide by it and the result is not used.
_TINY = 1e-12
_STEPS = 40


@dataclass(frozen=True)
class CaseLayout:
    """The sampling unit and the family of each case; the units of one family are a random sample of it.

    Attributes:
        unit: number of the unit of each case, from 0 up, shape (cases,).
        family: number of the family of each unit, shape (units,).
    """

    unit: Codes
    family: Codes

    @property
    def sizes(self) -> Codes:
        """Units of each family."""
        return np.bincount(self.family)

    @property
    def correction(self) -> Array:
        """G / (G - 1) for each unit, where G is the number of units of its family; 0 for a family of one unit."""
        sizes = self.sizes[self.family].astype(np.float64)
        return np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 0.0)

    def by_unit(self, values: Array) -> Array:
        """Sum values of cases, shape (..., cases), by unit: shape (..., units)."""
        return values @ np.eye(len(self.family))[self.unit]

    @property
    def of_cases(self) -> CaseLayout:
        """The layout in which each case is a unit."""
        return CaseLayout(np.arange(len(self.unit)), self.family[self.unit])

    def parts(self, values: Array) -> Array:
        """The variance of a sum over cases that trainings share, by family.

        Args:
            values: contribution of each sample, 0 on average in each family; shape (..., trainings, cases).

        Returns:
            Shape (..., families): the covariance of different trainings, or the variance if there is only one.
        """
        units, count = self.by_unit(values), values.shape[-2]
        found = units.sum(-2) ** 2
        if count > 1:
            found = (found - (units**2).sum(-2)) * count / (count - 1)
        by_family: Array = (self.correction * found) @ np.eye(len(self.sizes))[self.family]
        return np.maximum(by_family, 0.0)

    def variance(self, values: Array) -> tuple[Array, Array]:
        """Sum the parts, with Satterthwaite's degrees of freedom over families, at least 1; see `parts`.

        A family's variance is never less than that of its cases: few skeletons may agree by chance.
        """
        families = self.parts(values)
        if len(self.family) < len(self.unit):
            families = np.maximum(families, self.of_cases.parts(values))
        whole = families.sum(-1)
        spread = (families**2 / np.maximum(self.sizes - 1, 1)).sum(-1)
        least = float(max(int((self.sizes - 1).sum()), 1))
        return whole, np.where(spread > 0, whole**2 / np.where(spread > 0, spread, 1.0), least)

    def by_family(self, values: Array) -> Array:
        """Sum values of cases by family and give each case its family's sum; shape (..., cases)."""
        whole = self.by_unit(values) @ np.eye(len(self.sizes))[self.family]
        return np.asarray(whole[..., self.family[self.unit]], dtype=np.float64)


def case_layout(families: Sequence[Hashable] | Codes, skeletons: Sequence[Hashable] | Codes) -> CaseLayout:
    """Lay out cases: units are skeletons, or single cases in a family whose cases share one skeleton.

    Args:
        families: family of each case.
        skeletons: skeleton of each case.
    """
    family, skeleton = codes_of(families), codes_of(skeletons)
    pairs = np.unique(np.column_stack([family, skeleton]), axis=0)
    single = {number for number, count in zip(*np.unique(pairs[:, 0], return_counts=True), strict=True) if count == 1}
    labels = [
        (f, "case", i) if f in single else (f, s, 0) for i, (f, s) in enumerate(zip(family, skeleton, strict=True))
    ]
    unit = codes_of(labels)
    of_unit = np.zeros(unit.max() + 1 if len(unit) else 0, dtype=np.int64)
    of_unit[unit] = np.unique(family, return_inverse=True)[1]
    return CaseLayout(unit, of_unit)


@dataclass(frozen=True)
class TrainingMean:
    """The mean score of an arm, and the parts of its variance; arrays of one shape, that of the studies.

    Attributes:
        rate: the mean; nan where nothing was scored.
        between: variance of the mean due to trainings; 0 for a checkpoint that is no sample of trainings, nan for a
            single training.
        shared: variance of the mean due to the cases that the trainings share.
        df: degrees of freedom of both parts.
        size: scored samples.
        cases: scored cases, the smallest effective sample size.
        rare: cases with the rarer score.
        units: contribution of each unit to the mean, shape (..., units).
        seeds: contribution of each training to the mean, shape (..., seeds).
        layout: the cases.
    """

    rate: Array
    between: Array
    shared: Array
    df: tuple[float, Array]
    size: Array
    cases: Array
    rare: Array
    units: Array
    seeds: Array
    layout: CaseLayout

    @property
    def variance(self) -> Array:
        """Variance of the mean."""
        return self.between + self.shared

    def effective_size(self, level: npt.ArrayLike = LEVEL, df: Array | None = None) -> Array:
        """The effective sample size of the mean: that many independent samples; see `bounds` for the arguments."""
        tail = (1 + np.asarray(level, dtype=np.float64)) / 2
        spread = self.rate * (1 - self.rate)
        reach = special.stdtrit(self.df[0] if df is None else df, tail) ** 2 * self.between
        reach = reach + special.stdtrit(self.df[1], tail) ** 2 * self.shared
        normal = special.stdtrit(np.maximum(self.size - 1, 1), tail) ** 2
        estimated = reach / np.maximum(normal * spread, _TINY)
        share = np.maximum(np.where(spread > 0, estimated, 1 / self.cases), 1 / self.size)
        # The fewer cases show the rarer score, the closer the size is to one sample a case.
        size: Array = np.maximum(1.0, (self.rare + 1) / (share * self.rare + 1 / self.cases))
        return size

    def bounds(self, level: npt.ArrayLike = LEVEL, df: Array | None = None) -> tuple[Array, Array]:
        """Compute the interval; nan where nothing was scored or a single training was measured.

        Args:
            level: coverage.
            df: degrees of freedom of the variance between trainings; by default those of this arm alone.
        """
        tail, size = (1 + np.asarray(level, dtype=np.float64)) / 2, self.effective_size(level, df)
        hits = self.rate * size
        low = special.betaincinv(np.maximum(hits, _TINY), size - hits + 1, 1 - tail)
        high = special.betaincinv(hits + 1, np.maximum(size - hits, _TINY), tail)
        unknown = np.isnan(self.variance)
        floor: Array = np.where(self.rate <= 0, 0.0, np.minimum(low, self.rate)).astype(np.float64)
        ceiling: Array = np.where(self.rate >= 1, 1.0, np.maximum(high, self.rate)).astype(np.float64)
        return np.where(unknown, np.nan, floor), np.where(unknown, np.nan, ceiling)


def mean_over_trainings(
    scores: Array, layout: CaseLayout, *, trained: bool, weights: Array | None = None
) -> TrainingMean:
    """Compute the mean score of an arm over trainings and cases, with its variance.

    Args:
        scores: 1, 0 or nan (unscored); shape (..., seeds, cases), many studies at once.
        layout: the units and families of the cases.
        trained: whether the checkpoints are a sample of trainings. A model that is measured as it is has one
            checkpoint and no such variance.
        weights: weight of each sample, of the shape of `scores`; equal by default.  Weights of unscored samples count
            as zero.
    """
    scored = ~np.isnan(scores)
    values = np.where(scored, scores, 0.0)
    weight = np.where(scored, 1.0 if weights is None else weights, 0.0)
    with np.errstate(invalid="ignore"):
        # Summed before the division, so that a mean of ones is one.
        rate = (weight * values).sum((-2, -1)) / weight.sum((-2, -1))
        weight = weight / weight.sum((-2, -1), keepdims=True)
    weight = np.nan_to_num(weight)
    seeds = (weight * (values - rate[..., None, None])).sum(-1)
    here = layout.by_family(weight)
    family = layout.by_family(weight * values) / np.where(here > 0, here, 1.0)
    parts = weight * (values - family)
    units, (shared, df) = layout.by_unit(parts), layout.variance(parts)
    count, size = scores.shape[-2], scored.sum((-2, -1)).astype(np.float64)
    if count > 1:
        noise = np.maximum((layout.correction * units**2).sum((-2, -1)) - shared / count, 0.0)
        between = count / (count - 1) * (seeds**2).sum(-1)
        between = np.maximum.reduce([between, noise, _logit_variance(weight * values, weight, rate, size)])
    else:
        between = np.full_like(shared, np.nan if trained else 0.0)
    hits, tries = values.sum(-2), scored.sum(-2)
    rare = np.minimum((hits > 0).sum(-1), (hits < tries).sum(-1)).astype(np.float64)
    cases = np.maximum((tries > 0).sum(-1), 1).astype(np.float64)
    both = (float(max(count - 1, 1)), df)
    return TrainingMean(rate, between, shared, both, np.maximum(size, 1.0), cases, rare, units.sum(-2), seeds, layout)


def _logit_variance(hits: Array, weight: Array, rate: Array, size: Array) -> Array:
    """The variance of the mean that the spread of the trainings' empirical logits implies, by the delta method."""
    count = hits.shape[-2]
    tries = weight.sum(-1) * size[..., None]
    done = hits.sum(-1) * size[..., None]
    logits = np.log((done + 0.5) / (tries - done + 0.5))
    middle = (rate * size + 0.5) / (size + 1)
    return np.asarray(logits.var(-1, ddof=1) * (middle * (1 - middle)) ** 2 / count, dtype=np.float64)


@dataclass(frozen=True)
class TrainingGap:
    """The difference of two means, a - b, and the correlation of the two through what they share."""

    a: TrainingMean
    b: TrainingMean
    correlation: Array

    @property
    def estimate(self) -> Array:
        """The difference."""
        return self.a.rate - self.b.rate

    @property
    def error(self) -> Array:
        """Standard error of the difference."""
        va, vb = self.a.variance, self.b.variance
        return np.sqrt(np.maximum(va + vb - 2 * self.correlation * np.sqrt(va * vb), 0.0))

    @property
    def df(self) -> Array:
        """Degrees of freedom of the variance between trainings of both sides (Satterthwaite 1946).

        With fewer trainings than `LEAST_SEEDS` they are badly estimated, and those of the smaller side count.
        """
        a, b = self.a.between, self.b.between
        parts = a**2 / self.a.df[0] + b**2 / self.b.df[0]
        several = [mean.df[0] for mean in (self.a, self.b) if mean.seeds.shape[-1] > 1]
        least = min(several, default=1.0)
        if least < LEAST_SEEDS - 1:
            return np.full_like(parts, least)
        return np.where(parts > 0, (a + b) ** 2 / np.where(parts > 0, parts, 1.0), least)

    def bounds(self, level: npt.ArrayLike = LEVEL) -> tuple[Array, Array]:
        """Compute the interval of the difference; nan where one of the two rates has none."""
        (low, high), (floor, ceiling) = self.a.bounds(level, self.df), self.b.bounds(level, self.df)
        below = self._reach(self.a.rate - low, ceiling - self.b.rate)
        above = self._reach(high - self.a.rate, self.b.rate - floor)
        return np.maximum(-1.0, self.estimate - below), np.minimum(1.0, self.estimate + above)

    def _reach(self, x: Array, y: Array) -> Array:
        return np.sqrt(np.maximum(x**2 + y**2 - 2 * self.correlation * x * y, 0.0))

    def p_value(self, null: npt.ArrayLike = 0.0) -> Array:
        """Compute the two-sided p value: the least 1 - level at which the interval excludes `null`; nan without one."""
        null = np.asarray(null, dtype=np.float64)
        low, high = np.full(self.estimate.shape, -12 * np.log(10)), np.zeros(self.estimate.shape)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            left, right = self.bounds(-np.expm1(middle))
            inside = (left <= null) & (null <= right)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return np.where(np.isnan(self.error), np.nan, np.exp(high))


def gap_between(a: TrainingMean, b: TrainingMean, *, same_checkpoints: bool = False) -> TrainingGap:
    """Compare two means over the same cases.

    Trainings of two arms are taken as independent, also where their seeds have equal numbers: what they share then
    makes the interval too wide, not too narrow.

    Args:
        a: the first mean.
        b: the second, over the same layout.
        same_checkpoints: whether both come from the same trainings in the same order, under two twins.
    """
    common = (a.layout.correction * a.units * b.units).sum(-1)
    if same_checkpoints and a.seeds.shape[-1] > 1:
        count = a.seeds.shape[-1]
        common = common + count / (count - 1) * (a.seeds * b.seeds).sum(-1)
    whole = np.sqrt(a.variance * b.variance)
    with np.errstate(invalid="ignore"):
        correlation = np.where(whole > 0, common / np.where(whole > 0, whole, 1.0), 0.0)
    return TrainingGap(a, b, np.clip(np.nan_to_num(correlation), 0.0, 1.0))


def without_trainings(mean: TrainingMean) -> TrainingMean:
    """The mean without the variance between trainings, for intervals that ignore training seeds."""
    return replace(mean, between=np.zeros_like(mean.between))
