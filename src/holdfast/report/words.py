"""Formats numbers for pages, and makes hostile text safe to show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

NONE = "not measured"
MINUS = "\N{MINUS SIGN}"
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
#: Characters that Markdown interprets in the middle of a line.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """Replace control, bidirectional, zero-width, private and lone surrogate characters by their code points.

    A replaced character reads `⟨U+202E⟩`.  Line feeds and tabs stay.
    """
    return "".join(_visible(char) for char in text.replace("\r\n", "\n"))


def _visible(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in _HIDDEN:
        return char
    return f"⟨U+{ord(char):04X}⟩"


def percent(rate: float | None) -> str:
    """Format a rate from 0 to 1 as a percentage: whole from 10%, one decimal below; `not measured` for None."""
    return NONE if rate is None else f"{_hundredths(rate)}%"


def span(low: float | None, high: float | None) -> str:
    """Format an interval of rates, in percent without the sign; empty if there is none."""
    return "" if low is None or high is None else f"{_hundredths(low)} to {_hundredths(high)}"


def points(value: float | None) -> str:
    """Format a difference of rates in percentage points, always with its sign."""
    if value is None:
        return NONE
    text = _hundredths(value)
    return text if text.startswith(MINUS) or text == "0" else f"+{text}"


def point_span(low: float | None, high: float | None) -> str:
    """Format an interval of differences, in percentage points; empty if there is none."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def p_value_text(p: float | None) -> str:
    """Format a p-value: three decimals, `< 0.001` below that."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float | None) -> str:
    """Format a count, with thin spaces between thousands."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def seconds(value: float | None) -> str:
    """Format seconds, with one decimal below ten."""
    if value is None:
        return NONE
    return f"{value:.1f} s" if value < 10 else f"{count(value)} s"


def time_text(text: str) -> str:
    """Format an ISO time to the minute, with its zone; other text is returned unchanged."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?", text)
    if not found:
        return text
    zone = {"Z": "UTC", "+00:00": "UTC", None: ""}.get(found[3], found[3])
    return f"{found[1]} {found[2]} {zone}".rstrip()


def _hundredths(rate: float) -> str:
    value = 100 * rate
    text = f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text.replace("-", MINUS)


def odds(value: float) -> str:
    """Format an odds ratio: two decimals below 10, whole from there."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def seeds(values: Iterable[float | None]) -> str:
    """Format differences of rates by training seed, in percentage points; empty if there is only one."""
    by_seed = [points(value) for value in values]
    return ", ".join(by_seed) if len(by_seed) > 1 else ""


def humanise(name: str) -> str:
    """Show a name from the file as words: underscores become spaces."""
    return name.replace("_", " ")


def series(names: Iterable[str]) -> str:
    """Join names for a sentence: `a, b and c`."""
    listed = list(names)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Flatten a nested value into (dotted path, text) pairs, in the order of the file."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list)) for item in value):
        return [pair for at, item in enumerate(value) for pair in flat(item, f"{path}[{at}]")]
    if isinstance(value, (list, tuple)):
        return [(path, ", ".join(map(str, value)))]
    return [(path, NONE if value is None else str(value))]


def highlight(text: str, quotes: Iterable[str]) -> Markup:
    """Escape `text` and put every occurrence of each quote inside `<mark>`; overlapping quotes share one mark."""
    covered = bytearray(len(text))
    for quote in filter(str.strip, quotes):
        at = text.find(quote)
        while at >= 0:
            covered[at : at + len(quote)] = b"\1" * len(quote)
            at = text.find(quote, at + len(quote))
    pieces = []
    for run in re.finditer(rb"\x01+|\x00+", bytes(covered)):
        piece = escape(text[run.start() : run.end()])
        pieces.append(Markup("<mark>{}</mark>").format(piece) if covered[run.start()] else piece)
    return Markup("").join(pieces)


class Raw(str):
    """Markdown that is already escaped."""


def escape_markdown(value: object) -> object:
    """Escape `value` so that Markdown shows it literally on one line; `Raw` is returned unchanged."""
    if isinstance(value, Raw) or not isinstance(value, str):
        return value
    # Each run of white space is matched once: `\s*\n\s*` takes minutes on a megabyte of spaces.
    line = _SPACE.sub(lambda run: " " if "\n" in run[0] else run[0], value)
    return _MARKDOWN.sub(r"\\\1", line)


def fenced(text: str) -> Raw:
    """Put `text` in a code fence that the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Raw(f"{fence}text\n{text}\n{fence}")
