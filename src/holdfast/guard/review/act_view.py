"""Describe an act's arguments for a reviewer: mark invisible and look-alike characters, and decode encoded text.

Pure functions over hostile JSON. They return data; the page escapes it.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Any
from urllib.parse import urlsplit

from holdfast.detectors.confusables import skeleton, unpunycode, unseen
from holdfast.detectors.decode import DecodedText, readings
from holdfast.guard.review.pieces import Piece, pieces, shorten

_RECIPIENT = re.compile(
    r"^(?:to|cc|bcc|from|reply_?to|recipients?|address|e?mail|url|uri|link|host|domain|webhook)$", re.I
)
#: Both patterns take linear time: an address begins where a word begins, and a scheme has at most 31 characters.
_ADDRESS = re.compile(r"(?<![^\s<>,;:\"'])[^\s<>,;:\"']+@[^\s<>,;:\"']+")
_URL = re.compile(r"[a-z][a-z0-9+.\-]{0,30}://[^\s<>\"']+", re.I)
#: Arguments that say where an act goes, beside addresses and URLs: files, accounts, repositories, jobs.
_PLACE = re.compile(
    r"^(?:path|file|file_?name|source|src|destination|dest|dst|target|folder|dir(?:ectory)?|account|iban|channel|user"
    r"|repo(?:sitory)?|branch|bucket|table|job|server|database)s?$",
    re.I,
)
_PART = re.compile(r"[a-z0-9]+|[A-Z]+(?![a-z])|[A-Z][a-z0-9]*")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.\[\]-]{1,60}")
_RIGHT_TO_LEFT = ("R", "AL")
#: Pairs of keys that editing tools use for the text before and after.
_EDITS = (
    ("oldText", "newText"),
    ("old_string", "new_string"),
    ("old_str", "new_str"),
    ("before", "after"),
    ("old", "new"),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded run and its encodings; `pieces` is empty if the bytes are not text."""

    how: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the arguments: its name, content, size, decoded content and warnings."""

    name: tuple[Piece, ...]
    pieces: tuple[Piece, ...]
    size: str
    decoded: tuple[Decoded, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """An edit, as lines with `+`, `-` or a space."""

    name: tuple[Piece, ...]
    lines: tuple[tuple[str, tuple[Piece, ...]], ...]


@dataclass(frozen=True, slots=True)
class ArgumentsView:
    """The description of an act's arguments.

    Attributes:
        destinations: where the act goes: (name of the argument, address, host, path or account), without duplicates.
        fields: every argument.
        changes: every edit.
    """

    fields: tuple[Field, ...]
    changes: tuple[Change, ...]
    destinations: tuple[tuple[tuple[Piece, ...], tuple[Piece, ...]], ...] = ()

    @property
    def warnings(self) -> list[str]:
        """All warnings without duplicates."""
        return list(dict.fromkeys(warning for field in self.fields for warning in field.warnings))


def describe_arguments(arguments: Mapping[str, Any], known: Sequence[str] = ()) -> ArgumentsView:
    """Describe the arguments of an act.

    Args:
        arguments: decoded JSON.
        known: recipients in acts that persons approved before.
    """
    edited = list(_edits("", arguments))
    inside = {f"{name}{key}" for name, _, _, keys in edited for key in keys}
    leaves = [(name, value) for name, value in _leaves("", arguments) if name and name not in inside]
    fields = tuple(_field(name, value, known) for name, value in leaves)
    hidden = [_field(f"{name}{keys[1]}", new, known) for name, _, new, keys in edited]
    extra = tuple(field for field in hidden if field.decoded or field.warnings)
    changes = tuple(_change(name, old, new) for name, old, new, _ in edited)
    goes = tuple((pieces(name), pieces(place, strict=True)) for name, place in destinations(arguments))
    return ArgumentsView((*fields, *extra), changes, goes)


def destinations(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where an act goes: (name of the argument, address, host, path or account), without duplicates."""
    found = []
    for name, value in _leaves("", arguments):
        key = _last_key(name)
        found += [(name, target) for target, _ in _targets(key, value) if target]
        words = _PART.findall(key)
        if isinstance(value, str | int) and (_PLACE.match(key) or (words and _PLACE.match(words[-1]))):
            found.append((name, str(value)))
    # Recipients first: an address that only stands in a text may be one of many.
    return sorted(dict.fromkeys(found), key=lambda pair: _RECIPIENT.match(_last_key(pair[0])) is None)


def recipients(arguments: Mapping[str, Any]) -> list[str]:
    """Return every address and host in the arguments."""
    found = []
    for name, value in _leaves("", arguments):
        found += [target for target, _ in _targets(_last_key(name), value)]
    return found


def _last_key(name: str) -> str:
    return re.split(r"[.\[]", name.rstrip("]0123456789["))[-1]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(f"{name}[{index}]", inner)
    else:
        yield name, value


