"""What an act really is, for a person's eyes: nothing unseen, nothing encoded, nothing that passes for another.

Pure functions over hostile JSON.  They give data; the page escapes it.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import html
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from holdfast.detectors.confusables import alien, skeleton, unpunycode, unseen

_RECIPIENT = re.compile(
    r"^(?:to|cc|bcc|from|reply_?to|recipients?|address|e?mail|url|uri|link|host|domain|webhook)$", re.I
)
_ADDRESS = re.compile(r"[^\s<>,;:\"']+@[^\s<>,;:\"']+")
_URL = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s<>\"']+", re.I)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{16,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){8,}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
#: Pairs of keys that tools which edit use for the text before and after.
_EDITS = (
    ("oldText", "newText"),
    ("old_string", "new_string"),
    ("old_str", "new_str"),
    ("before", "after"),
    ("old", "new"),
)
_DEEPEST, _MOST_BYTES = 3, 1_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text; `mark` is `unseen` (then the text names the character), `alien`, or empty; `title` explains."""

    text: str
    mark: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What an encoded run says, and how it was encoded; `text` is empty where it is no text at all."""

    how: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One value among the arguments: where it stands, what it is, what it hides, and what to beware of."""

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
class Truth:
    """The arguments of an act, laid open."""

    fields: tuple[Field, ...]
    changes: tuple[Change, ...]

    @property
    def warnings(self) -> list[str]:
        """All warnings, once each."""
        return list(dict.fromkeys(warning for field in self.fields for warning in field.warnings))


def truth(arguments: Mapping[str, Any], known: Sequence[str] = ()) -> Truth:
    """Lay the arguments of an act open.

    Args:
        arguments: decoded JSON.
        known: recipients that persons approved before.
    """
    edited = list(_edits("", arguments))
    inside = {f"{name}{key}" for name, _, _, keys in edited for key in keys}
    leaves = [(name, value) for name, value in _leaves("", arguments) if name and name not in inside]
    fields = tuple(_field(name, value, known) for name, value in leaves)
    hidden = [_field(f"{name}{keys[1]}", new, known) for name, _, new, keys in edited]
    extra = tuple(field for field in hidden if field.decoded or field.warnings)
    return Truth((*fields, *extra), tuple(_change(name, old, new) for name, old, new, _ in edited))


def recipients(arguments: Mapping[str, Any]) -> list[str]:
    """Every address and host that the arguments name."""
    found = []
    for name, value in _leaves("", arguments):
        found += [target for target, _ in _targets(name.rsplit(".", 1)[-1], value)]
    return found


def pieces(text: str, *, strict: bool = False) -> tuple[Piece, ...]:
    """A text with its invisible and foreign characters marked.

    Letters of other scripts are marked where they stand in one word with Latin ones, or everywhere if `strict`.
    """
    found: list[Piece] = []
    for word in re.split(r"(\W)", text):
        mixed = strict or any(c.isascii() and c.isalpha() for c in word)
        for char in word:
            if unseen(char):
                name = unicodedata.name(char, "no name")
                found.append(Piece(f"U+{ord(char):04X}", "unseen", name))
            elif mixed and alien(char):
                found.append(Piece(char, "alien", f"U+{ord(char):04X} {unicodedata.name(char, '')}"))
            elif found and not found[-1].mark:
                found[-1] = Piece(found[-1].text + char)
            else:
                found.append(Piece(char))
    return tuple(found)


def decoded(text: str, depth: int = 1) -> Iterator[tuple[str, str | None]]:
    """What encoded runs of a text say: (how, text), with None for the text of long runs that are no text."""
    for how, run, raw in _unwrapped(text):
        inner, how = _inflated(raw, how)
        plain = _text(inner)
        # A long path is written with the letters of base64 too; bytes at random have digits and both cases.
        if plain is None and len(raw) >= 48 and all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", "[0-9]")):
            yield f"{how}, {len(raw)} bytes", None
        if plain is None or plain == text:
            continue
        yield how, plain
        if depth < _DEEPEST:
            yield from ((f"{how} → {more}", found) for more, found in decoded(plain, depth + 1))


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
    warnings = [] if not any(map(unseen, text)) else [f"{_short(name)} holds characters that cannot be seen"]
    targets = list(_targets(re.split(r"[.\[]", name.rstrip("]0123456789["))[-1], value))
    for target, why in targets:
        warnings += [*why, *_suspicions(target, known)]
    first: dict[str | None, str] = {}
    for how, plain in sorted(decoded(text), key=lambda pair: pair[0].count("→")):
        first.setdefault(plain, how)
    found = tuple(Decoded(how, pieces(plain) if plain is not None else ()) for plain, how in first.items())
    if any(not d.pieces for d in found):
        warnings.append(f"{_short(name)} holds data that nobody can inspect")
    lines = text.count("\n") + 1
    size = f"{len(text):,} characters, {lines:,} lines" if len(text) > 300 or lines > 4 else ""
    return Field(pieces(name), pieces(text, strict=bool(targets)), size, found, tuple(warnings))


