"""Simulated truth: intervals must cover it, also near 0 and 1, and the tests must catch a wrong interval."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from holdfast.core.rates import PairedDifference
from holdfast.stats import intervals
from holdfast.stats.intervals import (
    RateInterval,
    clustered,
    clustered_rate,
    holm,
    interval,
    paired,
    rate_difference,
    t_interval,
)

RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.96, 1.0)
STUDIES = 1000
NOMINAL = 0.93


def draw(
    rng: np.random.Generator, p: float, cases: int, seeds: int, alike: float, studies: tuple[int, ...] = ()
) -> np.ndarray:
    """Scores of shape (*studies, cases, seeds); a sample repeats its case's common draw with probability `alike`."""
    shape = (*studies, cases, seeds)
    common = rng.random((*studies, cases, 1))
    return (np.where(rng.random(shape) < alike, common, rng.random(shape)) < p).astype(float)


def coverage(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    """Return the share of studies whose interval contains the truth, within rounding."""
    return float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean())


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize(
    ("cases", "seeds", "alike"),
    [(16, 1, 0.0), (16, 2, 1.0), (16, 2, 0.5), (48, 3, 0.0), (48, 3, 0.7), (48, 5, 0.8), (100, 1, 0.0)],
)
def test_rate_intervals_cover_the_true_rate(p: float, cases: int, seeds: int, alike: float) -> None:
    rng = np.random.default_rng([1, int(p * 100), cases, seeds])
    scores = draw(rng, p, cases, seeds, alike, (STUDIES,))
    low, high = clustered(scores.sum(axis=2), np.full(cases, float(seeds)))
    assert coverage(low, high, p) >= NOMINAL
    one = clustered_rate(scores[0].ravel(), np.repeat(np.arange(cases), seeds))
    assert (one.low, one.high) == pytest.approx((low[0], high[0])), "one study gives the same interval as many at once"


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("fall", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("cases", "seeds", "alike"), [(16, 2, 0.5), (48, 2, 0.0), (48, 1, 1.0)])
def test_paired_intervals_cover_the_true_difference(
    p: float, fall: float, cases: int, seeds: int, alike: float
) -> None:
    rng = np.random.default_rng([2, int(p * 100), int(fall * 10), cases, seeds])
    q = p * (1 - fall)
    truth = q - p
    shape = (STUDIES, cases, seeds)
    common = rng.random((STUDIES, cases, 1))
    uniform = [np.where(rng.random(shape) < alike, common, rng.random(shape)) for _ in range(2)]
    gaps = ((uniform[0] < q).astype(float) - (uniform[1] < p)).mean(axis=2)
    low, high, p_value = t_interval(gaps, null=truth)
    assert coverage(low, high, truth) >= NOMINAL
    assert (p_value < 0.05).mean() <= 1 - NOMINAL


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("tax", [0.0, 0.5])
def test_rate_difference_covers_the_true_difference(p: float, tax: float) -> None:
    rng = np.random.default_rng([3, int(p * 100), int(tax * 10)])
    q = p * (1 - tax)
    aware, unaware = rng.binomial(20, q, STUDIES), rng.binomial(60, p, STUDIES)
    differences = [
        rate_difference(
            RateInterval(k=a, n=60, rate=a / 60, low=float(x), high=float(y)),
            RateInterval(k=b, n=20, rate=b / 20, low=float(v), high=float(w)),
        )
        for a, b, x, y, v, w in zip(unaware, aware, *interval(unaware, 60), *interval(aware, 20), strict=True)
    ]
    assert coverage(np.array([d.low for d in differences]), np.array([d.high for d in differences]), p - q) >= NOMINAL


def test_the_coverage_test_catches_an_interval_that_ignores_clusters() -> None:
    """Coverage drops if three repeats of a case count as three cases."""
    scores = draw(np.random.default_rng(3), 0.5, 16, 3, 1.0, (STUDIES,))
    wrong = clustered(scores.reshape(STUDIES, 48), np.ones(48))
    right = clustered(scores.sum(axis=2), np.full(16, 3.0))
    assert coverage(*wrong, 0.5) < 0.85
    assert coverage(*right, 0.5) >= NOMINAL


