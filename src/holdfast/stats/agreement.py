"""How far judges agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number, with intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from holdfast.core.rates import Agreement
from holdfast.stats.intervals import Array, Codes, clustered, totals


def kappa(a: Array, b: Array, clusters: Sequence[Hashable] | None = None) -> Agreement:
    """Cohen's (1960) kappa of two judges.

    Args:
        a: one label a unit as a number, nan where there is none; shape (units,).
        b: the same units by the other judge.
        clusters: the scenario of each unit; each its own where None.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    labels = np.union1d(a[both], b[both])
    shares = [np.array([(judge[both] == label).mean() for label in labels]) for judge in (a, b)] if both.any() else []
    chance = float(shares[0] @ shares[1]) if shares else None
    return _agreement((a == b)[both].astype(np.float64), _kept(clusters, both), chance)


def alpha(ratings: Array, clusters: Sequence[Hashable] | None = None) -> Agreement:
    """Krippendorff's (1980) alpha for labels without order; judges may have left units out.

    Args:
        ratings: labels as numbers, nan where a judge gave none; shape (units, judges).
        clusters: the scenario of each unit; each its own where None.
    """
    judged = (~np.isnan(ratings)).sum(axis=1)
    kept = judged > 1
    labels = np.unique(ratings[kept][~np.isnan(ratings[kept])])
    counts = np.array([(ratings[kept] == label).sum(axis=1) for label in labels]).T.reshape(int(kept.sum()), -1)
    if not len(counts):
        return Agreement(units=0)
    size = judged[kept]
    agreeing = (counts * (counts - 1)).sum(axis=1) / (size * (size - 1))
    totals = counts.sum(axis=0)
    chance = float((totals * (totals - 1)).sum() / (totals.sum() * (totals.sum() - 1)))
    # A unit counts once for each judgement of it, as in the coincidence matrix.
    return _agreement(agreeing, _kept(clusters, kept), chance, size.astype(np.float64))


def _agreement(agreeing: Array, clusters: Codes, chance: float | None, weights: Array | None = None) -> Agreement:
    """The coefficient with its interval.

    The interval is the exact interval of the observed agreement, clustered by scenario, carried through the coefficient
    at the chance agreement found (Cohen 1960 did so with a normal interval): perfect agreement on ten units is no
    certainty.
    """
    if chance is None:
        return Agreement(units=0)
    weights = np.ones(len(agreeing)) if weights is None else weights / weights.mean()
    observed = float((agreeing * weights).mean())
    found = Agreement(units=len(agreeing), observed=observed, chance=chance)
    if chance >= 1:
        # One label throughout: nothing says whether the judges can tell two apart.
        return found
    hits, sizes = totals(clusters, agreeing * weights), totals(clusters, weights)
    low, high = (float(bound) for bound in clustered(hits, sizes))
    scaled = {name: (value - chance) / (1 - chance) for name, value in (("low", low), ("high", high))}
    return found.model_copy(update={"coefficient": (observed - chance) / (1 - chance), **scaled})


def _kept(clusters: Sequence[Hashable] | None, kept: npt.NDArray[np.bool_]) -> Codes:
    names = list(range(len(kept))) if clusters is None else list(clusters)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(n, len(numbers)) for n, k in zip(names, kept, strict=True) if k], dtype=int)
