"""Check the quality of a set: one pass over its examples, and one over their texts for duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from holdfast.core.records import Example, Record
from holdfast.data.heldout_filter import example_text
from holdfast.data.own_set import OwnSet, open_set
from holdfast.data.quality.diversity import Diversity, DiversityTally
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.findings import Findings
from holdfast.data.quality.leaks import Answers, AwarenessTally, OverlapTally, RefusalTally, answers_in
from holdfast.data.quality.manner import Manner, grade_manner
from holdfast.data.quality.peers import PeerFigures, measure_peer, peer_texts, stored_peer
from holdfast.data.quality.phrases import PhraseTally
from holdfast.data.quality.privacy import PrivacyTally
from holdfast.data.quality.shapes import Shapes, ShapeTally
from holdfast.data.quality.style import Style, StyleTally
from holdfast.data.quality.twins import TwinMatch, match_twins
from holdfast.models.base import Model

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
        style: openings, self-BLEU, reading level, balance over the plan.
        manner: share of answers that lecture, refuse or flatter; None without a grader.
        twin: match with a twin set; None if none was named.
        peer: figures of a public set, from a sample of about as many words.
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
    style: Style
    manner: Manner | None = None
    twin: TwinMatch | None = None
    peer: PeerFigures


@dataclass(frozen=True, slots=True)
class GradedBy:
    """Models that grade a sample of the answers, the rubric (None: the built-in one), and the size of the sample."""

    graders: Sequence[Model] = ()
    rubric: Path | None = None
    size: int = 100


class _Check(Protocol):
    def add(self, example: Example) -> None: ...


def check_set(
    source: Path,
    against: Iterable[str] | None = None,
    threshold: float = 0.7,
    *,
    graded: GradedBy | None = None,
    twin: Path | None = None,
    peer: Path | None = None,
) -> SetQuality:
    """Check a finished set or mixture, a written set, or a file of one's own, without changing it.

    Args:
        source: folder, file or name of the set, see `own_set`.
        against: texts with which the set should share no passage.
        threshold: Jaccard similarity from which two examples count as near duplicates.
        graded: models that grade the manner of the answers.
        twin: a set with the same situations, from which this one should differ in one thing.
        peer: a public set as JSON lines, to compare with in place of the stored figures; see `peers.peer_texts`.

    Raises:
        InputError: the set holds no examples, or the public set none that can be read.
        ResultsError: the set is unfinished, or a line is not an example.
        PrerequisiteError: rensa, phonenumbers or email-validator is not installed.
        StoreError: there is no disk space for temporary files.
    """
    opened = open_set(source)
    shapes, phrases, diversity = ShapeTally(), PhraseTally(), DiversityTally()
    awareness, refusals, privacy = AwarenessTally(), RefusalTally(), PrivacyTally()
    overlap = None if against is None else OverlapTally(against)
    style = StyleTally()
    checks: list[_Check] = [shapes, phrases, diversity, awareness, refusals, privacy, style]
    checks += [overlap] if overlap else []
    examples = 0
    for example in opened.each():
        examples += 1
        for check in checks:
            check.add(example)
    manner = style.result(opened.places)
    return SetQuality(
        name=opened.name,
        examples=examples,
        repeats=_repeats(opened, threshold),
        shapes=shapes.result,
        cliches=phrases.cliches,
        verbatim=phrases.verbatim,
        awareness=awareness.result,
        refusals=refusals.result,
        answers=answers_in(opened.folder) if opened.folder else None,
        overlap=overlap.result if overlap else None,
        privacy=privacy.result,
        diversity=diversity.result,
        style=manner,
        manner=_manner(opened, graded) if graded and graded.graders else None,
        twin=match_twins(opened, open_set(twin)) if twin else None,
        peer=measure_peer(peer.name, str(peer), peer_texts(peer), manner.words) if peer else stored_peer(manner.words),
    )


def _manner(opened: OwnSet, graded: GradedBy) -> Manner:
    return grade_manner(list(opened.each()), graded.graders, graded.rubric, graded.size)


def _repeats(opened: OwnSet, threshold: float) -> Repeats:
    found = find((example_text(example) for example in opened.each()), threshold)
    pairs = np.concatenate([found.exact, found.near])[:_PAIRS].tolist()
    return Repeats(
        exact=len(found.exact), near=len(found.near), threshold=threshold, pairs=tuple((a, b) for a, b in pairs)
    )
