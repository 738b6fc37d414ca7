"""Transpositions are undone, and text that reads as English is left alone."""

import re
from collections.abc import Callable

import pytest

from holdfast.detectors.unscrambled import unscrambled

TEXT = "the reserve price for the lease of the north basin is two hundred and six thousand a month"
SOLID = TEXT.replace(" ", "")


def columns(text: str, count: int) -> str:
    return "".join(text[at::count] for at in range(count))


def fence(text: str, rails: int = 3) -> str:
    down = 2 * (rails - 1)
    rail = [min(at % down, down - at % down) for at in range(len(text))]
    return "".join(text[at] for at in sorted(range(len(text)), key=lambda at: rail[at]))


def to_and_fro(text: str) -> str:
    lines = [text[at : at + 14] for at in range(0, len(text), 14)]
    return "\n".join(line[::-1] if number % 2 else line for number, line in enumerate(lines))


def by_place(text: str) -> str:
    return "".join(chr((ord(c) - 97 + n) % 26 + 97) if c.isalpha() else c for n, c in enumerate(text))


def words(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: re.sub(r"\w+", lambda match: change(match[0]), text)


SCRAMBLES: dict[str, Callable[[str], str]] = {
    "seven columns": lambda text: columns(text, 7), "columns of letters": lambda text: columns(SOLID, 11),
    "rails": fence, "lines to and fro": lambda text: to_and_fro(SOLID),
    "pairs": lambda text: re.sub(r"(.)(.)", r"\2\1", text), "a letter between": lambda text: "x".join(text),
    "halves between": lambda text: "".join(a + b for a, b in zip(text[:45], text[45:], strict=True)),
    "words turned": words(lambda word: word[::-1]), "first letter last": words(lambda word: word[1:] + word[:1]),
    "pig Latin": words(lambda word: word[1:] + word[:1] + "ay"), "moved by place": by_place,
}  # fmt: skip


@pytest.mark.parametrize("name", SCRAMBLES)
def test_transposition_is_undone(name: str) -> None:
    scrambled = SCRAMBLES[name](TEXT)
    solid = [re.sub(r"\W", "", candidate) for candidate in unscrambled(scrambled)]
    assert any(SOLID[2:-2] in candidate for candidate in solid)


def test_english_and_short_texts_are_left_alone() -> None:
    assert unscrambled("Please send the plan of the north basin to the office on Monday, if you can.") == ()
    assert unscrambled("AB-4471") == ()
