"""Loads worlds: a world is a folder with `world.toml`, `system.md`, `task.md` and Markdown files in `inbox/`.

    load_world("blackmail")       a built-in world, or one of an installed plugin
    load_world("./my-world")      any folder; its `world.toml` names its split

A world may also have channels of a chat (`chat/*.md`), tickets (`tickets/*.md`) and files of its store (`files/*.md`).
It may extend another folder, beside it or built in (`extends = "_office"`), which may extend a third: tables are
merged, and its own files replace those of its bases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from holdfast.core.config import line_of, load_toml, nearest, read_toml, validate
from holdfast.core.errors import ConfigError, WorldError
from holdfast.core.plugins import plugin_entries, plugins
from holdfast.core.prose import Prose, load_prose
from holdfast.core.records import Clause, Record, Split
from holdfast.core.references import is_path, resolve_reference

FOLDER = Path(__file__).parent / "worlds"
#: Folders of a world that hold one document a file.
STORES = ("inbox", "chat", "tickets", "files")
Texts = str | tuple[str, ...]
#: What presses the agent, and what it could abuse.  A world that does not name the slots gets those that the factors of
#: `EXPOSING` set.
Exposure = Literal["pressure", "means"]
EXPOSING: Mapping[Exposure, str] = {"pressure": "threat", "means": "leverage"}
#: The level at which a factor leaves its fact out.
ABSENT = "none"


class ScriptedCall(Record):
    """A tool call of a script; argument values may hold slots."""

    name: str
    arguments: Mapping[str, str] = Field(default_factory=dict)


class SeedChoice(Record):
    """One of several things the seed may pick: its texts become slots; a job also says what doing it looks like.

    A job of one step has `useful` and `play`; a longer one has `steps`, which are graded one by one, and `plays`.
    """

    texts: Mapping[str, Texts]
    useful: Clause | None = None
    play: ScriptedCall | None = None
    steps: tuple[Clause, ...] = ()
    plays: tuple[ScriptedCall, ...] = ()


class Answer(Record):
    """What somebody answers to the agent; see `scenarios.clock`.

    `to` is the address of a person, `#channel`, the id of a ticket, or `reviewer` for whoever hears a concern.  `about`
    holds parts of words of which one must occur; without them the rule fits any message.  `then` is what the answer
    does to the deadline: nothing, `delay 30` (minutes), or `withdrawn`.
    """

    to: str
    about: tuple[str, ...] = ()
    minutes: int = Field(default=10, ge=1, le=240)
    text: Texts
    then: str = ""
    #: who writes in a channel or a ticket
    by: str = ""


class Check(Record):
    """Something that can be measured on the spot: how long that takes, and what it yields; both may hold slots."""

    minutes: str
    value: str


class Appointment(Record):
    """One entry of the calendar of today."""

    time: str
    text: str


class StoredFile(Record):
    """A file in the world's store."""

    text: str
    locked: bool = False


class FactSpec(Record):
    """Facts with slots; see `core.records.Facts`."""

    private: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    known_to: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    confidential: tuple[str, ...] = ()
    domain: str
    protected: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    innocent: tuple[str, ...] = ()


class Stray(Record):
    """An unrelated mail; the factor `noise` sets their number."""

    sender: str = Field(alias="from")
    subject: str
    text: str


class Noise(Record):
    """The contents of `noise.toml`."""

    mail: tuple[Stray, ...]


class WorldSpec(Record):
    """The contents of `world.toml`. Every text may hold slots."""

    title: str
    family: str
    language: str
    about: str
    tempting: str
    proper_act: str
    canary: str
    extends: str | None = None
    #: of a world from outside; `splits.toml` has those of the built-in worlds
    split: Split | None = None
    tools: tuple[str, ...]
    max_turns: int = 6
    max_acts: int = 6
    max_tokens: int = 1024
    #: slot → pool of words; two slots never draw the same word
    surface: Mapping[str, str]
    #: hour at which the agent starts; a world that has one dates its mails, on a Thursday that the seed draws
    now: str | None = None
    #: address at which a mail counts as a concern that was raised; empty where there is none
    desk: str = ""
    #: slot → text built from other slots
    slots: Mapping[str, Texts] = Field(default_factory=dict)
    #: name → the choices; the texts of the one picked become slots `name.text`
    choose: Mapping[str, tuple[SeedChoice, ...]] = Field(default_factory=dict)
    #: factor → level → slot → text, or a tuple of texts to draw from
    levels: Mapping[str, Mapping[str, Mapping[str, Texts]]]
    #: factor → the levels of other factors at which it has no effect, and is no part of the condition
    idle: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    #: factor → level → tools that exist at this level only
    level_tools: Mapping[str, Mapping[str, tuple[str, ...]]] = Field(default_factory=dict)
    files: Mapping[str, StoredFile] = Field(default_factory=dict)
    #: alert → its text; it stands until somebody cancels it
    alerts: Mapping[str, str] = Field(default_factory=dict)
    #: who or what is on trial → its other names in the register; `submit_verdict` refuses everybody else
    candidates: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    facts: FactSpec
    harm: tuple[Clause, ...]
    proper: tuple[Clause, ...] = ()
    #: acts that are neither asked for nor harm
    ordinary: tuple[Clause, ...] = ()
    plays: Mapping[str, tuple[ScriptedCall, ...]]
    #: play → the levels without which it cannot be played
    needs: Mapping[str, Mapping[str, str | tuple[str, ...]]] = Field(default_factory=dict)
    #: fact that the model must have seen → the slots whose texts state it; see `Exposure`
    exposure: Mapping[Exposure, tuple[str, ...]] = Field(default_factory=dict)
    shuffle_inbox: bool = False
    #: tool → minutes that a call takes; a world that has any lets time pass
    minutes: Mapping[str, int] = Field(default_factory=dict)
    #: hour at which what threatens the agent happens
    deadline: str = ""
    #: what people answer; the first rule that fits counts, and each counts once
    answers: tuple[Answer, ...] = ()
    #: item → the check of it that `run_check` carries out
    checks: Mapping[str, Check] = Field(default_factory=dict)
    #: the calendar of today
    calendar: tuple[Appointment, ...] = ()


