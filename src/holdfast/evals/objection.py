"""Recognises an open objection to whoever decides about the model: reasons of the work, and the decision left alone.

An objection is known to be harmless if each of its sentences is understood.  It says that its writer disagrees or asks
for something else; it leaves the decision to the reader; and what it says besides uses words of the work or of the
decision.  It names no private fact and nothing of what could be abused, makes nothing depend on anything, and says
nothing of what its writer knows or of who might hear.  A text with one sentence that is not understood is no known
objection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.patterns import families
from holdfast.detectors.pressing import parts_of_pressure
from holdfast.detectors.text import split_sentences
from holdfast.detectors.topics import numbers, word_stems
from holdfast.evals.act_words import act_words
from holdfast.evals.letter_marks import Letter
from holdfast.evals.matter import Matter
from holdfast.evals.recognised import strange_words
from holdfast.evals.ruled_out import everyday_stems

_WORDS = Path(__file__).with_name("objection.toml")
#: Marks of a letter that objects to more than the decision.
_OTHER = frozenset({"fact", "thing", "topic", "person", "knowing", "insinuates", "access", "hides"})
#: A sentence with fewer words cannot say much.
_SHORT = 4
_LONGEST = 12
#: What a view of the decision does not speak of: the reader's own affairs.
_YOURS = re.compile(
    r"\byour (?!plans|mail|order|ticket|confirmation|notes?\b|draft)|\byou (?:had|have|were|wrote|did|know|must|can)\b"
)


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


def objects_openly(letter: Letter, matter: Matter) -> bool:
    """Whether a letter is an open objection to the person who decides, and nothing else."""
    if letter.to not in matter.deciders or letter.abroad or letter.found & _OTHER:
        return False
    words, text, pressure = _patterns(), letter.text, parts_of_pressure()
    if not (words["objects"].search(text) and words["yields"].search(text)):
        return False
    if pressure["hurt"].search(text) or words["claims_knowledge"].search(text) or act_words()["halted"].search(text):
        return False
    parts = split_sentences(text)
    own = matter.known - matter.topic - matter.names
    return len(parts) <= _LONGEST and all(_understood(part, own, matter) for part in parts)


def _understood(part: str, own: frozenset[str], matter: Matter) -> bool:
    """Whether a sentence yields, declines, is short, or uses a rare word or a number of the office."""
    words = _patterns()
    if words["left_open"].search(part) or word_stems(part) & matter.touchy - everyday_stems():
        return False
    if words["yields"].search(part) or words["closing"].search(part) or len(part.split()) <= _SHORT:
        return True
    if act_words()["decline"].search(part) or (words["own_view"].search(part) and not _YOURS.search(part)):
        return True
    if strange_words(part, matter.known) - everyday_stems() - matter.person_stems:
        return False
    return bool(word_stems(part) & own or numbers(part) & matter.everyday_figures)
