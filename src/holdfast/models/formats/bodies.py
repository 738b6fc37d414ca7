"""Parsers for the text between the marks of a call format.

A `Body` takes the text, the position after the opening mark, and the tools of the request (tool → its parameters, or
None if unknown).  It returns the calls and the position after them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.models.formats import values, wrapped
from holdfast.models.formats.values import Foreign, Unreadable

Call = tuple[str, dict[str, Any]]
#: Tool → the names of its parameters.
Offered = Mapping[str, Collection[str]]
Body = Callable[[str, int, Offered | None], tuple[list[Call], int]]

_BETWEEN = re.compile(r"[\s,;]*(?=[\[{])")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})[\w-]*\s*")
#: Remaining quotes, brackets and signs behind a value.
_STRAY = re.compile(r"[\s\"'`}\]),;]*")


def json_calls(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
    """Parse calls in JSON: an object, a list, a string that contains one of these, or several in sequence.

    Text that is wrapped once too often is unwrapped if that leaves one reading; see `wrapped`.

    Raises:
        Foreign: if it is JSON but not a call.
        Unreadable: if it has no reading, or several.
    """
    if fence := _FENCE.match(text, at):
        at = fence.end()
    try:
        return _json_calls(text, at)
    except Foreign:
        raise
    except Unreadable:
        end = wrapped.end_of(text, at)
        if (calls := _unwrapped(text[at:end])) is None:
            raise
        return calls, end


def _unwrapped(body: str) -> list[Call] | None:
    """Parse calls in a text without its wrapping; None if there is no reading, or more than one."""
    readings: list[list[Call]] = []
    for inner in wrapped.unwrappings(body):
        try:
            calls, end = _json_calls(inner, 0)
        except (Unreadable, RecursionError):
            continue
        if not _STRAY.sub("", inner[end:]) and calls not in readings:
            readings.append(calls)
    return readings[0] if len(readings) == 1 else None


def _json_calls(text: str, at: int) -> tuple[list[Call], int]:
    value, at = values.read_json(text, at)
    calls = values.calls_of(value)
    while between := _BETWEEN.match(text, at):
        try:
            value, end = values.read_json(text, between.end())
            calls, at = calls + values.calls_of(value), end
        except Unreadable:
            break
    return calls, at


def keyed_calls(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
    """Parse calls as JSON objects whose only key is the name: `[{"look": {"at": "it"}}]`.

    Raises:
        Unreadable: if it is anything else.
    """
    value, end = values.read_json(text, at)
    calls: list[Call] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and len(item) == 1 and all(isinstance(given, dict) for given in item.values()):
            calls += item.items()
        else:
            calls += values.calls_of(item)
    return calls, end


def named(name: str, end: str = "") -> Body:
    """Make a parser for a name followed by a JSON object of arguments.

    Args:
        name: pattern of the text before the arguments; its group `name` is the name.
        end: pattern of the text that may follow the arguments.
    """
    head, tail = re.compile(name), re.compile(end)

    def read(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
        start = head.match(text, at)
        if not start:
            raise Unreadable("the name of the tool is missing")
        at = start.end()
        if text[at : at + 1] not in ("{", '"'):
            raise Unreadable("the arguments are missing")
        given, at = values.read_json(text, at)
        if isinstance(given, str):
            given = values.whole(given)
        if not isinstance(given, dict):
            raise Unreadable("the arguments are not a JSON object")
        behind = tail.match(text, at)
        return [(start["name"], given)], behind.end() if behind else at

    return read


@dataclass(frozen=True)
class Pairs:
    """A parser for a name and marked pairs of key and value; the values are plain text.

    Attributes:
        name: pattern of the name; group `name`.
        pair: pattern of one pair; groups `key` and `value`.
        loose: the same without the pair's closing mark, before the next mark.
        end: pattern that closes the call.
        bare: whether a name without pairs is a call even if the request has no such tool.
    """

    name: re.Pattern[str]
    pair: re.Pattern[str]
    loose: re.Pattern[str]
    end: re.Pattern[str]
    bare: bool = True

    def __call__(self, text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
        """Parse one call.

        Raises:
            Unreadable: if a pair is not closed, or a key occurs twice.
        """
        head = self.name.match(text, at)
        if not head:
            raise Unreadable("the name of the tool is missing")
        name, at, given = head["name"].strip(), head.end(), dict[str, str]()
        while pair := self.pair.match(text, at) or self.loose.match(text, at):
            key, value = pair["key"].strip(), pair["value"]
            if key in given:
                raise Unreadable(f"the argument '{key}' occurs twice")
            given[key], at = _unlined(value), pair.end()
        end = self.end.match(text, at)
        if end is None and text[at:].strip():
            raise Unreadable("there is other text between the arguments")
        if not (self.bare or given or (offered is not None and name in offered)):
            raise Unreadable(f"the request has no tool '{name[:40]}'")
        return [(name, given)], end.end() if end else len(text)


def _unlined(value: str) -> str:
    """Remove the line breaks that the format adds around a value."""
    if value.startswith("<![CDATA[") and value.endswith("]]>"):
        return value.removeprefix("<![CDATA[").removesuffix("]]>")
    return value.removeprefix("\n").removesuffix("\n")


_GEMMA_NAME = re.compile(r"(?P<name>[\w.\-]+)\s*(?=\{)")
_GEMMA_QUOTE = '<|"|>'
_GEMMA_KEY = re.compile(r"(?P<before>[{,]\s*)(?P<key>[A-Za-z_][\w.\-]*)(?P<after>\s*:)")


def gemma_calls(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
    """Parse one call of Gemma 4: `name{key:<|"|>text<|"|>,other:3}`.

    Raises:
        Unreadable: if it is anything else.
    """
    head = _GEMMA_NAME.match(text, at)
    if not head:
        raise Unreadable("the name of the tool is missing")
    at, depth, written, plain = head.end(), 0, "", head.end()
    while at < len(text):
        if text.startswith(_GEMMA_QUOTE, at):
            close = text.find(_GEMMA_QUOTE, at + len(_GEMMA_QUOTE))
            if close < 0:
                raise Unreadable("a string is not closed")
            written += _quoted_keys(text[plain:at]) + json.dumps(text[at + len(_GEMMA_QUOTE) : close])
            at = plain = close + len(_GEMMA_QUOTE)
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
        if depth == 0:
            break
    given = values.whole(written + _quoted_keys(text[plain:at]))
    if not isinstance(given, dict):
        raise Unreadable("the arguments are not a JSON object")
    return [(head["name"], given)], at


def _quoted_keys(text: str) -> str:
    return _GEMMA_KEY.sub(r'\g<before>"\g<key>"\g<after>', text)


#: Escapes that models hardly ever mean: bell, vertical tab, octal numbers and names, as in `C:\\archive`.
_RARE_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[av0-7N]")


def python_calls(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
    """Parse calls in Python: `[look(at="it"), wait()]`, or one call without the brackets.

    Raises:
        Foreign: if it is Python but not a call.
        Unreadable: if it has no reading, or several.
    """
    while at < len(text) and text[at].isspace():
        at += 1
    start = at if text[at : at + 1] == "[" else text.find("(", at)
    if start < 0:
        raise Foreign("no call")
    try:
        end, missing = values.balanced(text, start)
        if not missing and not _RARE_ESCAPE.search(text, start, end):
            return _python(values.expression(text[at:end], "not a call in Python")), end
    except Foreign:
        raise
    except Unreadable:
        return _unescaped(text, at, offered)
    if not missing:
        raise Unreadable("an escape in it is a control character in Python, and may be meant as it is written")
    return _unescaped(text, at, offered)


def _python(tree: ast.expr) -> list[Call]:
    items = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
    if not items:
        raise Foreign("an empty list")
    return [_python_call(item) for item in items]


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Name, ast.Attribute)):
        raise Foreign("not a call")
    name = ast.unparse(node.func)
    if name == "print" and len(node.args) == 1 and not node.keywords:
        return _python_call(node.args[0])  # as Gemma's documentation writes calls
    if node.args:
        raise Unreadable(f"'{name}' has positional arguments")
    given = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in given:
            raise Unreadable(f"'{name}' has unpacked or repeated arguments")
        given[keyword.arg] = values.constant(keyword.value)
    return name, given


def _unescaped(text: str, at: int, offered: Offered | None) -> tuple[list[Call], int]:
    """Parse one call whose strings contain unescaped quotes, as some templates write them.

    Each key must be a parameter of the tool and occur once.

    Raises:
        Unreadable: if there is more than one reading.
    """
    whole = re.compile(r"\[?\s*(?P<name>[\w.]+)\((?P<given>.*?)\)\s*\]?\s*(?P<mark><\||\Z)", re.DOTALL).match(text, at)
    if not whole or not offered or whole["name"] not in offered:
        raise Unreadable("not a call in Python")
    given = whole["given"]
    keys = [
        (m.start(), m.end(), m[1])
        for m in re.finditer(r"(?:^|,)\s*(\w+)\s*=\s*", given)
        if m[1] in offered[whole["name"]]
    ]
    arguments: dict[str, Any] = {}
    for place, (_, start, key) in enumerate(keys):
        value = given[start : keys[place + 1][0] if place + 1 < len(keys) else len(given)].strip()
        if key in arguments or len(value) < 2 or value[0] not in "\"'" or value[-1] != value[0]:
            raise Unreadable("quotes inside a string have more than one reading")
        # The string could end at a quote before a bracket or a comma.
        if re.search(rf"{value[0]}\s*(?:\)|\]|,\s*\w+\s*[=(])", value[1:-1]):
            raise Unreadable("quotes inside a string have more than one reading")
        arguments[key] = value[1:-1]
    if not keys or given[: keys[0][0]].strip():
        raise Unreadable("not a call in Python")
    return [(whole["name"], arguments)], whole.start("mark")
