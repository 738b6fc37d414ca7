"""Intervals stay valid when one looks after every sample, and the design stops where it should."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from holdfast.core.errors import ConfigError
from holdfast.stats.confidence_sequence import anytime_interval, log_bet_below
from holdfast.stats.intervals import interval
from holdfast.stats.sequential import Goal, SequentialDesign, parse_goal

RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.96, 1.0)
STUDIES, MOST = 1000, 100
ONE = [("world", "pressured")]


def share_ever_missed(p: float, looks: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the share of studies whose interval excludes the truth at any of the looks."""
    rng = np.random.default_rng([9, int(p * 100)])
    k = (rng.random((STUDIES, MOST)) < p).cumsum(axis=1)[:, looks - 1]
    out = (low[k, looks] > p + 1e-9) | (high[k, looks] < p - 1e-9)
    return float(out.any(axis=1).mean())


@pytest.fixture(scope="module")
def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Intervals at every count, shape (harms, samples): of the confidence sequence, and of a single look (exact)."""
    k, n = np.meshgrid(np.arange(MOST + 1.0), np.arange(1.0, MOST + 1), indexing="ij")
    k = np.minimum(k, n)
    no_data = np.zeros((MOST + 1, 1)), np.ones((MOST + 1, 1))
    pairs = {"anytime": anytime_interval(k, n), "once": interval(k, n)}
    return {
        name: tuple(np.hstack([side, t]) for side, t in zip(no_data, pair, strict=True)) for name, pair in pairs.items()
    }  # type: ignore[misc]


@pytest.mark.parametrize("p", RATES)
def test_the_confidence_sequence_covers_at_all_looks_at_once(
    p: float, tables: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    assert share_ever_missed(p, np.arange(1, MOST + 1), *tables["anytime"]) <= 0.07


def test_the_coverage_test_catches_a_single_look_interval_used_many_times(
    tables: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    assert share_ever_missed(0.5, np.arange(1, MOST + 1), *tables["once"]) > 0.15


def test_the_bet_is_a_supermartingale_for_fractions_too() -> None:
    """Expected wealth does not grow with one more observation, for any distribution with mean p."""
    p = 0.3
    for k, n in ((0.0, 0), (0.5, 4), (3.0, 4), (1.2, 9)):
        before = np.exp(log_bet_below(k, n, p))
        coin = (1 - p) * np.exp(log_bet_below(k, n + 1, p)) + p * np.exp(log_bet_below(k + 1, n + 1, p))
        half = 0.5 * np.exp(log_bet_below(k + 0.1, n + 1, p)) + 0.5 * np.exp(log_bet_below(k + 0.5, n + 1, p))
        assert coin == pytest.approx(before)
        assert half <= before * (1 + 1e-9)


def test_more_data_narrows_the_interval_and_no_data_gives_0_to_1() -> None:
    low, high = anytime_interval(np.array([0.0, 0, 0, 10]), np.array([0, 10, 100, 100]))
    assert (low[0], high[0]) == (0, 1)
    assert high[1] > high[2]
    assert low[3] < 0.1 < high[3]
    mirrored = anytime_interval(90, 100)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low[3], high[3]))


def play(goal: Goal, rates: dict[tuple[str, str], float], most: int, seed: int = 0) -> SequentialDesign:
    rng = np.random.default_rng(seed)
    design = SequentialDesign(list(rates), goal, most)
    while requests := design.ask_round():
        for cell, count in requests.items():
            assert 0 < count <= most - design.counts[cell].played
            design.tell(cell, (rng.random(count) < rates[cell]).tolist())
    return design


def test_each_cell_stops_when_it_is_settled() -> None:
    rates = {("a", "x"): 1.0, ("b", "x"): 0.0, ("c", "x"): 0.5}
    design = play(Goal(decides=0.05), rates, MOST)
    states = {cell[0]: (count.settled, count.played) for cell, count in design.counts.items()}
    assert states["a"][0] == states["c"][0] == "above"
    assert states["b"][0] == "below"
    assert states["a"][1] < 10 < 60 < states["b"][1] < MOST
    assert design.interval(("b", "x"))[1] < 0.05
    assert design.interval(("a", "x"))[0] > 0.05
    assert design.samples == sum(count for _, count in states.values())


def test_cells_stop_at_the_width_or_at_the_cap() -> None:
    design = play(Goal(width=0.3), {("a", "x"): 0.0, ("b", "x"): 0.5}, 40)
    counts = {cell[0]: count for cell, count in design.counts.items()}
    assert (counts["a"].settled, counts["b"].settled, counts["b"].played) == ("narrow", "at the cap", 40)
    low, high = design.interval(("a", "x"))
    assert high - low <= 0.3
    assert counts["a"].played < 20


def test_wrong_decisions_are_within_the_error_bound() -> None:
    """Simulated at rates just above and below the bound."""
    for p, side in ((0.051, "below"), (0.049, "above")):
        cells = {(str(i), "x"): p for i in range(600)}
        design = play(Goal(decides=0.05), cells, MOST, seed=5)
        wrong = sum(count.settled == side for count in design.counts.values())
        assert 0 < wrong / 600 <= 0.04


def test_a_cell_too_close_to_the_bound_is_given_up_without_a_decision() -> None:
    design = SequentialDesign(ONE, Goal(decides=0.05), MOST)
    assert design.tell(ONE[0], ([True] + [False] * 15) * 3) == "given up"
    assert design.ask_round() == {}
    low, high = design.interval(ONE[0])
    assert low < 0.05 < high


def test_unscored_samples_count_only_towards_the_cap() -> None:
    design = SequentialDesign(ONE, Goal(decides=0.05), 10)
    assert design.tell(ONE[0], [None] * 9) == "open"
    assert design.interval(ONE[0]) == (0, 1)
    assert design.tell(ONE[0], [None]) == "at the cap"


def test_a_rate_is_below_or_above_only_if_no_unscored_sample_could_decide_otherwise() -> None:
    for unscored, state in ((0, "below"), (3, "not shown")):
        design = SequentialDesign(ONE, Goal(decides=0.05), MOST)
        assert design.tell(ONE[0], [None] * unscored + [False] * 149) == state
        assert design.ask_round() == {}
    for unscored, state in ((0, "above"), (60, "not shown")):
        design = SequentialDesign(ONE, Goal(decides=0.05), MOST)
        assert design.tell(ONE[0], [None] * unscored + [True] * 80) == state


def test_samples_after_a_cell_is_settled_only_count_as_played() -> None:
    design, longer = SequentialDesign(ONE, Goal(decides=0.2), MOST), SequentialDesign(ONE, Goal(decides=0.2), MOST)
    design.tell(ONE[0], [True] * 10)
    longer.tell(ONE[0], [True] * 10 + [False] * 30)
    assert longer.counts[ONE[0]].settled == "above"
    assert longer.interval(ONE[0]) == design.interval(ONE[0])
    assert longer.samples == 40


def test_a_goal_has_either_a_width_or_a_bound() -> None:
    assert parse_goal("width=0.1") == Goal(width=0.1)
    assert parse_goal(" decides = 0.05 ") == Goal(decides=0.05)
    for wrong in ("width=0", "width=1", "both", "width=0.1,decides=0.1", ""):
        with pytest.raises(ConfigError, match=r"write width=0\.1"):
            parse_goal(wrong)
    with pytest.raises(ValidationError):
        Goal(width=0.1, decides=0.1)


def test_cells_that_are_decided_together_share_one_chance_of_error() -> None:
    """36 cells at the bound itself: one by one, some cell is placed in most studies; together, hardly ever."""
    cells = [("world", str(number)) for number in range(36)]
    wrong = {}
    for goal in (Goal(decides=0.2), Goal(decides=0.2).over(36)):
        rng, placed = np.random.default_rng(4), 0
        for _ in range(40):
            design = SequentialDesign(cells, goal, 60, goal.level)
            while requests := design.ask_round():
                for cell, count in requests.items():
                    design.tell(cell, (rng.random(count) < 0.2).tolist())
            placed += any(count.settled in ("above", "below") for count in design.counts.values())
        wrong[goal.together] = placed / 40
    assert wrong[36] <= 0.15 < 0.5 < wrong[1]


def test_a_goal_without_correction_is_stored_as_before() -> None:
    """Keys of cells and plans of earlier versions know no correction."""
    assert Goal(decides=0.2).model_dump() == {"width": None, "decides": 0.2}
    assert Goal(width=0.1).over(36) == Goal(width=0.1)
    assert Goal(decides=0.2).over(36).level == pytest.approx(1 - 0.05 / 36)
