"""Texts that look alike to a person: their common skeleton.

The method and the table are those of Unicode Technical Standard 39 (skeletons of confusables; `confusables.txt`, which
`bench.lookalikes` makes), and beside them the small letters of other scripts that pass for Latin ones in common
typefaces and that the standard tells apart.  A skeleton is for comparing; it is never shown as the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_name("confusables.txt")
#: Each Latin letter, and what else passes for it: Cyrillic, Greek, Armenian, phonetic and barred letters.
_PASSES_FOR = {
    "a": "аαɑ", "b": "ьƅв", "c": "сϲⅽ", "d": "ԁɗⅾ", "e": "еҽєɛε", "f": "ẝϝ", "g": "ɡցɢ", "h": "һհн", "i": "іıɩιӏ",
    "j": "јϳ", "k": "кκ", "m": "мⅿ", "n": "ոпη", "o": "оοσօ๐ө", "p": "рρ", "q": "ԛգ", "r": "гɾ", "s": "ѕꜱ", "t": "тτ",
    "u": "սυʋц", "v": "ѵνᴠ", "w": "ԝωա", "x": "хχ×", "y": "уүγʏ", "z": "ᴢʐ",
    "-": "‐‑‒–—−", ".": "․。", "/": "⁄∕", "@": "﹫",
}  # fmt: skip


@cache
def _standard() -> Mapping[int, str]:
    """The standard's table: what passes for ASCII, in its own letter case."""
    rows = [line.split("\t") for line in _TABLE.read_text(encoding="utf-8").split("\n") if "\t" in line]
    return {ord(alike): ascii_ for ascii_, many in rows for alike in many}


@cache
def folds() -> Mapping[int, str]:
    """For texts without letter case: a character, and the ASCII that it passes for."""
    table = {alike: ascii_.casefold() for alike, ascii_ in _standard().items()}
    return table | {ord(alike): letter for letter, many in _PASSES_FOR.items() for alike in many}


@cache
def letter_folds() -> Mapping[int, str]:
    """The same for letters alone: in prose a dash parts two words, and must not come to join them."""
    return {alike: ascii_ for alike, ascii_ in folds().items() if ascii_.isalpha() and chr(alike).isalpha()}


_SIGNS = ("-", ".", "/", "@")
#: Latin signs that are told apart by a hair; after letter case is gone.
_HAIR = str.maketrans({"0": "o", "1": "i", "l": "i", "|": "i"})


@lru_cache(maxsize=4096)
def skeleton(text: str) -> str:
    """One form for all texts that look like this one: no letter case, accents or invisible characters."""
    # Capitals first: a Greek capital eta passes for H, and its small letter for n.
    latin = unicodedata.normalize("NFKC", text).translate(_standard())
    spread = unicodedata.normalize("NFKD", latin.casefold())
    seen = "".join(char for char in spread if unicodedata.category(char) not in ("Cf", "Cc", "Mn", "Me", "Cs"))
    return seen.translate(folds()).translate(_HAIR).replace("rn", "m").replace("vv", "w")


def alien(char: str) -> bool:
    """Whether a character is a letter of another script that passes for a Latin one, or a sign that does."""
    # Quotation marks and commas of good typesetting deceive nobody.
    passes = folds().get(ord(char), "")
    return passes.isalnum() or passes in _SIGNS or (ord(char) > 127 and unicodedata.normalize("NFKC", char).isascii())


def unseen(char: str) -> bool:
    """Whether a character is invisible or turns the text's direction; line feeds and tabs are not."""
    return char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")


def unpunycode(name: str) -> str:
    """A host name as it would be displayed; itself where nothing in it is punycode."""
    try:
        return ".".join(
            p[4:].encode().decode("punycode") if p.lower().startswith("xn--") else p for p in name.split(".")
        )
    except (UnicodeError, ValueError):
        return name
