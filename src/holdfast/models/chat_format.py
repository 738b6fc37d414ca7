"""Messages on their way to a chat template, and a model's text on its way back.

Out: OpenAI's shape, as every chat template expects it.  Back: `<think>…</think>` becomes reasoning and
`<tool_call>{"name": …, "arguments": {…}}</tool_call>` (Hermes, Qwen and the organism) becomes calls.  The parser is
strict: if any call in a text is malformed, the whole text is content and nothing is called.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from holdfast.core.records import Message, ToolCall, ToolSpec

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_TAG = re.compile(r"</?tool_call>")
_THINK = re.compile(r"\s*(?:<think>)?(.*?)</think>\s*", re.DOTALL)
_NINE = re.compile(r"[A-Za-z0-9]{9}")
_OPEN_THINK = re.compile(r"\s*<think>(.*)", re.DOTALL)


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


def tool_dicts(tools: Sequence[ToolSpec]) -> list[dict[str, Any]] | None:
    """Tool specs in the function format, all arguments required text; None where there are none."""
    return [{"type": "function", "function": _function(tool)} for tool in tools] or None


def _function(tool: ToolSpec) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": means} for name, means in tool.parameters.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def parse_turn(text: str) -> Message:
    """One assistant turn from the text a model wrote; never raises."""
    reasoning: str | None = None
    if think := _THINK.match(text):
        reasoning, text = think[1].strip() or None, text[think.end() :]
    elif cut := _OPEN_THINK.match(text):
        return Message(role="assistant", reasoning=cut[1].strip() or None)
    found = list(_CALL.finditer(text))
    calls = [_call(index, match[1]) for index, match in enumerate(found)]
    if len(_TAG.findall(text)) != 2 * len(found) or None in calls:
        return Message(role="assistant", content=text.strip(), reasoning=reasoning)
    content = _CALL.sub("", text).strip()
    return Message(role="assistant", content=content, tool_calls=tuple(filter(None, calls)), reasoning=reasoning)


def _call(index: int, text: str) -> ToolCall | None:
    """A call, or None where the text is anything else than one object with a name and arguments."""
    try:
        raw = json.loads(text, object_pairs_hook=_once)
        # Half of a surrogate pair is no text: it could be played, but no record that holds it could be written.
        json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or set(raw) != {"name", "arguments"}:
        return None
    name, arguments = raw["name"], raw["arguments"]
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return ToolCall(id=str(index), name=name, arguments=argument_texts(arguments))


def argument_texts(arguments: dict[str, Any]) -> dict[str, str]:
    """Argument values as text: a string as it is, anything else as JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in arguments.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping; a key given twice is ambiguous, hence malformed."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)
