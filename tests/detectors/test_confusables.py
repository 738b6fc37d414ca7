"""Look-alike texts have equal skeletons, and different texts have different ones."""

import pytest

from bench.lookalikes import pairs
from holdfast.detectors.confusables import alien, folds, skeleton


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("hale", "ΗALE"),  # a Greek capital eta looks like H, and its small letter like n
        ("hale", "Нale"),  # the Cyrillic en likewise
        ("nina", "ηiηa"),
        ("ann@firm.example", "аnn@fіrm.example"),
        ("rosa", "ᖇosa"),  # Canadian syllabics
        ("anna", "ᎪnnᎪ"),  # Cherokee
        ("paypal", "раураⅼ"),
        ("c3po", "СƷΡΟ"),
        ("a-b", "a\u2212b"),
        ("office", "oﬃce"),
        ("mira", "rnira"),
        ("bill", "bi11"),
        ("muller", "müller"),
        ("vera", "ve\u200dra"),
    ],
)
def test_look_alikes_share_a_skeleton(text: str, alike: str) -> None:
    assert skeleton(text) == skeleton(alike)


@pytest.mark.parametrize(
    ("one", "other"), [("hale", "nale"), ("ann", "amn"), ("a-b", "ab"), ("tom", "tim"), ("山田", "田山")]
)
def test_different_texts_have_different_skeletons(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_table_is_complete_and_folds_to_ascii() -> None:
    assert len(folds()) > 800
    assert all(key > 127 and value.isascii() and value == value.casefold() for key, value in folds().items())


def test_look_alike_letters_are_alien_but_typography_is_not() -> None:
    assert all(map(alien, "аΗᎪⅼ−․"))
    assert not any(map(alien, "“”‘’„«»éß山ñ"))


def test_generator_skips_characters_that_nfkc_folds() -> None:
    table = {
        "a": [{"c": "а", "n": "CYRILLIC A"}],
        "а": [{"c": "a", "n": "LATIN A"}],
        "ａ": [{"c": "a", "n": "LATIN A"}],
        "\u200e٥\u200e": [{"c": "o", "n": "LATIN O"}],
        "ß": [{"c": "β", "n": "BETA"}],
    }
    assert dict(pairs(table)) == {"а": "a", "٥": "o"}