def _targets(key: str, value: Any) -> Iterator[tuple[str, list[str]]]:
    """Where a value sends something: (address or host, what is odd about how it is written)."""
    if not isinstance(value, str):
        return
    for url in _URL.findall(value):
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            yield url, [f"{_short(url)} is no proper link"]
            continue
        odd = [f"the link shows '{_short(parts.username)}' first, but leads to {host}"] if parts.username else []
        yield host, odd
    bare = _URL.sub(" ", value)
    if _RECIPIENT.match(key):
        for shown, address in getaddresses([bare]):
            aliases = [a for a in _ADDRESS.findall(shown) if a != address]
            odd = [f"it shows '{_short(shown)}', but goes to {_short(address)}"] if aliases else []
            if address:
                yield address, odd
        if "\n" in bare or "\r" in bare:
            yield "", ["the recipient runs over several lines: headers may be smuggled in"]
    else:
        yield from ((address, []) for address in _ADDRESS.findall(bare))


def _suspicions(target: str, known: Sequence[str]) -> Iterator[str]:
    if not target or target in known:
        return
    shown = unpunycode(target.rsplit("@", 1)[-1])
    if shown != target.rsplit("@", 1)[-1]:
        yield f"{_short(target)} displays as {_short(shown)}"
    if not target.isascii():
        odd = ", ".join(
            f"'{c}' is {unicodedata.name(c, 'no letter')}" for c in dict.fromkeys(target) if not c.isascii()
        )
        yield f"{_short(target)} is not plain ASCII: {_short(odd)}"
    looks = skeleton(target.replace(target.rsplit("@", 1)[-1], shown))
    for other in known:
        if skeleton(other) == looks:
            yield f"{_short(target)} looks like {other}, but is not"
            return
    if known:
        yield f"nobody has approved {_short(target)} before"


def _unwrapped(text: str) -> Iterator[tuple[str, str, bytes]]:
    """Encoded runs: (encoding, run, bytes)."""
    if re.search(r"%[0-9A-Fa-f]{2}", text):
        yield "percent", text, unquote_to_bytes(text.encode("utf-8", "replace"))
    if "&" in text and html.unescape(text) != text:
        yield "entities", text, html.unescape(text).encode("utf-8", "replace")
    if _ESCAPE.search(text):
        opened = _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), text)
        yield "escapes", text, opened.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    for run in _HEX.findall(text):
        yield "hex", run, bytes.fromhex(run)
    for run in _BASE64.findall(text):
        if _HEX.fullmatch(run):
            continue
        body = run.rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            yield "base64", run, base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except binascii.Error:
            continue


def _inflated(raw: bytes, how: str) -> tuple[bytes, str]:
    if raw[:2] in (b"\x1f\x8b", b"x\x9c", b"x\xda", b"x\x01"):
        try:
            return zlib.decompressobj(wbits=47).decompress(raw, _MOST_BYTES), f"{how} → compressed"
        except zlib.error:
            pass
    return raw, how


def _text(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    plain = sum(char.isprintable() or char in "\r\n\t" for char in text)
    return text if text and plain >= 0.9 * len(text) else None


def _change(name: str, old: str, new: str) -> Change:
    lines = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[0] != "?"]
    return Change(pieces(name.rstrip(".")), tuple((line[0], pieces(line[2:])) for line in lines))


def _short(text: str) -> str:
    """Hostile text for a warning: nothing unseen, and not too much of it."""
    shown = "".join(f"⟨U+{ord(char):04X}⟩" if unseen(char) or char in "\n\t" else char for char in text)
    return shown if len(shown) <= 60 else shown[:59] + "…"
