"""The response cache of a run: every model answer, in one append-only JSONL file per stage.

The key of a row is the hash of prompt, model and parameters, so a changed prompt is sent again and an unchanged one is
not. Each row is written to the operating system at once, so a run killed at any moment loses at most its pending
requests. A failed request is stored too, with its reason, and is sent again by the next run.

Only the key and offset of each row are kept in memory, 16 bytes per row.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import ValidationError

from holdfast.core.errors import IncompleteError, ResultsError
from holdfast.core.records import Message, Record, ToolCall
from holdfast.core.store import writing
from holdfast.core.text import Text
from holdfast.models.base import Finish, Output

FOLDER = "answers"
_KEY = slice(8, 24)  # of `{"key":"0123456789abcdef",…`


class CachedResponse(Record):
    """One request and its result.

    Attributes:
        key: hash of prompt, model and parameters.
        item: index of the item.
        model: name of the model.
        finish: why the answer ended.
        text: text of the answer.
        calls: tool calls of the answer.
        tokens: tokens (input, output).
        error: reason of a failed request.
        paid: False for an answer copied from another set.
    """

    key: Text
    item: int
    model: Text
    finish: Finish
    text: Text = ""
    calls: tuple[ToolCall, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    error: Text | None = None
    paid: bool = True

    def output(self) -> Output:
        """Return the row as a model output."""
        return Output(
            Message(role="assistant", content=self.text, tool_calls=self.calls), self.finish, self.tokens, self.error
        )


class ResponseCache:
    """The cached answers in `folder`; `others` are folders of sets whose answers are reused.

    Raises:
        ResultsError: a file has an invalid line.
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.path = folder
        self.folder = folder / FOLDER
        self._others = [other / FOLDER for other in others]
        self._files: dict[tuple[Path, str], _File] = {}

    def find(self, stage: str, key: str) -> CachedResponse | None:
        """Return the cached answer to a request, or None; failed requests do not count."""
        if (row := self._file(self.folder, stage).find(key)) is not None:
            return row
        for other in self._others:
            if (row := self._file(other, stage).find(key)) is not None:
                copied = row.model_copy(update={"paid": False})
                self.add(stage, copied)
                return copied
        return None

    def add(self, stage: str, row: CachedResponse) -> None:
        """Append a row. Once this returns, killing the process does not lose the row.

        Raises:
            StoreError: the disk is full; the next run removes a partly written row.
        """
        self._file(self.folder, stage).add(row)

    def close(self) -> None:
        """Flush all files to disk and close them."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, folder: Path, stage: str) -> _File:
        if (folder, stage) not in self._files:
            self._files[folder, stage] = _File(_path(folder, stage))
        return self._files[folder, stage]


class _File:
    """The rows of one stage: keys and byte offsets, sorted by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._out: int | None = None
        keys, places, self._end = _scan(path)
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order], places[order]
        self._in: BinaryIO | None = None

    def find(self, key: str) -> CachedResponse | None:
        number = np.uint64(int(key, 16))
        # Failed rows may precede the one with the answer, so the last row counts.
        at = int(np.searchsorted(self._keys, number, side="right")) - 1
        if at < 0 or self._keys[at] != number:
            return None
        self._in = self._in or self.path.open("rb")
        self._in.seek(int(self._places[at]))
        row = _row(self._in.readline(), self.path)
        return None if row.finish == "error" else row

    def add(self, row: CachedResponse) -> None:
        line = (row.model_dump_json(exclude_defaults=True) + "\n").encode()
        with writing(self.path):
            if self._out is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._out = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                os.truncate(self._out, self._end)
            left = memoryview(line)
            while left:
                left = left[os.write(self._out, left) :]

    def close(self) -> None:
        if self._out is not None:
            with writing(self.path):
                os.fsync(self._out)
            os.close(self._out)
        if self._in is not None:
            self._in.close()


def responses_of(folder: Path, stage: str) -> Iterator[CachedResponse]:
    """Yield all rows of a stage from the set in a folder, in the order they were written, failed ones included.

    Raises:
        ResultsError: a line is invalid.
    """
    path = _path(folder / FOLDER, stage)
    if path.is_file():
        with path.open("rb") as file:
            yield from (_row(line, path) for line in file if line.endswith(b"\n"))


def _path(folder: Path, stage: str) -> Path:
    return folder / f"{stage.replace(': ', '.')}.jsonl"


def _scan(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Read the keys and byte offsets of all complete rows, and the end of the last one."""
    keys, sizes = array("Q"), array("q")
    if path.is_file():
        with path.open("rb") as file:
            try:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    keys.append(int(line[_KEY], 16))
                    sizes.append(len(line))
            except ValueError:
                what, remedy = "the file is not a response cache", "delete the folder and run again"
                raise ResultsError(what, where=path, remedy=remedy) from None
    lengths = np.array(sizes, dtype=np.int64)
    ends = np.cumsum(lengths)
    return np.array(keys, dtype=np.uint64), ends - lengths, int(ends[-1]) if len(ends) else 0


def _row(line: bytes, path: Path) -> CachedResponse:
    try:
        return CachedResponse.model_validate_json(line)
    except ValidationError:
        what = "a line is not a row of a response cache"
        raise ResultsError(what, where=path, remedy="delete the folder and run again") from None


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for this process. Two runs that build the same set would send every request twice.

    Raises:
        IncompleteError: another run holds the lock.
        StoreError: the folder cannot be written.
    """
    path = folder / ".lock"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IncompleteError(
                "another run is writing this set", where=folder, remedy="wait for it, or stop it and run again"
            ) from None
        yield
