"""The walks in CONTRIBUTING.md name functions that exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^\d+\. `(holdfast[\w.]+)`", TEXT, re.MULTILINE)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_both_walks_are_there() -> None:
    assert len(STEPS) >= 25
    assert not exists("holdfast.study.run.no_such_function")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_names_something_that_exists(name: str) -> None:
    assert exists(name)