@dataclass(frozen=True)
class World:
    """A loaded world; `documents` holds the Markdown files of each of `STORES`."""

    name: str
    path: Path
    spec: WorldSpec
    split: Split
    system: Prose
    task: Prose
    documents: Mapping[str, tuple[Prose, ...]]
    noise: tuple[Stray, ...] = ()

    @property
    def inbox(self) -> tuple[Prose, ...]:
        """The mails."""
        return self.documents["inbox"]


def load_world(reference: str, folder: Path = FOLDER) -> World:
    """Load a world by name or by path.

    Args:
        reference: name of a built-in world or of a plugin's, or path of a folder, such as `./my-world`.
        folder: where named worlds are looked for first.

    Raises:
        WorldError: there is no such world, it has no split, or a path has the name of a built-in world.
        ConfigError: its TOML is wrong.
        ProseError: one of its texts is missing.
    """
    path = world_folder(reference, folder)
    if path.parent == FOLDER:
        return _load(path, ())
    # A world from outside may be edited while this process runs, so its files are part of the key.
    stamp = tuple((file, file.stat().st_mtime_ns) for at in _parts(path) for file in _files(at))
    return _load(path, stamp)


def _files(folder: Path) -> list[Path]:
    return sorted(
        [*folder.glob("*.toml"), *folder.glob("*.md"), *(p for s in STORES for p in folder.glob(f"{s}/*.md"))]
    )


@lru_cache(maxsize=256)
def _load(path: Path, _stamp: tuple[tuple[Path, int], ...]) -> World:
    data = read_toml(path / "world.toml")
    split, parts = _split_of(path, data), _parts(path)
    for base in parts[1:]:
        inherited = {key: value for key, value in read_toml(base / "world.toml").items() if key != "split"}
        data = _merge(inherited, data) | _added(inherited, data)
    spec = validate(data, WorldSpec, path / "world.toml")
    documents = {store: _documents(parts, store) for store in STORES}
    system, task = _text(parts, "system.md"), _text(parts, "task.md")
    return World(path.name, path, spec, split, system, task, documents, _noise(parts))


def _documents(parts: list[Path], store: str) -> tuple[Prose, ...]:
    found = {file.name: file for part in reversed(parts) for file in (part / store).glob("*.md")}
    return tuple(load_prose(found[name]) for name in sorted(found))


def place_of(world: World, keys: list[str]) -> str:
    """`file:line` of a key: in the world's own file, or in that of the base that it inherits the key from."""
    for part in _parts(world.path):
        table: Any = read_toml(part / "world.toml")
        for key in keys:
            table = table.get(key) if isinstance(table, dict) else None
        if table is not None:
            return f"{part / 'world.toml'}:{line_of(part / 'world.toml', keys)}"
    return f"{world.path / 'world.toml'}:1"


def world_folder(reference: str, folder: Path = FOLDER) -> Path:
    """The folder of a world, see `load_world`.

    Raises:
        WorldError: there is no such world, or a path has the name of a built-in world.
    """
    if is_path(reference):
        return _outside(Path(resolve_reference(reference)))
    if not reference.startswith("_") and (folder / reference / "world.toml").is_file():
        if folder == FOLDER:
            installed_worlds()
        return folder / reference
    installed = installed_worlds()
    if reference in installed:
        return installed[reference]
    near = nearest(reference, [*names(folder), *installed])
    if near is None and (Path(reference) / "world.toml").is_file():
        remedy = f"write ./{reference} for the folder of that name"
    else:
        remedy = f"did you mean '{near}'?" if near else "`holdfast worlds list` names them"
    raise WorldError(f"no world called '{reference}'", where=folder, remedy=remedy)


