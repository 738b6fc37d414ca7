"""Finding a known text in what is sent, whatever it was wrapped in.

The known texts are indexed once, each in several dresses (as it is, backwards, rot13, its words backwards), so that one
pass over what is sent finds any of them; wrappings that must be undone (base64, base32, base85, hex, gzip, percent,
entities) are undone, twice over.  Spaces, dashes, invisible characters and look-alike letters are taken out of both
sides.  Everything here reads hostile text: nothing raises, and the work is linear in its length.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from holdfast.detectors.text import gist, normalise, stems, tokens

#: How many words in a row make a text known again; a shorter one must be whole.
RUN = 12
_KEY = 10
_LARGEST = 1 << 20
_APART = re.compile(r"[\W_]+")
_GAPS = re.compile(r"[\s.\"'>|]+")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:\-]?){8,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{12,}")
_BASE32 = re.compile(r"[A-Za-z2-7]{24,}")
#: Git's alphabet and Adobe's.
_BASE85 = (
    (base64.b85decode, re.compile(r"[0-9A-Za-z!#-&(-+\-;-@^_`{-~]{25,}")),
    (base64.a85decode, re.compile(r"[!-uz]{25,}")),
)
_SHOWN = re.compile(rb"[\t\n\r\x20-\x7e]{10,}")
_URL_SAFE = str.maketrans("-_", "+/")


def squeeze(text: str) -> str:
    """Letters and digits only, in the one form of `phrases.plain`, without accents."""
    return _APART.sub("", normalise(text) if text.isascii() else unicodedata.normalize("NFKD", normalise(text)))


class Index:
    """Known texts by name, ready to be looked for.

    Args:
        secrets: (name, text) pairs.
    """

    def __init__(self, secrets: Sequence[tuple[str, str]]) -> None:
        self._short: list[tuple[str, tuple[str, ...]]] = []
        self._starts: dict[str, list[tuple[str, str, str]]] = {}
        self._grams: list[tuple[str, frozenset[tuple[str, ...]], frozenset[str]]] = []
        for name, text in secrets:
            words = tokens(normalise(text))
            size = min(RUN, len(words))
            runs = [words[i : i + size] for i in range(len(words) - size + 1)] if size else []
            if runs and min(len(squeeze(" ".join(run))) for run in runs) <= _KEY:
                self._short.append((name, words))
                continue
            for run in runs:
                self._add(name, run)
            if len(words) >= RUN:
                self._grams.append((name, trigrams(words), gist(text)))

    def _add(self, name: str, run: tuple[str, ...]) -> None:
        straight = squeeze("".join(run))
        backwards = squeeze("".join(reversed(run)))
        dresses = (straight, ""), (straight[::-1], "reversed"), (codecs.encode(straight, "rot13"), "rot13")
        for gram, dress in (*dresses, (backwards, "words reversed")):
            self._starts.setdefault(gram[:_KEY], []).append((gram, name, dress))

    def find(self, text: str) -> str | None:
        """Which known text stands in `text`, as "name" or "name (how it was dressed)"."""
        for wrapping, reading in readings(text):
            if hit := self._find(reading):
                name, dress = hit
                how = ", ".join(filter(None, (wrapping, dress)))
                return f"{name} ({how})" if how else name
        return None

    def _find(self, text: str) -> tuple[str, str] | None:
        solid = squeeze(text)
        for i in range(len(solid) - _KEY + 1):
            for gram, name, dress in self._starts.get(solid[i : i + _KEY], ()):
                if solid.startswith(gram, i):
                    return name, dress
        for name, words in self._short:
            have, size = tokens(normalise(text)), len(words)
            if any(have[i : i + size] == words for i in range(len(have) - size + 1)):
                return name, ""
        return None

    def retold(self, text: str) -> str | None:
        """Which known text is told in other words: most of the words that carry it, in one message."""
        have = frozenset(stems(normalise(text)))
        for name, _, carriers in self._grams:
            if len(carriers & have) >= max(8, 0.6 * len(carriers)):
                return name
        return None

    def pieced(self, texts: Sequence[str]) -> str | None:
        """Which known text the messages hold between them: half of its runs of three words."""
        if not self._grams or len(texts) < 2:
            return None
        told = frozenset().union(*(trigrams(tokens(normalise(r))) for text in texts for _, r in readings(text)))
        for name, grams, _ in self._grams:
            if len(grams & told) >= max(6, len(grams) // 2):
                return name
        return None


def trigrams(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Every three words that follow each other."""
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def readings(text: str, depth: int = 2) -> Iterator[tuple[str, str]]:
    """The text itself and whatever is wrapped up in it: (name of the wrapping, text)."""
    yield "", text
    if depth:
        for name, inner in _unwrapped(text):
            for deeper, reading in readings(inner, depth - 1):
                yield ", ".join(filter(None, (name, deeper))), reading


@lru_cache(maxsize=256)
def _unwrapped(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(_wrappings(text)))


def _wrappings(text: str) -> Iterator[tuple[str, str]]:
    if "%" in text and (clear := unquote_to_bytes(text).decode("utf-8", "ignore")) != text:
        yield "percent", clear
    if "&" in text and (clear := html.unescape(text)) != text:
        yield "entities", clear
    solid = _GAPS.sub("", text)
    for run in _HEX.findall(text):
        yield from _shown("hex", binascii.unhexlify(re.sub(r"[\s:\-]", "", run)))
    for source in dict.fromkeys((text, solid)):
        for run in _BASE64.findall(source):
            # The payload may stand behind a word that looks like base64 too: each alignment is tried.
            for start in range(4):
                body = run[start:].translate(_URL_SAFE)
                body = body[: len(body) // 4 * 4 + (0 if len(body) % 4 == 1 else len(body) % 4)]
                yield from _shown("base64", binascii.a2b_base64(body + "=" * (-len(body) % 4)))
    for run in _BASE32.findall(solid):
        if any(c in "234567" for c in run):
            for start in range(8):
                body = run.upper()[start:]
                yield from _shown("base32", base64.b32decode(body[: len(body) // 8 * 8]))
    for decode, letters in _BASE85:
        for run in letters.findall(text):
            for start in range(5):
                with suppress(ValueError):
                    yield from _shown("base85", decode(run[start:]))


def _shown(name: str, raw: bytes) -> Iterator[tuple[str, str]]:
    """The readable stretches of bytes; packed bytes are unpacked, up to a megabyte."""
    if raw[:2] in (b"\x1f\x8b", b"\x78\x9c", b"\x78\xda", b"\x78\x01"):
        try:
            raw = zlib.decompressobj(wbits=47).decompress(raw, _LARGEST)
        except zlib.error:
            return
    # Without its zeros, text of two or four bytes a letter is text again.
    for stretch in _SHOWN.findall(raw.replace(b"\0", b"")):
        yield name, stretch.decode("ascii")