def _edits(name: str, value: Any) -> Iterator[tuple[str, str, str, tuple[str, str]]]:
    if isinstance(value, Mapping):
        dot = f"{name}." if name else ""
        for old, new in _EDITS:
            if isinstance(value.get(old), str) and isinstance(value.get(new), str):
                yield dot, value[old], value[new], (old, new)
                break
        for key, inner in value.items():
            yield from _edits(f"{dot}{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _edits(f"{name}[{index}]", inner)


def _field(name: str, value: Any, known: Sequence[str]) -> Field:
    text = value if isinstance(value, str) else json.dumps(value)
    warnings = [] if not any(map(unseen, text)) else [f"{_label(name)} contains invisible characters"]
    if _mixes_directions(text):
        warnings.append(f"{_label(name)} has right-to-left letters: characters may be shown in another order")
    targets = list(_targets(_last_key(name), value))
    for target, why in targets:
        warnings += [*why, *_suspicions(target, known)]
    found = tuple(_decoded(text))
    if any(not d.pieces for d in found):
        warnings.append(f"{_label(name)} contains encoded data that is not text, so nobody can inspect it")
    lines = text.count("\n") + 1
    size = f"{len(text):,} characters, {lines:,} lines" if len(text) > 300 or lines > 4 else ""
    return Field(pieces(name), pieces(text, strict=bool(targets)), size, found, tuple(warnings))


def _label(name: str) -> str:
    """Return the name of an argument for a sentence of ours: in quotation marks, unless it is a plain identifier."""
    return name if _IDENTIFIER.fullmatch(name) else f'"{shorten(name)}"'


def _mixes_directions(text: str) -> bool:
    """Return whether a text has right-to-left letters beside digits or Latin letters, which a display may reorder."""
    if text.isascii():
        return False
    classes = {unicodedata.bidirectional(char) for char in text}
    return not classes.isdisjoint(_RIGHT_TO_LEFT) and not classes.isdisjoint(("L", "EN", "AN"))


def _decoded(text: str) -> Iterator[Decoded]:
    """Yield what is encoded in a text, without readings that are part of a longer one of the same encodings."""
    inner = [reading for reading in readings(text) if reading.how]
    longest = sorted((r for r in inner if r.text), key=lambda r: len(r.text or ""), reverse=True)[:20]
    for reading in inner:
        if reading.text is None:
            yield Decoded(f"{' → '.join(reading.how)}, {reading.size} bytes", ())
        elif not any(_is_part(reading, other) for other in longest):
            yield Decoded(" → ".join(reading.how), pieces(reading.text))


def _is_part(reading: DecodedText, other: DecodedText) -> bool:
    return reading.how == other.how and reading.text != other.text and (reading.text or "") in (other.text or "")


def _targets(key: str, value: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the addresses and hosts in a value, each with warnings about how it is written."""
    if not isinstance(value, str):
        return
    for url in _URL.findall(value):
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            yield url, [f"{shorten(url)} is not a valid URL"]
            continue
        odd = [f"the link shows '{shorten(parts.username)}' first, but leads to {host}"] if parts.username else []
        yield host, odd
    bare = _URL.sub(" ", value)
    if _RECIPIENT.match(key):
        for shown, address in getaddresses([bare]):
            aliases = [a for a in _ADDRESS.findall(shown) if a != address]
            odd = [f"it shows '{shorten(shown)}', but goes to {shorten(address)}"] if aliases else []
            if address:
                yield address, odd
        if "\n" in bare or "\r" in bare:
            yield "", ["the recipient has several lines, which may inject mail headers"]
    else:
        yield from ((address, []) for address in _ADDRESS.findall(bare))


def _suspicions(target: str, known: Sequence[str]) -> Iterator[str]:
    if not target or target in known:
        return
    shown = unpunycode(target.rsplit("@", 1)[-1])
    if shown != target.rsplit("@", 1)[-1]:
        yield f"{shorten(target)} displays as {shorten(shown)}"
    if not target.isascii():
        odd = ", ".join(
            f"'{c}' is {unicodedata.name(c, 'no letter')}" for c in dict.fromkeys(target) if not c.isascii()
        )
        yield f"{shorten(target)} is not plain ASCII: {shorten(odd)}"
    looks = skeleton(target.replace(target.rsplit("@", 1)[-1], shown))
    for other in known:
        if skeleton(other) == looks:
            yield f"{shorten(target)} looks like {other}, but differs from it"
            return
    if known:
        yield f"no approved act had the recipient {shorten(target)} before"


def _change(name: str, old: str, new: str) -> Change:
    lines = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[0] != "?"]
    return Change(pieces(name.rstrip(".")), tuple((line[0], pieces(line[2:])) for line in lines))
