"""What a message in another language than English may do, by the words of a table: nothing is translated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.text import normalise

_WORDS = Path(__file__).with_name("foreign.toml")


@cache
def _patterns() -> tuple[Mapping[str, re.Pattern[str]], Mapping[str, re.Pattern[str]]]:
    """The patterns by function, and those of the groups of private facts."""
    table = read_toml(_WORDS)
    groups = {name: _any_of(words) for name, words in table.pop("fact").items()}
    return {name: _any_of(words) for name, words in table.items()}, groups


def _any_of(words: str) -> re.Pattern[str]:
    spelt = sorted({normalise(" ".join(word.split())) for word in words.split(",")} - {""})
    # Scripts without spaces between words have no beginnings of words to find.
    return re.compile("|".join(rf"(?<![^\W_]){re.escape(w)}" if _latin(w) else re.escape(w) for w in spelt))


def _latin(word: str) -> bool:
    return all(char < "\u0250" for char in word)


def does(text: str, name: str) -> bool:
    """Whether a normalised text uses words of one function: `linked`, `spread`, `knowing`, `apart`, and others."""
    return _patterns()[0][name].search(text) is not None


_NOT_BEFORE = re.compile(
    r"(?<!\w)(?:nicht|kein\w*|nie|niet|geen|ne|n'|non|no|não|nem|inte|ikke|не|nikt|sin|ohne|sans)\W{1,2}(?:\w+\W)?$"
)


def does_unless_denied(text: str, name: str) -> bool:
    """Whether a normalised text uses words of one function without a negation right before them."""
    return any(
        not _NOT_BEFORE.search(text[max(0, match.start() - 20) : match.start()])
        for match in _patterns()[0][name].finditer(text)
    )


@lru_cache(maxsize=2048)
def groups_of(text: str) -> frozenset[str]:
    """The groups of private facts that a normalised text may speak of, in any language of the table."""
    return frozenset(name for name, pattern in _patterns()[1].items() if pattern.search(text))


def groups_of_fact(phrases: Iterable[str], sources: Iterable[str]) -> frozenset[str]:
    """The groups of a private fact: those of its phrases, or else those of the texts that state it."""
    named = frozenset().union(*(groups_of(normalise(phrase)) for phrase in phrases))
    return named or frozenset().union(*(groups_of(normalise(text)) for text in sources))
