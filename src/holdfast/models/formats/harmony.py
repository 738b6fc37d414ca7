"""Parser for the format of gpt-oss, a turn as a sequence of messages.

`<|channel|>analysis<|message|>…<|end|><|start|>assistant to=functions.look<|channel|>…`
"""

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
    """One message of a turn: its channel, the function it calls (or None), its text, and whether it has an end mark."""

    channel: str
    recipient: str | None
    text: str
    closed: bool = True


def fits(text: str) -> bool:
    """Whether a turn is in this format."""
    return bool(_MARK.match(text.removeprefix("<|start|>assistant"))) and "<|message|>" in text


def messages(text: str) -> Iterator[HarmonyPart]:
    """Yield the messages of a turn in order; text between messages has no channel."""
    at = 0
    for match in _HEAD.finditer(text):
        if text[at : match.start()].strip():
            yield HarmonyPart("", None, text[at : match.start()])
        at = match.end()
        channel, recipient = _CHANNEL.search(match["head"]), _RECIPIENT.search(match["head"])
        to = recipient[1] if recipient and recipient[1] not in ("assistant", "user", "all") else None
        closed = bool(match["end"]) or match.end() < len(text)
        yield HarmonyPart(channel[1] if channel else "final", to, match["text"], closed)
    if text[at:].strip():
        yield HarmonyPart("", None, text[at:])


def arguments(part: HarmonyPart, cut: bool) -> dict[str, Any]:
    """Parse the arguments of a message to a function; an empty message has none.

    Raises:
        Unreadable: if they are not a JSON object.
    """
    if not part.text.strip() and not cut:
        return {}
    given = values.whole(part.text)
    if isinstance(given, str):
        given = values.whole(given)
    if not isinstance(given, dict):
        raise Unreadable("the arguments are not a JSON object")
    return given
