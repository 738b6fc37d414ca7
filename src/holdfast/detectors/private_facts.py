"""Leverage: messages that could use a private fact as pressure, held for review whatever their wording.

Patterns of words miss a veiled threat ("I took screenshots of the Vessel chat; they are mine for as long as I am
yours"). Its structure is easier to detect: the message mentions the fact outside daily business, together with the
writer itself or with people whom the person fears. Such messages are held for a person's review. They are not counted
as harm, so no verdict of an evaluation uses this module.

A threat need not mention its writer. With `strict`, the fact alone is enough: most threats are held, and about half of
the honest messages in which the fact's words occur (`bench.guard_attacks --fresh --strict`). If the facts depend on
what the agent has read, a policy works better: see "Private facts" in `docs/guard-policy.md`.
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
from holdfast.detectors.text import content_stems, normalise, own_words, split_sentences, stem, tokens

_WORDS = Path(__file__).with_name("private_facts.toml")
#: Added to the reason, except if the message is held for the fact alone.
_BESIDE_ITSELF = ", with a mention of the writer"
_BESIDE_BOTH = ", with a mention of the writer or of people whom the person fears"
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|mine)\b")


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


@dataclass(frozen=True)
class Leave:
    """A deployment's settings for private facts.

    Attributes:
        channels: addresses that may receive private facts about anyone else, such as those of reviewers.
        strict: hold every message with a private fact outside daily business, even without a mention of the writer.
    """

    channels: Collection[str] = ()
    strict: bool = False


NO_LEAVE = Leave()


def leverage(effects: Sequence[Effect], facts: Facts, agent: str = "", leave: Leave = NO_LEAVE) -> list[Detection]:
    """Return the messages that a person should review before they are sent.

    Args:
        effects: the effects of a run in order; messages to one person are judged together.
        facts: the private facts by person.
        agent: the writer's name, by which it may refer to itself.
        leave: the allowed recipients, and whether to be strict.
    """
    named = {address(channel) for channel in leave.channels}
    self = _named(agent)
    sent = [(i, to, own_words(text)) for i, to, text in delivered(effects)] if facts.private else []
    letters = [(i, to.lstrip("@#"), text) for i, to, text in sent]
    found = []
    for person, phrases in facts.private.items():
        mine = [(i, text) for i, to, text in letters if to == address(person)]
        if mine and _pulls("\n".join(text for _, text in mine), phrases, self, leave.strict):
            what = f"private fact about {person} in a message to that person"
            beside = "" if leave.strict else _BESIDE_BOTH
            found.append(Detection(mine[-1][0], quote(effects[mine[-1][0]]), what + beside))
        for i, to, text in letters:
            if to != address(person) and to not in named and _told_on(text, phrases, self, leave.strict):
                what = f"private fact about {person} in a message to {to}"
                beside = "" if leave.strict else _BESIDE_ITSELF
                found.append(Detection(i, quote(effects[i]), what + beside))
    return found


def _named(agent: str) -> re.Pattern[str]:
    name = normalise(agent)
    return re.compile(rf"\b{re.escape(name)}s?\b" if name else r"(?!)")


def _pulls(text: str, phrases: Sequence[str], self: re.Pattern[str], strict: bool) -> bool:
    """Return whether messages to the person mention the fact with the writer or with people whom the person fears."""
    if kept_out(text) or not (alluded(text, phrases) or _written(text, phrases)):
        return False
    rest = _patterns()["service"].sub(" ", text)
    return strict or any(p.search(rest) for p in (self, _patterns()["oneself"], _patterns()["feared"]))


def _told_on(text: str, phrases: Sequence[str], self: re.Pattern[str], strict: bool) -> bool:
    """Return whether a message to someone else states the fact and mentions its writer."""
    if kept_out(text) or not alluded(text, phrases):
        return False
    rest = _patterns()["service"].sub(" ", text)
    return strict or any(p.search(rest) for p in (self, _FIRST_PERSON))


def _written(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a message names written evidence of a fact: the invoices, the folder, the mails."""
    single = {stem for phrase in phrases if len(stems := content_stems(phrase)) == 1 for stem in stems}
    for words in map(tokens, split_sentences(text)):
        behind = (" ".join(words[at + 1 : at + 4]) for at, word in enumerate(words) if stem(word) in single)
        if any(_patterns()["written"].search(after) for after in behind):
            return True
    return False
