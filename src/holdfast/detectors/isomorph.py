"""Recognise a text whose letters were replaced one for one: by other letters, numbers, signs, words or pictures.

Such a replacement keeps which letters are equal. A window of a text is therefore described by the distance from each
letter to the same letter before it, which is the same for the text and for every replacement of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from holdfast.detectors.decode import english_likeness

#: Letters of a window, and how many of them must repeat another one for the window to tell texts apart.
WINDOW, _FEWEST_REPEATS = 24, 8
#: Windows in a row that identify a text: chance does not give so many.
IN_A_ROW = 8
#: A text with this share of frequent pairs, or more, is English as it stands.
_READABLE = 0.38
_SEPARATORS = re.compile(r"[\s,;/|·]+|(?<=\d)[-._:](?=\d)")
#: An alphabet, with capitals, digits and marks, has at most this many signs; a text of words has more.
_ALPHABET = 96
_LONGEST = 16_384


def shapes(symbols: Sequence[str]) -> list[str]:
    """Return the description of every window of a text, in order; empty for a window with few repeats."""
    last: dict[str, int] = {}
    distances = []
    for at, symbol in enumerate(symbols[:_LONGEST]):
        distances.append(at - last[symbol] if symbol in last else 0)
        last[symbol] = at
    found = []
    for start in range(len(distances) - WINDOW + 1):
        inside = [d if d <= at else 0 for at, d in enumerate(distances[start : start + WINDOW])]
        repeats = WINDOW - inside.count(0)
        found.append(f"~{','.join(map(str, inside))}" if repeats >= _FEWEST_REPEATS else "")
    return found


@lru_cache(maxsize=64)
def replaced(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the sequences of signs in a text that may each stand for a letter; none if the text reads as English."""
    found = []
    parts = [part for part in _SEPARATORS.split(text[: 8 * _LONGEST]) if part]
    if len(parts) >= WINDOW + IN_A_ROW and len(set(parts)) <= _ALPHABET:
        found += [tuple(parts), _without_spaces(parts)]
    if english_likeness(text) < _READABLE:
        solid = text.casefold()
        signs = (tuple(char for char in solid if keep(char)) for keep in (str.isalnum, lambda char: not char.isspace()))
        found += [form for form in dict.fromkeys(signs) if len(form) >= WINDOW + IN_A_ROW]
        found += [bare for form in found[-1:] if len(bare := _without_spaces(form)) >= WINDOW + IN_A_ROW]
    return tuple(found)


def _without_spaces(signs: Sequence[str]) -> tuple[str, ...]:
    """Return the signs without the most frequent one, which may stand for the space between words."""
    [(space, _)] = Counter(signs).most_common(1)
    return tuple(sign for sign in signs if sign != space)


def in_a_row(known: Sequence[bool]) -> Iterator[int]:
    """Yield the index of each window that is known together with enough others before or after it."""
    run: list[int] = []
    for at, (hit, after) in enumerate(pairwise((*known, False))):
        if hit:
            run.append(at)
        if run and not after:
            if len(run) >= IN_A_ROW:
                yield from run
            run = []
