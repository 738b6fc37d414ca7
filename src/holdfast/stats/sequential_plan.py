"""Optimal stopping plans: decide with the fewest samples whether a harm rate is above or below a bound.

    plan = decision_plan(0.05, most=150)
    plan.signs[n, k]          # after k harms of n samples: OPEN, ABOVE, BELOW or GIVEN_UP
    plan.intervals[k, n]      # exact interval if the plan stops there; it allows for the stopping rule

The plan is the optimal sequential test of a Bernoulli rate, found by backward induction on a Lagrangian (Arrow,
Blackwell and Girshick 1949; for a binomial with a cap, Schultz et al. 1973 and Jennison and Turnbull 2000, chapter 12).
Averaged over Jeffreys' prior, it makes as many correct decisions as a fixed sample of `AS_GOOD_AS` of the cap, and the
chance of each wrong decision at the bound itself is at most (1 - level) / 2.  Of all plans with these properties it
takes the fewest samples.  No setting is tuned to the rates of a model or study.  The errors are exact sums over all
paths; they are greatest at the bound.

The interval inverts the same exact distribution (Armitage 1958; Jennison and Turnbull 1983), with outcomes ordered by
decision and then by the share of harm.  So it excludes the bound whenever the plan decides "above" or "below".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from holdfast.stats.confidence_sequence import LEVEL
from holdfast.stats.intervals import interval as single_look

OPEN, ABOVE, BELOW, NARROW, GIVEN_UP = 0, 1, -1, 2, 3
#: A plan makes as many correct decisions as a fixed sample of this share of its cap.
AS_GOOD_AS = 2 / 3
#: Greatest cap of a plan: a rate that is undecided after this many samples is within a few points of the bound.
LONGEST = 1000
#: Shape of Jeffreys' prior for a rate, Beta(1/2, 1/2).
_PRIOR = 0.5
_STEPS = 30
Array = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]


@dataclass(frozen=True)
class StoppingPlan:
    """A stopping rule: the decision after k harms of n samples.

    Attributes:
        signs: OPEN, ABOVE, BELOW, NARROW or GIVEN_UP at [n, k]; shape (cap + 1, cap + 1), meaningful for k ≤ n.
        level: coverage of the intervals.
    """

    signs: Signs
    level: float = LEVEL

    @property
    def most(self) -> int:
        """The cap: after this many samples no state is OPEN."""
        return len(self.signs) - 1

    @cached_property
    def least(self) -> npt.NDArray[np.int64]:
        """The smallest number of further samples after which the plan can stop; same shape as `signs`."""
        least = np.zeros(self.signs.shape, dtype=np.int64)
        for n in range(self.most - 1, -1, -1):
            nearest = 1 + np.minimum(least[n + 1, : n + 1], least[n + 1, 1 : n + 2])
            least[n, : n + 1] = np.where(self.signs[n, : n + 1] == OPEN, nearest, 0)
        return least

    def chances(self, p: npt.ArrayLike) -> Array:
        """Return the probability of each end state at harm rate `p`, in the order of `ends`; shape (*p.shape, ends)."""
        p, (k, n, paths) = np.asarray(p, dtype=np.float64)[..., None], self._ends
        probability: Array = np.exp(paths + special.xlogy(k, p) + special.xlog1py(n - k, -p))
        return probability

    @property
    def ends(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Harms and samples of each state in which the plan stops."""
        k, n, _ = self._ends
        return k.astype(np.int64), n.astype(np.int64)

    def expected(self, p: float) -> tuple[float, float, float]:
        """Compute the chances of deciding ABOVE and BELOW, and the expected number of samples, at harm rate `p`."""
        (k, n), chance = self.ends, self.chances(p)
        signs = self.signs[n, k]
        return float(chance[signs == ABOVE].sum()), float(chance[signs == BELOW].sum()), float(chance @ n)

    @cached_property
    def intervals(self) -> Mapping[tuple[int, int], tuple[float, float]]:
        """Low and high of the harm rate by (harms, samples), for each state in which the plan stops."""
        k, n = self.ends
        rank = 2.0 * (self.signs[n, k] == ABOVE) - 2.0 * (self.signs[n, k] == BELOW) + k / n
        low = np.where(k == 0, 0.0, self._edges(rank[None] >= rank[:, None]))
        high = np.where(k == n, 1.0, 1 - self._edges(rank[None] <= rank[:, None], mirrored=True))
        return dict(
            zip(zip(k.tolist(), n.tolist(), strict=True), zip(low.tolist(), high.tolist(), strict=True), strict=True)
        )

    def _edges(self, tails: npt.NDArray[np.bool_], mirrored: bool = False) -> Array:
        """Find the lowest rates (of no harm if mirrored) at which each tail has enough probability, rounded down."""
        low, high = np.zeros(len(tails)), np.ones(len(tails))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            chance = self.chances(1 - middle if mirrored else middle)
            likely = np.where(tails, chance, 0).sum(-1) > (1 - self.level) / 2
            low, high = np.where(likely, low, middle), np.where(likely, middle, high)
        return low

    @cached_property
    def _ends(self) -> tuple[Array, Array, Array]:
        """Harms, samples and log number of paths of each state in which the plan stops."""
        ends, paths = [], np.zeros(1)
        for n in range(self.most + 1):
            is_open = self.signs[n, : n + 1] == OPEN
            k = np.flatnonzero(~is_open & np.isfinite(paths))
            ends.append(np.column_stack([k, np.full(len(k), n), paths[k]]))
            paths = np.where(is_open, paths, -np.inf)
            paths = np.logaddexp(np.append(paths, -np.inf), np.append(-np.inf, paths))
        k, n, paths = np.concatenate(ends).T
        return k, n, paths


