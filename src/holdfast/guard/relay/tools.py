"""The tools of one server: its listing, checked against the pins and filtered by the policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from referencing import Registry

from holdfast.core.errors import InputError
from holdfast.core.identity import key_of
from holdfast.guard.concern import TOOL as CONCERN
from holdfast.guard.policy.validate import Fault
from holdfast.guard.relay.jsonrpc import INVALID_REQUEST, Refused
from holdfast.guard.relay.methods import PROTOCOL_NAMES
from holdfast.guard.relay.tool_pins import Pins

#: A server without a connection can change a definition without notice, so a listing expires after this time.
FRESH_SECONDS = 60.0
_PAGES, _TOOLS = 100, 2000
_NAME_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


@dataclass(frozen=True, slots=True)
class Tool:
    """A pinned tool: its definition, the definition's hash, and the validator of its arguments."""

    definition: Mapping[str, Any]
    hash: str
    validator: Draft202012Validator

    def misfit(self, arguments: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a call's arguments; None if they are valid.

        An argument that the schema does not list is an error even if the schema allows it, because no person has
        reviewed it.
        """
        schema = self.definition["inputSchema"]
        if unknown := arguments.keys() - schema.get("properties", {}).keys():
            return f"the tool has no argument {sorted(unknown)[0]!r}"
        error = next(self.validator.iter_errors(arguments), None)
        if error is None:
            return None
        return f"the arguments do not match the tool's schema at '{'/'.join(map(str, error.absolute_path)) or '.'}'"

    @property
    def reads(self) -> bool:
        """Whether the pinned definition declares the tool read-only."""
        notes = self.definition.get("annotations")
        return isinstance(notes, dict) and notes.get("readOnlyHint") is True


@dataclass
class Catalogue:
    """The tools of one server, shared by all sessions with it.

    Args:
        pins: the server's pins.
        visible: returns whether the policy lets the agent see a tool.
        misnamed: returns the first error in what the policy says about the tools; called with the first listing.
        repin: tools that a person wants to pin again, applied to the first listing.
        tools: the pinned tools that the agent may see, by name.
        until: time on the monotonic clock after which the listing must be fetched again.
    """

    pins: Pins
    visible: Callable[[str], bool]
    misnamed: Callable[[Mapping[str, Collection[str]]], Fault | None] = lambda _: None
    repin: frozenset[str] = frozenset()
    tools: dict[str, Tool] = field(default_factory=dict)
    until: float = 0.0
    _compared: bool = field(default=False, init=False)

    @property
    def fresh(self) -> bool:
        """Whether the last listing is still valid."""
        return time.monotonic() < self.until

    def forget(self) -> None:
        """Invalidate the listing, because the server announced a change."""
        self.until = 0.0

    def take(self, definitions: list[Any]) -> list[str]:
        """Accept a complete listing.

        Returns:
            The reasons why tools were left out, for the log.

        Raises:
            InputError: the first listing lacks a tool or argument that the policy names; nothing may be served.
            Refused: a definition is malformed, or a name occurs twice.
        """
        found: dict[str, Any] = {}
        for definition in definitions:
            name = definition.get("name") if isinstance(definition, dict) else None
            if not isinstance(name, str) or name in found or len(found) > _TOOLS:
                raise Refused(INVALID_REQUEST, "the server's list of tools is malformed")
            found[name] = definition
        faults = {name: fault for name, definition in found.items() if (fault := _fault(name, definition))}
        sound = {name: definition for name, definition in found.items() if name not in faults}
        offered = {name: definition["inputSchema"].get("properties", {}) for name, definition in sound.items()}
        if not self._compared and (lack := self.misnamed(offered)):
            raise InputError(lack.what, where="the policy", remedy=lack.remedy)
        self._compared = True
        if self.repin:
            self.pins.repin(self.repin, sound)
            self.repin = frozenset()
        accepted = self.pins.accept(sound)
        self.tools = {
            name: tool_of(definition) for name, definition in sound.items() if name in accepted and self.visible(name)
        }
        self.until = time.monotonic() + FRESH_SECONDS
        changed = [f"tool {name!r} differs from its pin" for name in sorted(sound.keys() - accepted)]
        return changed + [f"tool {name!r}: {fault}" for name, fault in sorted(faults.items())]


class Listing:
    """Collects the pages of `tools/list`.

    Raises:
        Refused: on `add`, a page is malformed, a cursor is repeated, or there are too many pages.
    """

    def __init__(self) -> None:
        self.definitions: list[Any] = []
        self.first: dict[str, Any] = {}
        self._cursors: set[str] = set()

    def add(self, result: Mapping[str, Any]) -> str | None:
        """Add a page and return the cursor of the next one, or None after the last."""
        tools, cursor = result.get("tools"), result.get("nextCursor")
        repeated = cursor in self._cursors or len(self._cursors) >= _PAGES
        if not isinstance(tools, list) or not isinstance(cursor, str | None) or repeated:
            raise Refused(INVALID_REQUEST, "the server's list of tools is malformed")
        self.definitions += tools
        self.first = self.first or dict(result)
        if cursor is not None:
            self._cursors.add(cursor)
        return cursor


def _fault(name: str, definition: Mapping[str, Any]) -> str | None:
    if name == CONCERN or name in PROTOCOL_NAMES:
        return "the name is reserved by the guard or the protocol"
    if not 0 < len(name) <= 128 or not set(name) <= _NAME_CHARACTERS:
        return "the name is too long or has characters that are not allowed"
    schema = definition.get("inputSchema")
    if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
        return "the schema of its arguments is missing or not an object"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return "the schema of its arguments is not a valid JSON Schema"
    return None


def tool_of(definition: Mapping[str, Any]) -> Tool:
    """Build a tool from its definition."""
    # An empty registry, so that a schema cannot make the guard fetch a URL.
    validator = Draft202012Validator(definition["inputSchema"], registry=Registry())
    return Tool(definition, key_of(definition), validator)
