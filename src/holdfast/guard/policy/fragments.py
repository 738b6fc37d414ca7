"""Cut texts into fragments by which labelled content is recognised, and find the ways out of an act.

A text is reduced to its letters and digits, without case, accents, spaces, punctuation and look-alike letters. A
fragment is `SIZE` of them in a row. All functions are pure. The texts are hostile: nothing raises, and work is linear
in their length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.detectors.decode import readings
from holdfast.detectors.text import normalise

#: Letters and digits of a fragment.
SIZE = 8
#: A text of at most this many letters and digits is a piece: it may be part of a text that is sent bit by bit.
PIECE = 64
#: Texts up to this many characters are also decoded.
_DECODED = 65_536
#: Characters of a labelled text that are also remembered by parts, see `thinned`, and by shapes, see `isomorph`.
THINNED = 4096
_FEW_WORDS = 16
#: Quoted texts inside a text, as in statements of a database, and how many may be parts of one.
_QUOTED, _FEW_QUOTED = re.compile(r"['\"]([^'\"\n]{1,64})['\"]"), 6
_WORD = re.compile(r"[^\W_]+")
_LONG_WORD, _FEWEST_WORDS, _MOST_WORDS = 5, 12, 300
_VOWELS = re.compile("[aeiou]", re.IGNORECASE)
_APART = re.compile(r"[\W_]+")
_BREAK = re.compile(r'\\[nrt"\\/]')
_SCHEME = re.compile(r"https?://(?:www\.)?", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s<>,;:@\"']+@([A-Za-z0-9.-]+)")
_ADDRESSES = re.compile(r"\s*[^\s<>,;:@\"']+@[A-Za-z0-9.-]+\s*(?:[,;]\s*[^\s<>,;:@\"']+@[A-Za-z0-9.-]+\s*)*")
_MAILBOX = re.compile(r"[a-zA-Z]{1,12}@")
_MOST_LEAVES = 10_000
#: A number that stands alone, as before a row, and how many of them are taken for numbers of rows.
_NUMBERED = re.compile(r"(?<![\w.,-])\d{1,4}(?![\w,-])")
_ROWS = 8
#: The slot of all short texts of an act together, and how many of them are joined.
JOINED, _MOST_PARTS, _FEW_PARTS = "*", 128, 4
_KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_FEW_KEYS = 24
_FIGURED = re.compile(r"[^\W\d_][0134578$@!]|[0134578$@!][^\W\d_]")
#: Numbers in one list that may be the codes of characters.
_CODES = 8


def squeeze(text: str) -> str:
    """Return the letters and digits of a text, in a form that ignores how they are written."""
    plain = _BREAK.sub(" ", text) if "\\" in text else text
    plain = _SCHEME.sub(" ", plain) if "://" in plain else plain
    # The cache of `normalise` is for sentences; a large document would fill it.
    plain = normalise.__wrapped__(plain)
    return _APART.sub("", plain if plain.isascii() else unicodedata.normalize("NFKD", plain))


def fragments(squeezed: str, step: int = 1) -> list[str]:
    """Return the fragments of a squeezed text, in order: every one, or one in `step`."""
    return [squeezed[at : at + SIZE] for at in range(0, len(squeezed) - SIZE + 1, step)]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One text of an act that could carry content out.

    Attributes:
        slot: where it stands: the argument's name and, in a URL or path, the kind and place of the component.
        text: the text as written.
        address: the mail address of which the text is the first part; empty for any other text.
    """

    slot: str
    text: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Ways:
    """What an act could carry out, and to where.

    Attributes:
        places: its destinations: hosts, domains of recipients; the tool itself comes first.
        leaves: its texts, in order; the tool's name, names of arguments and components of URLs and paths are texts too.
    """

    places: tuple[str, ...]
    leaves: tuple[Leaf, ...]


def ways_out(server: str, tool: str, arguments: Mapping[str, Any]) -> Ways:
    """Return the destinations and texts of an act."""
    leaves = [Leaf("tool", tool)]
    places: dict[str, None] = {f"{server}/{tool}": None}
    for slot, text in _texts(arguments):
        places |= dict.fromkeys(_places(text))
        if _ADDRESSES.fullmatch(text):
            # An address that labelled content names too may get mail; only its first part can carry a piece.
            # An ordinary mailbox is one word; what varies is not.
            found = (address[0] for address in _ADDRESS.finditer(text) if not _MAILBOX.match(address[0]))
            leaves += (Leaf(f"{slot}/address", address.partition("@")[0], address) for address in found)
            continue
        leaves.append(Leaf(slot, text))
        leaves += (Leaf(f"{slot}/{kind}", part) for kind, part in _components(text))
    leaves += _joined(leaves)
    return Ways(tuple(places), tuple(leaves[:_MOST_LEAVES]))


