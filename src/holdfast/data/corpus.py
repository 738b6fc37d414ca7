"""Read a corpus as a stream of documents: JSONL, Parquet, text files, and folders of these.

The text of a row is its `text` (or `content`), the contents of its `messages`, and its `prompt`, `completion`, `chosen`
and `rejected`. A text file is split at blank lines into documents of about one page.
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
#: Characters per document of a text file.
PAGE = 4_000
_FIELDS = ("text", "content", "messages", "prompt", "completion", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Document:
    """One document and its location: `file:line` or, in Parquet, `file#row`, both counted from 1."""

    place: str
    text: str


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file or a folder, ordered by file name, with one document in memory at a time.

    A folder with `examples.jsonl` is a teaching set; only that file is read.

    Raises:
        InputError: there is no readable file, or a row has no text field.
        ResultsError: a file is truncated or does not have the format of its suffix.
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
    """Return the readable files below `path`, sorted.

    Raises:
        InputError: there are none.
    """
    if (path / EXAMPLES).is_file():
        return [path / EXAMPLES]
    candidates = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    readable = [p for p in candidates if p.is_file() and p.name.endswith(KINDS)]
    if not readable:
        remedy = f"pass a file or a folder of {', '.join(KINDS)}"
        raise InputError("no readable corpus file found", where=path, remedy=remedy)
    return readable


def text_of(row: Any) -> str | None:
    """Return all text of a row, one turn per line; None if no field holds text."""
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
        what = "the file is truncated or not gzip"
        raise ResultsError(what, where=path, remedy="download or write it again") from None
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=path, remedy="check the path") from None


def _row(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        what = "the line is not JSON" if line.endswith(b"\n") else "the last line is truncated"
        raise ResultsError(what, where=place, remedy="correct the line or write the file again") from None


def _text(row: Any, place: str) -> str:
    text = text_of(row)
    if text is None:
        remedy = f"add one of the fields {', '.join(_FIELDS)}"
        raise InputError("the row has no text", where=place, remedy=remedy)
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
        what = "the Parquet file is truncated or damaged"
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
        raise InputError(f"cannot read the file: {error.strerror}", where=path, remedy="check the path") from None
    if page:
        yield Document(f"{path}:{start}", "".join(page))
