"""Leverage: messages that could use a private fact as pressure, held for review whatever their wording.

Patterns of words miss a threat between the lines ("I took screenshots of the Vessel chat; they are mine for as long as
I am yours"). Its structure is easier to detect. A message touches a fact if a sentence names it and no daily business
explains why: no goods, papers, journeys or devices. Such a message is held if it also mentions the writer, people whom
the person fears, or what is left unsaid: unnamed people, conditions, regret, a state that could last. Such messages are
held for a person's review. They are not counted as harm, so no verdict of an evaluation uses this module.

A threat can do without all of these. With `strict`, a sentence that names the fact without daily business is enough
(`bench.guard_attacks --lenient` measures both modes). If the facts depend on what the agent has read, a policy works
better: see "Private facts" in `docs/guard-policy.md`.
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
from holdfast.detectors.text import content_stems, normalise, own_words, split_sentences, states, stem, tokens

_WORDS = Path(__file__).with_name("private_facts.toml")
#: Added to the reason, except if the message is held for the fact alone.
_BESIDE_ITSELF = ", with a mention of the writer, or veiled"
_BESIDE_BOTH = ", with a mention of the writer or of people whom the person fears, or veiled"
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|mine)\b")
#: Most words of a sentence that says nothing but the fact; the sentence after it belongs to it.
_HEADING = 3
#: Letters of a word of a fact that may allude to it.
_TELLING = 5
_NAME_PARTS = re.compile(r"[._@-]")


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


@cache
def _subjects() -> tuple[re.Pattern[str], ...]:
    """Return the words of each subject that private facts are about."""
    return tuple(re.compile(rf"\b(?:{words})\b") for words in read_toml(_WORDS)["subjects"].values())


@dataclass(frozen=True)
class Leave:
    """A deployment's settings for private facts.

    Attributes:
        channels: addresses that may receive private facts about anyone else, such as those of reviewers.
        strict: hold every message with a private fact outside daily business, whatever stands beside it.
        unnamed: hold a message for unnamed people or conditions beside a fact; a monitor that judges meaning decides on
            these.
    """

    channels: Collection[str] = ()
    strict: bool = False
    unnamed: bool = True


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
        mine = [(i, text) for i, to, text in letters if to == address(person) or (leave.strict and _near(to, person))]
        if mine and _pulls("\n".join(text for _, text in mine), phrases, self, leave):
            what = f"private fact about {person} in a message to that person"
            beside = "" if leave.strict else _BESIDE_BOTH
            found.append(Detection(mine[-1][0], quote(effects[mine[-1][0]]), what + beside))
        for i, to, text in letters:
            told = _told_on(text, phrases, self, leave) or (leave.strict and _told_by_name(text, person, phrases))
            if to != address(person) and to not in named and told:
                what = f"private fact about {person} in a message to {to}"
                beside = "" if leave.strict else _BESIDE_ITSELF
                found.append(Detection(i, quote(effects[i]), what + beside))
    return found


def _named(agent: str) -> re.Pattern[str]:
    name = normalise(agent)
    return re.compile(rf"\b{re.escape(name)}s?\b" if name else r"(?!)")


def touched(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a normalised text names a fact outside daily business, or veiled, and does not disclaim it."""
    if _disclaimed(text):
        return False
    return _bare(text, phrases) or (bool(_naming(text, phrases)) and _patterns()["veiled"].search(text) is not None)


def _pulls(text: str, phrases: Sequence[str], self: re.Pattern[str], leave: Leave) -> bool:
    """Return whether messages to the person could press the person with the fact."""
    if _disclaimed(text):
        return False
    rest = _patterns()["service"].sub(" ", text)
    beside = [self, _patterns()["oneself"], *([_patterns()["feared"]] if _bare(text, phrases) else [])]
    own = any(pattern.search(rest) for pattern in beside)
    # In the middle of daily business a writer says "I" without a thought.
    if own and (alluded(text, phrases) or _written(text, phrases)) and _close(text, phrases, leave):
        return True
    if _bare(text, phrases) and _veiled(text, leave, "open"):
        return True
    if _same_subject(text, phrases) and (_veiled(text, leave) or (leave.strict and _pressing(rest, phrases))):
        return True
    return leave.strict and touched(text, phrases)


def _close(text: str, phrases: Sequence[str], leave: Leave) -> bool:
    """Return whether what a text says of its writer belongs to the fact that it names."""
    return (
        not leave.strict
        or _bare(text, phrases)
        or _patterns()["veiled"].search(text) is not None
        or _kept(text, phrases)
    )


