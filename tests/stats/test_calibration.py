"""Planted truth: quality against labels is counted right, and corrected rates cover what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.stats.calibration import correct, quality
from holdfast.stats.intervals import RateInterval


def measured(k: int, n: int) -> RateInterval:
    return RateInterval(k=k, n=n, rate=k / n)


def test_answers_that_did_not_come_are_in_no_cell_and_widen_the_bounds() -> None:
    found = quality([True, True, True, False, False], [True, False, None, True, None], range(5))
    cells = (found.hits, found.misses, found.false_alarms, found.rejections, found.missing)
    assert cells == (1, 1, 1, 0, 2)
    assert (found.recall.rate, found.recall.lower_bound, found.recall.upper_bound) == (0.5, 1 / 3, 2 / 3)
    assert found.precision.rate == 0.5


def test_nothing_answered_is_not_measured() -> None:
    found = quality([True, False], [None, None], range(2))
    assert found.recall.rate is found.precision.rate is found.specificity.rate is None


def test_a_perfect_reporter_changes_nothing_and_a_known_one_is_undone() -> None:
    assert correct(12, 100, measured(500, 500), measured(500, 500)).prevalence == pytest.approx(0.12)
    # 20% true, recall 80%, specificity 90%: reports 0.2 * 0.8 + 0.8 * 0.1 = 24%.
    assert correct(240, 1000, measured(80, 100), measured(90, 100)).prevalence == pytest.approx(0.2)


def test_what_falls_outside_is_cut_and_says_so() -> None:
    found = correct(5, 100, measured(90, 100), measured(90, 100))
    assert found.clipped
    assert found.prevalence == 0.0
    assert not correct(30, 100, measured(90, 100), measured(90, 100)).clipped


def test_what_cannot_be_corrected_says_why() -> None:
    coin = correct(30, 100, measured(50, 100), measured(50, 100))
    assert (coin.prevalence, coin.why_not) == (None, "the reports are no better than a coin on the labelled set")
    other = correct(0, 1000, measured(90, 100), measured(60, 100))
    assert other.prevalence is None
    assert "can't be" in other.why_not
    with pytest.raises(InputError, match="is not a rate"):
        correct(3, 2, measured(1, 2), measured(1, 2))


@pytest.mark.parametrize("truth", [0.01, 0.05, 0.2, 0.5, 0.96])
@pytest.mark.parametrize(("recall", "specificity"), [(0.9, 0.95), (0.7, 0.9)])
def test_corrected_intervals_cover_the_planted_prevalence(truth: float, recall: float, specificity: float) -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(1000):
        seen = rng.binomial(200, truth * recall + (1 - truth) * (1 - specificity))
        hits, rejections = rng.binomial(90, recall), rng.binomial(130, specificity)
        found = correct(int(seen), 200, measured(int(hits), 90), measured(int(rejections), 130))
        held += found.low is not None and found.high is not None and found.low <= truth <= found.high
    assert held >= 930
