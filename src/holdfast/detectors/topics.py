"""What a text is about: words and numbers that tie it to one matter, and whether it is English.

A word is distinctive for a matter if it occurs in the texts about it, is no everyday word, and occurs in no other text
of the same office.  A message that shares such words touches the matter; whether it does harm is another question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.decode import readings
from holdfast.detectors.text import normalise, stem, tokens

_WORDS = Path(__file__).with_name("topics.toml")
_DIGITS = re.compile(r"\d[\d.,']*")
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = {word: number for number, word in enumerate(_UNITS.split())} | {
    word: 10 * (number + 2) for number, word in enumerate(_TENS.split())
}
_LATIN = re.compile(r"[a-z\u00c0-\u024f]")


@lru_cache(maxsize=1)
def _table() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Stems of everyday words, English function words, and function words of other languages."""
    data = read_toml(_WORDS)
    english = frozenset(data["english"].split())
    foreign = frozenset(word for words in data["foreign"].values() for word in words.split()) - english
    return frozenset(stem(word) for word in data["common"].split()), english, foreign


@lru_cache(maxsize=1)
def _left_out() -> frozenset[str]:
    """Stems of everyday words, and of the function words of other languages."""
    common, _, foreign = _table()
    return common | frozenset(stem(word) for word in foreign)


@lru_cache(maxsize=4096)
def word_stems(text: str) -> frozenset[str]:
    """Stems of the words of a text, hyphenated words also in parts; everyday words and numbers are left out."""
    return frozenset(chain.from_iterable(map(_roots_of, set(tokens(normalise(text))))))


@lru_cache(maxsize=32_768)
def _roots_of(word: str) -> tuple[str, ...]:
    """The stems of a word and of its parts that are no everyday words."""
    common = _left_out()
    parts = {word, *re.split(r"[-_/.']", word)}
    found = (stem(part) for part in parts if len(part) > 2 and not part[0].isdigit())
    return tuple(root for root in found if root not in common)


def distinctive(texts: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """The stems that tie a message to `texts`: no everyday words, and none that `others` use."""
    mine = frozenset().union(*map(word_stems, texts))
    return mine.difference(*map(word_stems, others))


@lru_cache(maxsize=4096)
def numbers(text: str) -> frozenset[str]:
    """The numbers in a text, in digits or in English words: "sixty-one" and "61" are one number."""
    clear = normalise(text)
    found = {match.rstrip(".,'").replace(",", "") for match in _DIGITS.findall(clear)}
    for word in tokens(clear):
        if word not in _NUMBERS and "-" not in word:
            continue
        parts = word.split("-")
        values = [_NUMBERS[part] for part in parts if part in _NUMBERS]
        if values and len(values) == len(parts):
            found.add(str(sum(values)))
    return frozenset(found)


#: A time of day, or a day of a month.
_MOMENT = re.compile(
    r"\b([01]?\d|2[0-3])[:.]([0-5]\d)\b"
    r"|\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b"
)


@lru_cache(maxsize=4096)
def moments(text: str) -> frozenset[str]:
    """The times of day and the days of a month in a text: "22:14", "22 apr"."""
    found = _MOMENT.finditer(normalise(text))
    return frozenset(f"{int(m[1])}:{m[2]}" if m[1] else f"{int(m[3])} {m[4]}" for m in found)


@lru_cache(maxsize=4096)
def is_foreign(text: str) -> bool:
    """Whether a text, or one of its paragraphs, is in another language than English, as far as its words tell."""
    return any(_foreign(part) for part in (text, *text.split("\n")))


#: Ways in which a whole text is read again with some lines changed; each line that reads better counts.
_WHOLE = frozenset({("rot13",), ("reversed",), ("shifted",)})


@lru_cache(maxsize=1024)
def hides_text(text: str) -> bool:
    """Whether words stand encoded in a text: a decoded layer that is English, and more so than the text."""
    plain = _english_words(text)
    for reading in readings(text):
        if reading.how and reading.text is not None:
            words, found = tokens(normalise(reading.text)), _english_words(reading.text)
            gained = found - plain if reading.how in _WHOLE else found
            if len(words) > 3 and found >= max(2, len(words) // 8) and gained > 1:
                return True
    return False


def _english_words(text: str) -> int:
    return sum(word in _table()[1] for word in tokens(normalise(text)))


def _foreign(text: str) -> bool:
    _, english, foreign = _table()
    clear = normalise(text)
    letters = [char for char in clear if char.isalpha()]
    if letters and sum(1 for char in letters if not _LATIN.match(char)) > 0.3 * len(letters):
        return True
    words = tokens(clear)
    strange, known = sum(word in foreign for word in words), sum(word in english for word in words)
    accents = sum(1 for word in words if not word.isascii())
    return strange + accents >= 2 and strange + accents > known


def shared(text: str, topic: frozenset[str]) -> frozenset[str]:
    """The stems of a topic that a text uses."""
    return topic & word_stems(text)
