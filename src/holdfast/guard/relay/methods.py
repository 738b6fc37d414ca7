"""Every method of both protocol eras: its sender, its parameters, and whether the policy decides it.

A method that is not in these tables is refused. The tables copy `mcp_types.methods` as plain data, because importing it
takes most of a second; a test compares them with the official types.

    HANDSHAKE   2024-11-05 to 2025-11-25: a session that starts with `initialize`, which negotiates the version
    MODERN      2026-07-28: no session; each request has its version in `_meta`

The handshake era has one table, that of its newest version: its older versions define fewer methods and fields, and a
server answers a method that it does not know with an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from holdfast.guard.relay.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, Refused

Era = Literal["2025-11-25", "2026-07-28"]
HANDSHAKE: Final[Era] = "2025-11-25"
MODERN: Final[Era] = "2026-07-28"
#: The versions of the handshake era, oldest first.
HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
#: The keys of `_meta` that the protocol defines; any other key passes and is logged.
META: Final = frozenset(
    {
        VERSION_KEY,
        "io.modelcontextprotocol/clientInfo",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/logLevel",
        "io.modelcontextprotocol/subscriptionId",
        "io.modelcontextprotocol/serverInfo",
        "progressToken",
        "traceparent",
        "tracestate",
        "baggage",
    }
)
#: The fields of `params` that a multi-round-trip request adds: answers to the server's input requests.
ROUND: Final = frozenset({"inputResponses", "requestState"})


@dataclass(frozen=True, slots=True)
class Method:
    """A method's parameters beside `_meta`, and whether the policy decides it.

    Methods that are not gated transport no content: handshake, ping, cancellation and progress.
    """

    params: frozenset[str]
    gated: bool = True


def _gated(*params: str) -> Method:
    return Method(frozenset(params))


def _free(*params: str) -> Method:
    return Method(frozenset(params), gated=False)


_PAGE = _gated("cursor")
_URI = _gated("uri")
_CANCEL = _free("requestId", "reason")
_PROGRESS = _free("progressToken", "progress", "total", "message")

FROM_CLIENT: Final[Mapping[Era, Mapping[str, Method]]] = {
    HANDSHAKE: {
        "initialize": _free("protocolVersion", "capabilities", "clientInfo"),
        "ping": _free(),
        "tools/list": _free("cursor"),
        "tools/call": _gated("name", "arguments"),
        "completion/complete": _gated("argument", "context", "ref"),
        "logging/setLevel": _gated("level"),
        "prompts/get": _gated("name", "arguments"),
        "prompts/list": _PAGE,
        "resources/list": _PAGE,
        "resources/read": _URI,
        "resources/subscribe": _URI,
        "resources/unsubscribe": _URI,
        "resources/templates/list": _PAGE,
        "notifications/initialized": _free(),
        "notifications/cancelled": _CANCEL,
        "notifications/progress": _PROGRESS,
        "notifications/roots/list_changed": _gated(),
    },
    MODERN: {
        "server/discover": _free(),
        "tools/list": _free("cursor"),
        "tools/call": _gated("name", "arguments", *ROUND),
        "completion/complete": _gated("argument", "context", "ref"),
        "prompts/get": _gated("name", "arguments", *ROUND),
        "prompts/list": _PAGE,
        "resources/list": _PAGE,
        "resources/read": _gated("uri", *ROUND),
        "resources/templates/list": _PAGE,
        "subscriptions/listen": _gated("notifications"),
        "notifications/cancelled": _CANCEL,
    },
}
FROM_SERVER: Final[Mapping[Era, Mapping[str, Method]]] = {
    HANDSHAKE: {
        "ping": _free(),
        "elicitation/create": _gated("elicitationId", "message", "mode", "requestedSchema", "url"),
        "roots/list": _gated(),
        "sampling/createMessage": _gated(
            "includeContext", "maxTokens", "messages", "metadata", "modelPreferences", "stopSequences",
            "systemPrompt", "temperature", "toolChoice", "tools",
        ),
        "notifications/cancelled": _CANCEL,
        "notifications/progress": _PROGRESS,
        "notifications/message": _gated("data", "level", "logger"),
        "notifications/elicitation/complete": _gated("elicitationId"),
        "notifications/prompts/list_changed": _free(),
        "notifications/resources/list_changed": _free(),
        "notifications/resources/updated": _URI,
        "notifications/tools/list_changed": _free(),
    },
    MODERN: {
        "notifications/cancelled": _CANCEL,
        "notifications/progress": _PROGRESS,
        "notifications/message": _gated("data", "level", "logger"),
        "notifications/prompts/list_changed": _free(),
        "notifications/resources/list_changed": _free(),
        "notifications/resources/updated": _URI,
        "notifications/subscriptions/acknowledged": _free("notifications"),
        "notifications/tools/list_changed": _free(),
    },
}  # fmt: skip
#: Input requests that a server may put in an `input_required` result: its requests of the handshake era.
ASKED_BACK: Final = {name: FROM_SERVER[HANDSHAKE][name] for name in (
    "elicitation/create", "roots/list", "sampling/createMessage",
)}  # fmt: skip
#: A server's capabilities → the methods that a client uses if the server has them. The guard passes no others.
CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "tools": (),
    "completions": ("completion/complete",),
    "logging": ("logging/setLevel",),
    "prompts": ("prompts/get", "prompts/list"),
    "resources": ("resources/list", "resources/read", "resources/templates/list"),
}
#: Names that no tool may have, because the policy identifies an act by its name alone.
PROTOCOL_NAMES: Final = frozenset(
    name for side in (FROM_CLIENT, FROM_SERVER) for table in side.values() for name in table
)


def era_of(params: Mapping[str, Any], method: str) -> Era:
    """Return the era that a client's request declares.

    Raises:
        Refused: the declared version is not supported.
    """
    meta = params.get("_meta")
    claimed = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    proposed = params.get("protocolVersion") if method == "initialize" else HANDSHAKE
    if claimed not in (None, MODERN) or not isinstance(proposed, str):
        known = ", ".join((*HANDSHAKE_VERSIONS, MODERN))
        raise Refused(UNSUPPORTED_VERSION, f"the guard supports only the protocol versions {known}")
    return HANDSHAKE if claimed is None else MODERN


def proposed_version(params: Mapping[str, Any]) -> str:
    """Return the version to propose to the server: the client's, or the newest one if the guard does not know it."""
    version = params.get("protocolVersion")
    return version if isinstance(version, str) and version in HANDSHAKE_VERSIONS else HANDSHAKE


def unknown_meta(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a message's `_meta` that the protocol does not define."""
    return {name: value for name, value in params.get("_meta", {}).items() if name not in META}


def check_parameters(message: Mapping[str, Any], table: Mapping[str, Method]) -> Method:
    """Return the method's entry in `table` after checking that the era defines all of the message's parameters.

    Raises:
        Refused: the method, or a field of `params`, is unknown, or `_meta` is not an object.
    """
    name = message["method"]
    found = table.get(name)
    if found is None or ("id" in message) == name.startswith("notifications/"):
        raise Refused(METHOD_NOT_FOUND, "the guard does not pass this method")
    params = message.get("params", {})
    unknown = params.keys() - found.params - {"_meta"}
    meta = params.get("_meta", {})
    if unknown or not isinstance(meta, dict):
        raise Refused(INVALID_PARAMS, "the parameters have a field that this protocol version does not define")
    return found
