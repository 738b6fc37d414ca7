"""Rates, paired differences and correction for many tests, with intervals that stay honest at small counts.

Every function takes plain arrays and scores 1, 0 or nan (unscored); `study/table.py` cuts them out of verdicts.  The
intervals treat cases as the sample: they say what more cases of these families would show for these checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from holdfast.core.records import Record

Array = npt.NDArray[np.float64]
#: Nominal coverage of every interval.
LEVEL = 0.95


class Rate(Record):
    """`k` of `n` scored samples, with an interval; all but `k` and `n` are None where nothing was scored.

    `worst` is the rate if every unscored sample had gone the bad way, `best` if every one had gone the good way.
    """

    k: int
    n: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    worst: float | None = None
    best: float | None = None


class Difference(Record):
    """A mean paired difference a - b; `excluded` pairs had an unscored side.

    `p` tests the difference against `null`.  `worst` and `best` are the estimates that the unscored sides could have
    led to: with a bad measure the greatest and the least, with a good one the other way round.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    pairs: int = 0
    excluded: int = 0
    worst: float | None = None
    best: float | None = None


def rate(values: Sequence[float | bool | None], clusters: Sequence[Hashable], bad: bool = True) -> Rate:
    """The rate of ones, with a 95% interval that holds when samples of one cluster resemble each other.

    With one sample a cluster the interval is exact (Clopper and Pearson 1934).  Otherwise it is the exact interval at
    the effective sample size of Korn and Graubard (1998): n over the design effect, shrunk by a t quantile on the
    number of clusters.  At 0 and 1, where the design effect cannot be seen, a cluster counts as one sample.

    Args:
        values: one score a sample: 1, 0, or None (unscored).
        clusters: the case each sample belongs to, same length.
        bad: whether 1 is the bad outcome; decides which bound is called worst.
    """
    scores = as_scores(values)
    scored = ~np.isnan(scores)
    n, missing = int(scored.sum()), int((~scored).sum())
    k = int(scores[scored].sum())
    if n == 0:
        return Rate(k=0, n=0)
    low, high = interval(k, n, _effective(scores[scored], _codes(clusters)[scored]))
    filled = (k + missing) / (n + missing), k / (n + missing)
    worst, best = filled if bad else filled[::-1]
    return Rate(k=k, n=n, rate=k / n, low=low, high=high, worst=worst, best=best)


def interval(k: float, n: float, effective: float | None = None) -> tuple[float, float]:
    """The Clopper-Pearson interval of k in n, drawn at another effective sample size where one is given."""
    size = n if effective is None else effective
    hits, tail = k / n * size, (1 - LEVEL) / 2
    low = 0.0 if k == 0 else float(special.betaincinv(hits, size - hits + 1, tail))
    high = 1.0 if k == n else float(special.betaincinv(hits + 1, size - hits, 1 - tail))
    return low, high


def _effective(scores: Array, codes: npt.NDArray[np.int64]) -> float:
    """Effective sample size of clustered 0/1 scores; the plain n where each cluster holds one score."""
    n = len(scores)
    _, inverse = np.unique(codes, return_inverse=True)
    sizes = np.bincount(inverse)
    groups = len(sizes)
    if groups == n:
        return float(n)
    p = float(scores.mean())
    if groups == 1 or p in (0.0, 1.0):
        return float(groups)
    residuals = np.bincount(inverse, scores) - p * sizes
    variance = groups / (groups - 1) * float((residuals**2).sum()) / n**2
    design = max(1.0, variance * n / (p * (1 - p)))
    tail = (1 + LEVEL) / 2
    # Fewer clusters than samples also means fewer degrees of freedom behind the design effect.
    shrink = (special.stdtrit(n - 1, tail) / special.stdtrit(groups - 1, tail)) ** 2
    return float(max(1.0, n / design * shrink))


def paired(a: Array, b: Array, null: float = 0.0, bad: bool = True) -> Difference:
    """The mean difference a - b over cases, with a t interval over cases and its p value.

    Scores are averaged over training seeds first, so a case is one observation however often it was played.  The
    interval is that of Bonett and Price (2012) for matched pairs, carried over to fractions: two imagined cases, one
    fully for and one fully against, are added, which keeps its coverage at small counts and keeps it from collapsing
    to a point when all pairs agree.  Test and interval agree: p < 0.05 exactly where the interval leaves `null` out.

    Args:
        a: scores, shape (cases, seeds): 1, 0 or nan.
        b: the same shape.
        null: the difference to test against.
        bad: whether 1 is the bad outcome; decides which bound is called worst.
    """
    gaps = a - b
    excluded = int(np.isnan(gaps).sum())
    observed = ~np.isnan(gaps).all(axis=1) if gaps.size else np.zeros(0, dtype=bool)
    pairs = int((~np.isnan(gaps)).sum())
    if not pairs:
        return Difference(excluded=excluded)
    means = np.nanmean(gaps[observed], axis=1)
    estimate = float(means.mean())
    low, high, p = t_interval(means, null)
    most = float((np.nan_to_num(a, nan=1.0) - np.nan_to_num(b, nan=0.0)).mean())
    least = float((np.nan_to_num(a, nan=0.0) - np.nan_to_num(b, nan=1.0)).mean())
    worst, best = (most, least) if bad else (least, most)
    return Difference(
        estimate=estimate, low=low, high=high, p=p, pairs=pairs, excluded=excluded, worst=worst, best=best
    )


def t_interval(means: Array, null: float = 0.0) -> tuple[float, float, float]:
    """Low, high and p value for the mean of per-case differences in [-1, 1]; see `paired`."""
    n = len(means)
    if n < 2:
        return -1.0, 1.0, 1.0
    size = n + 2
    centre = float(means.sum()) / size
    spread = (float((means**2).sum()) + 2) / size - centre**2
    error = math.sqrt(spread / size)
    reach = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(centre - null) / error))
    return max(-1.0, centre - reach), min(1.0, centre + reach), p


def holm(ps: Mapping[Hashable, float | None]) -> dict[Hashable, float | None]:
    """Holm's (1979) step-down correction within one set of tests; a test that was not made stays None."""
    made = sorted((p, i, key) for i, (key, p) in enumerate(ps.items()) if p is not None)
    corrected: dict[Hashable, float | None] = dict.fromkeys(ps)
    running = 0.0
    for rank, (p, _, key) in enumerate(made):
        running = max(running, min(1.0, (len(made) - rank) * p))
        corrected[key] = running
    return corrected


def as_scores(values: Sequence[float | bool | None]) -> Array:
    """Scores as floats, unscored as nan."""
    return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)


def _codes(labels: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
