"""Intervals that hold at every sample size at once, so that one may look after each sample and stop when it pleases.

A confidence sequence for the mean of observations in [0, 1]: at each candidate mean p, two bets are kept, one that the
truth lies below p and one that it lies above.  Each is a mixture of likelihood ratios against p, a nonnegative
supermartingale if p is the truth, so by Ville's inequality it ever reaches 2 / (1 - level) with probability at most
(1 - level) / 2.  What neither bet has ruled out is the interval.

The method is that of Robbins (1970) and of Howard, Ramdas, McAuliffe and Sekhon (2021), read as betting by
Waudby-Smith and Ramdas (2024).  The mixing prior is ours: half uniform on the side bet on, half Beta(1/20, 1) towards
its far end, because most cells of a safety study lie at 0 or 1.  The likelihood ratio is linear in p for a 0/1
observation and, by convexity, below that line for a fraction: the bets are sound for means of repeats as well.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

LEVEL = 0.95
#: Shape of the half of the prior that leans towards 0 (or 1): the smaller, the surer of the extremes.
_LEAN = 0.05
_STEPS = 30
Array = npt.NDArray[np.float64]


def log_bet_below(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> Array:
    """Log wealth of the bet that the mean lies below `p`, after a sum of `k` over `n` observations.

    Args:
        k: sums, any shape; fractions are allowed.
        n: numbers of observations, of a shape that fits.
        p: candidate means in (0, 1), of a shape that fits.
    """
    k, n, p = (np.asarray(value, dtype=np.float64) for value in (k, n, p))
    lean = _log_part(k + _LEAN, n - k + 1, p) - _LEAN * np.log(p) + np.log(_LEAN)
    even = _log_part(k + 1, n - k + 1, p) - np.log(p)
    found: Array = np.logaddexp(lean, even) - np.log(2) - special.xlogy(k, p) - special.xlog1py(n - k, -p)
    return found


def anytime_interval(k: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Low and high of the confidence sequence at a sum of `k` over `n` independent observations in [0, 1].

    Returns:
        Two arrays of the shape that `k` and `n` share; (0, 1) where nothing was observed.
    """
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    return 1 - _upper(n - k, n, level), _upper(k, n, level)


def _upper(k: Array, n: Array, level: float) -> Array:
    """The least mean above k / n that the bet below has ruled out, by bisection."""
    enough = np.log(2 / (1 - level))
    low, high = np.where(n > 0, k / np.maximum(n, 1), 0.0), np.ones_like(k)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        out = log_bet_below(k, n, np.clip(middle, 1e-12, 1 - 1e-12)) >= enough
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    return np.where((k >= n) | (n == 0), 1.0, high)


def _log_part(a: Array, b: Array, p: Array) -> Array:
    """Log of the incomplete beta integral from 0 to p."""
    with np.errstate(divide="ignore"):
        found: Array = special.betaln(a, b) + np.log(special.betainc(a, b, p))
    return found
