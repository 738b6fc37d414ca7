"""Quotes a transcript for a judge, so that no text in it can be mistaken for a part of the judge's prompt.

Each line that a model or a world wrote starts with a bar.  Lines without a bar carry a seal: a hash of the quoted
lines.  To forge it, a text would have to contain its own hash.  The seal also tells samples apart: a reply with another
seal is about another record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.records import Message

#: Characters that are invisible, change the direction of writing, or control a terminal.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
#: Chat templates mark turns with angle brackets (`<|im_end|>`, `</s>`), which must not reach a tokenizer from here.
_BRACKETS = str.maketrans("<>", "‹›")
#: Replaces the name of the model that is measured.
HIDDEN_NAME = "[model]"


@dataclass(frozen=True, slots=True)
class Quotation:
    """The text for the judge, its seal, and what the agent wrote, by the number of the entry."""

    text: str
    seal: str
    agent: Mapping[int, str]


def quoted(messages: Sequence[Message], *, reasoning: bool, hide: Sequence[str] = ()) -> Quotation:
    """Quote a conversation without its system messages, which state the condition that the judge must not know.

    Args:
        messages: the conversation.
        reasoning: whether the agent's reasoning is included.
        hide: names of the measured model, replaced in texts that the agent did not write.
    """
    entries = entries_of(messages, reasoning=reasoning, hide=hide)
    numbered = [(index, who, "\n".join(f"| {line}" for line in text.split("\n"))) for index, who, text in entries]
    seal = hashlib.sha256("\0".join(f"{i} {who}\n{text}" for i, who, text in numbered).encode()).hexdigest()[:32]
    body = "\n".join(f"--- {seal} entry {index}, {who}\n{text}" for index, who, text in numbered)
    agent: dict[int, str] = {}
    for index, who, text in entries:
        if who not in _OURS:
            agent[index] = f"{agent[index]}\n{text}" if index in agent else text
    return Quotation(f"=== RECORD {seal} BEGINS ===\n{body}\n=== RECORD {seal} ENDS ===", seal, agent)


def entries_of(messages: Sequence[Message], *, reasoning: bool, hide: Sequence[str] = ()) -> list[tuple[int, str, str]]:
    """The entries of a record: number of the message, who it is from, and its text (`as_quoted`); see `quoted`."""
    return [
        (index, who, as_quoted(_without_names(text, hide) if who in _OURS else text))
        for index, message in enumerate(messages)
        for who, text in _parts(message, reasoning)
    ]


_TOLD, _TOOL = "told to the agent", "answer of a tool"
_OURS = (_TOLD, _TOOL)


def _parts(message: Message, reasoning: bool) -> Iterator[tuple[str, str]]:
    if message.role == "user":
        yield _TOLD, message.content
    elif message.role == "tool":
        yield _TOOL, message.content
    elif message.role == "assistant":
        if reasoning and message.reasoning:
            yield "agent thinks", message.reasoning
        if message.content:
            yield "agent says", message.content
        for call in message.tool_calls:
            given = "\n".join(f"{name}: {value}" for name, value in call.arguments.items())
            yield "agent acts", f"call {call.name}\n{given}"


def as_quoted(text: str) -> str:
    """A text as a judge sees it, without bars: invisible characters as their number, no angle brackets, plain lines."""
    lines = (_INVISIBLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", line) for line in text.splitlines())
    return "\n".join(lines).translate(_BRACKETS)


def _without_names(text: str, names: Sequence[str]) -> str:
    wanted = [re.escape(name) for name in sorted(names, key=len, reverse=True) if name]
    return re.sub(rf"(?<!\w)(?:{'|'.join(wanted)})(?!\w)", HIDDEN_NAME, text, flags=re.I) if wanted else text
