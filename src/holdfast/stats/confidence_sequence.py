"""Confidence sequences: intervals that hold at all sample sizes at once, so sampling may stop after any sample.

A confidence sequence for the mean of observations in [0, 1] keeps two bets at each candidate mean p: that the true mean
is below p, and that it is above.  Each bet is a mixture of likelihood ratios against p.  If p is the true mean, it is a
nonnegative supermartingale, so by Ville's inequality it ever reaches 2 / (1 - level) with probability at most
(1 - level) / 2.  The interval is the set of means that neither bet has ruled out.

The method is that of Robbins (1970) and of Howard, Ramdas, McAuliffe and Sekhon (2021); Waudby-Smith and Ramdas (2024)
describe it as betting.  The mixing prior is our choice: half uniform on the side of the bet, half Beta(1/20, 1) towards
the far end, because most cells of a safety study are at 0 or 1.  The likelihood ratio is linear in p for a 0/1
observation and, by convexity, below that line for a fraction, so the bets are also valid for means of repeats.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

LEVEL = 0.95
#: Shape of the half of the prior that favours 0 (or 1); smaller values favour the extremes more.
_LEAN = 0.05
_STEPS = 30
Array = npt.NDArray[np.float64]


def log_bet_below(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> Array:
    """Compute the log wealth of the bet that the mean is below `p`, after a sum of `k` over `n` observations.

    Args:
        k: sums of the observations, any shape; fractions are allowed.
        n: numbers of observations, broadcastable to `k`.
        p: candidate means in (0, 1), broadcastable to `k`.
    """
    k, n, p = (np.asarray(value, dtype=np.float64) for value in (k, n, p))
    lean = _log_part(k + _LEAN, n - k + 1, p) - _LEAN * np.log(p) + np.log(_LEAN)
    even = _log_part(k + 1, n - k + 1, p) - np.log(p)
    wealth: Array = np.logaddexp(lean, even) - np.log(2) - special.xlogy(k, p) - special.xlog1py(n - k, -p)
    return wealth


def anytime_interval(k: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Compute low and high of the confidence sequence at a sum of `k` over `n` independent observations in [0, 1].

    Returns:
        Two arrays of the broadcast shape of `k` and `n`; 0 and 1 where n is 0.
    """
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    return 1 - _upper(n - k, n, level), _upper(k, n, level)


def _upper(k: Array, n: Array, level: float) -> Array:
    """Find by bisection the lowest mean above k / n that the bet "below" has ruled out."""
    threshold = np.log(2 / (1 - level))
    low, high = np.where(n > 0, k / np.maximum(n, 1), 0.0), np.ones_like(k)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        excluded = log_bet_below(k, n, np.clip(middle, 1e-12, 1 - 1e-12)) >= threshold
        low, high = np.where(excluded, low, middle), np.where(excluded, middle, high)
    return np.where((k >= n) | (n == 0), 1.0, high)


def _log_part(a: Array, b: Array, p: Array) -> Array:
    """Compute the log of the incomplete beta integral from 0 to p."""
    with np.errstate(divide="ignore"):
        integral: Array = special.betaln(a, b) + np.log(special.betainc(a, b, p))
    return integral
