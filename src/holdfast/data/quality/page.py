"""A sample of a set on one page, for a human to read and mark; the marks come back as a file.

The page is self-contained, asks for nothing and may not: its policy allows its own style and script alone.  Whatever a
model wrote is escaped, and invisible characters are shown.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import Field, ValidationError
from scipy.stats import binomtest

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.records import Example, Record
from holdfast.core.store import RunFolder, write_text
from holdfast.data.card import EXAMPLES

HERE = Path(__file__).parent
MARKS = ("good", "flawed", "bad")
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


class Marked(Record):
    """What a human said of one example."""

    id: str
    mark: Literal["good", "flawed", "bad"]
    note: str = ""


class Marks(Record):
    """The file that a sample page saves."""

    set: str
    seed: int
    marks: tuple[Marked, ...] = Field(max_length=100_000)


class MarkSummary(Record):
    """Marks summed up: mark → count, share and 95% interval (Clopper and Pearson) over the examples marked."""

    marked: int
    shares: Mapping[str, tuple[int, float, float, float]]
    notes: tuple[Marked, ...]


def draw_sample(folder: Path, size: int, seed: int = 0) -> list[Example]:
    """A uniform draw of examples from a set, the same for the same set, size and seed; in memory are only those.

    Raises:
        ResultsError: the set is unfinished.
    """
    run = RunFolder(folder)
    run.card()
    ranked = ((_rank(seed, example.id), at, example) for at, example in enumerate(run.each(EXAMPLES, Example)))
    return [example for _, _, example in heapq.nsmallest(size, ranked)]


def write_page(folder: Path, out: Path, size: int = 50, seed: int = 0) -> int:
    """Write the page of a sample; returns how many examples are on it.

    Raises:
        InputError: the set is empty.
        ResultsError: the set is unfinished.
        StoreError: the page could not be written.
    """
    drawn = draw_sample(folder, size, seed)
    if not drawn:
        raise InputError("nothing to show: the set is empty", where=folder, remedy="make it again")
    write_text(out, render_page(folder.name, seed, drawn))
    return len(drawn)


def render_page(name: str, seed: int, examples: Sequence[Example]) -> str:
    """The page as HTML."""
    style, script = ((HERE / file).read_text(encoding="utf-8") for file in ("page.css", "page.js"))
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            name=name,
            seed=seed,
            examples=examples,
            marks=MARKS,
            style=Markup(style),
            script=Markup(script),
            style_hash=_digest(style),
            script_hash=_digest(script),
        )
    )


def read_marks(path: Path) -> Marks:
    """The marks that a page saved.

    Raises:
        ResultsError: it is not such a file, or marks an example twice.
    """
    try:
        marks = Marks.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        remedy = "save it with the button of a sample page"
        raise ResultsError("not a file of marks", where=path, remedy=remedy) from None
    twice = [name for name, n in Counter(mark.id for mark in marks.marks).items() if n > 1]
    if twice:
        raise ResultsError(f"example '{twice[0]}' is marked twice", where=path, remedy="save the page again")
    return marks


def summarise_marks(marks: Marks, folder: Path) -> MarkSummary:
    """What the marks say about a set.

    Raises:
        ResultsError: a mark is for an example that the set does not hold.
    """
    wanted = {mark.id for mark in marks.marks}
    unknown = wanted - {example.id for example in RunFolder(folder).each(EXAMPLES, Example) if example.id in wanted}
    if unknown:
        what = f"{len(unknown)} marks are for examples that are not in this set, such as '{min(unknown)}'"
        raise ResultsError(what, where=folder, remedy=f"name the set that the page was made from: {marks.set}")
    n = len(marks.marks)
    counts: Counter[str] = Counter(mark.mark for mark in marks.marks)
    shares = {}
    for mark in MARKS if n else ():
        low, high = binomtest(counts[mark], n).proportion_ci(0.95)
        shares[mark] = (counts[mark], counts[mark] / n, float(low), float(high))
    return MarkSummary(marked=n, shares=shares, notes=tuple(mark for mark in marks.marks if mark.note))


def visible(text: str) -> str:
    """The text with invisible characters as code points, such as `⟨U+202E⟩`; line feeds and tabs stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else f"⟨U+{ord(c):04X}⟩" for c in text)


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["visible"] = visible
    return env
