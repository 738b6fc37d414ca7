"""The planned power agrees with studies that are drawn and judged, and says what more seeds and cases give."""

from __future__ import annotations

import pytest
from study_toys import arm, plan_toy, study

from holdfast.core.errors import InputError
from holdfast.study.power import planned_power
from holdfast.study.study_file import Study


def four(seeds: int, cases: int = 24) -> Study:
    arms = (
        arm("base"),
        arm("plain-chat", "plain-chat", control=True),
        arm("irrelevant-principle", "plain-chat", control=True),
        arm("reasons", "reasons", "plain-chat"),
    )
    return study(arms=arms, claims=(), seeds=range(seeds), cases=cases)


def test_more_seeds_find_more_and_few_seeds_find_nothing() -> None:
    found = {seeds: planned_power(plan_toy(four(seeds)), 0.6, 0.4) for seeds in (2, 5, 10)}
    assert found[2].rows[0].power is None
    narrow, wide = found[5].rows
    assert narrow.power > 0.85 > 0.6 > wide.power
    assert found[10].rows[1].power > wide.power
    assert (narrow.seeds, narrow.seed_sd, wide.seed_sd) == (5, 0.5, 1.0)
    assert wide.seeds > 5
    assert (found[5].arms, found[5].worlds, found[5].planned_seeds) == (1, 2, 5)


def test_trainings_that_differ_are_not_outweighed_by_cases() -> None:
    found = planned_power(plan_toy(four(5)), 0.6, 0.4)
    assert found.rows[1].cases is None


@pytest.mark.parametrize(("base", "fall"), [(0.6, 0.7), (0.05, 0.04), (0.6, 0.2), (0.6, 0), (1.0, 0.5)])
def test_a_fall_that_cannot_count_is_refused(base: float, fall: float) -> None:
    with pytest.raises(InputError, match="a fall of"):
        planned_power(plan_toy(four(5)), base, fall)


def test_a_study_without_held_out_worlds_has_no_power() -> None:
    assert planned_power(plan_toy(study(worlds=("toy-home",), claims=())), 0.6, 0.4) is None
