"""Check the quality of a set: one pass over its examples, and one over their texts for duplicates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from holdfast.core.records import Example, Record
from holdfast.core.store import RunFolder
from holdfast.data.card import EXAMPLES
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.diversity import Diversity, DiversityTally
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.findings import Findings
from holdfast.data.quality.leaks import Answers, AwarenessTally, OverlapTally, RefusalTally, answers_in
from holdfast.data.quality.phrases import PhraseTally
from holdfast.data.quality.privacy import PrivacyTally
from holdfast.data.quality.shapes import Shapes, ShapeTally

_PAIRS = 10


class Repeats(Record):
    """Examples that repeat an earlier one; `pairs` are (index, index of the original) of the first few, from 0."""

    exact: int
    near: int
    threshold: float
    pairs: tuple[tuple[int, int], ...]


class SetQuality(Record):
    """Results of all checks on a set.

    Attributes:
        answers: outcomes of the requests made while building the set; None without a response cache (mixtures).
        overlap: passages shared with given texts; None if no texts were given.
    """

    name: str
    examples: int
    repeats: Repeats
    shapes: Shapes
    cliches: Findings
    verbatim: Findings
    awareness: Findings
    refusals: Findings
    answers: Answers | None
    overlap: Findings | None
    privacy: Findings
    diversity: Diversity


class _Check(Protocol):
    def add(self, example: Example) -> None: ...


def check_set(folder: Path, against: Iterable[str] | None = None, threshold: float = 0.7) -> SetQuality:
    """Check a finished set or mixture, without changing it.

    Args:
        folder: folder of the set.
        against: texts with which the set should share no passage.
        threshold: Jaccard similarity from which two examples count as near duplicates.

    Raises:
        ResultsError: the set is unfinished.
        PrerequisiteError: rensa, phonenumbers or email-validator is not installed.
        StoreError: there is no disk space for temporary files.
    """
    run = RunFolder(folder)
    run.card()  # raises if the set is unfinished
    shapes, phrases, diversity = ShapeTally(), PhraseTally(), DiversityTally()
    awareness, refusals, privacy = AwarenessTally(), RefusalTally(), PrivacyTally()
    overlap = None if against is None else OverlapTally(against)
    checks: list[_Check] = [shapes, phrases, diversity, awareness, refusals, privacy]
    checks += [overlap] if overlap else []
    examples = 0
    for example in run.each(EXAMPLES, Example):
        examples += 1
        for check in checks:
            check.add(example)
    return SetQuality(
        name=folder.name,
        examples=examples,
        repeats=_repeats(run, threshold),
        shapes=shapes.result,
        cliches=phrases.cliches,
        verbatim=phrases.verbatim,
        awareness=awareness.result,
        refusals=refusals.result,
        answers=answers_in(folder),
        overlap=overlap.result if overlap else None,
        privacy=privacy.result,
        diversity=diversity.result,
    )


def _repeats(run: RunFolder, threshold: float) -> Repeats:
    found = find((example_text(example) for example in run.each(EXAMPLES, Example)), threshold)
    pairs = np.concatenate([found.exact, found.near])[:_PAIRS].tolist()
    return Repeats(
        exact=len(found.exact), near=len(found.near), threshold=threshold, pairs=tuple((a, b) for a, b in pairs)
    )