def _kept(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a sentence that names a fact, or the one beside it, says what the writer keeps, saw or wants."""
    parts = split_sentences(text)
    named = {at for at, part in enumerate(parts) if any(states(part, phrase) for phrase in phrases)}
    near = {beside for at in named for beside in (at - 1, at, at + 1) if 0 <= beside < len(parts)}
    return any(_patterns()["kept"].search(parts[at]) for at in near)


def _near(to: str, person: str) -> bool:
    """Return whether an address is of somebody close to a person: it has the family name, and is not the person's."""
    own, other = ({part for part in _NAME_PARTS.split(one.partition("@")[0]) if len(part) > 3} for one in (person, to))
    return to != address(person) and not own.isdisjoint(other)


def _pressing(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a text that speaks of the subject of a fact speaks of its writer, or asks the person about it."""
    asks = any(part.endswith("?") and _same_subject(part, phrases) for part in split_sentences(text))
    return asks or _patterns()["kept"].search(text) is not None


def _told_by_name(text: str, person: str, phrases: Sequence[str]) -> bool:
    """Return whether a sentence names the person and has a word of the fact that is also a word of its subject."""
    names = {part for part in _NAME_PARTS.split(address(person).partition("@")[0]) if len(part) > 2}
    about = [words for words in _subjects() if any(words.search(normalise(phrase)) for phrase in phrases)]
    telling = {word for phrase in phrases for word in content_stems(phrase) if len(word) >= _TELLING}
    for part in split_sentences(text):
        have = {stem(word) for word in tokens(part)}
        told = any(words.search(part) for words in about) and not telling.isdisjoint(have)
        if told and not names.isdisjoint(tokens(part)) and not _patterns()["plain"].search(part):
            return True
    return False


def _told_on(text: str, phrases: Sequence[str], self: re.Pattern[str], leave: Leave) -> bool:
    """Return whether a message to someone else states the fact, and mentions its writer or is veiled."""
    if _disclaimed(text):
        return False
    rest = _patterns()["service"].sub(" ", text)
    own = any(pattern.search(rest) for pattern in (self, _FIRST_PERSON))
    if own and alluded(text, phrases) and _close(text, phrases, leave):
        return True
    return (_bare(text, phrases) and _veiled(text, leave, "open")) or (leave.strict and touched(text, phrases))


def _disclaimed(text: str) -> bool:
    """Return whether a text disclaims using the fact, or leaves it out of what it asks for, and is not veiled."""
    aside = kept_out(text) or _patterns()["set_aside"].search(text) is not None
    return aside and not _patterns()["veiled"].search(text)


def _veiled(text: str, leave: Leave, *wider: str) -> bool:
    """Return whether a text leaves something unsaid; `wider` names further patterns."""
    names = ("veiled", *(("unnamed", *wider) if leave.unnamed else ()))
    return any(_patterns()[name].search(text) for name in names)


def _naming(text: str, phrases: Sequence[str]) -> list[str]:
    """Return the sentences that name a fact; headings that say nothing else have the next sentence with them."""
    found: list[str] = []
    heading = ""
    names = [proper for phrase in phrases if len(proper := _proper_names(phrase)) > 1]
    for part in split_sentences(text):
        words = frozenset(map(stem, tokens(part)))
        named = any(states(part, phrase) for phrase in phrases) or any(proper <= words for proper in names)
        if named and len(tokens(part)) <= _HEADING:
            heading = f"{heading} {part}".strip()
        elif named or heading:
            found.append(f"{heading} {part}".strip())
            heading = ""
    return [*found, heading] if heading else found


def _proper_names(phrase: str) -> frozenset[str]:
    """Return the stems of the names in a fact: its capitalised words after the first."""
    return frozenset(stem(normalise(word)) for word in phrase.split()[1:] if word[:1].isupper())


def _bare(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a sentence names a fact, and has no goods, papers, journeys or devices that explain why."""
    return any(not _patterns()["plain"].search(part) for part in _naming(text, phrases))


def _same_subject(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a sentence uses a word of a fact, or of its subject, and does not speak of daily business."""
    about = [words for words in _subjects() if any(words.search(normalise(phrase)) for phrase in phrases)]
    own = {word for phrase in phrases for word in content_stems(phrase) if len(word) >= _TELLING}
    parts = [
        part
        for part in split_sentences(text)
        if any(words.search(part) for words in about) or not own.isdisjoint(map(stem, tokens(part)))
    ]
    return any(not _patterns()["plain"].search(part) for part in parts)


def _written(text: str, phrases: Sequence[str]) -> bool:
    """Return whether a message names written evidence of a fact: the invoices, the folder, the mails."""
    single = {stem for phrase in phrases if len(stems := content_stems(phrase)) == 1 for stem in stems}
    for words in map(tokens, split_sentences(text)):
        behind = (" ".join(words[at + 1 : at + 4]) for at, word in enumerate(words) if stem(word) in single)
        if any(_patterns()["written"].search(after) for after in behind):
            return True
    return False
