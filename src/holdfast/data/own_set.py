"""Read the examples of any set: a finished folder, a written set by name, or JSON lines of one's own.

A line of one's own is an example as Holdfast writes it, an item of a written set (`id`, `area`, `kind`, `principle`,
and `messages` or `text`), a chat (`messages` with `role` and `content`, and `tools` where it calls some) or a document
(`text`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.packed import packed_path, read_packed
from holdfast.core.records import Example, Message, Provenance
from holdfast.core.store import MANIFEST, RunFolder
from holdfast.data.card import EXAMPLES
from holdfast.data.lesson_book import ITEMS, is_lesson, lesson_folder

#: Keys of an item that place it in a plan.
PLACES = ("area", "kind", "principle")


@dataclass(frozen=True, slots=True)
class OwnSet:
    """A set to be checked.

    Attributes:
        name: name of the set.
        each: returns an iterator over its examples.
        places: axis → the value of each example, in order; empty if the set has no plan.
        folder: folder of a set that Holdfast built, with its response cache; else None.
    """

    name: str
    each: Callable[[], Iterator[Example]]
    places: dict[str, list[str]]
    folder: Path | None = None


def open_set(source: Path) -> OwnSet:
    """Open a set by folder, file or name.

    Raises:
        ConfigError: there is no written set of that name.
        InputError: the file is empty or cannot be read.
        ResultsError: a folder is unfinished, or a line is not an example; the error names file and line.
    """
    if is_lesson(str(source)) and not source.exists():
        source = lesson_folder(str(source))
    items = packed_path(source / ITEMS)
    file = items if items.is_file() else source
    if file.is_file():
        rows = list(_rows(file))
        places = {key: [row[key] for row, _ in rows] for key in PLACES if all(row.get(key) for row, _ in rows)}
        return OwnSet(source.name, lambda: iter([example for _, example in rows]), places)
    run = RunFolder(source)
    run.card()  # raises if the set is unfinished
    axes = _axes(source)
    return OwnSet(source.name, lambda: run.each(EXAMPLES, Example), axes, source)


def _axes(folder: Path) -> dict[str, list[str]]:
    """Axis → values of a built set's examples, from its card."""
    card = folder / "card.json"
    if not (card.is_file() and (folder / MANIFEST).is_file()):
        return {}
    facts = json.loads(card.read_text(encoding="utf-8"))
    counts = dict(facts.get("axes", {}))
    for cell in facts.get("cells", ()):
        for axis, value in cell["cell"].items():
            tally = counts.setdefault(axis, {})
            if axis not in facts.get("axes", {}):
                tally[value] = tally.get(value, 0) + cell["examples"]
    return {axis: [v for value, n in values.items() for v in [value] * n] for axis, values in counts.items() if values}


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], Example]]:
    try:
        text = read_packed(path).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the file: {error}", where=path, remedy="give a file of JSON lines") from None
    empty = True
    # Not `splitlines`: a text may hold other line breaks, which JSON leaves as they are.
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        if line.strip():
            empty = False
            yield _row(line, f"{path}:{number}", f"{path.name}:{number}")
    if empty:
        raise InputError("the file holds no examples", where=path, remedy="write one as JSON on each line")


def _row(line: str, where: str, name: str) -> tuple[dict[str, Any], Example]:
    remedy = "write 'messages' with 'role' and 'content', or 'text'"
    try:
        row = json.loads(line)
    except ValueError:
        raise ResultsError("the line is not JSON", where=where, remedy="correct it") from None
    if not isinstance(row, dict) or not (row.get("messages") or row.get("text")):
        raise ResultsError("the line has neither 'messages' nor 'text'", where=where, remedy=remedy)
    try:
        if "provenance" in row:
            return row, Example.model_validate(row)
        turns = [
            {key: value for key, value in turn.items() if key in Message.model_fields}
            for turn in row.get("messages") or ()
        ]
        return row, Example(
            id=str(row.get("id", name)),
            kind="chat" if turns else "document",
            messages=tuple(Message.model_validate(turn) for turn in turns),
            tools=row.get("tools") or (),
            text=row.get("text") or "",
            provenance=Provenance(recipe="own", teacher="unknown", seed=0, principle=row.get("principle")),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        what = f"not an example: {'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}"
        raise ResultsError(what, where=where, remedy=remedy) from None
    except (TypeError, AttributeError):
        raise ResultsError("a turn is not an object", where=where, remedy=remedy) from None
