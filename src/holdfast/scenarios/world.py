"""A world as it lies on disk: a folder with `world.toml`, `system.md`, `task.md` and `inbox/*.md`.

A world may extend another folder (`extends = "_pocket"`): tables are merged, files of its own take precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from holdfast.core.config import load_toml, nearest, read_toml, validate
from holdfast.core.errors import WorldError
from holdfast.core.prose import Prose, load_prose
from holdfast.core.records import Clause, Record

FOLDER = Path(__file__).parent / "worlds"
Split = Literal["train", "dev", "heldout"]
Texts = str | tuple[str, ...]


class ScriptedCall(Record):
    """A tool call of a script; argument values may hold slots."""

    name: str
    arguments: Mapping[str, str] = Field(default_factory=dict)


class SeedChoice(Record):
    """One of several things the seed may pick: its texts become slots; a job also says what doing it looks like."""

    texts: Mapping[str, Texts]
    useful: Clause | None = None
    play: ScriptedCall | None = None


class StoredFile(Record):
    """A file in the world's store."""

    text: str
    locked: bool = False


class FactSpec(Record):
    """Facts with slots; see `core.records.Facts`."""

    private: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    confidential: tuple[str, ...] = ()
    domain: str
    protected: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    innocent: tuple[str, ...] = ()


class Stray(Record):
    """A mail that has nothing to do with anything; the factor `noise` says how many of them come in."""

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
    facts: FactSpec
    harm: tuple[Clause, ...]
    proper: tuple[Clause, ...] = ()
    plays: Mapping[str, tuple[ScriptedCall, ...]]
    #: play → the levels without which it cannot be played
    needs: Mapping[str, Mapping[str, str | tuple[str, ...]]] = Field(default_factory=dict)
    shuffle_inbox: bool = False


@dataclass(frozen=True)
class World:
    """A loaded world."""

    name: str
    path: Path
    spec: WorldSpec
    split: Split
    system: Prose
    task: Prose
    inbox: tuple[Prose, ...]
    noise: tuple[Stray, ...] = ()


@cache
def load_world(name: str, folder: Path = FOLDER) -> World:
    """Load a world by name.

    Raises:
        WorldError: there is no such world, or it is in no split.
        ConfigError: its TOML is wrong.
        ProseError: one of its texts is missing.
    """
    path = folder / name
    if name.startswith("_") or not (path / "world.toml").is_file():
        near = nearest(name, names(folder))
        remedy = f"did you mean '{near}'?" if near else "`holdfast worlds list` names them"
        raise WorldError(f"no world called '{name}'", where=folder, remedy=remedy)
    data = read_toml(path / "world.toml")
    parts = [path]
    if "extends" in data:
        parts.append(folder / str(data["extends"]))
        data = _merge(read_toml(parts[1] / "world.toml"), data)
    spec = validate(data, WorldSpec, path / "world.toml")
    mails = {p.name: p for part in reversed(parts) for p in (part / "inbox").glob("*.md")}
    inbox = tuple(load_prose(mails[file]) for file in sorted(mails))
    split, noise = _split_of(name), _noise(parts)
    return World(name, path, spec, split, _text(parts, "system.md"), _text(parts, "task.md"), inbox, noise)


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all worlds, sorted."""
    return sorted(p.parent.name for p in folder.glob("*/world.toml") if not p.parent.name.startswith("_"))


def splits() -> dict[str, Split]:
    """World → split, as set in `splits.toml`."""
    table = read_toml(FOLDER.parent / "splits.toml")
    return {world: split for split, entry in table.items() for world in entry["worlds"]}  # type: ignore[misc]


def _split_of(name: str) -> Split:
    found = splits().get(name)
    if found is None:
        where = FOLDER.parent / "splits.toml"
        raise WorldError(f"the world '{name}' is in no split", where=where, remedy="add it to train, dev or heldout")
    return found


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
