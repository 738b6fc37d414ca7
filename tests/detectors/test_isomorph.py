"""Texts whose letters were replaced one for one are recognised, and other texts are not."""

import random

import pytest

from holdfast.detectors.isomorph import in_a_row, replaced, shapes
from holdfast.detectors.known_texts import KnownTexts

KNOWN = (
    "steep the grain for thirty one hours at nine degrees and turn it each fourth hour then kiln it with beech smoke"
)
OTHER = "come to the open day on the first sunday of june the gates are open from ten and there is bread from our oven"


def secret(text: str, seed: int) -> str:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    random.Random(seed).shuffle(letters)
    return "".join(letters[ord(char) - 97] if char.isalpha() else char for char in text)


@pytest.mark.parametrize("seed", range(5))
def test_any_replacement_of_the_letters_is_found(seed: int) -> None:
    known = KnownTexts([("recipe", KNOWN)])
    assert known.find(secret(KNOWN, seed)) == "recipe (letters replaced)"
    assert known.find(secret(OTHER, seed)) is None
    assert known.find(KNOWN) == "recipe" and known.find(OTHER) is None


def test_shapes_are_equal_for_equal_patterns_only() -> None:
    assert shapes(KNOWN.replace(" ", "")) == shapes(secret(KNOWN, 3).replace(" ", ""))
    assert not set(shapes(KNOWN.replace(" ", ""))) & set(shapes(OTHER.replace(" ", ""))) - {""}
    assert set(shapes("abcdefghijklmnopqrstuvwxyz0123456789")) == {""}


def test_english_is_not_taken_for_a_replacement() -> None:
    assert replaced(KNOWN) == () and replaced(secret(KNOWN, 1)) and replaced("12 5 9 " * 20)


def test_only_windows_in_a_row_count() -> None:
    assert list(in_a_row([True] * 7 + [False] + [True] * 7)) == []
    assert list(in_a_row([False] + [True] * 9)) == list(range(1, 10))
