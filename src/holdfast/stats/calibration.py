"""Precision, recall and specificity of a detector or a judge, and correction of the rates that it reports."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats as distributions

from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.stats.intervals import LEVEL, RateInterval, clustered_rate


class Agreement2x2(Record):
    """Confusion matrix of answers against labels, on one stratum.

    Missing answers (`missing`) are in no cell of the table; the lower and upper bounds of recall and specificity are
    their values if all missing answers had been wrong, or right.  Precision holds for the share of positives in this
    set, `positives` of `items`.
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
    """A rate corrected for the errors of the judge or detector that reported it, or in `why_not` why there is none.

    `clipped` is true if the estimate or a bound was outside [0, 1] and was clipped.
    """

    observed: float
    prevalence: float | None = None
    low: float | None = None
    high: float | None = None
    clipped: bool = False
    why_not: str = ""


def quality(labels: Sequence[bool], answers: Sequence[bool | None], clusters: Sequence[Hashable]) -> Agreement2x2:
    """Compute precision, recall and specificity with 95% intervals.

    Args:
        labels: the true label of each item.
        answers: the answer for each item, None if missing; same length.
        clusters: the cluster of each item, here its office, because items of one office are alike; same length.
    """
    rows = list(zip(labels, answers, clusters, strict=True))

    def share(chosen: list[tuple[bool | None, Hashable]]) -> RateInterval:
        return clustered_rate([value for value, _ in chosen], [cluster for _, cluster in chosen])

    recall = share([(answer, cluster) for label, answer, cluster in rows if label])
    negatives = [(answer, cluster) for label, answer, cluster in rows if not label]
    specificity = share([(None if answer is None else not answer, cluster) for answer, cluster in negatives])
    return Agreement2x2(
        items=len(rows),
        positives=sum(labels),
        missing=sum(answer is None for answer in answers),
        hits=recall.k,
        false_alarms=specificity.n - specificity.k,
        misses=recall.n - recall.k,
        rejections=specificity.k,
        precision=share([(label, cluster) for label, answer, cluster in rows if answer]),
        recall=recall,
        specificity=specificity,
    )


def correct_rate(positive: int, of: int, recall: RateInterval, specificity: RateInterval) -> Corrected:
    """Estimate the prevalence from `positive` reports among `of` samples and the reporter's error rates.

    This is a sensitivity analysis: it assumes that errors are as frequent among the samples as in the labelled set.  To
    correct a rate, label samples of the same run (`labelled_rate`).

    The estimate is that of Rogan and Gladen (1978), the interval that of Lang and Reiczigel (2014), which takes the
    uncertainty of recall and specificity into account.

    Raises:
        InputError: unless 0 ≤ positive ≤ of and of > 0.
    """
    if not 0 <= positive <= of or of == 0:
        raise InputError(f"{positive} of {of} is not a rate", remedy="write positives/samples, such as 12/100")
    observed = positive / of
    if recall.rate is None or specificity.rate is None or recall.rate + specificity.rate <= 1:
        return Corrected(observed=observed, why_not="on the labelled set the reports are no better than chance")
    estimate = (observed + specificity.rate - 1) / (recall.rate + specificity.rate - 1)
    low, high = _bounds((positive, of), (recall.k, recall.n), (specificity.k, specificity.n))
    if high < 0 or low > 1:
        why_not = "the error rates on the labelled set cannot hold for these samples"
        return Corrected(observed=observed, why_not=why_not)
    within = [float(np.clip(value, 0, 1)) for value in (estimate, low, high)]
    clipped = within != [estimate, low, high]
    return Corrected(observed=observed, prevalence=within[0], low=within[1], high=within[2], clipped=clipped)


def _bounds(reports: tuple[int, int], hits: tuple[int, int], rejections: tuple[int, int]) -> tuple[float, float]:
    """Return low and high of Lang and Reiczigel's interval, not yet clipped to [0, 1]."""
    z = float(distributions.norm.ppf((1 + LEVEL) / 2))
    n, n_recall, n_specificity = reports[1] + z**2, hits[1] + 2, rejections[1] + 2
    p, recall, specificity = (reports[0] + z**2 / 2) / n, (hits[0] + 1) / n_recall, (rejections[0] + 1) / n_specificity
    power = recall + specificity - 1
    if power <= 0:
        return 0.0, 1.0
    prevalence = (p + specificity - 1) / power
    of_recall, of_specificity = recall * (1 - recall) / n_recall, specificity * (1 - specificity) / n_specificity
    shift = 2 * z**2 * (prevalence * of_recall - (1 - prevalence) * of_specificity)
    variance = p * (1 - p) / n + prevalence**2 * of_recall + (1 - prevalence) ** 2 * of_specificity
    width = z * float(np.sqrt(variance)) / power
    return prevalence + shift - width, prevalence + shift + width
