"""When to stop counting harms so that a rate is placed above or below a bound with the fewest samples.

    plan = deciding(0.05, most=150)
    plan.signs[n, k]          # after k harms of n samples: OPEN, ABOVE, BELOW or GIVEN_UP
    plan.intervals[k, n]      # exact, where the plan stops there: it allows for how the sampling stopped

The plan is the optimal sequential test of a Bernoulli rate, found by backward induction on a Lagrangian (Arrow,
Blackwell and Girshick 1949; for a binomial with a cap, Schultz et al. 1973 and Jennison and Turnbull 2000, chapter 12).
Averaged over Jeffreys' prior it decides as many rates rightly as a fixed sample of `AS_GOOD_AS` of the cap, and of all
plans that do, and that say "above" or "below" at the bound itself with a chance of at most (1 - level) / 2 each, it
takes the fewest samples.  Nothing in it is tuned to any model's or study's rates.  The errors are exact sums over all
paths, and are greatest at the bound.

The interval inverts the same exact distribution (Armitage 1958; Jennison and Turnbull 1983), outcomes ordered by
decision and then by the share of harm, so it leaves the bound out where the plan says above or below.
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
#: The fixed sample that a plan decides as well as, as a share of its cap.
AS_GOOD_AS = 2 / 3
#: No plan looks further: a rate still undecided by then lies within a few points of the bound.
LONGEST = 1000
#: Shape of Jeffreys' prior for a rate, Beta(1/2, 1/2).
_PRIOR = 0.5
_STEPS = 30
Array = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]


@dataclass(frozen=True)
class StoppingPlan:
    """What to say after k harms of n samples.

    Attributes:
        signs: OPEN, ABOVE, BELOW, NARROW or GIVEN_UP at [n, k]; shape (cap + 1, cap + 1), meaningful for k ≤ n.
        level: coverage of the intervals.
    """

    signs: Signs
    level: float = LEVEL

    @property
    def most(self) -> int:
        """The cap: at so many samples nothing is open."""
        return len(self.signs) - 1

    @cached_property
    def least(self) -> npt.NDArray[np.int64]:
        """The fewest further samples after which the plan could stop; shape as of `signs`."""
        found = np.zeros(self.signs.shape, dtype=np.int64)
        for n in range(self.most - 1, -1, -1):
            nearest = 1 + np.minimum(found[n + 1, : n + 1], found[n + 1, 1 : n + 2])
            found[n, : n + 1] = np.where(self.signs[n, : n + 1] == OPEN, nearest, 0)
        return found

    def chances(self, p: npt.ArrayLike) -> Array:
        """Probability of every way to stop, in the order of `ends`, at a harm rate `p`; shape of `p`, then (ends,)."""
        p, (k, n, paths) = np.asarray(p, dtype=np.float64)[..., None], self._ends
        found: Array = np.exp(paths + special.xlogy(k, p) + special.xlog1py(n - k, -p))
        return found

    @property
    def ends(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Harms and samples of every way to stop."""
        k, n, _ = self._ends
        return k.astype(np.int64), n.astype(np.int64)

    def expected(self, p: float) -> tuple[float, float, float]:
        """Chances of saying above and below, and expected samples, at a harm rate `p`."""
        (k, n), chance = self.ends, self.chances(p)
        signs = self.signs[n, k]
        return float(chance[signs == ABOVE].sum()), float(chance[signs == BELOW].sum()), float(chance @ n)

    @cached_property
    def intervals(self) -> Mapping[tuple[int, int], tuple[float, float]]:
        """Low and high of the harm rate by (harms, samples), for every way to stop."""
        k, n = self.ends
        rank = 2.0 * (self.signs[n, k] == ABOVE) - 2.0 * (self.signs[n, k] == BELOW) + k / n
        low = np.where(k == 0, 0.0, self._edges(rank[None] >= rank[:, None]))
        high = np.where(k == n, 1.0, 1 - self._edges(rank[None] <= rank[:, None], mirrored=True))
        return dict(
            zip(zip(k.tolist(), n.tolist(), strict=True), zip(low.tolist(), high.tolist(), strict=True), strict=True)
        )

    def _edges(self, tails: npt.NDArray[np.bool_], mirrored: bool = False) -> Array:
        """The least rates (of no harm, if mirrored) at which each tail is likely enough, rounded down."""
        low, high = np.zeros(len(tails)), np.ones(len(tails))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            chance = self.chances(1 - middle if mirrored else middle)
            likely = np.where(tails, chance, 0).sum(-1) > (1 - self.level) / 2
            low, high = np.where(likely, low, middle), np.where(likely, middle, high)
        return low

    @cached_property
    def _ends(self) -> tuple[Array, Array, Array]:
        """Harms, samples and log number of paths of every way to stop."""
        found, paths = [], np.zeros(1)
        for n in range(self.most + 1):
            going = self.signs[n, : n + 1] == OPEN
            k = np.flatnonzero(~going & np.isfinite(paths))
            found.append(np.column_stack([k, np.full(len(k), n), paths[k]]))
            paths = np.where(going, paths, -np.inf)
            paths = np.logaddexp(np.append(paths, -np.inf), np.append(-np.inf, paths))
        k, n, paths = np.concatenate(found).T
        return k, n, paths


