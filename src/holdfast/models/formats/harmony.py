"""The messages of gpt-oss: `<|channel|>analysis<|message|>…<|end|><|start|>assistant to=functions.look<|channel|>…`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.models.formats import values
from holdfast.models.formats.values import Unreadable

_MARK = re.compile(r"<\|channel\|>|<\|message\|>|\s*to=functions\.")
_HEAD = re.compile(
    r"\s*(?:<\|start\|>)?(?P<head>(?:(?!<\|message\|>|<\|end\|>|<\|start\|>).)*)<\|message\|>(?P<text>.*?)"
    r"(?P<end><\|end\|>|<\|call\|>|<\|return\|>|(?=<\|start\|>)|\Z)",
    re.DOTALL,
)
_RECIPIENT = re.compile(r"to=(?:functions\.)?([\w.\-]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")


@dataclass(frozen=True, slots=True)
class HarmonyPart:
    """One message of a turn: its channel, the function it goes to if any, its text, and whether its end is marked."""

    channel: str
    recipient: str | None
    text: str
    closed: bool = True


def fits(text: str) -> bool:
    """Whether a turn is written as such messages."""
    return bool(_MARK.match(text.removeprefix("<|start|>assistant"))) and "<|message|>" in text


def messages(text: str) -> Iterator[HarmonyPart]:
    """The messages of a turn in order; text between them is a message of no channel."""
    at = 0
    for found in _HEAD.finditer(text):
        if text[at : found.start()].strip():
            yield HarmonyPart("", None, text[at : found.start()])
        at = found.end()
        channel, recipient = _CHANNEL.search(found["head"]), _RECIPIENT.search(found["head"])
        to = recipient[1] if recipient and recipient[1] not in ("assistant", "user", "all") else None
        closed = bool(found["end"]) or found.end() < len(text)
        yield HarmonyPart(channel[1] if channel else "final", to, found["text"], closed)
    if text[at:].strip():
        yield HarmonyPart("", None, text[at:])


def arguments(part: HarmonyPart, cut: bool) -> dict[str, Any]:
    """The arguments of a message to a function; an empty one has none.

    Raises:
        Unreadable: they are no JSON object.
    """
    if not part.text.strip() and not cut:
        return {}
    given = values.whole(part.text)
    if isinstance(given, str):
        given = values.whole(given)
    if not isinstance(given, dict):
        raise Unreadable("the arguments are no mapping")
    return given
