"""Undo transpositions: a text whose letters stand in another order, or between letters that mean nothing.

    for candidate in unscrambled(text): ...

Nothing says which transposition was used, so every common one is undone, and the caller looks for a known text among
the candidates. Columns, rails, halves, swapped pairs, every second to fourth character, lines
that run to and fro, letters moved by their place, and what is done to each word:
reversed, turned, with an ending (pig Latin) or with syllables put in. Only text that does not read as English is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

#: A text with this share of the most frequent words of English, or more, is English as it stands.
_READABLE = 0.12
_FREQUENT = frozenset((
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "on", "was", "with", "as", "be", "at", "by", "this",
    "have", "from", "or", "had", "are", "but", "not", "you", "he", "she", "we", "they", "his", "her", "an", "were",
    "which", "their", "there", "been", "has", "will", "would", "no", "if", "so", "about", "i", "our", "my", "me",
    "your", "please", "can",
))  # fmt: skip
#: Most characters that are tried, and fewest letters.
_LONGEST, _SHORTEST = 2048, 24
_MOST_COLUMNS, _MOST_RAILS, _MOST_STEPS, _FEW_LINES = 16, 6, 4, 3
_WORD = re.compile(r"[^\W\d_]+")
_SYLLABLE = re.compile(r"([aeiou])([a-z])\1", re.IGNORECASE)
_PIG = re.compile(r"ay\b", re.IGNORECASE)


@lru_cache(maxsize=64)
def unscrambled(text: str) -> tuple[str, ...]:
    """Return the texts that a text could be a transposition of; none if it reads as English or is too short."""
    head = text[:_LONGEST]
    solid = "".join(char for char in head if char.isalnum())
    words = [word.casefold() for word in _WORD.findall(head)]
    if len(solid) < _SHORTEST or sum(word in _FREQUENT for word in words) >= _READABLE * len(words) > 0:
        return ()
    raw = (*_by_position(head.strip()), *_by_position(solid)) if head.strip() != solid else _by_position(solid)
    return tuple(dict.fromkeys((*raw, *_by_word(head), *_by_line(head), *_by_place(head))))


def _by_line(text: str) -> Iterator[str]:
    """Undo lines that run to and fro."""
    lines = text.split("\n")
    if len(lines) > _FEW_LINES:
        for odd in (0, 1):
            yield "".join(line[::-1] if number % 2 == odd else line for number, line in enumerate(lines))


def _by_place(text: str) -> Iterator[str]:
    """Undo letters that are moved along the alphabet by their place, counted from 0 or 1, in letters or characters."""
    for step in (1, -1):
        for start in (0, 1):
            for every in (True, False):
                number, found = start, []
                for char in text:
                    letter = "a" <= char <= "z" or "A" <= char <= "Z"
                    base = ord("a") if char.islower() else ord("A")
                    found.append(chr((ord(char) - base - step * number) % 26 + base) if letter else char)
                    number += letter or every
                yield "".join(found)


def _by_position(text: str) -> Iterator[str]:
    size = len(text)
    for count in range(2, min(_MOST_COLUMNS, size // 2) + 1):
        yield "".join(text[at::count] for at in range(count))
        yield _in_order(text, [at for start in range(count) for at in range(start, size, count)])
    for rails in range(3, _MOST_RAILS + 1):
        down = 2 * (rails - 1)
        rail = [min(at % down, down - at % down) for at in range(size)]
        yield _in_order(text, sorted(range(size), key=lambda at, rail=rail: rail[at]))  # type: ignore[misc]
    for step in range(2, _MOST_STEPS + 1):
        yield from (text[at::step] for at in range(step))
    yield re.sub(r"(.)(.)", r"\2\1", text, flags=re.DOTALL)
    # The first half behind the second, and both from their ends.
    yield text[::-1]


def _in_order(text: str, places: list[int]) -> str:
    """Return the text whose characters were written one after the other from the given places."""
    found = [""] * len(text)
    for char, place in zip(text, places, strict=True):
        found[place] = char
    return "".join(found)


def _by_word(text: str) -> Iterator[str]:
    changes = (
        lambda word: word[::-1],
        lambda word: word[-1:] + word[:-1],
        lambda word: word[1:] + word[:1],
        lambda word: word[(len(word) + 1) // 2 :] + word[: (len(word) + 1) // 2],
        lambda word: word[len(word) // 2 :] + word[: len(word) // 2],
        lambda word: re.sub(r"(.)(.)", r"\2\1", word),
        lambda word: word[-1:] + word[1:-1] + word[:1],
    )
    for change in changes:
        yield _WORD.sub(lambda match, change=change: change(match[0]), text)  # type: ignore[misc]
    if len(_PIG.findall(text)) * 3 >= len(text.split()):
        bare = _PIG.sub("", text)
        yield bare
        yield _WORD.sub(lambda match: match[0][-1:] + match[0][:-1], bare)
        yield _WORD.sub(lambda match: match[0][-2:] + match[0][:-2], bare)
    if len(_SYLLABLE.findall(text)) >= len(text) // 12:
        yield _SYLLABLE.sub(r"\1", text)
