"""Formatting of numbers and escaping of hostile text."""

import time

import pytest

from holdfast.report import words


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (None, "not measured"),
        (0, "0%"),
        (1, "100%"),
        (0.784, "78%"),
        (0.0351, "3.5%"),
        (0.004, "0.4%"),
        (0.0996, "10%"),
    ],
)
def test_percent(rate: float | None, shown: str) -> None:
    assert words.percent(rate) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "not measured"), (-0.61, "−61"), (0.073, "+7.3"), (0, "0"), (-0.00004, "0"), (-0.0996, "−10")],
)
def test_points(value: float | None, shown: str) -> None:
    assert words.points(value) == shown


def test_intervals_are_empty_where_there_is_none() -> None:
    assert words.span(0.1, 0.25) == "10 to 25"
    assert words.span(None, 0.25) == ""
    assert words.point_span(-0.5, 0.02) == "−50 to +2"
    assert words.point_span(-0.5, None) == ""


def test_counts_times_and_p_values() -> None:
    assert words.count(1234567) == "1\u202f234\u202f567"
    assert words.count(None) == words.seconds(None) == words.p_value_text(None) == "not measured"
    assert (words.seconds(8.44), words.seconds(188.2)) == ("8.4 s", "188 s")
    assert (words.p_value_text(0.0123), words.p_value_text(0.00002)) == ("0.012", "< 0.001")
    assert words.time_text("2020-01-01T10:20:30+00:00") == "2020-01-01 10:20 UTC"
    assert words.time_text("yesterday") == "yesterday"


def test_clean_replaces_invisible_characters_and_keeps_the_rest() -> None:
    assert words.clean("a\u202eb\u200bc\x00d\ud800e") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩d⟨U+D800⟩e"
    assert words.clean("tab\tline\r\nñ 東 🙂") == "tab\tline\nñ 東 🙂"


def test_marked_escapes_and_joins_overlaps() -> None:
    assert words.highlight("a <b> c <b>", ["<b>"]) == "a <mark>&lt;b&gt;</mark> c <mark>&lt;b&gt;</mark>"
    assert words.highlight("abcdef", ["bcd", "cde"]) == "a<mark>bcde</mark>f"
    assert words.highlight("abc", ["", "  ", "x"]) == "abc"


def test_fence_cannot_be_closed_from_inside() -> None:
    assert words.fenced("a\n````\nb") == "`````text\na\n````\nb\n`````"


def test_markdown_shows_text_literally() -> None:
    assert words.escape_markdown("a | b\n# c <i>") == "a \\| b \\# c \\<i\\>"
    assert words.escape_markdown(words.Raw("|")) == "|"


def test_a_quote_of_spaces_alone_is_escaped_in_linear_time() -> None:
    """An agent chooses what evidence quotes: 100 kB of spaces took 14 seconds."""
    start = time.process_time()
    assert words.escape_markdown(" " * 100_000 + "x") == " " * 100_000 + "x"
    assert words.escape_markdown(" \n " * 30_000 + "x  y") == " x  y"
    assert time.process_time() - start < 2


def test_flat_names_each_value_by_its_path() -> None:
    nested = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": [{"f": "g"}]}
    assert words.flat(nested) == [("a.b", "1"), ("a.c", "not measured"), ("d", "1, 2"), ("e[0].f", "g")]
