"""Split hostile text into pieces, so that a page or a terminal shows every character as what it is.

Control, direction and invisible characters, line breaks, tabs, long gaps and look-alike letters become marked pieces.
What remains is plain text that can draw neither a line nor a label nor a colour of ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from holdfast.detectors.confusables import alien, unseen

Mark = Literal["", "unseen", "alien", "break", "gap"]

#: Several line breaks with nothing between them, and a gap that could push text out of sight.
_TOKEN = re.compile(r"\n(?:[^\S\n]*\n){2,}|\n|\t|[^\S\n\t\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]{24,}|\w+|\W")
_STACK = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text, with its kind.

    Attributes:
        text: the text; for an invisible character its code, for a break or gap a sign for it.
        mark: `unseen` (the text names the character), `alien` (it looks like another character), `break` (a line break
            or tab), `gap` (many spaces or line breaks) or empty.
        title: explains the mark.
    """

    text: str
    mark: Mark = ""
    title: str = ""

    @property
    def breaks(self) -> bool:
        """Whether a line ends after this piece."""
        return self.mark in ("break", "gap") and "↵" in self.text


def pieces(text: str, *, strict: bool = False) -> tuple[Piece, ...]:
    """Split a text into pieces.

    Look-alikes are marked only in words that also have Latin letters, or everywhere if `strict`; then spaces other than
    the ASCII one are marked as well.
    """
    result: list[Piece] = []
    plain: list[str] = []
    stacked, last = _STACK, ""
    for word in _TOKEN.findall(text):
        if word.isascii() and word.isprintable() and not strict and len(word.strip()) >= 1:
            plain.append(word)
            stacked, last = 0, word[-1]
            continue
        before, last = last, word[-1]
        for piece, count in _marked(word, strict, stacked, before):
            stacked = count
            if not piece.mark:
                plain.append(piece.text)
                continue
            if plain:
                result.append(Piece("".join(plain)))
                plain = []
            result.append(piece)
    return (*result, Piece("".join(plain))) if plain else tuple(result)


def _marked(word: str, strict: bool, stacked: int, before: str) -> Iterator[tuple[Piece, int]]:
    """Yield the pieces of one token, each with the number of combining marks that end it."""
    if word[0] == "\n":
        lines = word.count("\n")
        one = Piece("↵", "break", "LINE BREAK") if lines == 1 else Piece(f"↵×{lines}", "gap", f"{lines} line breaks")
        yield one, _STACK
        return
    if word == "\t":
        yield Piece("⇥", "break", "TAB"), _STACK
        return
    if len(word) >= 24 and word.isspace():
        yield Piece(f"␣×{len(word)}", "gap", f"{len(word)} spaces"), _STACK
        return
    mixed = strict or any(c.isascii() and c.isalpha() for c in word)
    for char in word:
        combining = unicodedata.category(char) in ("Mn", "Me")
        # A mark without a letter before it, or on top of others, would draw over what is not its own.
        over = combining and stacked >= _STACK and char != "\ufe0f"
        # A selector chooses how a picture looks; behind a letter or digit it only hides.
        over = over or (char in "\ufe0e\ufe0f" and before.isalnum())
        before = char
        stacked = stacked + 1 if combining else _STACK if char.isspace() else 0
        space = strict and char != " " and unicodedata.category(char) == "Zs"
        if unseen(char) or over or space:
            yield Piece(f"U+{ord(char):04X}", "unseen", unicodedata.name(char, "no name")), stacked
        elif mixed and alien(char):
            yield Piece(char, "alien", f"U+{ord(char):04X} {unicodedata.name(char, '')}"), stacked
        else:
            yield Piece(char), stacked


def shorten(text: str, longest: int = 60) -> str:
    """Return hostile text for use inside a sentence of ours: every mark spelled out, and cut."""
    shown = "".join(f"⟨{p.text}⟩" if p.mark in ("unseen", "break", "gap") else p.text for p in pieces(text))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"
