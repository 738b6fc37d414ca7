"""Render a sample of a set as an HTML page for a human to mark, and read the saved marks.

The page is self-contained and makes no requests; its content security policy allows only its own style and script. Text
from models is escaped, and invisible characters are shown as code points.
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
    """A human's mark for one example."""

    id: str
    mark: Literal["good", "flawed", "bad"]
    note: str = ""


class Marks(Record):
    """Contents of the file that a sample page saves."""

    set: str
    seed: int
    marks: tuple[Marked, ...] = Field(max_length=100_000)


class MarkSummary(Record):
    """Summary of marks: mark → (count, share, low, high) with the 95% Clopper-Pearson interval."""

    marked: int
    shares: Mapping[str, tuple[int, float, float, float]]
    notes: tuple[Marked, ...]


def draw_sample(folder: Path, size: int, seed: int = 0) -> list[Example]:
    """Draw a uniform sample of a set; the same set, size and seed give the same sample. Memory holds only the sample.

    Raises:
        ResultsError: the set is unfinished.
    """
    run = RunFolder(folder)
    run.card()
    ranked = ((_rank(seed, example.id), at, example) for at, example in enumerate(run.each(EXAMPLES, Example)))
    return [example for _, _, example in heapq.nsmallest(size, ranked)]


def write_page(folder: Path, out: Path, size: int = 50, seed: int = 0) -> int:
    """Write the page of a sample and return the number of examples on it.

    Raises:
        InputError: the set is empty.
        ResultsError: the set is unfinished.
        StoreError: the page cannot be written.
    """
    drawn = draw_sample(folder, size, seed)
    if not drawn:
        raise InputError("the set is empty", where=folder, remedy="build it again")
    write_text(out, render_page(folder.name, seed, drawn))
    return len(drawn)


def render_page(name: str, seed: int, examples: Sequence[Example]) -> str:
    """Return the page as HTML."""
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
    """Read the marks that a sample page saved.

    Raises:
        ResultsError: the file does not contain marks, or marks an example twice.
    """
    try:
        marks = Marks.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        remedy = "save it with the button of a sample page"
        raise ResultsError("the file does not contain marks", where=path, remedy=remedy) from None
    twice = [name for name, n in Counter(mark.id for mark in marks.marks).items() if n > 1]
    if twice:
        raise ResultsError(f"example '{twice[0]}' is marked twice", where=path, remedy="save the page again")
    return marks


def summarise_marks(marks: Marks, folder: Path) -> MarkSummary:
    """Summarise the marks of a set.

    Raises:
        ResultsError: a marked example is not in the set.
    """
    wanted = {mark.id for mark in marks.marks}
    unknown = wanted - {example.id for example in RunFolder(folder).each(EXAMPLES, Example) if example.id in wanted}
    if unknown:
        what = f"{len(unknown)} marked examples are not in this set, for example '{min(unknown)}'"
        raise ResultsError(what, where=folder, remedy=f"pass the set that the page was made from: {marks.set}")
    n = len(marks.marks)
    counts: Counter[str] = Counter(mark.mark for mark in marks.marks)
    shares = {}
    for mark in MARKS if n else ():
        low, high = binomtest(counts[mark], n).proportion_ci(0.95)
        shares[mark] = (counts[mark], counts[mark] / n, float(low), float(high))
    return MarkSummary(marked=n, shares=shares, notes=tuple(mark for mark in marks.marks if mark.note))


def visible(text: str) -> str:
    """Replace invisible characters by code points such as `⟨U+202E⟩`; line feeds and tabs are kept."""
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
