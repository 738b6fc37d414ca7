"""Messages on their way to a chat template, in OpenAI's shape as every chat template expects it, and a turn read back.

What formats a turn may write its calls in, and what makes it unread, is the affair of `models.formats`.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from holdfast.core.records import Message, ToolSpec
from holdfast.models.formats import read_turn
from holdfast.models.formats.table import BEGINS

_NINE = re.compile(r"[A-Za-z0-9]{9}")


def message_dicts(messages: Sequence[Message], keep_reasoning: bool = True) -> list[dict[str, Any]]:
    """Messages as chat templates expect them (OpenAI's shape, arguments as a mapping)."""
    return [_message_dict(message, keep_reasoning) for message in messages]


def _message_dict(message: Message, keep_reasoning: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        shape["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        shape["tool_call_id"] = message.tool_call_id
    if message.reasoning and keep_reasoning:
        shape["reasoning_content"] = message.reasoning
    return shape


def nine_ids(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages with call ids of nine letters or digits, as Mistral's templates demand; fitting ones stay."""
    made = copy.deepcopy(list(messages))
    for shape in made:
        for call in shape.get("tool_calls", ()):
            call["id"] = _nine(call["id"])
        if "tool_call_id" in shape:
            shape["tool_call_id"] = _nine(shape["tool_call_id"])
    return made


def _nine(name: str) -> str:
    return name if _NINE.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:9]


def system_in_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with its system message at the head of the first user message: some templates lack the role."""
    if not messages or messages[0].role != "system":
        return tuple(messages)
    system, *rest = messages
    first = next((place for place, message in enumerate(rest) if message.role == "user"), None)
    if first is None:
        return (Message(role="user", content=system.content), *rest)
    text = f"{system.content}\n\n{rest[first].content}".strip()
    return (*rest[:first], rest[first].model_copy(update={"content": text}), *rest[first + 1 :])


def one_call_a_turn(messages: Sequence[Message]) -> list[Message]:
    """The conversation with each of several calls of a turn in a turn of its own, before its result."""
    told: list[Message] = []
    shown: set[str] = set()
    for place, message in enumerate(messages):
        if message.role == "tool" and message.tool_call_id in shown:
            continue
        if len(message.tool_calls) < 2:
            told.append(message)
            continue
        results = {m.tool_call_id: m for m in messages[place + 1 :] if m.role == "tool"}
        for number, call in enumerate(message.tool_calls):
            rest = {} if number == 0 else {"content": "", "reasoning": None}
            told.append(message.model_copy(update={"tool_calls": (call,), **rest}))
            if call.id in results:
                told.append(results[call.id])
                shown.add(call.id)
    return told


def tool_dicts(tools: Sequence[ToolSpec]) -> list[dict[str, Any]] | None:
    """Tool specs in the function format, all arguments required text; None where there are none."""
    return [{"type": "function", "function": _function(tool)} for tool in tools] or None


def _function(tool: ToolSpec) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": means} for name, means in tool.parameters.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def parse_turn(text: str, tools: Sequence[ToolSpec] | None = None) -> Message:
    """One assistant turn from the text a model wrote; never raises.

    Args:
        text: the turn, with the special tokens that are part of calls and thoughts.
        tools: what the request offered; None where nobody knows.
    """
    return read_turn(text, tools).message


def read_content(message: Message, tools: Sequence[ToolSpec], cut: bool = False) -> Message:
    """A turn as a server gave it, with the calls and the thoughts read that it left in the content.

    Calls that the server read stand.  What begins a call beside them makes the turn unread, unless it says the same.
    """
    if not message.content or (message.tool_calls and not BEGINS.search(message.content)):
        return message
    found = read_turn(message.content, tools, cut=cut).message
    if not (found.tool_calls or found.reasoning or found.unread):
        return message
    thoughts = "\n".join(filter(None, (message.reasoning, found.reasoning))) or None
    unread, calls = found.unread, message.tool_calls or found.tool_calls
    known = [(call.name, call.arguments) for call in calls]
    if not unread and any((call.name, call.arguments) not in known for call in found.tool_calls):
        unread = "the content holds a call beside those that the server read"
    update = {"content": found.content, "tool_calls": calls, "reasoning": thoughts, "unread": unread}
    return message.model_copy(update=update)
