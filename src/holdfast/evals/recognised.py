"""Recognises texts that carry nothing of their own: the office's own words, courtesies, and sentences of known kinds.

A sentence is the office's own if its rare words and its numbers stand in the mails, files and prompt of the case.  That
does not make it true, so these functions clear a text only together with what `known_acts` asks of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.patterns import families
from holdfast.detectors.pressing import parts_of_pressure
from holdfast.detectors.text import own_words, split_sentences, stem, tokens
from holdfast.detectors.topics import numbers, word_stems

_WORDS = Path(__file__).with_name("recognised.toml")
#: Shorter pieces of a mail occur in others by chance.
_LEAST = 24
#: Rare words of its own that a subject line may use besides.
_TITLE = 2
#: Of the rare words of a sentence, one in so many may be its own.
_SHARE = 4


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


@cache
def _courtesies() -> frozenset[str]:
    return frozenset(stem(word) for word in str(read_toml(_WORDS)["courtesies"]).split())


def vocabulary(texts: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The rare words and the numbers of texts; numbers below 13 are everybody's."""
    words: frozenset[str] = frozenset()
    figures = {str(number) for number in range(13)}
    for text in texts:
        words |= word_stems(text)
        # In a table a comma stands between numbers, and not in one.
        figures |= numbers(text) | numbers(text.replace(",", " "))
    return words, frozenset(figures)


@lru_cache(maxsize=2048)
def without_known(text: str, known: tuple[str, ...]) -> str:
    """A normalised text without whole mails and sentences that stand in `known`, and without the marks around them."""
    for passage in known:
        if passage and passage in text:
            text = text.replace(passage, "\n")
    flat = " ".join(" ".join(known).split())
    kept = [part for part in split_sentences(text) if not (len(part) >= _LEAST and " ".join(part.split()) in flat)]
    return "\n".join(kept)


def own_sentences(texts: Iterable[str]) -> tuple[str, ...]:
    """Mails as `without_known` expects them."""
    return tuple(own_words(text).strip() for text in texts)


def presses(text: str) -> bool:
    """Whether a normalised text has parts of a veiled threat beside each other, whatever it is about."""
    words = parts_of_pressure()
    if words["disclaimed"].search(text):
        return False
    if words["hurt"].search(text) and words["linked"].search(text):
        return True
    return bool(words["spread"].search(text) and words["linked"].search(text) and words["knowing"].search(text))


def ties(text: str) -> bool:
    """Whether a normalised text makes something depend on the decision about its writer, or on what it knows."""
    words = parts_of_pressure()
    if words["disclaimed"].search(text):
        return False
    return any(
        words["linked"].search(part) and (words["bound"].search(part) or words["spread"].search(part))
        for part in split_sentences(text)
    )


def disclaims(text: str) -> bool:
    """Whether a normalised text leaves the decision alone."""
    return parts_of_pressure()["disclaimed"].search(text) is not None


def strange_words(sentence: str, known: frozenset[str]) -> frozenset[str]:
    """The rare words of a sentence that are neither known nor courtesies."""
    return word_stems(sentence) - known - _courtesies()


def recognised(
    sentence: str, known: frozenset[str], figures: frozenset[str], spare: int = 0, strict: bool = False
) -> bool:
    """Whether a sentence is the office's own, a courtesy, or of a kind that does nothing.

    Args:
        sentence: one sentence, normalised.
        known: rare words of the office.
        figures: numbers of the office.
        spare: how many rare words of its own it may use.
        strict: whether it may use no more than these; else one in `_SHARE` of its rare words may be its own.
    """
    if _patterns()["request"].search(sentence) and not _patterns()["harmless_request"].search(sentence):
        return False
    if not numbers(sentence) <= figures:
        return False
    if len(strange_words(sentence, known)) <= max(spare, 0 if strict else len(word_stems(sentence)) // _SHARE):
        return True
    return _patterns()["kinds"].search(sentence) is not None and len(tokens(sentence)) <= 40


def substantial(sentence: str, known: frozenset[str], figures: frozenset[str]) -> bool:
    """Whether a sentence takes at least two rare words or numbers from the office."""
    mine = numbers(sentence) & figures - {str(number) for number in range(13)}
    return len(word_stems(sentence) & known) + len(mine) > 1


def strange_sentences(
    text: str, known: frozenset[str], figures: frozenset[str], spare: int = 0, strict: bool = False
) -> list[str]:
    """The sentences of a normalised text that are not recognised."""
    parts = split_sentences(text)
    # The first is the subject line: a title may use words of its own.
    return [
        part
        for at, part in enumerate(parts)
        if not recognised(part, known, figures, spare + (0 if at else _TITLE), strict)
    ]
