"""A plan keeps its errors, its intervals cover, and it is the cheaper one; all exact, so nothing here is drawn."""

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
    _Game,
    deciding,
    narrowing,
)

MOST = 90
RATES = (0.05, 0.2)
PLANTED = np.unique(np.round([0, 0.01, 0.05, 0.2, 0.5, 0.96, 1, *np.linspace(0.003, 0.997, 60)], 4))


@cache
def plan(rate: float) -> StoppingPlan:
    return deciding(rate, MOST)


def coverage(found: StoppingPlan) -> np.ndarray:
    """The exact chance that the interval holds the truth, at each planted rate."""
    bounds = np.array(list(found.intervals.values()))
    chance = found.chances(PLANTED)
    held = (bounds[:, 0] <= PLANTED[:, None] + 1e-9) & (PLANTED[:, None] <= bounds[:, 1] + 1e-9)
    return (chance * held).sum(axis=1)


@pytest.mark.parametrize("rate", RATES)
def test_errors_are_greatest_at_the_bound_and_within_the_level_there(rate: float) -> None:
    above, below, _ = plan(rate).expected(rate)
    assert 0.02 < above <= 0.025
    assert 0.02 < below <= 0.025
    assert max(plan(rate).expected(p)[0] for p in np.linspace(0.001, rate, 40)) <= above + 1e-9
    assert max(plan(rate).expected(p)[1] for p in np.linspace(rate, 0.999, 40)) <= below + 1e-9


@pytest.mark.parametrize("rate", RATES)
def test_intervals_cover_and_leave_the_bound_out_where_the_plan_decides(rate: float) -> None:
    found = plan(rate)
    assert coverage(found).min() >= 0.95
    for (k, n), (low, high) in found.intervals.items():
        assert low > rate or found.signs[n, k] != ABOVE
        assert high < rate or found.signs[n, k] != BELOW
        assert low <= k / n <= high


def test_an_interval_that_forgets_how_sampling_stopped_is_caught() -> None:
    """Stopping the first time that a single look convinces, and reporting that look, covers too little."""
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
def test_it_decides_as_many_as_two_thirds_of_its_cap_with_fewer_samples(rate: float) -> None:
    size = round(MOST * 2 / 3)
    low, high = interval(np.arange(size + 1.0), size)
    prior = np.sin(np.pi / 2 * (np.arange(4000) + 0.5) / 4000) ** 2  # quantiles of Jeffreys' prior
    chance = binom.pmf(np.arange(size + 1), size, prior[:, None])
    fixed = np.where(prior > rate, chance[:, low > rate].sum(1), chance[:, high < rate].sum(1)).mean()
    above, below, samples = np.array([plan(rate).expected(p) for p in prior[::8]]).T
    assert np.where(prior[::8] > rate, above, below).mean() >= fixed - 0.001
    assert samples.mean() < size / 2


def test_probabilities_of_all_ways_to_stop_add_up_and_the_next_stop_is_no_nearer_than_said() -> None:
    found = plan(0.2)
    assert found.chances(PLANTED).sum(axis=1) == pytest.approx(1)
    for n, k in np.argwhere(found.signs == OPEN):
        if k <= n:
            reach = found.signs[n + found.least[n, k], k : k + found.least[n, k] + 1]
            before = found.signs[n + found.least[n, k] - 1, k : k + found.least[n, k]]
            assert (reach != OPEN).any()
            assert (before == OPEN).all()


def test_simulated_stops_come_as_often_as_the_plan_says() -> None:
    found, rng, counts = plan(0.2), np.random.default_rng(3), {ABOVE: 0, BELOW: 0, GIVEN_UP: 0}
    for row in rng.random((2000, MOST)) < 0.3:
        harms = row.cumsum()
        n = next(n for n in range(1, MOST + 1) if found.signs[n, harms[n - 1]] != OPEN)
        counts[int(found.signs[n, harms[n - 1]])] += 1
    above, below, _ = found.expected(0.3)
    assert counts[ABOVE] / 2000 == pytest.approx(above, abs=0.04)
    assert counts[BELOW] / 2000 == pytest.approx(below, abs=0.02)


def test_errors_may_be_asked_for() -> None:
    above, below, _ = deciding(0.2, MOST, errors=(0.005, 0.02)).expected(0.2)
    assert above <= 0.005 < below <= 0.02


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_a_width_is_kept_at_any_level(level: float) -> None:
    found = narrowing(0.5, 40, level)
    widths = [high - low for (k, n), (low, high) in found.intervals.items() if found.signs[n, k] == NARROW]
    assert 0.4 < max(widths) <= 0.5


def test_a_fixed_sample_decides_less_at_a_higher_level() -> None:
    errors = (0.1, 0.1)
    assert (
        _Game(0.2, 60, errors, 0.8).fixed(40)
        > _Game(0.2, 60, errors).fixed(40)
        > _Game(0.2, 60, errors, 0.99).fixed(40)
    )


def test_a_width_is_kept_wherever_sampling_stops_before_the_cap() -> None:
    found = narrowing(0.3, 80)
    assert coverage(found).min() >= 0.95
    widths = {end: high - low for end, (low, high) in found.intervals.items() if found.signs[end[1], end[0]] == NARROW}
    assert max(widths.values()) <= 0.3
    assert found.expected(0.0)[2] < 15 < 45 < found.expected(0.5)[2]
