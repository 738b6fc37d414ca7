"""Simulated truth: quality against labels is counted correctly, and corrected rates cover the true prevalence."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.stats.calibration import correct_rate, quality
from holdfast.stats.intervals import RateInterval


def rate_of(k: int, n: int) -> RateInterval:
    return RateInterval(k=k, n=n, rate=k / n)


def test_missing_answers_are_in_no_cell_and_widen_the_bounds() -> None:
    result = quality([True, True, True, False, False], [True, False, None, True, None], range(5))
    cells = (result.hits, result.misses, result.false_alarms, result.rejections, result.missing)
    assert cells == (1, 1, 1, 0, 2)
    assert (result.recall.rate, result.recall.lower_bound, result.recall.upper_bound) == (0.5, 1 / 3, 2 / 3)
    assert result.precision.rate == 0.5


def test_quality_without_answers_is_not_measured() -> None:
    result = quality([True, False], [None, None], range(2))
    assert result.recall.rate is result.precision.rate is result.specificity.rate is None


def test_correction_keeps_a_perfect_reporter_and_inverts_known_errors() -> None:
    assert correct_rate(12, 100, rate_of(500, 500), rate_of(500, 500)).prevalence == pytest.approx(0.12)
    # 20% true, recall 80%, specificity 90%: reports 0.2 * 0.8 + 0.8 * 0.1 = 24%.
    assert correct_rate(240, 1000, rate_of(80, 100), rate_of(90, 100)).prevalence == pytest.approx(0.2)


def test_estimates_outside_0_to_1_are_clipped_and_marked() -> None:
    result = correct_rate(5, 100, rate_of(90, 100), rate_of(90, 100))
    assert result.clipped
    assert result.prevalence == 0.0
    assert not correct_rate(30, 100, rate_of(90, 100), rate_of(90, 100)).clipped


def test_a_rate_that_cannot_be_corrected_has_a_reason() -> None:
    coin = correct_rate(30, 100, rate_of(50, 100), rate_of(50, 100))
    assert (coin.prevalence, coin.why_not) == (None, "on the labelled set the reports are no better than chance")
    other = correct_rate(0, 1000, rate_of(90, 100), rate_of(60, 100))
    assert other.prevalence is None
    assert "cannot hold" in other.why_not
    with pytest.raises(InputError, match="is not a rate"):
        correct_rate(3, 2, rate_of(1, 2), rate_of(1, 2))


@pytest.mark.parametrize("truth", [0.01, 0.05, 0.2, 0.5, 0.96])
@pytest.mark.parametrize(("recall", "specificity"), [(0.9, 0.95), (0.7, 0.9)])
def test_corrected_intervals_cover_the_true_prevalence(truth: float, recall: float, specificity: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        positive = rng.binomial(200, truth * recall + (1 - truth) * (1 - specificity))
        hits, rejections = rng.binomial(90, recall), rng.binomial(130, specificity)
        result = correct_rate(int(positive), 200, rate_of(int(hits), 90), rate_of(int(rejections), 130))
        covered += result.low is not None and result.high is not None and result.low <= truth <= result.high
    assert covered >= 930