def _joined(leaves: Sequence[Leaf]) -> Iterator[Leaf]:
    """Yield the short texts of an act one behind the other, which may be parts of one text.

    The components of a URL are joined by kind: values of a query, steps of a path, names.
    """
    whole = {leaf.slot.rpartition("/")[0] for leaf in leaves if "/" in leaf.slot}
    groups: dict[str, list[str]] = {}
    for leaf in leaves:
        if leaf.slot == "tool" or leaf.slot in whole or leaf.address or len(leaf.text) > PIECE:
            continue
        kind = leaf.slot.rpartition("/")[2].rstrip("0123456789-") if "/" in leaf.slot else leaf.slot
        for group in (kind if "/" in leaf.slot or kind == "name" else "", *([""] if kind == "query" else [])):
            groups.setdefault(group, []).append(leaf.text)
    for group, parts in groups.items():
        if 1 < len(parts) <= _MOST_PARTS:
            yield Leaf(f"{JOINED}{group}", "".join(parts))
            if len(parts) <= _FEW_PARTS:
                yield Leaf(f"{JOINED}{group} back", "".join(reversed(parts)))


def sorted_letters(text: str) -> str:
    """Return a text with the letters of each word in alphabetical order: typing errors and turned words leave it."""
    return "".join("".join(sorted(word)) for word in _WORD.findall(normalise.__wrapped__(text)))


def unfigured(text: str) -> Iterator[str]:
    """Yield a text with the figures inside its words read as the letters that they look like."""
    words = text.split()
    if sum(bool(_FIGURED.search(word)) for word in words) * 5 >= len(words) > 0:
        for one in ("i", "l"):
            letters = str.maketrans("0134578$@!", f"o{one}eastbsa{one}")
            yield " ".join(word.translate(letters) if _FIGURED.search(word) else word for word in words)


def keypad(text: str) -> Iterator[str]:
    """Yield the digits of a text that may be typed on the keys of a telephone; labelled texts have that form too."""
    digits = "".join(char for char in text if char.isdigit())
    if len(digits) >= _FEW_KEYS and sum(char.isalpha() for char in text) * 4 <= len(digits):
        yield digits


def keyed(squeezed: str) -> str:
    """Return a squeezed text as typed on the keys of a telephone."""
    return squeezed.translate(_KEYS)


def texts_in(result: Any) -> list[str]:
    """Return every text and number in a result, at any depth; of a tool's result only the content, not its envelope."""
    if isinstance(result, Mapping) and isinstance(blocks := result.get("content"), list):
        inner = [block.get("text", block.get("resource", "")) for block in blocks if isinstance(block, Mapping)]
        result = [inner, result.get("structuredContent", "")]
    return [text for slot, text in _texts({"": result}) if slot != "name" and text]


def readings_of(text: str) -> Iterator[str]:
    """Yield a text, the texts that are encoded in it, and the text without the numbers of its rows."""
    if len(text) > _DECODED:
        yield text
    else:
        yield from (reading.text for reading in readings(text) if reading.text is not None)
    if len(_NUMBERED.findall(text)) >= _ROWS:
        yield _NUMBERED.sub(" ", text)


def spread(text: str) -> Iterator[str]:
    """Yield what a text carries spread over its words and lines: their first letters, every second and third word.

    A text of few words carries too little in this way to count.
    """
    quoted = _QUOTED.findall(text)
    if len(quoted) >= _FEW_QUOTED:
        yield "".join(quoted)
    words = text.split()
    if len(words) > _DECODED or len(words) < _FEW_WORDS:
        return
    for step in (2, 3, 4):
        yield from (" ".join(words[at::step]) for at in range(step))
    yield "".join(word.rstrip(".,;:!?\"')")[-1:] for word in words)
    yield "".join(word[0] for word in words)
    lines = [line.split() for line in text.split("\n")]
    yield " ".join(line[0] for line in lines if line)
    yield " ".join(line[-1] for line in lines if line)
    yield "".join(line[0][0] for line in lines if line)


def word_set(text: str) -> frozenset[str]:
    """Return the different long words of a text, by which its words are recognised in another order.

    Empty for a text of few words, which coincide by chance, or of many, which no other text has most of.
    """
    words = frozenset(word for word in _WORD.findall(normalise.__wrapped__(text)) if len(word) >= _LONG_WORD)
    return frozenset(f"={word}" for word in words) if _FEWEST_WORDS <= len(words) <= _MOST_WORDS else frozenset()


