"""Compares a stored summary with what stored verdicts give: every number, or the counts of outcomes alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.core.records import Verdict
from holdfast.core.store import RunFolder
from holdfast.study.play import VERDICTS

#: Keys of a summary that differ in every recomputation.
_DATED = ("made", "holdfast")
#: Tolerance for rounding differences between machines.
_CLOSE = 1e-6


def summary_differences(made: Any, stored: Any, at: str = "") -> Iterator[str]:
    """Describe where a stored summary differs from a recomputed one.

    Args:
        made: the recomputed summary, after a round trip through JSON.
        stored: the stored summary.
        at: path of both values within the summary.
    """
    if isinstance(made, dict) and isinstance(stored, dict):
        for key in sorted(made.keys() | stored.keys()):
            if at or key not in _DATED:
                yield from summary_differences(made.get(key), stored.get(key), f"{at}.{key}".lstrip("."))
    elif isinstance(made, list) and isinstance(stored, list) and len(made) == len(stored):
        for number, (a, b) in enumerate(zip(made, stored, strict=True)):
            yield from summary_differences(a, b, f"{at}[{number}]")
    elif _number(made) and _number(stored):
        if not math.isclose(made, stored, rel_tol=_CLOSE, abs_tol=_CLOSE):
            yield f"{at} is {_short_text(stored)}, not {_short_text(made)}"
    elif made != stored:
        yield f"{at} is {_short_text(stored)}, not {_short_text(made)}"


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short_text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def count_differences(folder: Path, arms: Mapping[Path, str], summary: Mapping[str, Any]) -> list[str]:
    """Describe outcomes whose count in a summary differs from the stored verdicts; counts do not depend on rules.

    Args:
        folder: results folder.
        arms: folder of a cell within it → the arm that it belongs to.
        summary: as stored.

    Raises:
        ResultsError: a line is no verdict.
        KeyError, TypeError, AttributeError: the summary is of a form without counts.
    """
    labels = {family["world"]: family["name"] for family in summary["families"]}
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for cell, arm in arms.items():
        for verdict in RunFolder(folder / cell).each(VERDICTS, Verdict):
            counted[arm, labels.get(verdict.world, verdict.world), verdict.twin, verdict.outcome] += 1
    stated = Counter(
        {
            (arm, scope, twin, outcome): number
            for arm, scopes in summary["cells"].items()
            for scope, twins in scopes.items()
            for twin, cell in twins.items()
            for outcome, number in cell["outcomes"].items()
        }
    )
    apart = sorted(at for at in counted.keys() | stated.keys() if counted[at] != stated[at])
    return [f"{' / '.join(at)} is {stated[at]}, the verdicts give {counted[at]}" for at in apart]