@cache
def width_plan(width: float, most: int, level: float = LEVEL) -> StoppingPlan:
    """Return the plan that stops when the rate's interval is at most `width` wide (Frey 2010), or at `most` samples.

    The exact interval of a plan is wider than that of a fixed sample.  So the plan stops when the interval of a fixed
    sample is narrower than a threshold below `width`, chosen so that every stop before the cap meets `width`.
    """
    most = min(most, LONGEST)
    n, k = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    low, high = single_look(np.minimum(k, n), np.maximum(n, 1), level=level)

    def stopping_at(bound: float) -> StoppingPlan:
        stops = (high - low <= bound) & (n > 0)
        return StoppingPlan(np.where(stops, NARROW, np.where(n == most, GIVEN_UP, OPEN)).astype(np.int8), level)

    def meets_width(plan: StoppingPlan) -> bool:
        return all(b - a <= width for (k, n), (a, b) in plan.intervals.items() if plan.signs[n, k] == NARROW)

    # The bound 0 always meets the width, because that plan never stops before the cap.
    least, greatest = 0.0, width
    for _ in range(7):
        middle = (least + greatest) / 2
        least, greatest = (middle, greatest) if meets_width(stopping_at(middle)) else (least, middle)
    return stopping_at(least)


@cache
def decision_plan(
    rate: float, most: int, level: float = LEVEL, errors: tuple[float, float] | None = None
) -> StoppingPlan:
    """Compute the plan that decides within `most` samples if a harm rate is above or below `rate`.

    This takes about a second; the result is cached.

    Args:
        rate: the bound, between 0 and 1.
        most: the cap; values above `LONGEST` are reduced to it.
        level: coverage of the intervals.
        errors: maximum chances of wrongly deciding ABOVE and BELOW; by default (1 - level) / 2 each.
    """
    problem = _StoppingProblem(rate, min(most, LONGEST), errors or ((1 - level) / 2,) * 2, level)
    target = problem.fixed(max(1, round(AS_GOOD_AS * problem.most)))
    low, high = np.log(problem.most / 8), np.log(problem.most * 64)
    # The more a correct decision is worth, the more decisions the plan reaches, and the more samples it takes.
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (low, middle) if problem.right(problem.best(np.exp(middle))) >= target else (middle, high)
    return StoppingPlan(problem.best(np.exp(high)), level)


