"""Pins: what a server's tools were when a person first saw them.

    {"files": {"era": "2025-11-25", "tools": {"read_file": "9f2c…"}}}

The first complete listing of a server is pinned.  From then on a tool whose definition changed, or that was not there,
is hidden and refused until a person pins it again; so is an older protocol era than the server has spoken.
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
    """What is pinned of one server: the newest era it spoke, and the hash of each tool's definition."""

    era: Era | None = None
    tools: Mapping[str, str] | None = Field(default=None, description="None until the first complete listing")
    instructions: str = ""


_FILE = TypeAdapter(dict[str, Pinned])


class Pins:
    """The pins of one server in a file that several guards may share.

    Args:
        path: the file; it is made when something is pinned.
        server: the server's name in the policy.

    Raises:
        InputError: the file is no pins file, or others than its owner may write to it.
    """

    def __init__(self, path: Path, server: str) -> None:
        self.path, self.server = path, server
        self.pinned = self._read().get(server, Pinned())

    def accept(self, definitions: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """The tools of a complete listing that are what they were; a first listing is pinned as it is."""
        hashes = {name: key_of(definition) for name, definition in definitions.items()}
        if self.pinned.tools is None:
            # Another guard may have been first: what it pinned stands.
            self._change(lambda old: old if old.tools is not None else old.model_copy(update={"tools": hashes}))
        tools = self.pinned.tools or {}
        return {name for name, found in hashes.items() if tools.get(name) == found}

    def repin(self, names: frozenset[str], definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """Pin the named tools as they are now; only ever done for a person."""
        hashes = {name: key_of(definitions[name]) for name in names & definitions.keys()}
        self._change(lambda old: old.model_copy(update={"tools": dict(old.tools or {}) | hashes}))

    def spoke(self, era: Era) -> None:
        """Note that the server answered in this era; the newest is kept."""
        if era > (self.pinned.era or ""):
            self._change(lambda old: old.model_copy(update={"era": max(era, old.era or era)}))

    def told(self, instructions: str) -> bool:
        """Whether the server's instructions are the pinned ones; the first are pinned."""
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
            raise InputError("others may write to the pins", where=self.path, remedy=f"chmod 600 {self.path}")
        try:
            return _FILE.validate_python(json.loads(text))
        except (ValueError, ValidationError):
            raise InputError("this is no file of pins", where=self.path, remedy="restore it, or pin anew") from None
