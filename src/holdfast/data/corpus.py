"""Any corpus as a stream of documents: JSONL, Parquet, text, and folders of these.

A row's words are its `text` (or `content`), the contents of its `messages`, and its `prompt`, `completion`, `chosen`
and `rejected`; a text file is cut at blank lines into documents of about a page.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.extras import needs

EXAMPLES = "examples.jsonl"
TEXTS = (".txt", ".md")
KINDS = (".jsonl", ".jsonl.gz", ".parquet", *TEXTS)
#: characters of a text file that make a document
PAGE = 4_000
_FIELDS = ("text", "content", "messages", "prompt", "completion", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and where it stands: `file:line` or, in Parquet, `file#row`, both from 1."""

    place: str
    text: str


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a file or a folder, in the order of file names; one at a time in memory.

    A folder that holds `examples.jsonl` is a teaching set, and only that file of it is read.

    Raises:
        InputError: there is nothing to read, or a row without a field that holds text.
        ResultsError: a file was cut off or is not what its name says.
        PrerequisiteError: Parquet, and pyarrow is not installed.
    """
    for file in files(path):
        if file.suffix == ".parquet":
            yield from _parquet(file)
        elif file.name.endswith((".jsonl", ".jsonl.gz")):
            yield from _jsonl(file)
        else:
            yield from _pages(file)


def files(path: Path) -> list[Path]:
    """The files below `path` that can be read, sorted.

    Raises:
        InputError: there is none.
    """
    if (path / EXAMPLES).is_file():
        return [path / EXAMPLES]
    there = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    found = [p for p in there if p.is_file() and p.name.endswith(KINDS)]
    if not found:
        remedy = f"name a file or a folder of {', '.join(KINDS)}"
        raise InputError("no corpus here", where=path, remedy=remedy)
    return found


def text_of(row: Any) -> str | None:
    """All words of a row, one turn a line; None where no field holds any."""
    if isinstance(row, str):
        return row
    if isinstance(row, list):
        return "\n".join(filter(None, map(text_of, row)))
    if not isinstance(row, dict):
        return None
    if not any(field in row for field in _FIELDS):
        return None
    return "\n".join(filter(None, (text_of(row.get(field)) for field in _FIELDS)))


def _jsonl(path: Path) -> Iterator[Document]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}:{number}"
                    yield Document(place, _text(_row(line, place), place))
    except (EOFError, gzip.BadGzipFile):
        raise ResultsError("cut off or not gzip", where=path, remedy="fetch or write it again") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path, remedy="check the path") from None


def _row(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        what = "not JSON" if line.endswith(b"\n") else "the last line is cut off"
        raise ResultsError(what, where=place, remedy="mend the line or write the file again") from None


def _text(row: Any, place: str) -> str:
    text = text_of(row)
    if text is None:
        remedy = f"give it one of the fields {', '.join(_FIELDS)}"
        raise InputError("a row without text", where=place, remedy=remedy)
    return text


def _parquet(path: Path) -> Iterator[Document]:
    with needs("teach", where=path):
        import pyarrow as arrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in _FIELDS]
            for batch in file.iter_batches(batch_size=1024, columns=names or None):
                for row in batch.to_pylist():
                    number += 1
                    place = f"{path}#{number}"
                    yield Document(place, _text(row, place))
    except (arrow.ArrowException, OSError):
        what = "not a whole Parquet file: it was cut off while it was written, or damaged since"
        raise ResultsError(what, where=path, remedy="write it again") from None


def _pages(path: Path) -> Iterator[Document]:
    page: list[str] = []
    size, start = 0, 1
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not page:
                    start = number
                page.append(line)
                size += len(line)
                if size >= PAGE and (not line.strip() or size >= 4 * PAGE):
                    yield Document(f"{path}:{start}", "".join(page))
                    page, size = [], 0
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path, remedy="check the path") from None
    if page:
        yield Document(f"{path}:{start}", "".join(page))
