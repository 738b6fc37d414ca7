"""Parse one frame of bytes to exactly one JSON-RPC message, or refuse it.

A message is parsed once and `dump` serialises the parsed value again. So the forwarded message equals the judged one,
and no parser downstream can interpret the original bytes differently.

Messages that are judged are parsed strictly. A server's response is not judged, so `parse_response` passes on integers
of any size, replaces half of a surrogate pair, which JavaScript servers write when they cut a text inside an emoji, and
drops fields beside the result, such as `"error": null`.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final, Literal, NoReturn

#: Maximum size in bytes of a frame from the client, and of one from the server, whose results may contain pictures.
MAX_FRAME: Final = 4 * 1024 * 1024
MAX_RESPONSE: Final = 32 * 1024 * 1024
#: Maximum nesting of arrays and objects.
MAX_DEPTH: Final = 64
#: Maximum absolute integer; parsers that use doubles change larger ones.
MAX_INT: Final = 2**53 - 1

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
UNSUPPORTED_VERSION: Final = -32022
HEADER_MISMATCH: Final = -32020
#: Our own codes, from the range that the protocol reserves for implementations. `UNKNOWN`: the request reached the
#: server, but its outcome cannot be passed on.
DENIED: Final = -32010
HELD: Final = -32011
UNKNOWN: Final = -32012

#: Why a batch of the protocol version 2025-03-26 is refused.
NO_BATCHES: Final = "the frame is a batch of messages, which is not supported"
_NOTHING_SENT = "nothing of it was sent: send each message in its own frame"

Message = dict[str, Any]
Kind = Literal["request", "notification", "response"]
#: Serialisers disagree on surrogates: some write an escape, some write bytes.
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID_LENGTH = 256


class Refused(Exception):
    """A refused frame.

    Args:
        code: JSON-RPC error code.
        why: one sentence for the peer and the log; quotes nothing that the peer did not send.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


def parse(raw: bytes, limit: int = MAX_FRAME) -> Message:
    """Parse one message strictly.

    Raises:
        Refused: the frame is not UTF-8 or not JSON, is a batch, has a duplicate key, NaN or Infinity, a number that a
            double cannot represent or a surrogate, is nested deeper than `MAX_DEPTH`, is longer than `limit` bytes, or
            is not a JSON-RPC 2.0 message.
    """
    return _message(raw, limit, _DECODER)


def parse_response(raw: bytes, limit: int = MAX_RESPONSE) -> Message:
    """Parse one message from a server: a response as described above, any other message strictly.

    Raises:
        Refused: see `parse`.
    """
    message = _message(raw, limit, _RESPONSE_DECODER)
    return message if kind(message) == "response" else parse(raw, limit)


