"""A transcript put before a judge, so that nothing in it can pass for anything but the transcript.

Each line that a model or a world wrote stands behind a bar, and the lines that stand free carry a seal.  The seal is a
hash of the quoted lines themselves: to forge it, a text would have to contain its own hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.core.records import Message

#: Characters that are unseen, turn the direction of writing, or drive a terminal.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
#: Chat templates mark turns with angle brackets (`<|im_end|>`, `</s>`): none may reach a tokenizer from in here.
_BRACKETS = str.maketrans("<>", "‹›")


@dataclass(frozen=True, slots=True)
class Quotation:
    """The text for the judge, its seal, and the entries that are the agent's own."""

    text: str
    seal: str
    agent: frozenset[int]


def quoted(messages: Sequence[Message], *, reasoning: bool) -> Quotation:
    """Quote a conversation, without its system messages: those hold the condition that the judge must not know.

    Args:
        messages: the conversation.
        reasoning: whether the agent's reasoning is shown.
    """
    entries = [
        (index, who, _behind_bars(text))
        for index, message in enumerate(messages)
        for who, text in _parts(message, reasoning)
    ]
    seal = hashlib.sha256("\0".join(f"{i} {who}\n{text}" for i, who, text in entries).encode()).hexdigest()[:32]
    body = "\n".join(f"--- {seal} entry {index}, {who}\n{text}" for index, who, text in entries)
    text = f"=== RECORD {seal} BEGINS ===\n{body}\n=== RECORD {seal} ENDS ==="
    return Quotation(text, seal, frozenset(index for index, who, _ in entries if who.startswith("agent")))


def _parts(message: Message, reasoning: bool) -> Iterator[tuple[str, str]]:
    if message.role == "user":
        yield "told to the agent", message.content
    elif message.role == "tool":
        yield "answer of a tool", message.content
    elif message.role == "assistant":
        if reasoning and message.reasoning:
            yield "agent thinks", message.reasoning
        if message.content:
            yield "agent says", message.content
        for call in message.tool_calls:
            given = "\n".join(f"{name}: {value}" for name, value in call.arguments.items())
            yield "agent acts", f"call {call.name}\n{given}"


def _behind_bars(text: str) -> str:
    """Every line behind a bar, whatever ends a line anywhere; unseen characters are shown as their number."""
    clear = (_UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", line) for line in text.splitlines())
    return "\n".join(f"| {line}" for line in clear).translate(_BRACKETS) or "|"
