"""Hashes of a results folder: SHA-256 of every file in `hashes.json`, under one root hash.

`sealing` locks a folder while it is written and writes `hashes.json` last.  Only one process can hold the lock, and it
is released when the process ends for any reason.  A folder with a lock file and no hashes was left by a process that
was interrupted.

Hashes show that a folder is consistent with its root hash.  Only a root hash that was published elsewhere shows who
made the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from holdfast.core.errors import IncompleteError, ResultsError
from holdfast.core.identity import canonical
from holdfast.core.records import Record
from holdfast.core.store import write_text, writing

HASHES, LOCK = "hashes.json", "writing.lock"
FORMAT = 1
#: Files that are made from the other files of a folder; every run rewrites them.
DERIVED = ("summary.json", "report.html", "report.md")
#: Model weights: hashed once, when they were made, and allowed to be absent later.
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf"}


class Hashes(Record):
    """The content of `hashes.json`: file name within the folder → SHA-256.

    Attributes:
        ended: whether the last process that wrote here reached its end.
        versions: source hashes of the rooms that made the verdicts, the summary and the pages.
        files: every file but weights.
        weights: files of model weights, which may be absent later.
        root: SHA-256 of all the above.
    """

    format: int
    ended: bool
    versions: Mapping[str, str]
    files: Mapping[str, str]
    weights: Mapping[str, str] = {}
    root: str

    @property
    def expected_root(self) -> str:
        """The root hash that the content gives."""
        return _sha(canonical(self.model_dump(mode="json", exclude={"root"})))


class Changes(Record):
    """How the files of a folder differ from its hashes; names in order.  `absent` weights are no fault."""

    edited: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def none(self) -> bool:
        """Whether every file is present and unchanged."""
        return not (self.edited or self.missing or self.added)


class Seal:
    """What `sealing` yields: `root` is the root hash after the block has ended, None before."""

    def __init__(self) -> None:
        self.root: str | None = None


def read_hashes(folder: Path) -> Hashes | None:
    """Read the hashes of a folder; None if it has none.

    Raises:
        ResultsError: `hashes.json` cannot be read or is not valid.
    """
    path = folder / HASHES
    if not path.is_file():
        return None
    try:
        return Hashes.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ResultsError(f"cannot read: {error.strerror}", where=path, remedy="check its permissions") from None
    except ValidationError:
        raise ResultsError(
            "not a valid table of hashes", where=path, remedy="restore it from a copy of the folder"
        ) from None


def compare(folder: Path, hashes: Hashes, *, weights: bool = True) -> Changes:
    """Hash every file of a folder again and compare; without `weights`, only their presence is checked.

    Raises:
        ResultsError: a file cannot be read.
    """
    here, known = _files(folder), {**hashes.files, **hashes.weights}
    read = {name: path for name, path in here.items() if name in known and (weights or name not in hashes.weights)}
    return Changes(
        edited=tuple(name for name, path in read.items() if _digest(path) != known[name]),
        missing=tuple(sorted(hashes.files.keys() - here.keys())),
        added=tuple(name for name in here if name not in known),
        absent=tuple(sorted(hashes.weights.keys() - here.keys())),
    )


def evidence_of(folder: Path) -> str:
    """SHA-256 over all files that a summary is made from: every file but weights and derived files."""
    files = {name: path for name, path in _files(folder).items() if name not in DERIVED and not _is_weights(name)}
    return _sha(canonical({name: _digest(path) for name, path in files.items()}))


def being_written(folder: Path) -> bool:
    """Whether a running process on this machine holds the lock of the folder."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def interrupted(folder: Path) -> bool:
    """Whether a process that wrote here ended without sealing the folder."""
    return (folder / LOCK).exists() and not (folder / HASHES).exists()


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes; the lock file is removed if the block ends without an error.

    Raises:
        IncompleteError: another process holds the lock.
        StoreError: the folder cannot be written.
    """
    path = folder / LOCK
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what, remedy = "another process is writing in this folder", "wait until it ends, or name another folder"
            raise IncompleteError(what, where=folder, remedy=remedy) from None
        except OSError:
            pass  # The file system has no locks, so a second writer cannot be detected.
        yield
        path.unlink(missing_ok=True)


@contextmanager
def sealing(folder: Path, versions: Mapping[str, str]) -> Iterator[Seal]:
    """Lock a results folder while the block writes in it, and hash its files afterwards.

    While the block runs there is no `hashes.json`.  If the block raises, the files are hashed too and marked as not
    ended; if it also changed nothing, the earlier hashes are restored.

    Args:
        folder: results folder; created if it does not exist.
        versions: source hashes of the rooms that make verdicts, summary and pages.

    Raises:
        IncompleteError: another process writes here.
        ResultsError: a file that results rest on was edited since the folder was hashed.
        StoreError: the folder cannot be written.
    """
    seal = Seal()
    with holding(folder):
        before = _unedited(folder)
        with writing(folder / HASHES):
            (folder / HASHES).unlink(missing_ok=True)
        try:
            yield seal
        except BaseException:
            with suppress(OSError, IncompleteError):
                found = _hashed(folder, versions, before, ended=False)
                kept = before is not None and (before.files, before.weights) == (found.files, found.weights)
                _write(folder, before if kept and before else found)
                (folder / LOCK).unlink(missing_ok=True)
            raise
        found = _hashed(folder, versions, before, ended=True)
        _write(folder, found)
        seal.root = found.root


@contextmanager
def amending(folder: Path, versions: Mapping[str, str]) -> Iterator[Seal]:
    """`sealing` for additions to existing results, such as pages and judgements.

    A folder without hashes (of an older version) is locked and gets none: new hashes would hide earlier edits.

    Args:
        folder: results folder.
        versions: source hashes of the rooms that make the additions; the others are kept.

    Raises:
        IncompleteError: another process writes here.
        ResultsError: a file that results rest on was edited since the folder was hashed.
        StoreError: the folder cannot be written.
    """
    before = read_hashes(folder)
    if before is None:
        with holding(folder):
            yield Seal()
        return
    with sealing(folder, {**before.versions, **versions}) as seal:
        yield seal


def _unedited(folder: Path) -> Hashes | None:
    """The hashes of a folder before it is written; an edited file is an error, and is not hashed."""
    before = read_hashes(folder)
    if before is None:
        return None
    edited = [name for name in compare(folder, before, weights=False).edited if name not in DERIVED]
    if edited:
        remedy = "restore the file, or delete its folder and run again; see holdfast verify"
        raise ResultsError("edited since the run that wrote it", where=folder / edited[0], remedy=remedy)
    return before


def _hashed(folder: Path, versions: Mapping[str, str], before: Hashes | None, *, ended: bool) -> Hashes:
    known = before.weights if before else {}
    files = _files(folder)
    content = {
        "format": FORMAT,
        "ended": ended,
        "versions": dict(versions),
        "files": {name: _digest(path) for name, path in files.items() if not _is_weights(name)},
        # Weights are hashed once, because they are large; the first hash is kept, so that a later edit is found.
        "weights": {**known, **{n: _digest(p) for n, p in files.items() if _is_weights(n) and n not in known}},
    }
    return Hashes.model_validate({**content, "root": _sha(canonical(content))})


def _write(folder: Path, hashes: Hashes) -> None:
    write_text(folder / HASHES, hashes.model_dump_json(indent=1) + "\n")


def _files(folder: Path) -> dict[str, Path]:
    """Name within the folder → path of every file and link below it, sorted.

    The folder's own hashes and lock, and folders with hashes of their own (other results), are left out.
    """
    found = {}
    for at, folders, files in os.walk(folder):
        path = Path(at)
        if path != folder and HASHES in files:
            folders.clear()
            continue
        for name in (*files, *(name for name in folders if (path / name).is_symlink())):
            inside = (path / name).relative_to(folder).as_posix()
            if inside not in (HASHES, LOCK):
                # A name that is not UTF-8 could not be written into `hashes.json` unchanged.
                found[os.fsencode(inside).decode("utf-8", "backslashreplace")] = path / name
    return dict(sorted(found.items()))


def _is_weights(name: str) -> bool:
    return Path(name).suffix in _WEIGHTS


def _digest(path: Path) -> str:
    """SHA-256 of a regular file; any other kind is described and not opened."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"link to {os.fsencode(os.readlink(path)).decode('utf-8', 'backslashreplace')}"
        if not stat.S_ISREG(mode):
            return "no plain file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ResultsError(f"cannot read: {error.strerror}", where=path, remedy="check its permissions") from None


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