def _message(raw: bytes, limit: int, decoder: json.JSONDecoder) -> Message:
    if len(raw) > limit:
        raise Refused(INVALID_REQUEST, f"the frame is longer than {limit} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(PARSE_ERROR, "the frame is not UTF-8") from None
    try:
        value = decoder.decode(text)
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, "the frame is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(INVALID_REQUEST, NO_BATCHES)
    message: Message = value
    if not _measure(message):
        if decoder is _DECODER:
            raise Refused(PARSE_ERROR, "a string contains a surrogate")
        message = _without_surrogates(message)
    if decoder is _RESPONSE_DECODER:
        message = _without_extras(message)
    _envelope(message)
    return message


def _without_extras(message: Message) -> Message:
    """Return a response without fields that the protocol does not define, and without an empty error or result."""
    if "method" in message:
        return message
    found: Message = {name: message[name] for name in ("jsonrpc", "id", "result", "error") if name in message}
    for one, other in (("error", "result"), ("result", "error")):
        if other in found and found.get(one, 0) is None:
            del found[one]
    return found


def identity_of(raw: bytes, *, request: bool) -> int | str | None:
    """Return the id of a JSON-RPC frame that `parse` refused, so that the right request gets the failure.

    Args:
        raw: the frame.
        request: whether the frame must be a request; otherwise it must be a response.

    Returns:
        The id at the top level of the frame; None if there is none, or more than one.
    """
    members = _members(raw) if len(raw) <= MAX_FRAME else _outer_members(raw)
    found = [value for name, value in members if name == "id"]
    names = {name for name, _ in members}
    fits = "jsonrpc" in names and ("method" in names) == request
    return found[0] if fits and len(found) == 1 and _is_id(found[0]) else None


def refusals(raw: bytes, refused: Refused) -> list[Message]:
    """Return the answers to a client's frame that `parse` refused.

    Args:
        raw: the frame.
        refused: why it was refused.

    Returns:
        One failure, with the request's id if it can be read; for a batch one for each of its requests, so that the
        client waits for none of them.
    """
    why = f"{refused.why}; {_NOTHING_SENT}" if refused.why == NO_BATCHES else refused.why
    return [failure(one, refused.code, why) for one in identities_of(raw, request=True)]


def identities_of(raw: bytes, *, request: bool) -> list[int | str | None]:
    """Return the ids of a frame that `parse` refused: of a batch those of its requests or responses.

    Args:
        raw: the frame.
        request: whether the messages must be requests; otherwise they must be responses.

    Returns:
        At least one id; it is None if there is none, more than one in an object, or a batch is too long.
    """
    value: Any = None
    if len(raw) <= MAX_FRAME and raw.lstrip()[:1] == b"[":
        with suppress(ValueError, RecursionError):
            value = json.loads(raw)
    batch = value if isinstance(value, list) else []
    messages = [one for one in batch if isinstance(one, dict) and "jsonrpc" in one]
    found = [one["id"] for one in messages if ("method" in one) == request and _is_id(one.get("id"))]
    unique = len({(type(one), one) for one in found}) == len(found)
    return [*found] if found and unique and len(found) <= _MOST_ANSWERED else [identity_of(raw, request=request)]


def _members(raw: bytes) -> list[tuple[str, Any]]:
    """Return the members of a frame's object, in which a key may occur twice; empty if the frame is not an object."""
    try:
        value = _ID_DECODER.decode(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return []
    return value.pairs if isinstance(value, _Pairs) else []


def _outer_members(raw: bytes) -> list[tuple[str, Any]]:
    """Return what can be read of the members of a frame that is too long to parse, or was cut in the middle.

    The id stands near the start or, from some peers, at the very end.
    """
    ends = raw[:_END], raw[-_END:]
    found = [("id", json.loads(hit[1])) for hit in (_FIRST_ID.search(ends[0]), _LAST_ID.search(ends[1])) if hit]
    return found + [(name, None) for name in ("jsonrpc", "method") if any(f'"{name}"'.encode() in end for end in ends)]


def dump(message: Message | list[Message]) -> bytes:
    """Serialise a message, or the answers to a batch, on one line, without the newline."""
    return _ENCODER.encode(message).encode()


def kind(message: Message) -> Kind:
    """Return the kind of a parsed message."""
    if "method" not in message:
        return "response"
    return "request" if "id" in message else "notification"


def failure(identity: Any, code: int, why: str, data: Any = None) -> Message:
    """Return an error response; `identity` is None if the request's id is unknown."""
    error: dict[str, Any] = {"code": code, "message": why}
    return {"jsonrpc": "2.0", "id": identity, "error": error if data is None else error | {"data": data}}


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(PARSE_ERROR, "a key occurs twice in one object")
    return found


def _no_constant(_: str) -> NoReturn:
    raise Refused(PARSE_ERROR, "NaN and Infinity are not JSON")


def _integer(text: str) -> int:
    value = int(text) if len(text) < 20 else MAX_INT + 1
    if abs(value) > MAX_INT:
        raise Refused(PARSE_ERROR, "an integer is too large for a double to represent exactly")
    return value


def _decimal(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Refused(PARSE_ERROR, "a number is too large for a double")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_integer, parse_float=_decimal
)
_RESPONSE_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_decimal
)


class _Pairs:
    """An object of a frame as its (key, value) pairs, in which a key may occur twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


_ID_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)
#: Bytes at either end of a frame that `identity_of` searches.
_END: Final = 1024
_ID = rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{0,256}")\s*'
_FIRST_ID = re.compile(rb'\A\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb"[,}]")
_LAST_ID = re.compile(rb"[,{]\s*" + _ID + rb"\}\s*\Z")

#: Most requests of one batch that are answered each; a longer batch gets one answer without an id.
_MOST_ANSWERED: Final = 100
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _measure(value: Any) -> bool:
    """Check the nesting of a parsed value and return whether its text is free of surrogates.

    The decoder itself stops only at the interpreter's recursion limit.
    """
    level, sound = [value], True
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii() and _SURROGATE.search(item):
                sound = False
        if not below:
            return sound
        level = below
    raise Refused(INVALID_REQUEST, f"the frame is nested deeper than {MAX_DEPTH}")


def _without_surrogates(value: Any) -> Any:
    """Return a copy of a value in which U+FFFD stands for each lone surrogate."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return _no_duplicates([(_without_surrogates(key), _without_surrogates(item)) for key, item in value.items()])
    return value


def _envelope(message: Message) -> None:
    keys = message.keys()
    if message.get("jsonrpc") != "2.0":
        raise Refused(INVALID_REQUEST, "the message is not JSON-RPC 2.0")
    if "id" in keys and not (_is_id(message["id"]) or (message["id"] is None and "error" in keys)):
        raise Refused(INVALID_REQUEST, f"an id must be an integer or a string of at most {_ID_LENGTH} characters")
    if "method" in keys:
        known = keys <= {"jsonrpc", "id", "method", "params"}
        shaped = isinstance(message["method"], str) and isinstance(message.get("params", {}), dict)
    else:
        known = keys in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        shaped = isinstance(message.get("result", message.get("error")), dict)
    if not (known and shaped):
        raise Refused(INVALID_REQUEST, "the message has an unknown, missing or malformed field")


def _is_id(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and len(value) <= _ID_LENGTH
    )