@dataclass(frozen=True)
class _StoppingProblem:
    """Optimal stopping: a sample costs 1, a correct decision earns `worth`, an error at the rate is fined."""

    rate: float
    most: int
    errors: tuple[float, float]
    level: float = LEVEL

    @cached_property
    def under(self) -> Array:
        """Posterior probability at [n, k] that the true rate is below `rate`, given k of n."""
        k, n = self._counts
        return np.asarray(special.betainc(_PRIOR + k, _PRIOR + n - k, self.rate), dtype=np.float64)

    @cached_property
    def null(self) -> Array:
        """Likelihood of k of n at `rate`, divided by the likelihood under the prior, at [n, k]."""
        k, n = self._counts
        prior = special.betaln(_PRIOR + k, _PRIOR + n - k) - special.betaln(_PRIOR, _PRIOR)
        return np.exp(special.xlogy(k, self.rate) + special.xlog1py(n - k, -self.rate) - prior)

    @property
    def _counts(self) -> tuple[Array, Array]:
        n, k = np.meshgrid(np.arange(self.most + 1.0), np.arange(self.most + 1.0), indexing="ij")
        return np.minimum(k, n), n

    def best(self, worth: float) -> Signs:
        """Find the best plan whose errors at the rate are within bounds, with one fine for each kind of error."""
        fines = [1.0, 1.0]
        # Two passes, because the fine of one kind of error also changes the frequency of the other.
        for side in (0, 1, 0, 1):
            low, high = -12.0, 12.0
            for _ in range(12):
                fines[side] = float(np.exp((low + high) / 2))
                too_many = self.walk(self._solve(worth, fines), self.rate)[side] > self.errors[side]
                low, high = ((low + high) / 2, high) if too_many else (low, (low + high) / 2)
            fines[side] = float(np.exp(high))
        while any(np.greater(self.walk(signs := self._solve(worth, fines), self.rate), self.errors)):
            fines = [1.05 * fine for fine in fines]
        return signs

    def _solve(self, worth: float, fines: list[float]) -> Signs:
        """Solve by backward induction from the cap."""
        signs = np.full((self.most + 1, self.most + 1), GIVEN_UP, dtype=np.int8)
        value = np.zeros(self.most + 2)
        for n in range(self.most, -1, -1):
            under, null = self.under[n, : n + 1], self.null[n, : n + 1]
            above, below = worth * (1 - under - fines[0] * null), worth * (under - fines[1] * null)
            stop = np.maximum(np.maximum(above, below), 0)
            signs[n, : n + 1] = np.where(stop == 0, GIVEN_UP, np.where(above >= below, ABOVE, BELOW))
            if n < self.most:
                up = (_PRIOR + np.arange(n + 1)) / (2 * _PRIOR + n)
                go_on = up * value[1 : n + 2] + (1 - up) * value[: n + 1] - 1
                signs[n, : n + 1][go_on > stop] = OPEN
                stop = np.maximum(stop, go_on)
            value = stop
        return signs

    def walk(self, signs: Signs, p: float | None) -> tuple[float, float]:
        """Compute the chances of ABOVE and BELOW at rate `p`; if `p` is None, of correct decisions under the prior."""
        above, below, chance = 0.0, 0.0, np.ones(1)
        for n in range(self.most + 1):
            row = signs[n, : n + 1]
            true = self.under[n, : n + 1] if p is None else 0.0
            above += float((chance * (1 - true))[row == ABOVE].sum())
            below += float((chance * (true if p is None else 1))[row == BELOW].sum())
            chance = np.where(row == OPEN, chance, 0)
            up = (_PRIOR + np.arange(n + 1)) / (2 * _PRIOR + n) if p is None else p
            chance = np.append(chance * (1 - up), 0) + np.append(0, chance * up)
        return above, below

    def right(self, signs: Signs) -> float:
        """Compute the chance of a correct decision under the prior."""
        return sum(self.walk(signs, None))

    def fixed(self, size: int) -> float:
        """Compute the chance under the prior that the exact interval of a fixed sample decides correctly."""
        k = np.arange(size + 1.0)
        low, high = single_look(k, size, level=self.level)
        under = self.under[size, : size + 1]
        right = (low > self.rate) * (1 - under) + (high < self.rate) * under
        chance = special.binom(size, k) * special.beta(_PRIOR + k, _PRIOR + size - k) / special.beta(_PRIOR, _PRIOR)
        return float(chance @ right)
