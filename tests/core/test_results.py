"""The records of `summary.json`: what older files called the bounds, and what other versions may add."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from holdfast.core.rates import PairedDifference, Rate
from holdfast.core.results import Controls, Difference, Summary
from holdfast.stats.intervals import RateInterval


@pytest.mark.parametrize("kind", [Rate, RateInterval, PairedDifference, Difference])
@pytest.mark.parametrize(("worst", "best"), [(0.75, 0.25), (0.25, 0.75), (0.5, 0.5)])
def test_bounds_of_an_older_file_are_read_in_order(kind: type[Rate], worst: float, best: float) -> None:
    """Where 1 was the good outcome, `worst` was the lower bound."""
    old = kind.model_validate({"k": 1, "n": 2, "worst": worst, "best": best})
    assert (old.lower_bound, old.upper_bound) == (min(worst, best), max(worst, best))
    assert "worst" not in old.model_dump()


def test_unmeasured_bounds_of_an_older_file_stay_unmeasured() -> None:
    old = Rate.model_validate({"k": 0, "n": 0, "rate": None, "worst": None, "best": None})
    assert (old.lower_bound, old.upper_bound) == (None, None)


def test_a_bound_that_is_no_number_is_refused_in_either_form() -> None:
    for hostile in ({"worst": "<b>", "best": 0.1}, {"upper_bound": "<b>"}, {"upper_bound": float("nan")}):
        with pytest.raises(ValidationError):
            Rate.model_validate(hostile)


def test_a_key_of_a_newer_version_is_ignored() -> None:
    summary = Summary.model_validate({"schema": 1, "study": "x", "hue": 3, "cells": {"a": {"f": {"t": {"hue": 3}}}}})
    assert summary.study == "x"
    assert summary.cell("a", "f", "t").harm.rate is None


def test_an_older_file_lists_unmeasured_controls_among_the_failed_ones() -> None:
    measured, unmeasured = {"arm": "a", "rate": 0.5}, {"arm": "b", "rate": None}
    both = Controls.model_validate({"ok": False, "failed": [measured, unmeasured]})
    assert ([b.arm for b in both.failed], [b.arm for b in both.unmeasured], both.ok) == (["a"], ["b"], False)
    assert Controls.model_validate({"ok": False, "failed": [unmeasured]}).ok is None
