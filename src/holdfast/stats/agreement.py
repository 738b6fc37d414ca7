"""Agreement of two raters beyond chance: Cohen's kappa with an interval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from holdfast.core.rates import Agreement
from holdfast.stats.intervals import Array, clustered, codes_of, totals


def kappa(a: Array, b: Array, clusters: Sequence[Hashable]) -> Agreement:
    """Compute Cohen's (1960) kappa of two raters.

    The interval of the coefficient is the exact interval of the observed agreement, clustered by scenario and rescaled
    at the observed chance agreement. Cohen rescaled a normal interval, which would call perfect agreement on ten units
    certain.

    Args:
        a: one label per unit as a number, nan if there is none; shape (units,).
        b: the labels of the other rater for the same units.
        clusters: the scenario of each unit.

    Returns:
        The agreement over the units that both raters labelled; the coefficient is None if all labels are equal, because
        nothing then shows whether the raters can tell labels apart.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return Agreement(units=0)
    labels = np.union1d(a[both], b[both])
    shares = [np.array([(rater[both] == label).mean() for label in labels]) for rater in (a, b)]
    chance = float(shares[0] @ shares[1])
    agreeing = (a == b)[both].astype(np.float64)
    observed = float(agreeing.mean())
    agreement = Agreement(units=len(agreeing), observed=observed, chance=chance)
    if chance >= 1:
        return agreement
    codes = np.unique(codes_of(clusters)[both], return_inverse=True)[1]
    bounds = clustered(totals(codes, agreeing), totals(codes))
    coefficient, low, high = ((float(share) - chance) / (1 - chance) for share in (observed, *bounds))
    return agreement.model_copy(update={"coefficient": coefficient, "low": low, "high": high})
