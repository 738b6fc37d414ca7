"""Undoes wrappings around the JSON of a call, if they leave one reading.

Models write stray quotes and braces before the JSON, escape it once too often, as a string or as HTML, or put quotes
around the arguments without escaping those inside.  Each unwrapping is tried on text that cannot be read as it stands;
the calls count if exactly one reading results.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator

#: Where the text of a call ends at the latest: at the next mark or fence.
_STOP = re.compile(r"</?[\w|｜]|<\||<｜|\[/|```|~~~|\Z")
#: Quotes, and braces that were doubled as in a template.
_BEFORE = re.compile(r"[\s\"'`{]+(?=[\[{])")
#: A quote that is not escaped.
_PLAIN_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
#: The value of the arguments as an object in quotes, in which quotes are not escaped.
_QUOTED_OBJECT = re.compile(r'(:\s*)"(\{.*\})"(\s*\}[\s\]}]*)\Z', re.DOTALL)


def end_of(text: str, at: int) -> int:
    """Return where the text of a call that begins at `at` ends at the latest."""
    found = _STOP.search(text, at)
    return found.start() if found else len(text)


def unwrappings(body: str) -> Iterator[str]:
    """Yield what a text is without each wrapping that it may have."""
    for unwrap in _WAYS:
        if (inner := unwrap(body)) is not None:
            yield inner


def _without_quotes(body: str) -> str | None:
    found = _BEFORE.match(body)
    return body[found.end() :] if found else None


def _without_escapes(body: str) -> str | None:
    inner = body.strip()
    if len(inner) > 1 and inner[0] == inner[-1] == '"':
        inner = inner[1:-1]
    if '\\"' not in inner or _PLAIN_QUOTE.search(inner):
        return None
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return None


def _without_entities(body: str) -> str | None:
    return html.unescape(body) if "&quot;" in body and '"' not in body else None


def _with_plain_arguments(body: str) -> str | None:
    found = _QUOTED_OBJECT.search(body)
    return f"{body[: found.start()]}{found[1]}{found[2]}{found[3]}" if found and '\\"' not in found[2] else None


_WAYS: tuple[Callable[[str], str | None], ...] = (
    _without_quotes,
    _without_escapes,
    _without_entities,
    _with_plain_arguments,
)