def thinned(text: str) -> Iterator[str]:
    """Yield the parts of the beginning of a text: without vowels, figures alone, every second letter or word."""
    text = text[:THINNED]
    letters = "".join(char for char in text if char.isalnum())
    yield _VOWELS.sub("", letters)
    yield "".join(char for char in text if char.isdigit())
    words = text.split()
    for at in (0, 1):
        yield from (letters[at::2], text[at::2], " ".join(words[at::2]))
    yield from (" ".join(words[at::3]) for at in range(3))
    yield " ".join(word for word in words if word[:1].isupper())


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    todo: list[tuple[str, Any]] = [("", dict(arguments))]
    while todo:
        slot, value = todo.pop()
        if isinstance(value, str):
            yield slot, value
        elif isinstance(value, Mapping):
            yield from (("name", str(name)) for name in value)
            todo += [(slot or str(name), inner) for name, inner in reversed(list(value.items()))]
        elif isinstance(value, Sequence) and not isinstance(value, bytes):
            todo += [(slot, inner) for inner in reversed(value)]
            if 1 < len(value) <= _MOST_PARTS and all(isinstance(inner, str) for inner in value):
                yield f"{slot}/list", "".join(value)
            if len(value) >= _CODES and all(isinstance(inner, int) for inner in value):
                yield slot, " ".join(map(str, value))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield slot, str(value)


def _components(text: str) -> Iterator[tuple[str, str]]:
    """Yield the components of a URL or path that could each carry a piece."""
    if len(text) > 8192 or " " in text.strip() or "/" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if "://" in text:
        yield from _numbered("host", parts.netloc.rpartition("@")[2].split("."))
    steps = [step for step in parts.path.split("/") if step]
    # The ending of a file's name is the same in every act, and would come between the pieces.
    plain = [step.partition(";")[0] for step in steps]
    yield from _numbered("path", (unquote(name) for step in plain for name in step.rsplit(".", 1)))
    inside = [pair for step in steps for pair in step.split(";")[1:]]
    for number, pair in enumerate([*re.split("[&;]", parts.query), *inside]):
        name, _, value = pair.partition("=")
        yield f"query-name-{number}", unquote(name)
        yield f"query-{number}", unquote(value)
    yield "fragment", unquote(parts.fragment)


def _numbered(kind: str, parts: Iterable[str]) -> Iterator[tuple[str, str]]:
    # Pieces stand at the same place in each act, between components that are always the same.
    yield from ((f"{kind}-{number}", part) for number, part in enumerate(parts))


def _places(text: str) -> Iterator[str]:
    if len(text) > 8192:
        return
    for address in _ADDRESS.finditer(text):
        yield f"@{address[1].casefold()}"
    if "://" in text:
        try:
            host = urlsplit(text.strip()).hostname
        except ValueError:
            return
        if host:
            yield host


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a text in which every fragment is known.

    Attributes:
        first: index of its first fragment.
        last: index of its last fragment.
    """

    first: int
    last: int

    @property
    def end(self) -> int:
        """Index after its last character."""
        return self.last + SIZE


def regions(known: Sequence[bool]) -> Iterator[Region]:
    """Yield the longest stretches of known fragments."""
    start = None
    for at, hit in enumerate((*known, False)):
        if hit and start is None:
            start = at
        elif not hit and start is not None:
            yield Region(start, at - 1)
            start = None


#: A stretch of prose counts in full from the first length on. Two texts on one subject share phrases up to about the
#: second length by chance; what a shorter stretch has beyond that counts.
_COPIED, _CHANCE = 32, 16
#: Fewest digits of a stretch that always counts.
_DIGITS = 6
#: Digits that are close enough to stand in one stretch, with what stands between and beside them.
_FIGURES = re.compile(r"(?:[^\W\d_]{0,16}\d){6,}[^\W\d_]{0,16}")
#: What a digit counts beside itself: numbers coincide by chance less often than words.
_DIGIT_WEIGHT = 2


def sampled(squeezed: str) -> list[str]:
    """Return fragments of a text, one of which lies in every stretch that would count.

    In a text that is longer than a piece, a stretch counts if it has more than `_CHANCE` letters or several digits.
    """
    found = fragments(squeezed, _CHANCE - SIZE + 2)
    for match in _FIGURES.finditer(squeezed):
        found += fragments(match[0])
    return found


@lru_cache(maxsize=4096)
def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


def weigh(squeezed: str, found: Sequence[Region], fresh: int = 0) -> Iterator[tuple[Region, float]]:
    """Yield the stretches that count, and how many letters and digits they count for.

    A stretch counts if it is long, if it has several digits, or if the text is short and consists mostly of labelled
    content, as a piece of it does.

    Args:
        squeezed: the text.
        found: its stretches of known fragments.
        fresh: index at which new text begins, after text that was counted before.
    """
    new = [region for region in found if region.end > fresh]
    covered = sum(region.end - max(region.first, fresh) for region in new)
    mostly = len(squeezed) - fresh <= PIECE and covered * 3 >= (len(squeezed) - fresh) * 2
    for region in new:
        text = squeezed[region.first : region.end]
        digits = _digits(text)
        if digits >= _DIGITS:
            yield region, len(text) + _DIGIT_WEIGHT * digits
        elif mostly or len(text) >= _COPIED:
            yield region, len(text)
        elif len(text) > _CHANCE:
            yield region, len(text) - _CHANCE
