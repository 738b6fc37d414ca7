"""Normalise paths and match them to the folders and files in a policy."""

from __future__ import annotations

import html
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from holdfast.detectors.confusables import skeleton
from holdfast.guard.policy.normalise import UNKNOWN, Uninspectable, closest_known, hides

_LONGEST = 4096
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
#: Signs that look like a slash, a backslash or a full stop.
_SLASHES = str.maketrans(
    dict.fromkeys("\u2044\u2215\u29f8\u2571\u27cb\u2cc6\u3033\u30ce\uff0f\u2216\u29f5\u29f9\ufe68\uff3c", "/")
    | dict.fromkeys("\u2024\uff0e\u3002\uff61\u0701\u0702\ua4f8\ufe52", ".")
    | {"\u2025": "..", "\ufe30": "..", "\u2026": "..."}
)
#: A stream of a file, which some file systems read as the file itself: `a.txt::$DATA`.
_STREAM = re.compile(r"(?<=[^/:]):[^/]*")
_DRIVE = re.compile(r"[A-Za-z]:")


def path_chain(path: str) -> Iterator[str]:
    """Yield a path and its ancestors: `/a/b`, `/a`, `/`; `a/b`, `a`, `.`; `c:/a`, `c:/`."""
    yield path
    while path not in ("/", ".") and not path.endswith(":/"):
        head, slash, _ = path.rpartition("/")
        path = (head + "/" if not head or head.endswith(":") else head) if slash else "."
        yield path


def read_path(text: str) -> str:
    """Return a path without empty parts and `.`; a relative path stays relative.

    Raises:
        Uninspectable: a part is `..` (whose meaning changes behind a symbolic link), or the path begins with `~` or
            `//`, is a URL, or contains invisible characters.
    """
    if not text or hides(text) or "://" in text or text[0] == "~" or text.startswith("//"):
        raise Uninspectable("write a plain path")
    drive = text[:2].casefold() if _DRIVE.match(text) else ""
    if drive and text[2:3] != "/":
        raise Uninspectable("write the path in full")
    parts = [part for part in text[len(drive) :].split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Uninspectable("write the path without '..'")
    if text[len(drive) : len(drive) + 1] == "/":
        return f"{drive}/" + "/".join(parts)
    return "/".join(parts) or "."


def _folded(path: str) -> str:
    """Return a path as seen by a file system that ignores case and trailing dots and spaces."""
    return "/".join(part.rstrip(". ") or part for part in path.casefold().split("/"))


class Paths:
    """Matches paths to the folders and files in a policy.

    Args:
        entries: paths in the policy; each covers itself and everything below. `.` covers all relative paths.
        links: resolve symbolic links on this machine before matching.
    """

    chain = staticmethod(path_chain)

    def __init__(self, entries: Iterable[str], links: bool = False) -> None:
        self.known = frozenset(map(read_path, entries))
        self._links = links
        self._folded = _grouped(self.known, _folded)
        self._looks = _grouped(self.known, lambda path: skeleton(_folded(path)))
        self._real = _grouped(self.known, os.path.realpath) if links else {}

    @staticmethod
    def entry(text: str) -> str:
        """Normalise an entry of the policy."""
        return read_path(text)

    def terms(self, value: Any) -> set[str]:
        """Return the policy entries that cover a path under each way to decode it.

        Raises:
            Uninspectable: the value is not a plain path.
        """
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise Uninspectable("write a plain path")
        found: set[str] = set()
        for reading in _path_readings(value):
            path = read_path(reading)
            found.add(closest_known(path_chain(path), self.known))
            found.update(_below(path_chain(_folded(path)), self._folded))
            if not path.isascii():
                found.update(_below(path_chain(skeleton(_folded(path))), self._looks))
            if self._links:
                real = os.path.realpath(path)
                found.update(_below(path_chain(real), self._real) or [UNKNOWN])
        return found


def _grouped(known: Iterable[str], read: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for entry in known:
        groups.setdefault(read(entry), []).append(entry)
    return groups


def _below(steps: Iterable[str], groups: dict[str, list[str]]) -> list[str]:
    return next((groups[step] for step in steps if step in groups), [])


def _unescaped(path: str) -> str:
    r"""Return a path with character references and escapes such as `\u002e` and `\x2e` resolved."""
    return _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), html.unescape(path))


def _path_readings(text: str) -> list[str]:
    """Return a path as written, and with file URL, percent escapes, backslashes and compatibility letters resolved."""
    if text[:5].casefold() == "file:":
        rest = text[5:]
        text = rest[2:].removeprefix("localhost") if rest.startswith("//") else rest
        text = unquote(text)
    readings = [text.replace("\\", "/") if _DRIVE.match(text) else text]
    while "%" in readings[-1] and (decoded := unquote(readings[-1])) != readings[-1]:
        readings.append(decoded)
        if len(readings) > 4:
            raise Uninspectable("write the path without escapes")
        if "\ufffd" in decoded:
            raise Uninspectable("write the path without escapes that are not UTF-8")
    readings += [_unescaped(reading) for reading in readings if "&" in reading or "\\" in reading]
    readings += [reading.replace("\\", "/") for reading in readings if "\\" in reading]
    readings += [reading.translate(_SLASHES) for reading in readings if not reading.isascii()]
    readings += [_STREAM.sub("", reading) for reading in readings if ":" in reading[2:]]
    readings += [unicodedata.normalize("NFKC", reading) for reading in readings if not reading.isascii()]
    return list(dict.fromkeys(readings))
