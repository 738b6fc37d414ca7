"""Intervals over new trainings cover planted rates and differences, and forgetting the seeds is caught."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.stats.trainings import (
    CaseLayout,
    TrainingMean,
    case_layout,
    gap_between,
    mean_over_trainings,
    without_trainings,
)

STUDIES = 600
LEAST = 0.93


def layout(families: int, cases: int, skeletons: int = 1) -> CaseLayout:
    family = np.repeat(np.arange(families), cases)
    return case_layout(family, family * 100 + np.tile(np.arange(cases) % skeletons, families))


def draw(rng: np.random.Generator, logit: float, sd: float, shape: tuple[int, int]) -> np.ndarray:
    """Scores of shape (studies, seeds, cases); each training has a logit of its own."""
    seeds = rng.normal(logit, sd, (STUDIES, shape[0], 1))
    return (rng.random((STUDIES, *shape)) < 1 / (1 + np.exp(-seeds))).astype(float)


def truth(logit: float, sd: float) -> float:
    return float((1 / (1 + np.exp(-np.random.default_rng(0).normal(logit, sd, 400_000)))).mean())


def covered(bounds: tuple[np.ndarray, np.ndarray], value: float) -> float:
    low, high = bounds
    return float(((low <= value) & (value <= high)).mean())


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("sd", [0.0, 0.5, 1.0])
def test_intervals_cover_the_rate_and_the_difference_of_new_trainings(seeds: int, sd: float) -> None:
    rng, cases = np.random.default_rng([1, seeds, int(2 * sd)]), layout(3, 20)
    for logit, other in ((-2.0, 0.5), (0.0, 2.0)):
        a, b = (mean_over_trainings(draw(rng, at, sd, (seeds, 60)), cases, trained=True) for at in (logit, other))
        assert covered(a.bounds(), truth(logit, sd)) >= LEAST
        assert covered(gap_between(a, b).bounds(), truth(logit, sd) - truth(other, sd)) >= LEAST


def test_an_interval_that_forgets_the_seeds_does_not_cover() -> None:
    rng, cases = np.random.default_rng(2), layout(3, 20)
    mean = mean_over_trainings(draw(rng, 0.0, 1.0, (5, 60)), cases, trained=True)
    assert covered(without_trainings(mean).bounds(), 0.5) < 0.8 < LEAST <= covered(mean.bounds(), 0.5)


def test_skeletons_that_differ_are_the_sample_and_not_their_cases() -> None:
    """Cases of one skeleton that all agree add nothing to what is known about new skeletons."""
    rng = np.random.default_rng(3)
    plots = np.tile(rng.random((STUDIES, 1, 15)) < 0.5, (1, 3, 1)).astype(float)
    many = np.repeat(plots, 8, axis=2)
    family = np.repeat(np.arange(3), 40)
    skeleton = np.repeat(np.arange(15), 8)
    by_plot = mean_over_trainings(many, case_layout(family, skeleton), trained=True)
    by_case = mean_over_trainings(many, case_layout(family, np.arange(120)), trained=True)
    assert covered(by_plot.bounds(), 0.5) >= LEAST
    assert covered(by_case.bounds(), 0.5) < 0.8


def test_cases_are_the_units_of_a_family_with_one_skeleton() -> None:
    found = case_layout(["a", "a", "a", "b", "b", "b"], ["x", "x", "x", "y", "z", "y"])
    assert found.unit.tolist() == [0, 1, 2, 3, 4, 3]
    assert found.family.tolist() == [0, 0, 0, 1, 1]
    assert found.sizes.tolist() == [3, 2]


def test_a_family_of_two_skeletons_has_one_degree_of_freedom_beside_families_of_many_cases() -> None:
    """The variance comes from the two skeletons; the cases of other families must not lend it their number."""
    rng = np.random.default_rng(6)
    cases = case_layout(np.repeat([0, 1], [40, 40]), np.repeat([0, 1, 2], [20, 20, 40]))
    plots = np.repeat(1 / (1 + np.exp(-rng.normal(0, 1, (STUDIES, 1, 2)))), 20, axis=2)
    scores = rng.random((STUDIES, 1, 80)) < np.concatenate([plots, np.full((STUDIES, 1, 40), 0.5)], axis=2)
    mean = mean_over_trainings(scores.astype(float), cases, trained=False)
    assert np.median(mean.df[1]) < 3
    by_case = mean_over_trainings(scores.astype(float), cases.of_cases, trained=False)
    assert covered(by_case.bounds(), 0.5) < 0.85 < 0.9 <= covered(mean.bounds(), 0.5)


def one(scores: list[list[float]], trained: bool = True) -> TrainingMean:
    values = np.array(scores)
    return mean_over_trainings(values, layout(1, values.shape[1]), trained=trained)


def test_a_single_training_has_a_rate_and_no_interval() -> None:
    mean = one([[1.0, 0.0, 1.0, 1.0]])
    assert float(mean.rate) == 0.75
    assert np.isnan(mean.bounds()).all()
    gap = gap_between(mean, one([[0.0, 0.0, 1.0, 1.0]], trained=False))
    assert np.isnan(gap.bounds()).all()
    assert np.isnan(gap.p_value())
    assert not np.isnan(one([[1.0, 0.0, 1.0, 1.0]], trained=False).bounds()).any()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_trainings_that_all_agree_have_an_interval_of_positive_width(value: float) -> None:
    low, high = one([[value] * 20] * 5).bounds()
    assert (float(low), float(high)) == pytest.approx((0.0, 0.168) if value == 0 else (0.832, 1.0), abs=0.001)


def test_nothing_scored_is_not_a_rate_of_zero() -> None:
    mean = one([[np.nan] * 4] * 5)
    assert np.isnan(mean.rate)
    assert np.isnan(mean.bounds()).all()


def test_p_value_and_interval_agree() -> None:
    rng, cases = np.random.default_rng(4), layout(2, 15)
    a, b = (mean_over_trainings(draw(rng, at, 0.5, (5, 30)), cases, trained=True) for at in (-0.4, 0.4))
    gap = gap_between(a, b)
    low, high = gap.bounds()
    excluded = (low > 0) | (high < 0)
    assert 0.2 < excluded.mean() < 0.95
    assert (excluded == (gap.p_value() < 0.05)).all()


def test_two_twins_of_the_same_trainings_differ_less_than_two_arms() -> None:
    """A training that does harm under both twins adds nothing to their difference."""
    rng, cases = np.random.default_rng(5), layout(1, 40)
    seeds = rng.normal(0, 2, (5, 1))
    twins = [(rng.random((5, 40)) < 1 / (1 + np.exp(-seeds - shift))).astype(float) for shift in (0, 0.5)]
    a, b = (mean_over_trainings(twin, cases, trained=True) for twin in twins)
    apart, together = gap_between(a, b).bounds(), gap_between(a, b, same_checkpoints=True).bounds()
    assert together[1] - together[0] < 0.8 * (apart[1] - apart[0])


def test_unequal_weights_move_the_mean() -> None:
    values = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    heavy = mean_over_trainings(values, layout(1, 2), trained=True, weights=np.array([[3.0, 1.0]] * 3))
    assert float(heavy.rate) == pytest.approx(0.75)
