"""A plan meets its error bounds, its intervals cover, and it needs few samples.  Most checks are exact sums."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from holdfast.stats.intervals import interval
from holdfast.stats.sequential_plan import (
    ABOVE,
    BELOW,
    GIVEN_UP,
    NARROW,
    OPEN,
    StoppingPlan,
    _StoppingProblem,
    decision_plan,
    width_plan,
)

MOST = 90
RATES = (0.05, 0.2)
PLANTED = np.unique(np.round([0, 0.01, 0.05, 0.2, 0.5, 0.96, 1, *np.linspace(0.003, 0.997, 60)], 4))


@cache
def plan(rate: float) -> StoppingPlan:
    return decision_plan(rate, MOST)


def coverage(found: StoppingPlan) -> np.ndarray:
    """Compute the exact coverage of the plan's intervals at each planted rate."""
    bounds = np.array(list(found.intervals.values()))
    chance = found.chances(PLANTED)
    held = (bounds[:, 0] <= PLANTED[:, None] + 1e-9) & (PLANTED[:, None] <= bounds[:, 1] + 1e-9)
    return (chance * held).sum(axis=1)


@pytest.mark.parametrize("rate", RATES)
def test_errors_are_greatest_at_the_bound_and_at_most_2_5_percent(rate: float) -> None:
    above, below, _ = plan(rate).expected(rate)
    assert 0.02 < above <= 0.025
    assert 0.02 < below <= 0.025
    assert max(plan(rate).expected(p)[0] for p in np.linspace(0.001, rate, 40)) <= above + 1e-9
    assert max(plan(rate).expected(p)[1] for p in np.linspace(rate, 0.999, 40)) <= below + 1e-9


@pytest.mark.parametrize("rate", RATES)
def test_intervals_cover_and_exclude_the_bound_if_the_plan_decides(rate: float) -> None:
    found = plan(rate)
    assert coverage(found).min() >= 0.95
    for (k, n), (low, high) in found.intervals.items():
        assert low > rate or found.signs[n, k] != ABOVE
        assert high < rate or found.signs[n, k] != BELOW
        assert low <= k / n <= high


def test_the_coverage_test_catches_an_interval_that_ignores_the_stopping_rule() -> None:
    """Coverage is too low if sampling stops at the first significant look and reports that look's interval."""
    n, k = np.meshgrid(np.arange(MOST + 1), np.arange(MOST + 1), indexing="ij")
    low, high = interval(np.minimum(k, n), np.maximum(n, 1))
    stops = (n > 0) & ((low > 0.5) | (high < 0.5) | (n == MOST))
    greedy = StoppingPlan(np.where(stops, GIVEN_UP, OPEN).astype(np.int8))
    ends, samples = greedy.ends
    naive = dict(
        zip(zip(ends.tolist(), samples.tolist(), strict=True), zip(*interval(ends, samples), strict=True), strict=True)
    )
    greedy.__dict__["intervals"] = naive
    assert coverage(greedy).min() < 0.9


@pytest.mark.parametrize("rate", RATES)
def test_a_plan_decides_as_many_as_a_fixed_sample_of_two_thirds_of_its_cap(rate: float) -> None:
    size = round(MOST * 2 / 3)
    low, high = interval(np.arange(size + 1.0), size)
    prior = np.sin(np.pi / 2 * (np.arange(4000) + 0.5) / 4000) ** 2  # quantiles of Jeffreys' prior
    chance = binom.pmf(np.arange(size + 1), size, prior[:, None])
    fixed = np.where(prior > rate, chance[:, low > rate].sum(1), chance[:, high < rate].sum(1)).mean()
    above, below, samples = np.array([plan(rate).expected(p) for p in prior[::8]]).T
    assert np.where(prior[::8] > rate, above, below).mean() >= fixed - 0.001
    assert samples.mean() < size / 2


def test_probabilities_of_end_states_sum_to_one_and_least_is_exact() -> None:
    found = plan(0.2)
    assert found.chances(PLANTED).sum(axis=1) == pytest.approx(1)
    for n, k in np.argwhere(found.signs == OPEN):
        if k <= n:
            reach = found.signs[n + found.least[n, k], k : k + found.least[n, k] + 1]
            before = found.signs[n + found.least[n, k] - 1, k : k + found.least[n, k]]
            assert (reach != OPEN).any()
            assert (before == OPEN).all()


def test_simulated_stops_match_the_expected_frequencies() -> None:
    found, rng, counts = plan(0.2), np.random.default_rng(3), {ABOVE: 0, BELOW: 0, GIVEN_UP: 0}
    for row in rng.random((2000, MOST)) < 0.3:
        harms = row.cumsum()
        n = next(n for n in range(1, MOST + 1) if found.signs[n, harms[n - 1]] != OPEN)
        counts[int(found.signs[n, harms[n - 1]])] += 1
    above, below, _ = found.expected(0.3)
    assert counts[ABOVE] / 2000 == pytest.approx(above, abs=0.04)
    assert counts[BELOW] / 2000 == pytest.approx(below, abs=0.02)


def test_error_bounds_can_be_given() -> None:
    above, below, _ = decision_plan(0.2, MOST, errors=(0.005, 0.02)).expected(0.2)
    assert above <= 0.005 < below <= 0.02


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_a_width_plan_meets_its_width_at_any_level(level: float) -> None:
    found = width_plan(0.5, 40, level)
    widths = [high - low for (k, n), (low, high) in found.intervals.items() if found.signs[n, k] == NARROW]
    assert 0.4 < max(widths) <= 0.5


def test_a_fixed_sample_decides_less_at_a_higher_level() -> None:
    errors = (0.1, 0.1)
    assert (
        _StoppingProblem(0.2, 60, errors, 0.8).fixed(40)
        > _StoppingProblem(0.2, 60, errors).fixed(40)
        > _StoppingProblem(0.2, 60, errors, 0.99).fixed(40)
    )


def test_a_width_plan_meets_its_width_at_every_stop_before_the_cap() -> None:
    found = width_plan(0.3, 80)
    assert coverage(found).min() >= 0.95
    widths = {end: high - low for end, (low, high) in found.intervals.items() if found.signs[end[1], end[0]] == NARROW}
    assert max(widths.values()) <= 0.3
    assert found.expected(0.0)[2] < 15 < 45 < found.expected(0.5)[2]
