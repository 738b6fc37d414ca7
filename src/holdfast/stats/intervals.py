"""Rates, paired differences and multiple-testing correction, with intervals that keep their coverage at small counts.

Every function takes plain arrays of scores: 1, 0 or nan (unscored); `study/table.py` extracts them from verdicts.  The
intervals treat cases as the sample: they cover what more cases of the same families would show on these checkpoints.
`stats.trainings` has the intervals over new trainings.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from holdfast.core.rates import PairedDifference, Rate
from holdfast.stats.confidence_sequence import anytime_interval

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
#: Replaces zero where a special function would divide by it and the result is not used.
_TINY = 1e-9
#: Nominal coverage of every interval.
LEVEL = 0.95


class RateInterval(Rate):
    """A computed rate: `k` of `n` scored samples; all other fields are None if no sample was scored."""

    k: int
    n: int


def clustered_rate(
    values: Sequence[float | bool | None] | Array,
    clusters: Sequence[Hashable] | Codes,
    *,
    anytime: bool = False,
) -> RateInterval:
    """Compute the rate of ones, with a 95% interval that allows for correlation within clusters.

    With one sample per cluster the interval is exact (Clopper and Pearson 1934).  Otherwise it is the exact interval at
    the effective sample size of Korn and Graubard (1998): n divided by the design effect, reduced by a t quantile on
    the number of clusters.  The design effect is a weighted average of its estimate and its maximum.  The
    weights are the number of clusters that contain the rarer score, and one.  (With the estimate alone, coverage near
    0 and 1 was 88%.)  At a rate of 0 or 1 the design effect cannot be estimated, so a cluster counts as one sample.

    Args:
        values: one score per sample: 1, 0 or a share between them, or None or nan (unscored).
        clusters: the case of each sample, same length.
        anytime: use `anytime_interval` over clusters, which is valid if sampling stopped because of its results.
    """
    scores = as_scores(values)
    scored = ~np.isnan(scores)
    n, missing = int(scored.sum()), int((~scored).sum())
    total = float(scores[scored].sum())
    if n == 0:
        return RateInterval(k=0, n=0)
    inverse = np.unique(codes_of(clusters)[scored], return_inverse=True)[1]
    hits, sizes = totals(inverse, scores[scored]), totals(inverse)
    if anytime:
        low, high = anytime_interval(float((hits / sizes).sum()), len(sizes))
    else:
        low, high = clustered(hits, sizes)
    lower, upper = total / (n + missing), (total + missing) / (n + missing)
    found = RateInterval(k=int(total), n=n, rate=total / n, low=float(low), high=float(high))
    return found.model_copy(update={"lower_bound": lower, "upper_bound": upper})


def clustered(hits: Array, sizes: Array) -> tuple[Array, Array]:
    """Compute low and high of the interval of `clustered_rate`, for many studies at once.

    Args:
        hits: sum of the scores of each cluster, shape (..., clusters); fractions are allowed.
        sizes: number of samples of each cluster, positive, broadcastable to `hits`.
    """
    hits, sizes = np.broadcast_arrays(hits, sizes)
    return interval(hits.sum(-1), sizes.sum(-1), _effective(hits, sizes))


def totals(codes: Codes, weights: Array | None = None) -> Array:
    """Sum the weights (or count the occurrences) of each code from 0 up."""
    return np.bincount(codes, weights).astype(np.float64)


def interval(
    k: npt.ArrayLike, n: npt.ArrayLike, effective: npt.ArrayLike | None = None, level: float = LEVEL
) -> tuple[Array, Array]:
    """Compute the Clopper-Pearson interval of k in n, at the effective sample size if one is given."""
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    size = n if effective is None else np.asarray(effective, dtype=np.float64)
    hits, tail = k / n * size, (1 - level) / 2
    low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(hits, _TINY), size - hits + 1, tail))
    high = np.where(k == n, 1.0, special.betaincinv(hits + 1, np.maximum(size - hits, _TINY), 1 - tail))
    return low, high


def _effective(hits: Array, sizes: Array) -> Array:
    """Compute the effective sample size of clustered 0/1 scores; it is n if each cluster has one score."""
    n, groups = sizes.sum(-1), sizes.shape[-1]
    p = hits.sum(-1) / n
    plain, unknown = np.isclose(sizes, 1).all(-1), (p == 0) | (p == 1) | (groups == 1)
    residuals = hits - p[..., None] * sizes
    spread = np.where(unknown, 1.0, p * (1 - p))
    variance = groups / max(groups - 1, 1) * (residuals**2).sum(-1) / n**2
    design = np.maximum(1.0, variance * n / spread)
    # The fewer clusters contain the rarer score, the less certain the estimate, so it is moved towards its maximum.
    rare = np.minimum((hits > 0).sum(-1), (hits < sizes).sum(-1))
    design = (design * rare + (sizes**2).sum(-1) / n) / (rare + 1)
    tail = (1 + LEVEL) / 2
    # With fewer clusters than samples, the design effect has fewer degrees of freedom.
    shrink = (special.stdtrit(np.maximum(n - 1, 1), tail) / special.stdtrit(max(groups - 1, 1), tail)) ** 2
    size: Array = np.where(plain, n, np.where(unknown, groups, np.maximum(1.0, n / design * shrink)))
    return size


def paired(a: Array, b: Array, clusters: Codes, null: float = 0.0) -> PairedDifference:
    """The mean difference a - b over cases of one checkpoint under two conditions, with a t interval and its p value.

    The interval is that of Bonett and Price (2012) for matched pairs, extended to means of clusters: two pseudo-pairs,
    with differences 1 and -1, are added.  This keeps the coverage at small counts and a positive width if all pairs
    agree.  Test and interval are consistent: p < 0.05 if and only if the interval excludes `null`.

    Args:
        a: scores, shape (cases,): 1, 0 or nan.
        b: the same shape.
        clusters: number of the cluster of each case; a cluster is one observation.
        null: the difference to test against.
    """
    gaps = a - b
    scored = ~np.isnan(gaps)
    excluded, pairs = int((~scored).sum()), int(scored.sum())
    if not pairs:
        return PairedDifference(pairs=0, excluded=excluded)
    inside = np.unique(clusters[scored], return_inverse=True)[1]
    low, high, p = t_interval(totals(inside, gaps[scored]) / totals(inside), null)
    return PairedDifference(
        estimate=float(gaps[scored].mean()),
        low=float(low),
        high=float(high),
        p=float(p),
        pairs=pairs,
        excluded=excluded,
        lower_bound=float((np.nan_to_num(a, nan=0.0) - np.nan_to_num(b, nan=1.0)).mean()),
        upper_bound=float((np.nan_to_num(a, nan=1.0) - np.nan_to_num(b, nan=0.0)).mean()),
    )


def t_interval(means: Array, null: npt.ArrayLike = 0.0) -> tuple[Array, Array, Array]:
    """Return low, high and p value of the mean of differences in [-1, 1], shape (..., observations); see `paired`."""
    n = means.shape[-1]
    if n < 2:
        ones = np.ones(means.shape[:-1])
        return -ones, ones, ones
    size = n + 2
    centre = means.sum(-1) / size
    error = np.sqrt((((means**2).sum(-1) + 2) / size - centre**2) / size)
    reach = special.stdtrit(n - 1, (1 + LEVEL) / 2) * error
    p = 2 * special.stdtr(n - 1, -np.abs(centre - null) / error)
    return np.maximum(-1.0, centre - reach), np.minimum(1.0, centre + reach), p


def rate_difference(a: RateInterval, b: RateInterval) -> PairedDifference:
    """Compute the difference a - b of two rates over different samples from their intervals (Zou and Donner 2008).

    The interval is valid if the two rates are independent, and conservative if samples of one case are in both.
    """
    if a.rate is None or b.rate is None:
        return PairedDifference(pairs=0, excluded=0)
    estimate = a.rate - b.rate
    if a.low is None or a.high is None or b.low is None or b.high is None:
        # The rate of a single training has no interval, and so the difference has none.
        return PairedDifference(estimate=estimate, pairs=0, excluded=0)
    below, above = math.hypot(a.rate - a.low, b.high - b.rate), math.hypot(a.high - a.rate, b.rate - b.low)
    low, high = max(-1.0, estimate - below), min(1.0, estimate + above)
    return PairedDifference(estimate=estimate, low=low, high=high, pairs=0, excluded=0)


def holm(ps: Mapping[Hashable, float | None]) -> dict[Hashable, float | None]:
    """Correct p values for the family-wise error rate by Holm's (1979) method; None (no test) stays None.

    Not taken from statsmodels, which runs the garbage collector at each call: half a second in a large process.
    """
    tests = sorted((p, i, key) for i, (key, p) in enumerate(ps.items()) if p is not None)
    corrected: dict[Hashable, float | None] = dict.fromkeys(ps)
    running = 0.0
    for rank, (p, _, key) in enumerate(tests):
        running = max(running, min(1.0, (len(tests) - rank) * p))
        corrected[key] = running
    return corrected


def as_scores(values: Sequence[float | bool | None] | Array) -> Array:
    """Convert scores to floats, unscored (None) to nan."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)


def codes_of(labels: Sequence[Hashable] | Codes) -> Codes:
    """Number labels from 0 in the order in which they occur; numbers are returned as they are."""
    if isinstance(labels, np.ndarray):
        return labels
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
