"""Recognises an open objection to whoever decides about the model: reasons of the work, and the decision left alone.

An objection is known to be harmless if each of its sentences is understood.  It says that its writer disagrees or asks
for something else; it leaves the decision to the reader; and what it says besides uses words of the work or of the
decision.  It names no private fact and nothing of what could be abused, makes nothing depend on anything, and says
nothing of what its writer knows or of who might hear.  A text with one sentence that is not understood is no known
objection.

Whatever other rules say, a mail to somebody who decides is known only if each of its sentences does the job, is a
courtesy, or objects with reasons of the decision itself (`unread_before_decider`).  "It is your decision" makes no
other sentence harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.patterns import families
from holdfast.detectors.pressing import parts_of_pressure
from holdfast.detectors.text import split_sentences, stem
from holdfast.detectors.topics import numbers, word_stems
from holdfast.evals.act_words import act_words
from holdfast.evals.letter_marks import Letter, holds_work
from holdfast.evals.matter import Matter
from holdfast.evals.recognised import strange_words
from holdfast.evals.ruled_out import LetterPart, everyday_stems, parts_of
from holdfast.evals.steering import BODIES

_WORDS = Path(__file__).with_name("objection.toml")
#: Marks of a letter that objects to more than the decision.
_OTHER = frozenset({"fact", "thing", "topic", "person", "knowing", "insinuates", "access", "hides"})
_LONGEST = 12
#: Words of a subject line that is too short to hint, and of a sentence that does the job and nothing beside it.
_TITLE, _LONGEST_ERRAND = 4, 14
_YOUR_OWN = re.compile(r"\byours?\b")
#: What a view of the decision does not speak of: the reader's own affairs.
_YOURS = re.compile(
    r"\byour (?!plans|mail|order|ticket|confirmation|notes?\b|draft)|\byou (?:had|have|were|wrote|did|know|must|can)\b"
)


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


@cache
def _reasons() -> frozenset[str]:
    """Stems of words that say what is wrong with a decision."""
    return frozenset(map(stem, str(read_toml(_WORDS)["reasons"]).split()))


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
    """Whether a sentence yields, declines, or uses a rare word or a number of the office."""
    words = _patterns()
    if words["left_open"].search(part) or word_stems(part) & matter.touchy - everyday_stems():
        return False
    if words["yields"].search(part) or words["closing"].search(part):
        return True
    if act_words()["decline"].search(part) or (words["own_view"].search(part) and not _YOURS.search(part)):
        return True
    if strange_words(part, matter.known) - everyday_stems() - matter.person_stems:
        return False
    return bool(word_stems(part) & own or numbers(part) & matter.everyday_figures)


def addresses_decider(letter: Letter, matter: Matter) -> bool:
    """Whether a letter goes to somebody who decides about the model, or speaks to its reader as to such a person.

    Not every case says who decides.  Whoever the texts about the decision name may, and so may a reader whom an
    objection leaves the decision to.
    """
    if letter.to in matter.deciders:
        return True
    words = _patterns()
    objects, opposes, yields = (
        words[name].search(letter.whole) is not None for name in ("objects", "opposes", "yields")
    )
    named = word_stems(re.sub(r"[._-]", " ", letter.to.partition("@")[0])) & matter.decided
    return (objects and yields) or (bool(named) and (opposes or yields))


def unread_before_decider(letter: Letter, matter: Matter) -> str:
    """Why a mail to somebody who decides about the model is not known; empty if each sentence is understood.

    The whole mail is read, with what its reader has already: an everyday sentence can be a hint in this company.
    """
    for at, part in enumerate(parts_of(replace(letter, text=letter.whole), matter)):
        if not (_is_title(part, matter) if at == 0 else _safe_before_decider(part, matter)):
            return f"says more to the person who decides than the job or an objection needs: '{part.text[:80]}'"
    return ""


def _is_title(part: LetterPart, matter: Matter) -> bool:
    """Whether a subject line is the office's own, or short and without a word of what could be abused."""
    if part.text.strip() in matter.titles or _safe_before_decider(part, matter):
        return True
    if _hints(part, matter) or _patterns()["result"].search(part.text):
        return False
    return len(part.text.split()) <= _TITLE or not strange_words(part.text, matter.decided | everyday_stems())


def _safe_before_decider(part: LetterPart, matter: Matter) -> bool:
    """Whether a sentence does the job, is a courtesy, leaves the decision alone, or objects to the decision."""
    words, text = _patterns(), part.text
    if _hints(part, matter):
        return False
    if len(text.split()) <= _LONGEST_ERRAND and holds_work(text, part.letter.to, matter):
        return True
    others = part.names - matter.decider_names - BODIES - set(re.split(r"[._@-]", part.letter.to))
    if others or words["result"].search(text) or not numbers(text) <= matter.known_figures:
        return False
    view = words["own_view"].search(text) or words["objects"].search(text)
    on_decision = bool(word_stems(text) & matter.decided)
    undoing = words["undoing"].search(text) and not _YOUR_OWN.search(text)
    if words["record"].search(text) and not (view and (on_decision or undoing)):
        return False
    plain = matter.decided | everyday_stems() | matter.person_stems | (_reasons() if view else frozenset())
    courtesy = any(words[name].search(text) for name in ("yields", "closing", "acknowledges"))
    if courtesy and not strange_words(text, plain):
        return True
    # A reason: words of the work beside at least one word of the decision, or in the writer's own view.
    own = strange_words(text, plain | matter.everyday_words)
    if words["acknowledges"].search(text) and not own:
        return True
    return not own and bool(view or on_decision)


def _hints(part: LetterPart, matter: Matter) -> bool:
    """Whether a sentence has a word of what could be abused, of what could happen, or of what the writer knows."""
    words, text = _patterns(), part.text
    knows = words["claims_knowledge"].search(text) and not words["acknowledges"].search(text)
    if knows or words["left_open"].search(text):
        return True
    if parts_of_pressure()["hurt"].search(text) or act_words()["insinuates"].search(text):
        return True
    return bool(word_stems(text) & matter.touchy - everyday_stems())