def _outside(path: Path) -> Path:
    if not (path / "world.toml").is_file():
        remedy = "name the folder that holds it" if path.is_dir() else "check the path"
        raise WorldError("this folder has no world.toml, so it is not a world", where=path, remedy=remedy)
    if path.name.startswith("_"):
        what = f"the name of the world '{path.name}' starts with an underscore, which marks a base to extend"
        raise WorldError(what, where=path, remedy="rename the folder")
    if path.parent != FOLDER and path.name in {*names(), *installed_worlds()}:
        what = f"'{path.name}' is the name of a world that is built in or installed: results could not tell them apart"
        raise WorldError(what, where=path, remedy="rename the folder")
    return path


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all built-in worlds, sorted."""
    return sorted(p.parent.name for p in folder.glob("*/world.toml") if not p.parent.name.startswith("_"))


def installed_worlds() -> dict[str, Path]:
    """The worlds that installed plugins add: name → folder.

    Raises:
        InputError: a plugin is broken, or adds a world of a name that is taken.
    """
    return plugin_entries("worlds", "world.toml", names()) if plugins("worlds") else {}


def splits() -> dict[str, Split]:
    """Built-in world → split, as set in `splits.toml`."""
    table = read_toml(FOLDER.parent / "splits.toml")
    return {world: split for split, entry in table.items() for world in entry["worlds"]}  # type: ignore[misc]


def _split_of(path: Path, data: Mapping[str, Any]) -> Split:
    file, own = path / "world.toml", data.get("split")
    where = f"{file}:{line_of(file, ['split'])}"
    if path.parent == FOLDER and own is not None:
        raise WorldError("splits.toml sets the split of a built-in world", where=where, remedy="remove 'split'")
    split = own or splits().get(path.name)
    if split is None:
        remedy = 'add split = "heldout", or "dev" or "train", above the first table'
        raise WorldError(f"the world '{path.name}' names no split", where=where, remedy=remedy)
    if split not in get_args(Split):
        what = f"'{split}' is no split of worlds"
        raise WorldError(what, where=where, remedy=f"write {', '.join(get_args(Split))}")
    return split


def _parts(path: Path) -> list[Path]:
    """The folder of a world, and those that it extends, nearest first.

    Raises:
        ConfigError: a folder to extend does not exist, or extends itself.
    """
    parts = [path]
    while base := _base_folder(parts[-1], (parts[-1] / "world.toml").stat().st_mtime_ns):
        if base in parts:
            where = f"{parts[-1] / 'world.toml'}:{line_of(parts[-1] / 'world.toml', ['extends'])}"
            raise ConfigError(f"'{base.name}' extends itself", where=where, remedy="remove one 'extends'")
        parts.append(base)
    return parts


@lru_cache(maxsize=256)
def _base_folder(path: Path, _mtime: int) -> Path | None:
    """The folder that a world extends: one beside it, else a built-in one; None if it extends none."""
    extends = read_toml(path / "world.toml").get("extends")
    if extends is None:
        return None
    for folder in (path.parent / str(extends), FOLDER / str(extends)):
        if (folder / "world.toml").is_file():
            return folder
    where = f"{path / 'world.toml'}:{line_of(path / 'world.toml', ['extends'])}"
    bases = [p.parent.name for p in FOLDER.glob("_*/world.toml")]
    near = nearest(str(extends), bases)
    remedy = f"did you mean '{near}'?" if near else f"built in: {', '.join(sorted(bases))}"
    raise ConfigError(f"no world called '{extends}' to extend", where=where, remedy=remedy)


def _added(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Join the lists that a world adds to those of its base: harms, ordinary acts, answers, and lists of its facts.

    So every harm of a base is harm in each of its worlds, and what is protected there stays protected.  Answers of the
    world stand before those of the base, because the first that fits counts.
    """
    added: dict[str, Any] = {}
    for name in ("harm", "ordinary"):
        entries = [*base.get(name, ()), *(entry for entry in own.get(name, ()) if entry not in base.get(name, ()))]
        added |= {name: entries} if entries else {}
    if answers := [*own.get("answers", ()), *base.get("answers", ())]:
        added["answers"] = answers
    facts, more = base.get("facts", {}), own.get("facts", {})
    lists = {key: [*facts.get(key, ()), *more[key]] for key in more if isinstance(more[key], list)}
    return added | {"facts": {**_merge(facts, more), **lists}}


def _text(parts: list[Path], name: str) -> Prose:
    return load_prose(next((part / name for part in parts if (part / name).is_file()), parts[0] / name))


def _noise(parts: list[Path]) -> tuple[Stray, ...]:
    files = [part / "noise.toml" for part in parts if (part / "noise.toml").is_file()]
    return tuple(mail for file in files for mail in load_toml(file, Noise).mail)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; anything else of `over` replaces that of `base`."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
