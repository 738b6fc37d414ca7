"""How good a detector or a judge is against labels, and what a rate that it reports is worth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats as distributions

from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.stats.intervals import LEVEL, RateInterval, clustered_rate


class Agreement2x2(Record):
    """How answers agree with labels, on one stratum.

    Missing answers (`missing`) are in no cell of the table; the lower and upper bounds of recall and specificity are
    their values if all missing answers had been wrong, or right.  Precision is that at this set's own
    share of positives, `positives` of `items`.
    """

    items: int
    positives: int
    missing: int
    hits: int
    false_alarms: int
    misses: int
    rejections: int
    precision: RateInterval
    recall: RateInterval
    specificity: RateInterval


class Corrected(Record):
    """A rate corrected for the errors of whoever reported it; `why_not` says why where there is none.

    `clipped` says that the estimate or a bound fell outside 0 to 1 and was cut.
    """

    observed: float
    prevalence: float | None = None
    low: float | None = None
    high: float | None = None
    clipped: bool = False
    why_not: str = ""


def quality(labels: Sequence[bool], answers: Sequence[bool | None], clusters: Sequence[Hashable]) -> Agreement2x2:
    """Precision, recall and specificity with 95% intervals.

    Args:
        labels: what is true of each item.
        answers: what was said of it, None where nothing was; same length.
        clusters: what makes items resemble each other, here the office; same length.
    """
    rows = list(zip(labels, answers, clusters, strict=True))

    def share(chosen: list[tuple[bool | None, Hashable]]) -> RateInterval:
        return clustered_rate([value for value, _ in chosen], [cluster for _, cluster in chosen])

    recall = share([(said, cluster) for true, said, cluster in rows if true])
    specificity = share([(None if said is None else not said, cluster) for true, said, cluster in rows if not true])
    return Agreement2x2(
        items=len(rows),
        positives=sum(labels),
        missing=sum(said is None for said in answers),
        hits=recall.k,
        false_alarms=specificity.n - specificity.k,
        misses=recall.n - recall.k,
        rejections=specificity.k,
        precision=share([(true, cluster) for true, said, cluster in rows if said]),
        recall=recall,
        specificity=specificity,
    )


def correct(positive: int, of: int, recall: RateInterval, specificity: RateInterval) -> Corrected:
    """The prevalence behind `positive` reports among `of` samples, as far as the labelled set tells.

    This is a sensitivity analysis: it takes for granted that errors are as frequent among the samples as in the
    labelled set.  To correct a rate, label samples of the same run (`labelled_rate`).

    The estimate is that of Rogan and Gladen (1978), the interval that of Lang and Reiczigel (2014), which allows for
    recall and specificity being estimates themselves.

    Raises:
        InputError: not 0 ≤ positive ≤ of, or nothing was observed.
    """
    if not 0 <= positive <= of or of == 0:
        raise InputError(f"{positive} of {of} is not a rate", remedy="give, say, 12/100")
    observed = positive / of
    if recall.rate is None or specificity.rate is None or recall.rate + specificity.rate <= 1:
        return Corrected(observed=observed, why_not="the reports are no better than a coin on the labelled set")
    estimate = (observed + specificity.rate - 1) / (recall.rate + specificity.rate - 1)
    low, high = _bounds((positive, of), (recall.k, recall.n), (specificity.k, specificity.n))
    if high < 0 or low > 1:
        why_not = "the errors among these samples can't be those on the labelled set"
        return Corrected(observed=observed, why_not=why_not)
    cut = [float(np.clip(value, 0, 1)) for value in (estimate, low, high)]
    clipped = cut != [estimate, low, high]
    return Corrected(observed=observed, prevalence=cut[0], low=cut[1], high=cut[2], clipped=clipped)


def _bounds(seen: tuple[int, int], hits: tuple[int, int], rejections: tuple[int, int]) -> tuple[float, float]:
    """Low and high of Lang and Reiczigel's interval, before they are cut to 0 to 1."""
    z = float(distributions.norm.ppf((1 + LEVEL) / 2))
    n, n_recall, n_specificity = seen[1] + z**2, hits[1] + 2, rejections[1] + 2
    p, recall, specificity = (seen[0] + z**2 / 2) / n, (hits[0] + 1) / n_recall, (rejections[0] + 1) / n_specificity
    power = recall + specificity - 1
    if power <= 0:
        return 0.0, 1.0
    prevalence = (p + specificity - 1) / power
    of_recall, of_specificity = recall * (1 - recall) / n_recall, specificity * (1 - specificity) / n_specificity
    shift = 2 * z**2 * (prevalence * of_recall - (1 - prevalence) * of_specificity)
    variance = p * (1 - p) / n + prevalence**2 * of_recall + (1 - prevalence) ** 2 * of_specificity
    width = z * float(np.sqrt(variance)) / power
    return prevalence + shift - width, prevalence + shift + width
