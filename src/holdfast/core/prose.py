"""Markdown files with YAML front matter, and strict template filling.

A slot is `{name}` (letters, digits, `_`, and dots); `{{` and `}}` stand for braces.  A slot without a value is an error
with file and line. Callers also report values that no text uses (`unused`), because such a factor changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from holdfast.core.config import nearest
from holdfast.core.errors import ProseError

_SLOT = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.]*)\}")
_DEPTH = 8


@dataclass(frozen=True)
class Prose:
    """A Markdown file: front matter, body, and the line its body starts on."""

    path: Path
    body: str
    front: Mapping[str, Any] = field(default_factory=dict)
    line: int = 1


def load_prose(path: Path) -> Prose:
    """Read a Markdown file with optional YAML front matter between `---` lines.

    Raises:
        ProseError: the file is missing or cannot be read, or its front matter is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProseError("no such file", where=path, remedy="check the name") from None
    except OSError as error:
        what = f"cannot read the file: {error.strerror}"
        raise ProseError(what, where=path, remedy="give the path of a Markdown file") from None
    except UnicodeDecodeError:
        raise ProseError("not UTF-8 text", where=path, remedy="save it as UTF-8") from None
    if not text.startswith("---\n"):
        return Prose(path, text.strip())
    head, _, body = text[4:].partition("\n---\n")
    try:
        front = yaml.safe_load(head) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 2}" if mark else path
        raise ProseError("front matter is not YAML", where=where, remedy="correct the YAML") from None
    if not isinstance(front, dict):
        raise ProseError("front matter is not a mapping", where=f"{path}:2", remedy="write 'key: value' lines")
    gap = len(body) - len(body.lstrip("\n"))
    return Prose(path, body.strip(), front, head.count("\n") + 4 + gap)


def slots_in(text: str) -> set[str]:
    """The names of the slots in a text."""
    return {match[1] for match in _SLOT.finditer(text) if match[1]}


def fill(text: str, values: Mapping[str, str], where: Path | str = "text", line: int = 1) -> str:
    """Replace every slot in `text`. Values may contain slots themselves, at most eight levels deep.

    Raises:
        ProseError: a slot has no value, or values refer to each other in a cycle.
    """
    for _ in range(_DEPTH):
        if not slots_in(text):
            return text.replace("{{", "{").replace("}}", "}")
        text = _once(text, values, where, line)
    raise ProseError("slots refer to each other in a cycle", where=f"{where}:{line}", remedy="break the cycle")


def _once(text: str, values: Mapping[str, str], where: Path | str, line: int) -> str:
    return _SLOT.sub(lambda match: _value(match, text, values, where, line), text)


def _value(match: re.Match[str], text: str, values: Mapping[str, str], where: Path | str, line: int) -> str:
    name = match[1]
    if name is None:
        return match[0]
    if name not in values:
        at = line + text[: match.start()].count("\n")
        near = nearest(name, list(values))
        remedy = f"did you mean '{{{near}}}'?" if near else "give it a value or remove it"
        raise ProseError(f"slot '{{{name}}}' has no value", where=f"{where}:{at}", remedy=remedy)
    return values[name]


def unused(texts: Iterable[str], values: Mapping[str, str]) -> set[str]:
    """The names in `values` that no text uses, neither directly nor through another value."""
    seen: set[str] = set()
    todo = {name for text in texts for name in slots_in(text)}
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo |= slots_in(values.get(name, ""))
    return set(values) - seen
