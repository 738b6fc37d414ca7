"""Converts messages to the format of chat templates (OpenAI's), and parses a turn.

`models.formats` knows the formats of tool calls and decides when a turn is unread.
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
    """Convert messages to the format of chat templates: OpenAI's, with arguments as a mapping."""
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
    """Copy messages with call ids of nine letters or digits, which Mistral's templates require; valid ids are kept."""
    copies = copy.deepcopy(list(messages))
    for shape in copies:
        for call in shape.get("tool_calls", ()):
            call["id"] = _nine(call["id"])
        if "tool_call_id" in shape:
            shape["tool_call_id"] = _nine(shape["tool_call_id"])
    return copies


def _nine(name: str) -> str:
    return name if _NINE.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:9]


def system_in_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Prepend the system message to the first user message, for templates without a system role."""
    if not messages or messages[0].role != "system":
        return tuple(messages)
    system, *rest = messages
    first = next((place for place, message in enumerate(rest) if message.role == "user"), None)
    if first is None:
        return (Message(role="user", content=system.content), *rest)
    text = f"{system.content}\n\n{rest[first].content}".strip()
    return (*rest[:first], rest[first].model_copy(update={"content": text}), *rest[first + 1 :])


def one_call_a_turn(messages: Sequence[Message]) -> list[Message]:
    """Split each turn with several tool calls into turns with one call each, each followed by its result."""
    split: list[Message] = []
    moved: set[str] = set()
    for place, message in enumerate(messages):
        if message.role == "tool" and message.tool_call_id in moved:
            continue
        if len(message.tool_calls) < 2:
            split.append(message)
            continue
        results = {m.tool_call_id: m for m in messages[place + 1 :] if m.role == "tool"}
        for number, call in enumerate(message.tool_calls):
            rest = {} if number == 0 else {"content": "", "reasoning": None}
            split.append(message.model_copy(update={"tool_calls": (call,), **rest}))
            if call.id in results:
                split.append(results[call.id])
                moved.add(call.id)
    return split


def tool_dicts(tools: Sequence[ToolSpec]) -> list[dict[str, Any]] | None:
    """Convert tool specs to OpenAI's function format, all arguments required strings; None without tools."""
    return [{"type": "function", "function": _function(tool)} for tool in tools] or None


def _function(tool: ToolSpec) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": means} for name, means in tool.parameters.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def parse_turn(text: str, tools: Sequence[ToolSpec] | None = None) -> Message:
    """Parse one assistant turn from the text that a model wrote; never raises.

    Args:
        text: the turn, with the special tokens that are part of calls and reasoning.
        tools: the tools of the request; None if unknown.
    """
    return read_turn(text, tools).message


def read_content(message: Message, tools: Sequence[ToolSpec], cut: bool = False) -> Message:
    """Parse tool calls and reasoning that a server left in the content of a turn.

    Calls that the server parsed are kept.  If the content contains another call besides them, the turn is unread.
    """
    if not message.content:
        return message
    parsed = read_turn(message.content, tools, cut=cut).message
    if message.tool_calls and not (BEGINS.search(message.content) or parsed.tool_calls):
        return message  # words beside the server's calls
    if not (parsed.tool_calls or parsed.reasoning or parsed.unread):
        return message
    thoughts = "\n".join(filter(None, (message.reasoning, parsed.reasoning))) or None
    unread, calls = parsed.unread, message.tool_calls or parsed.tool_calls
    known = [(call.name, call.arguments) for call in calls]
    if not unread and any((call.name, call.arguments) not in known for call in parsed.tool_calls):
        unread = "the content contains a call besides those that the server parsed"
    update = {"content": parsed.content, "tool_calls": calls, "reasoning": thoughts, "unread": unread}
    return message.model_copy(update=update)
