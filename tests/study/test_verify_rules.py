"""The rooms that are hashed as the rules of a results folder are those that its files are made by."""

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


def test_every_hashed_part_has_its_rooms() -> None:
    assert MAKERS.keys() == ROOMS.keys()


@pytest.mark.parametrize("what", MAKERS)
def test_no_imported_room_is_missing_in_the_rules(what: str) -> None:
    code = f"import sys, {MAKERS[what]}; print(*{{n.split('.')[1] for n in sys.modules if n.startswith('holdfast.')}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == set(ROOMS[what])
