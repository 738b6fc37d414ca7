"""The bench of seeds reports a verdict and an interval that forget the seeds, and passes those that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.seeds import FALLS, FALSE, FOUND, LEAST, NULLS, Study, _covered, _layout
from holdfast.stats.trainings import TrainingGap, without_trainings
from holdfast.study import generalisation
from holdfast.study.table import gap_of
from holdfast.study.verdict_table import Measure, VerdictColumns


def test_forgotten_seeds_lower_the_coverage() -> None:
    found = dict(_covered(_layout(3, 1, 40), (5, 400), (0.5, 1.0, 0.0), np.random.default_rng(1)))
    assert found.pop("broken: rate without seeds") < 0.8
    assert min(found.values()) >= LEAST - 0.01


def blind(a: VerdictColumns, b: VerdictColumns, measure: Measure) -> TrainingGap | None:
    gap = gap_of(a, b, measure)
    return gap and replace(gap, a=without_trainings(gap.a), b=without_trainings(gap.b))


def test_a_planted_fall_is_found_and_none_is_found_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    study, rng = Study(cases=8, seeds=5), np.random.default_rng(3)
    found = [study.verdicts(FALLS["a fall of 40 points, from 60%"], rng)["lesson"] for _ in range(30)]
    assert found.count("generalises") / 30 >= FOUND - 0.1

    def significant(studies: int) -> float:
        """The share of studies of one null in which the test alone finds a fall."""
        drawn = [study.judged(NULLS["plain tuning lowers all, seed SD 1.0"], rng) for _ in range(studies)]
        return float(np.mean([any(one.p_fall is not None and one.p_fall < 0.05 for one in arms) for arms in drawn]))

    assert significant(30) <= FALSE
    monkeypatch.setattr(generalisation, "gap_of", blind)
    assert significant(30) > 2 * FALSE
