"""The run store: a folder of append-only JSONL files whose manifest is written last.

A folder without `manifest.json` is unfinished; whatever complete lines it holds are kept and a half-written last line
is dropped, so that a run killed at any moment resumes and repeats nothing.
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
    """Turn the operating system's refusals to write `path` into one clear line.

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
            what, remedy = "no file may grow further here", "raise the limit, ulimit -f, and run again: it resumes"
            raise StoreError(what, where=path, remedy=remedy) from None
        raise StoreError(f"cannot write: {error.strerror}", where=path, remedy="check the folder's rights") from None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a neighbour first, then renamed over the old one.

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
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class RunFolder:
    """A folder of results: append records, then close it with its card."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def complete(self) -> bool:
        """Whether the manifest is there."""
        return (self.path / MANIFEST).is_file()

    def card(self) -> RunCard:
        """The folder's manifest.

        Raises:
            ResultsError: it is missing or not one of ours.
        """
        path = self.path / MANIFEST
        if not path.is_file():
            raise ResultsError(
                "results are incomplete: no manifest", where=self.path, remedy="run the same command again"
            )
        try:
            return RunCard.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError:
            raise ResultsError("not a manifest of ours", where=path, remedy="delete the folder and run again") from None

    def append(self, name: str, records: Iterable[BaseModel]) -> int:
        """Append records to `name`.jsonl, durably; returns how many.

        Raises:
            StoreError: the disk is full or the folder cannot be written; lines already there stay.
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
        """All complete records of `name`.jsonl; a torn last line is left out, a missing file is an empty list.

        Raises:
            ResultsError: a line in the middle is not a record of this kind.
        """
        return list(self.each(name, model))

    def each(self, name: str, model: type[R]) -> Iterator[R]:
        """The records of `read` one by one, for files that should not be in memory whole.

        Raises:
            ResultsError: a line in the middle is not a record of this kind.
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
        """Write `name`.jsonl anew, whole or not at all.

        Raises:
            StoreError: the disk is full or the folder cannot be written; the old file stays.
        """
        lines = [record.model_dump_json(exclude_none=True) + "\n" for record in records]
        write_text(self.path / f"{name}.jsonl", "".join(lines))

    def finish(self, card: RunCard) -> None:
        """Write the manifest: from now on the folder counts as complete."""
        write_text(self.path / MANIFEST, card.model_dump_json(indent=1) + "\n")


def _drop_torn_line(path: Path) -> None:
    """Cut a last line that has no newline: the writer died inside it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
