"""Pins: hashes of a server's tool definitions at first sight.

    {"files": {"era": "2025-11-25", "tools": {"read_file": "9f2c…"}}}

The first complete listing of a server is pinned. Later, a tool that is new or whose definition changed is hidden and
refused until a person pins it again. An older protocol era than the server has used is refused too.
"""

from __future__ import annotations

import fcntl
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from holdfast.core.errors import InputError
from holdfast.core.identity import key_of
from holdfast.core.records import Record
from holdfast.core.store import write_json
from holdfast.guard.relay.methods import Era


class Pinned(Record):
    """The pins of one server: the newest era that it used, and the hash of each tool's definition."""

    era: Era | None = None
    tools: Mapping[str, str] | None = Field(default=None, description="None until the first complete listing")
    instructions: str = ""


_FILE = TypeAdapter(dict[str, Pinned])


class Pins:
    """The pins of one server, in a file that several guards may share.

    Args:
        path: the file; created when something is pinned.
        server: the server's name in the policy.

    Raises:
        InputError: the file is not a pins file, or other users may write to it.
    """

    def __init__(self, path: Path, server: str) -> None:
        self.path, self.server = path, server
        self.pinned = self._read().get(server, Pinned())

    def accept(self, definitions: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Return the names of the tools in a complete listing that match their pins; a first listing is pinned."""
        hashes = {name: key_of(definition) for name, definition in definitions.items()}
        if self.pinned.tools is None:
            # If another guard was first, its pins stay.
            self._change(lambda old: old if old.tools is not None else old.model_copy(update={"tools": hashes}))
        tools = self.pinned.tools or {}
        return {name for name, found in hashes.items() if tools.get(name) == found}

    def repin(self, names: frozenset[str], definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """Pin the named tools with their current definitions; call this only on a person's request."""
        hashes = {name: key_of(definitions[name]) for name in names & definitions.keys()}
        self._change(lambda old: old.model_copy(update={"tools": dict(old.tools or {}) | hashes}))

    def spoke(self, era: Era) -> None:
        """Record that the server answered in this era; the newest one is kept."""
        if era > (self.pinned.era or ""):
            self._change(lambda old: old.model_copy(update={"era": max(era, old.era or era)}))

    def told(self, instructions: str) -> bool:
        """Return whether the server's instructions match their pin; the first ones are pinned."""
        found = key_of(instructions)
        if not self.pinned.instructions:
            self._change(lambda old: old.model_copy(update={"instructions": old.instructions or found}))
        return self.pinned.instructions == found

    def _change(self, edit: Callable[[Pinned], Pinned]) -> None:
        with self._locked():
            every = self._read()
            every[self.server] = self.pinned = edit(every.get(self.server, Pinned()))
            write_json(self.path, _FILE.dump_python(every, mode="json"))
            self.path.chmod(0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Pinned]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        if self.path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError("other users may write to the pins", where=self.path, remedy=f"chmod 600 {self.path}")
        try:
            return _FILE.validate_python(json.loads(text))
        except (ValueError, ValidationError):
            remedy = "restore it, or delete it to pin the tools again"
            raise InputError("not a pins file", where=self.path, remedy=remedy) from None
