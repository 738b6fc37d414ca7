"""The run store: a folder of append-only JSONL files, closed by a manifest.

The manifest is written last, so a folder without `manifest.json` is unfinished. Complete lines are kept and a
half-written last line is dropped. A run that is killed at any moment can therefore resume without repeating work.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from holdfast.core.errors import ResultsError, StoreError
from holdfast.core.records import RunCard
from holdfast.core.text import storable

R = TypeVar("R", bound=BaseModel)
MANIFEST = "manifest.json"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a StoreError with a remedy.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                "the disk is full", where=path, remedy="free some space and run again: it resumes"
            ) from None
        if error.errno == errno.EFBIG:
            what, remedy = "the file size limit is reached", "raise it (ulimit -f) and run again: it resumes"
            raise StoreError(what, where=path, remedy=remedy) from None
        raise StoreError(f"cannot write: {error.strerror}", where=path, remedy="check its permissions") from None


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: to a temporary file beside it, which then replaces the old one.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(storable(text))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class RunFolder:
    """A folder of results: append records, then write the manifest with `finish`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def complete(self) -> bool:
        """Whether the manifest has been written."""
        return (self.path / MANIFEST).is_file()

    def card(self) -> RunCard:
        """The folder's manifest.

        Raises:
            ResultsError: it is missing or not a Holdfast manifest.
        """
        path = self.path / MANIFEST
        if not path.is_file():
            raise ResultsError(
                "results are incomplete: no manifest", where=self.path, remedy="run the same command again"
            )
        try:
            return RunCard.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError:
            remedy = "delete the folder and run again"
            raise ResultsError("not a Holdfast manifest", where=path, remedy=remedy) from None

    def append(self, name: str, records: Iterable[BaseModel]) -> int:
        """Append records to `name`.jsonl and sync them to disk; returns their number.

        Raises:
            StoreError: the disk is full or the folder cannot be written; existing lines are kept.
        """
        path = self.path / f"{name}.jsonl"
        lines = [record.model_dump_json(exclude_none=True) + "\n" for record in records]
        with writing(path):
            self.path.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(path)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        return len(lines)

    def read(self, name: str, model: type[R]) -> list[R]:
        """All complete records of `name`.jsonl, without a half-written last line; a missing file gives an empty list.

        Raises:
            ResultsError: a complete line is not a record of this kind.
        """
        return list(self.each(name, model))

    def each(self, name: str, model: type[R]) -> Iterator[R]:
        """Iterate over the records of `read`, for files too large to hold in memory.

        Raises:
            ResultsError: a complete line is not a record of this kind.
        """
        path = self.path / f"{name}.jsonl"
        if not path.is_file():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield model.model_validate_json(line)
                except ValidationError:
                    what, where = f"not a {model.__name__} record", f"{path}:{number}"
                    raise ResultsError(what, where=where, remedy="delete the folder and run again") from None

    def replace(self, name: str, records: Iterable[BaseModel]) -> None:
        """Replace `name`.jsonl atomically.

        Raises:
            StoreError: the disk is full or the folder cannot be written; the old file is kept.
        """
        lines = [record.model_dump_json(exclude_none=True) + "\n" for record in records]
        write_text(self.path / f"{name}.jsonl", "".join(lines))

    def reopen(self) -> None:
        """Take the manifest away: the folder counts as unfinished until `finish` is called again.

        Raises:
            StoreError: the folder cannot be written.
        """
        with writing(self.path / MANIFEST):
            (self.path / MANIFEST).unlink(missing_ok=True)

    def finish(self, card: RunCard) -> None:
        """Write the manifest, which marks the folder as complete."""
        write_text(self.path / MANIFEST, card.model_dump_json(indent=1) + "\n")


def _drop_torn_line(path: Path) -> None:
    """Remove a last line without a newline, left by a writer that was killed while writing it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