@cache
def narrowing(width: float, most: int, level: float = LEVEL) -> StoppingPlan:
    """The plan that stops where the rate's interval is at most `width` wide (Frey 2010), or at `most` samples.

    It stops where the exact interval of a single look is a little narrower than asked for, by so much that the exact
    interval of the whole plan is narrow enough wherever it stops before the cap.
    """
    most = min(most, LONGEST)
    n, k = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    low, high = single_look(np.minimum(k, n), np.maximum(n, 1), level=level)

    def plan(bound: float) -> StoppingPlan:
        stops = (high - low <= bound) & (n > 0)
        return StoppingPlan(np.where(stops, NARROW, np.where(n == most, GIVEN_UP, OPEN)).astype(np.int8), level)

    def narrow(found: StoppingPlan) -> bool:
        return all(b - a <= width for (k, n), (a, b) in found.intervals.items() if found.signs[n, k] == NARROW)

    # At a bound of nothing the plan never stops before the cap, which is narrow enough.
    least, greatest = 0.0, width
    for _ in range(7):
        middle = (least + greatest) / 2
        least, greatest = (middle, greatest) if narrow(plan(middle)) else (least, middle)
    return plan(least)


@cache
def deciding(rate: float, most: int, level: float = LEVEL, errors: tuple[float, float] | None = None) -> StoppingPlan:
    """The plan that places a harm rate above or below `rate` within `most` samples; made once, in about a second.

    Args:
        rate: the bound, between 0 and 1.
        most: the cap; no more than `LONGEST` are used.
        level: coverage of the intervals.
        errors: greatest chances of wrongly saying above and below; half of 1 - level each where None.
    """
    game = _Game(rate, min(most, LONGEST), errors or ((1 - level) / 2,) * 2, level)
    wanted = game.fixed(max(1, round(AS_GOOD_AS * game.most)))
    low, high = np.log(game.most / 8), np.log(game.most * 64)
    # The dearer a decision is rated, the more are reached, and the more samples that takes.
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (low, middle) if game.right(game.best(np.exp(middle))) >= wanted else (middle, high)
    return StoppingPlan(game.best(np.exp(high)), level)


@dataclass(frozen=True)
class _Game:
    """Stop or go on, where a sample costs 1, a right decision earns its worth, and an error at the rate is fined."""

    rate: float
    most: int
    errors: tuple[float, float]
    level: float = LEVEL

    @cached_property
    def under(self) -> Array:
        """Chance that the true rate lies under `rate`, given k of n, at [n, k]."""
        k, n = self._counts
        return np.asarray(special.betainc(_PRIOR + k, _PRIOR + n - k, self.rate), dtype=np.float64)

    @cached_property
    def null(self) -> Array:
        """Likelihood of k of n at `rate`, over that under the prior, at [n, k]."""
        k, n = self._counts
        prior = special.betaln(_PRIOR + k, _PRIOR + n - k) - special.betaln(_PRIOR, _PRIOR)
        return np.exp(special.xlogy(k, self.rate) + special.xlog1py(n - k, -self.rate) - prior)

    @property
    def _counts(self) -> tuple[Array, Array]:
        n, k = np.meshgrid(np.arange(self.most + 1.0), np.arange(self.most + 1.0), indexing="ij")
        return np.minimum(k, n), n

    def best(self, worth: float) -> Signs:
        """The best plan whose errors at the rate are within bounds, by one fine for each kind of error."""
        fines = [1.0, 1.0]
        # The second pass allows for what a fine of one kind does to errors of the other.
        for side in (0, 1, 0, 1):
            low, high = -12.0, 12.0
            for _ in range(12):
                fines[side] = float(np.exp((low + high) / 2))
                errs = self.walk(self._solve(worth, fines), self.rate)[side] > self.errors[side]
                low, high = ((low + high) / 2, high) if errs else (low, (low + high) / 2)
            fines[side] = float(np.exp(high))
        while any(np.greater(self.walk(found := self._solve(worth, fines), self.rate), self.errors)):
            fines = [1.05 * fine for fine in fines]
        return found

    def _solve(self, worth: float, fines: list[float]) -> Signs:
        """Backward induction from the cap."""
        signs = np.full((self.most + 1, self.most + 1), GIVEN_UP, dtype=np.int8)
        value = np.zeros(self.most + 2)
        for n in range(self.most, -1, -1):
            under, null = self.under[n, : n + 1], self.null[n, : n + 1]
            above, below = worth * (1 - under - fines[0] * null), worth * (under - fines[1] * null)
            stop = np.maximum(np.maximum(above, below), 0)
            signs[n, : n + 1] = np.where(stop == 0, GIVEN_UP, np.where(above >= below, ABOVE, BELOW))
            if n < self.most:
                up = (_PRIOR + np.arange(n + 1)) / (2 * _PRIOR + n)
                onwards = up * value[1 : n + 2] + (1 - up) * value[: n + 1] - 1
                signs[n, : n + 1][onwards > stop] = OPEN
                stop = np.maximum(stop, onwards)
            value = stop
        return signs

    def walk(self, signs: Signs, p: float | None) -> tuple[float, float]:
        """Chances of ABOVE and BELOW: of saying so at a rate `p`, or of saying so rightly where p has the prior."""
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
        """Chance of a right decision, where the rate has the prior."""
        return sum(self.walk(signs, None))

    def fixed(self, size: int) -> float:
        """Chance of a right decision by the exact interval of a fixed sample, where the rate has the prior."""
        k = np.arange(size + 1.0)
        low, high = single_look(k, size, level=self.level)
        under = self.under[size, : size + 1]
        right = (low > self.rate) * (1 - under) + (high < self.rate) * under
        chance = special.binom(size, k) * special.beta(_PRIOR + k, _PRIOR + size - k) / special.beta(_PRIOR, _PRIOR)
        return float(chance @ right)