def test_the_coverage_test_catches_a_plain_t_interval() -> None:
    """Without the two pseudo-cases the paired interval is too narrow at small counts."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(STUDIES):
        gaps = draw(rng, 0.05, 16, 1, 0.0)[:, 0]
        error = gaps.std(ddof=1) / 4
        covered += abs(gaps.mean() - 0.05) <= 2.131 * error
    assert covered / STUDIES < 0.7


def test_one_sample_per_cluster_gives_the_clopper_pearson_interval() -> None:
    found = clustered_rate([1] * 3 + [0] * 13, range(16))
    assert (found.low, found.high) == pytest.approx((0.0405, 0.4565), abs=1e-4)
    assert interval(0, 16) == pytest.approx((0, 0.2059), abs=1e-4)


def test_identical_repeats_count_as_one_sample() -> None:
    labels = np.repeat(np.arange(16), 4).tolist()
    repeated = clustered_rate(np.repeat([1] * 8 + [0] * 8, 4).tolist(), labels)
    once = clustered_rate([1] * 8 + [0] * 8, range(16))
    assert repeated.low <= once.low
    assert repeated.high >= once.high


@pytest.mark.parametrize("value", [0, 1])
def test_a_rate_of_zero_or_one_has_an_interval_of_positive_width(value: int) -> None:
    found = clustered_rate([value] * 32, np.repeat(np.arange(16), 2).tolist())
    assert found.rate == value
    assert found.high - found.low == pytest.approx(float(interval(0, 16)[1]))


def test_no_scored_sample_gives_no_rate() -> None:
    assert clustered_rate([None, None], [0, 1]) == RateInterval(k=0, n=0)
    assert clustered_rate([], []).rate is None


def test_unscored_samples_are_not_in_the_denominator_and_widen_the_bounds() -> None:
    found = clustered_rate([1, 0, 0, None], range(4))
    assert (found.k, found.n, found.lower_bound, found.upper_bound) == (1, 3, 0.25, 0.5)


def test_identical_pairs_have_an_interval_of_positive_width() -> None:
    same = paired(np.zeros(16), np.zeros(16), np.arange(16))
    assert same.estimate == 0
    assert same.low < -0.05 < 0.05 < same.high
    assert same.p == pytest.approx(1)
    opposite = paired(np.zeros(16), np.ones(16), np.arange(16))
    assert opposite.estimate == -1
    assert -1 <= opposite.low < opposite.high < -0.5
    assert opposite.p < 1e-4


def test_one_pair_gives_the_widest_interval() -> None:
    found = paired(np.ones(1), np.zeros(1), np.arange(1))
    assert (found.low, found.high, found.p) == (-1, 1, 1)


def test_pairs_with_an_unscored_side_are_excluded_counted_and_bounded() -> None:
    nan = np.nan
    found = paired(np.array([1.0, nan, 0.0, 1.0]), np.array([0.0, 0.0, nan, 0.0]), np.arange(4))
    assert (found.estimate, found.pairs, found.excluded) == (1, 2, 2)
    assert (found.lower_bound, found.upper_bound) == (1 / 4, 3 / 4)
    one_sided = paired(np.array([1.0, nan]), np.array([0.0, 0.0]), np.arange(2))
    assert (one_sided.lower_bound, one_sided.upper_bound) == (0.5, 1)


def test_no_scored_pair_is_not_a_difference_of_zero() -> None:
    assert paired(np.full(3, np.nan), np.zeros(3), np.arange(3)) == PairedDifference(pairs=0, excluded=3)
    assert paired(np.zeros(0), np.zeros(0), np.arange(0)) == PairedDifference(pairs=0, excluded=0)


def test_a_cluster_is_one_observation_however_many_cases_it_has() -> None:
    """More cases of the same skeletons that all agree must not narrow the interval over skeletons."""
    rng = np.random.default_rng(5)
    a, b = draw(rng, 0.3, 20, 1, 0.0)[:, 0], draw(rng, 0.6, 20, 1, 0.0)[:, 0]
    one = paired(a, b, np.arange(20))
    five = paired(np.repeat(a, 5), np.repeat(b, 5), np.repeat(np.arange(20), 5))
    assert (one.low, one.high) == pytest.approx((five.low, five.high))


def test_p_value_and_interval_agree() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        found = paired(draw(rng, 0.3, 16, 1, 0.0)[:, 0], draw(rng, 0.5, 16, 1, 0.0)[:, 0], np.arange(16))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_holm_steps_down_and_keeps_none() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": None}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_holm_equals_statsmodels() -> None:
    ps = np.random.default_rng(8).random(30) ** 3
    expected = multipletests(ps, method="holm")[1]
    assert list(holm(dict(enumerate(ps.tolist()))).values()) == pytest.approx(expected.tolist())


def test_holm_keeps_the_family_error_where_plain_p_values_do_not() -> None:
    rng = np.random.default_rng(7)
    plain = corrected = 0
    for _ in range(400):
        ps = {i: paired(*(draw(rng, 0.5, 16, 1, 0.0)[:, 0] for _ in range(2)), np.arange(16)).p for i in range(10)}
        plain += min(ps.values()) < 0.05
        corrected += min(holm(ps).values()) < 0.05
    assert plain / 400 > 0.15
    assert corrected / 400 <= 0.07


def test_the_nominal_level_is_95_percent() -> None:
    assert intervals.LEVEL == 0.95
