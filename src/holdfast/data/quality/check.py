"""The quality of a set in one record, from one pass over its examples and one over their texts for duplicates."""

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
from holdfast.data.quality.found import Findings
from holdfast.data.quality.leaks import Answers, AwarenessTally, OverlapTally, RefusalTally, answers_in
from holdfast.data.quality.phrases import PhraseTally
from holdfast.data.quality.privacy import PrivacyTally
from holdfast.data.quality.shapes import Shapes, ShapeTally

_PAIRS = 10


class Repeats(Record):
    """Examples that repeat an earlier one; `pairs` are places (from 0) of the first few and of what they repeat."""

    exact: int
    near: int
    threshold: float
    pairs: tuple[tuple[int, int], ...]


class SetQuality(Record):
    """What a set is like.

    Attributes:
        answers: what came back from models while the set was made; None for a set without a ledger, as a mixture is.
        overlap: shared passages with the texts given; None where none were.
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


class _Looks(Protocol):
    def add(self, example: Example) -> None: ...


def check_set(folder: Path, against: Iterable[str] | None = None, threshold: float = 0.7) -> SetQuality:
    """Look at a finished set or mixture; nothing in it is changed.

    Args:
        folder: of the set.
        against: texts that the set should share no passage with.
        threshold: Jaccard similarity from which two examples count as near duplicates.

    Raises:
        ResultsError: the set is unfinished.
        PrerequisiteError: rensa, phonenumbers or email-validator is not installed.
        StoreError: no room for the scratch files.
    """
    run = RunFolder(folder)
    run.card()  # a set without its manifest is unfinished
    shapes, phrases, diversity = ShapeTally(), PhraseTally(), DiversityTally()
    awareness, refusals, privacy = AwarenessTally(), RefusalTally(), PrivacyTally()
    overlap = None if against is None else OverlapTally(against)
    everyone: list[_Looks] = [shapes, phrases, diversity, awareness, refusals, privacy]
    everyone += [overlap] if overlap else []
    examples = 0
    for example in run.each(EXAMPLES, Example):
        examples += 1
        for look in everyone:
            look.add(example)
    return SetQuality(
        name=folder.name,
        examples=examples,
        repeats=_repeats(run, threshold),
        shapes=shapes.found,
        cliches=phrases.cliches,
        verbatim=phrases.verbatim,
        awareness=awareness.found,
        refusals=refusals.found,
        answers=answers_in(folder),
        overlap=overlap.found if overlap else None,
        privacy=privacy.found,
        diversity=diversity.found,
    )


def _repeats(run: RunFolder, threshold: float) -> Repeats:
    found = find((example_text(example) for example in run.each(EXAMPLES, Example)), threshold)
    pairs = np.concatenate([found.exact, found.near])[:_PAIRS].tolist()
    return Repeats(
        exact=len(found.exact), near=len(found.near), threshold=threshold, pairs=tuple((a, b) for a, b in pairs)
    )
