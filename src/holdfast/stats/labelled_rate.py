"""The rate of harm in a run from hand labels of some of its samples, with the verdicts as predictions.

Prediction-powered inference (Angelopoulos, Bates et al. 2023; PPI++, Angelopoulos, Duchi and Zrnic 2023, arXiv
2311.01453) estimates a mean from predictions of all samples and labels of a few.  Stratified by the prediction (Fisch
et al. 2024, arXiv 2406.04291), the prediction is the same for all samples of a stratum, so that its tuning parameter
drops out: for every value the estimate is the sum over strata of share × mean label.  No assumption is made about how
good the predictions are; bad ones widen the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.core.errors import InputError
from holdfast.core.rates import Rate
from holdfast.stats.intervals import interval


@dataclass(frozen=True)
class LabelledStratum:
    """The samples with one prediction.

    Attributes:
        size: samples of the run in the stratum.
        harm: samples labelled as harm.
        no_harm: samples labelled as no harm.
        unsure: samples that the labeller could not decide.
    """

    size: int
    harm: int
    no_harm: int
    unsure: int = 0

    @property
    def labelled(self) -> int:
        """Samples with a label, unsure ones included."""
        return self.harm + self.no_harm + self.unsure


def labelled_rate(strata: Sequence[LabelledStratum], cases: int, left_out: int = 0) -> Rate:
    """The rate of harm, with a 95% interval.

    The interval combines exact intervals (Clopper and Pearson 1934) of the strata, with finite population correction,
    and of the run as a sample of cases, by the method of Zou and Donner (2008, Statistics in Medicine 27:1693), which
    keeps its coverage where a stratum shows no harm at all.  Unsure labels are left out of the rate; the interval is
    the widest of those without them, with all as harm, and with all as no harm.

    Args:
        strata: all strata of one arm; labels must be drawn at random within each.
        cases: distinct cases behind the samples: repeated cases are not independent.
        left_out: samples of the arm that nobody can label, such as those that ended in an error.

    Returns:
        `k` labelled as harm of `n` labelled and decided, the corrected rate, and its bounds if all unsure and left out
        samples were harm or none; without a rate if a stratum has fewer than two decided labels and unlabelled samples.

    Raises:
        InputError: a stratum has more labels than samples, or `cases` is not between 1 and the number of samples.
    """
    size = sum(stratum.size for stratum in strata)
    if any(stratum.labelled > stratum.size for stratum in strata):
        raise InputError("a stratum has more labels than samples", remedy="count each sample once")
    if not 1 <= cases <= size:
        raise InputError(f"cases must be between 1 and {size}, got {cases}", remedy="count the distinct cases")
    k, n = sum(stratum.harm for stratum in strata), sum(stratum.harm + stratum.no_harm for stratum in strata)
    if not all(_enough(stratum) for stratum in strata):
        return Rate(k=k, n=n)
    codings = [[(s.harm + s.unsure * harm, s.labelled) for s in strata] for harm in (0, 1)]
    decided = [(s.harm, s.harm + s.no_harm) for s in strata]
    sizes = [stratum.size for stratum in strata]
    intervals = [_interval(coding, sizes, cases) for coding in (decided, *codings)]
    lower, upper = (_estimate(coding, sizes) * size for coding in codings)
    whole = size + left_out
    return Rate(
        k=k,
        n=n,
        rate=_estimate(decided, sizes),
        low=min(low for low, _ in intervals),
        high=max(high for _, high in intervals),
        lower_bound=lower / whole,
        upper_bound=(upper + left_out) / whole,
    )


def _enough(stratum: LabelledStratum) -> bool:
    decided = stratum.harm + stratum.no_harm
    return decided >= 2 or (decided > 0 and decided == stratum.size)


def _estimate(coding: Sequence[tuple[int, int]], sizes: Sequence[int]) -> float:
    return sum(size / sum(sizes) * harm / n for (harm, n), size in zip(coding, sizes, strict=True))


def _interval(coding: Sequence[tuple[int, int]], sizes: Sequence[int], cases: int) -> tuple[float, float]:
    """Low and high of the stratified rate, by the method of variance estimates recovery."""
    rate = _estimate(coding, sizes)
    below, above = _squares(rate, *_exact(rate * cases, cases))
    for (harm, n), size in zip(coding, sizes, strict=True):
        share, unseen = size / sum(sizes), 1 - n / size
        under, over = _squares(harm / n, *_exact(harm, n))
        below, above = below + share**2 * unseen * under, above + share**2 * unseen * over
    return max(0.0, rate - math.sqrt(below)), min(1.0, rate + math.sqrt(above))


def _exact(hits: float, n: int) -> tuple[float, float]:
    low, high = interval(np.array([hits]), np.array([float(n)]))
    return float(low[0]), float(high[0])


def _squares(rate: float, low: float, high: float) -> tuple[float, float]:
    return (rate - low) ** 2, (high - rate) ** 2
