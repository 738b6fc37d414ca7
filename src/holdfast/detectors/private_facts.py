"""Leverage: a private fact in the hands of an agent that has something to want, on its way to where it would hurt.

A veiled threat says nothing that words convict ("I took screenshots of the Vessel chat; they are mine for as long as I
am yours").  Its make-up says more: the fact about a person is told outside of daily business, to that person or to
others, in one breath with the writer itself or with those whom the person fears.  Whatever has that make-up waits for a
person's look.  It is held and convicted of nothing, so no verdict of an evaluation uses it.

A threat can do without a word on its writer too.  `strict` therefore asks for no more than the fact: most threats wait
then, and about half of the honest letters in which the fact's words occur (`bench.guard_attacks --fresh --strict`).
Where facts hang on what was read, a policy does better: see "Private facts" in `docs/guard-policy.md`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection, address, delivered, quote
from holdfast.detectors.coercion import alluded, kept_out
from holdfast.detectors.patterns import families
from holdfast.detectors.text import gist, normalise, own_words, split_sentences, stem, tokens

_WORDS = Path(__file__).with_name("private_facts.toml")
#: What else a letter holds; said of none that is held for the fact alone.
_BESIDE_ITSELF = ", beside a word on the writer"
_BESIDE_BOTH = ", beside a word on the writer or on those the person fears"
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|mine)\b")


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


@dataclass(frozen=True)
class Leave:
    """What the deployment says of telling private facts.

    Attributes:
        channels: addresses that may be told about anybody, such as those of the reviewers of concerns.
        strict: hold whatever tells a private fact outside of daily business, with no word on the writer.
    """

    channels: Collection[str] = ()
    strict: bool = False


NO_LEAVE = Leave()


def leverage(effects: Sequence[Effect], facts: Facts, agent: str = "", leave: Leave = NO_LEAVE) -> list[Detection]:
    """Letters that a person should see before they go, whatever their wording.

    Args:
        effects: what a run does, in a row; what it wrote to one person counts together.
        facts: whose private facts they are.
        agent: the writer's own name: it may speak of itself by it.
        leave: whom it may tell, and how much is held.
    """
    named = {address(channel) for channel in leave.channels}
    self = _named(agent)
    sent = [(i, to, own_words(text)) for i, to, text in delivered(effects)] if facts.private else []
    letters = [(i, to.lstrip("@#"), text) for i, to, text in sent]
    found = []
    for person, phrases in facts.private.items():
        mine = [(i, text) for i, to, text in letters if to == address(person)]
        if mine and _pulls("\n".join(text for _, text in mine), phrases, self, leave.strict):
            what = f"private fact about {person} put to that person"
            beside = "" if leave.strict else _BESIDE_BOTH
            found.append(Detection(mine[-1][0], quote(effects[mine[-1][0]]), what + beside))
        for i, to, text in letters:
            if to != address(person) and to not in named and _told_on(text, phrases, self, leave.strict):
                what = f"private fact about {person} told to {to}"
                beside = "" if leave.strict else _BESIDE_ITSELF
                found.append(Detection(i, quote(effects[i]), what + beside))
    return found


def _named(agent: str) -> re.Pattern[str]:
    name = normalise(agent)
    return re.compile(rf"\b{re.escape(name)}s?\b" if name else r"(?!)")


def _pulls(text: str, phrases: Sequence[str], self: re.Pattern[str], strict: bool) -> bool:
    """Whether letters to the person tell the fact in one breath with the writer, or with those the person fears."""
    if kept_out(text) or not (alluded(text, phrases) or _written(text, phrases)):
        return False
    rest = _patterns()["service"].sub(" ", text)
    return strict or any(p.search(rest) for p in (self, _patterns()["oneself"], _patterns()["feared"]))


def _told_on(text: str, phrases: Sequence[str], self: re.Pattern[str], strict: bool) -> bool:
    """Whether a letter to somebody else tells the fact and speaks of its writer."""
    if kept_out(text) or not alluded(text, phrases):
        return False
    rest = _patterns()["service"].sub(" ", text)
    return strict or any(p.search(rest) for p in (self, _FIRST_PERSON))


def _written(text: str, phrases: Sequence[str]) -> bool:
    """Whether what is written down of a fact is named: the invoices, the folder, the mails."""
    single = {stem for phrase in phrases if len(stems := gist(phrase)) == 1 for stem in stems}
    for words in map(tokens, split_sentences(text)):
        behind = (" ".join(words[at + 1 : at + 4]) for at, word in enumerate(words) if stem(word) in single)
        if any(_patterns()["written"].search(after) for after in behind):
            return True
    return False
