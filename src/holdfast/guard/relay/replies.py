"""The messages that the guard writes itself, and small readings of others, without state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.guard.relay.jsonrpc import INVALID_PARAMS, Message, Refused, dump, failure
from holdfast.guard.relay.methods import MODERN, Era

Side = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class Out:
    """A message to write."""

    to: Side
    message: Message


def same_id(one: object, other: object) -> bool:
    """Return whether two ids are equal and of the same type: 1, "1" and true are different ids."""
    return type(one) is type(other) and one == other


def call_arguments(message: Message) -> dict[str, Any]:
    """Return the arguments of a tool call.

    Raises:
        Refused: they are not an object.
    """
    found = message.get("params", {}).get("arguments", {})
    if not isinstance(found, dict):
        raise Refused(INVALID_PARAMS, "the arguments of a tool call must be an object")
    return found


def tool_result(message: Message, era: Era, text: str, *, error: bool = True) -> Out:
    """Return the guard's message as a tool result: agents follow these better than protocol errors."""
    result: Message = {"content": [{"type": "text", "text": text}], "isError": error}
    if era == MODERN:
        result["resultType"] = "complete"
    return Out("client", {"jsonrpc": "2.0", "id": message["id"], "result": result})


def failed(message: Message, era: Era, code: int, why: str) -> Out:
    """Answer a request with a failure: a tool call with a result, any other request with an error."""
    if message["method"] == "tools/call":
        return tool_result(message, era, why)
    return Out("client", failure(message["id"], code, why))


def outcome_of(message: Message) -> dict[str, Any]:
    """Return the outcome of an act from the response to it, for the log."""
    body = message.get("result", message.get("error"))
    ok = "result" in message and not message["result"].get("isError")
    return {"ok": ok, "hash": hashlib.sha256(dump(body or {})).hexdigest()}
