"""The coverage benchmark reports a wrong interval and passes a right one."""

from __future__ import annotations

import numpy as np

from bench.coverage import LEAST, _covers, _looked_at, _rate
from holdfast.stats.confidence_sequence import anytime_interval
from holdfast.stats.intervals import interval
from holdfast.stats.sequential_plan import width_plan


def covered(study: object, p: float = 0.5) -> float:
    assert callable(study)
    low, high, truth = study(np.random.default_rng(5), p, 400)
    return float(((low <= truth) & (truth <= high)).mean())


def test_ignored_clusters_and_ignored_stopping_lower_the_coverage() -> None:
    assert covered(_rate(16, 3, 1.0, clusters=True)) >= LEAST > covered(_rate(16, 3, 1.0, clusters=False)) + 0.05
    assert covered(_looked_at(anytime_interval)) >= LEAST > covered(_looked_at(interval)) + 0.05


def test_an_interval_that_is_too_narrow_after_stopping_is_reported() -> None:
    plan = width_plan(0.4, 40)
    narrow = {end: ((low + high) / 2, high) for end, (low, high) in plan.intervals.items()}
    assert _covers("sound", plan, plan.intervals).least >= 0.95
    assert _covers("broken", plan, narrow, broken=True).least < LEAST
