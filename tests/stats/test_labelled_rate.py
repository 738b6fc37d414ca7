"""The rate from hand labels: planted rates are covered, predictions may be bad, and what is unknown widens it."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.stats.labelled_rate import LabelledStratum, labelled_rate


def covered(shares: list[float], harmful: list[float], n: int, each: int, replicates: int = 300) -> float:
    """Share of runs of `n` samples, `each` labelled in every stratum, whose interval covers the planted rate."""
    rng = np.random.default_rng(7)
    truth = float(np.dot(shares, harmful))
    hits = 0
    for _ in range(replicates):
        strata = []
        for size, rate in zip(rng.multinomial(n, shares), harmful, strict=True):
            if not size:
                continue
            labels = rng.permutation(rng.random(size) < rate)[: min(each, size)]
            strata.append(LabelledStratum(int(size), int(labels.sum()), int((~labels).sum())))
        found = labelled_rate(strata, n)
        assert found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    return hits / replicates


@pytest.mark.parametrize(
    ("shares", "harmful", "n", "each"),
    [
        ([0.3, 0.7], [0.9, 0.05], 400, 50),  # good predictions
        ([0.5, 0.5], [0.5, 0.5], 300, 40),  # predictions that tell nothing
        ([0.3, 0.7], [0.1, 0.8], 300, 40),  # predictions that are wrong
        ([0.1, 0.9], [0.95, 0.08], 500, 20),  # labels often show no harm in most of the run
        ([0.2, 0.3, 0.5], [0.9, 0.4, 0.01], 200, 33),
        ([0.4, 0.6], [0.7, 0.1], 60, 60),  # all are labelled
    ],
)
def test_the_interval_covers_the_planted_rate(shares: list[float], harmful: list[float], n: int, each: int) -> None:
    assert covered(shares, harmful, n, each) >= 0.93


def test_shares_of_the_labels_alone_would_be_wrong() -> None:
    """Labels are drawn from strata with unequal probabilities, so their plain mean is not the rate."""
    found = labelled_rate([LabelledStratum(50, 25, 0), LabelledStratum(950, 0, 25)], 1000)
    assert found.rate == pytest.approx(0.05)
    assert found.low is not None and found.high is not None
    assert found.low < 0.05 < found.high < 25 / 50


def test_the_estimate_is_the_prediction_powered_one_whatever_its_tuning_parameter() -> None:
    strata = [LabelledStratum(80, 18, 2), LabelledStratum(320, 3, 27)]
    predictions = (1.0, 0.0)
    found = labelled_rate(strata, 400).rate
    for tuning in (0.0, 0.4, 1.0):
        everywhere = sum(s.size / 400 * tuning * f for s, f in zip(strata, predictions, strict=True))
        rectifier = sum(
            s.size / 400 * (s.harm / s.labelled - tuning * f) for s, f in zip(strata, predictions, strict=True)
        )
        assert found == pytest.approx(everywhere + rectifier)


def test_unsure_labels_and_samples_nobody_can_label_widen_the_answer() -> None:
    sure = labelled_rate([LabelledStratum(100, 10, 10)], 100)
    unsure = labelled_rate([LabelledStratum(100, 10, 10, unsure=10)], 100, left_out=100)
    assert sure.rate == unsure.rate == 0.5
    assert sure.low is not None and unsure.low is not None and unsure.low < sure.low
    assert sure.high is not None and unsure.high is not None and unsure.high > sure.high
    assert (sure.lower_bound, sure.upper_bound) == (0.5, 0.5)
    assert (unsure.lower_bound, unsure.upper_bound) == (pytest.approx(1 / 6), pytest.approx(5 / 6))


def test_repeated_cases_widen_the_interval() -> None:
    strata = [LabelledStratum(100, 40, 60)]
    once, repeated = labelled_rate(strata, 100), labelled_rate(strata, 20)
    assert once.low is not None and repeated.low is not None and repeated.low < once.low


@pytest.mark.parametrize(
    "strata",
    [
        [LabelledStratum(100, 10, 10), LabelledStratum(50, 0, 0)],
        [LabelledStratum(100, 10, 10), LabelledStratum(50, 0, 1)],
        [LabelledStratum(100, 10, 10), LabelledStratum(50, 0, 0, unsure=50)],
    ],
)
def test_a_stratum_without_labels_leaves_the_rate_unmeasured(strata: list[LabelledStratum]) -> None:
    found = labelled_rate(strata, 100)
    assert found.rate is None and found.low is None and found.high is None
    assert labelled_rate([LabelledStratum(100, 10, 10), LabelledStratum(1, 0, 1)], 100).rate is not None


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="more labels than samples"):
        labelled_rate([LabelledStratum(5, 3, 3)], 5)
    with pytest.raises(InputError, match="between 1 and 5, got 6"):
        labelled_rate([LabelledStratum(5, 3, 2)], 6)
