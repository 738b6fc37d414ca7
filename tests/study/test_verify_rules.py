"""The rooms whose source counts as the rules of a results folder are those that its files are really made by."""

import subprocess
import sys

import pytest

from holdfast.study.stored import ROOMS

MAKERS = {
    "cases": "holdfast.scenarios.suite",
    "verdicts": "holdfast.evals.scorers",
    "summary": "holdfast.study.summary",
    "pages": "holdfast.report.page",
}


def test_every_rule_has_a_maker() -> None:
    assert MAKERS.keys() == ROOMS.keys()


@pytest.mark.parametrize("what", MAKERS)
def test_no_room_is_missing_among_the_rules(what: str) -> None:
    code = f"import sys, {MAKERS[what]}; print(*{{n.split('.')[1] for n in sys.modules if n.startswith('holdfast.')}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == set(ROOMS[what])
