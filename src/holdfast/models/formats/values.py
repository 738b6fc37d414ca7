"""Parses values as models write them: JSON with small faults, and Python literals.  Ambiguous text is refused."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=lambda pairs: _once(pairs))
_SPACE = re.compile(r"\s*")
#: An escape that JSON does not have, except that of a single quote.
_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[^\"'\\/bfnrtu]")
_OPEN = {"{": "}", "[": "]"}
#: Keys that models use for the name and the arguments of a call, and keys that are ignored.
_NAMES = ("name", "tool_name", "function_name", "function", "tool", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "action_input", "kwargs")
#: How many times arguments may be encoded as JSON text.
_MOST_ENCODED = 3
#: Keys of an assistant message of OpenAI's API beside its calls.
_MESSAGE = frozenset({"tool_calls", "role", "content", "refusal", "reasoning_content"})
_IDLE = frozenset({"id", "type", "index", "call_id", "tool_call_id", "tool_use_id"})


class Unreadable(ValueError):
    """A text is not a value or not a call, or has more than one reading."""


class Foreign(Unreadable):
    """A valid value that is not a call."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise Unreadable("a key occurs twice")
    return dict(pairs)


def read_json(text: str, at: int = 0) -> tuple[Any, int]:
    """Parse the JSON value at `at`; returns the value and the position after it.

    Raw line breaks in strings are accepted.  An object that is a Python literal is parsed as one, and missing closing
    brackets at the end of the text are added.

    Raises:
        Unreadable: if there is no value, or a key occurs twice.
        RecursionError: if it is nested too deeply.
    """
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    try:
        return _DECODER.raw_decode(text, at)
    except Unreadable:
        raise
    except ValueError as error:
        reason = str(error).split(":")[0].lower()
    if at >= len(text) or text[at] not in _OPEN:
        raise Unreadable(reason)
    end, missing = balanced(text, at)
    if missing:
        try:
            value, _ = _DECODER.raw_decode(text[at:end] + missing)
            return value, end
        except ValueError:
            raise Unreadable(reason) from None
    if _ESCAPE.search(text, at, end):
        raise Unreadable(reason)  # Python would interpret the escape as another character
    return literal(text[at:end], reason), end


def balanced(text: str, at: int) -> tuple[int, str]:
    """Find the end of the bracket at `at`, skipping strings; if it is not closed, also return the missing brackets.

    Raises:
        Unreadable: if brackets do not match, or a string is not closed.
    """
    stack: list[str] = []
    quote, place, last = "", at, at
    while place < len(text):
        sign = text[place]
        if quote:
            if sign == "\\":
                place += 1
            elif sign == quote:
                quote, last = "", place + 1
        elif sign in "\"'" and (sign == '"' or not text[place - 1 : place].isalnum()):
            quote = sign
        elif sign in "{[(":
            stack.append({"(": ")", **_OPEN}[sign])
        elif sign in "}])":
            if not stack or stack.pop() != sign:
                break
            last = place + 1
            if not stack:
                return last, ""
        elif sign == "<" and last > at and not text[last:place].strip():
            break  # a mark ends the value
        elif not sign.isspace():
            last = place + 1
        place += 1
    if quote or (place < len(text) and text[place] in "}])"):
        raise Unreadable("brackets or quotes do not match")
    return last, "".join(reversed(stack))


def literal(text: str, reason: str = "no value") -> Any:
    """Parse a Python literal, which may contain true, false and null.

    Raises:
        Unreadable: if it is not a literal, or a key occurs twice.
    """
    return constant(expression(text, reason))


def expression(text: str, reason: str = "no expression") -> ast.expr:
    """Parse one Python expression to a syntax tree.

    Raises:
        Unreadable: if it is not an expression.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unknown escapes, which Python keeps unchanged
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError):
        raise Unreadable(reason) from None


_WORDS = {"true": True, "false": False, "null": None, "none": None}


def constant(node: ast.expr) -> Any:
    """Evaluate a syntax tree of constants.

    Raises:
        Unreadable: if it contains anything else, or a key twice.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool, type(None))):
        return node.value
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [constant(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = constant(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value
    if isinstance(node, ast.Dict) and None not in node.keys:
        return _once(
            [(str(constant(key)), constant(value)) for key, value in zip(node.keys, node.values, strict=True) if key]
        )
    raise Unreadable("not a constant")


def call_of(value: Any) -> tuple[str, dict[str, Any]]:
    """Return name and arguments of a call that is given as a mapping, with any of the usual keys.

    Raises:
        Foreign: if it has no name, or describes a tool.
        Unreadable: if it has no reading, or several.
    """
    if not isinstance(value, dict):
        raise Foreign("not a mapping")
    value = _unwrapped(value)
    names = [key for key in _NAMES if isinstance(value.get(key), str) and value[key].strip()]
    if not names:
        raise Foreign("the name of the tool is missing")
    inner = [key for key in _ARGUMENTS if key in value]
    if len(inner) > 1:
        raise Unreadable(f"both '{inner[0]}' and '{inner[1]}' are given")
    arguments = _mapping(value[inner[0]]) if inner else {}
    if "description" in value or (arguments.get("type") == "object" and "properties" in arguments):
        raise Foreign("it describes a tool and does not call it")
    extra = value.keys() - {names[0], *inner} - _IDLE
    if extra:
        raise Unreadable(f"there is '{min(extra)}' beside the name and the arguments")
    return value[names[0]].strip(), arguments


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """Return the inner mapping of OpenAI's format, which wraps it in `function`."""
    inner = value.get("function")
    if isinstance(inner, dict) and value.keys() - _IDLE == {"function"}:
        return inner
    return value


def _mapping(value: Any) -> dict[str, Any]:
    for _ in range(_MOST_ENCODED):
        if not isinstance(value, str):
            break
        value = whole(value) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("the arguments are not a JSON object")
    return value


def whole(text: str) -> Any:
    """Parse a text that contains exactly one value.

    Raises:
        Unreadable: if it contains none, or more than one.
    """
    value, end = read_json(text)
    if text[end:].strip():
        raise Unreadable("more than one value")
    return value


def calls_of(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls in a value: a mapping, a list of mappings, or any of these as text.

    A mapping with the key `tool_calls`, as a message of OpenAI's API without content is, contains a list of calls.

    Raises:
        Foreign: if it contains no call.
        Unreadable: if a call has no reading, or several.
    """
    if isinstance(value, str):
        value = whole(value)
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list) and value.keys() <= _MESSAGE:
        if value.get("content"):
            raise Unreadable("there is content beside the calls")
        value = value["tool_calls"]
    if isinstance(value, list):
        if not value:
            raise Foreign("an empty list")
        return [call_of(_decoded_item(item)) for item in value]
    return [call_of(value)]


def _decoded_item(item: Any) -> Any:
    """Parse an item of a list that is JSON text itself; any other is returned as it is."""
    try:
        return whole(item) if isinstance(item, str) else item
    except Unreadable:
        return item


def argument_texts(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Convert argument values to text: strings are unchanged, anything else is written as JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in arguments.items()}
