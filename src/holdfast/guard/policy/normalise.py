"""From what an agent wrote to the words of the policy: the step before any rule is asked.

A policy knows finitely many addresses, folders, hosts and values.  Each argument is read as the most specific of them
that covers it, or as `?`.  So Cedar compares short words, and a look-alike never reaches it: what can be read in two
ways is read in both (an allowed act must be inside under every reading, a denied one under any), and what cannot be
read with certainty is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any
from unicodedata import category

from holdfast.detectors.confusables import skeleton, unseen

UNKNOWN = "?"
#: Numbers are judged in millionths, as whole numbers.
UNIT = 1_000_000
#: Characters that turn the direction of text: overrides, embeddings, isolates and marks.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LARGEST = 9_000_000_000_000
Chain = Callable[[str], Iterator[str]]


class Uninspectable(ValueError):
    """An argument cannot be read with certainty; the text says what to write instead and quotes nothing."""


def hides(text: str) -> bool:
    """Whether a name, address or path holds a character that is not seen or breaks a line."""
    return not text.isprintable() if text.isascii() else any(c in "\n\t" or unseen(c) for c in text)


def deceives(text: str) -> bool:
    """Whether prose holds control characters or turns its own direction, so that it reads otherwise than it is.

    Zero-width joiners are let through, since emoji and several scripts are written with them.
    """
    if text.isascii() and text.isprintable():
        return False
    return any(c in _TURNS or (c not in "\t\n\r" and category(c) in ("Cc", "Cs")) for c in text)


def closest_known(steps: Iterable[str], known: Iterable[str]) -> str:
    """The first of `steps`, from the thing itself upwards, that the policy knows; `?` where it knows none."""
    return next((step for step in steps if step in known), UNKNOWN)


def covered(listed: Iterable[str], known: Iterable[str], chain: Chain) -> list[str]:
    """Every term of the policy that lies in or below one that is listed."""
    listed = set(listed)
    return sorted(term for term in known if not listed.isdisjoint(chain(term)))


def tool_chain(tool: str) -> Iterator[str]:
    """`files/read`, `files/*`, `*`."""
    yield tool
    head, slash, _ = tool.rpartition("/")
    if slash and not tool.endswith("/*"):
        yield f"{head}/*"
    if tool != "*":
        yield "*"


class Values:
    """The fixed values a policy knows; text, whole numbers and truth values are never taken for one another."""

    def __init__(self, entries: Iterable[bool | int | str]) -> None:
        self._terms = {(type(entry), entry): self.entry(entry) for entry in entries}
        self._looks = {skeleton(entry): entry for entry in (key[1] for key in self._terms) if isinstance(entry, str)}
        self._longest = max(map(len, self._terms.values())) + 16
        self.known = frozenset(self._terms.values())

    @staticmethod
    def chain(term: str) -> Iterator[str]:
        """A value has nothing above it."""
        yield term

    @staticmethod
    def entry(value: bool | int | str) -> str:
        """The term of a value: text as it is, the others with their kind."""
        return value if isinstance(value, str) else f"{type(value).__name__} {value}"

    def terms(self, value: Any) -> set[str]:
        """The term of one value.

        Raises:
            Uninspectable: not a plain value, or a text that looks like one the policy knows.
        """
        if not isinstance(value, (str, int)):
            raise Uninspectable("write a plain value")
        term = self._terms.get((type(value), value))
        short = isinstance(value, str) and len(value) < 2 * self._longest
        if term is None and short and skeleton(str(value).strip()) in self._looks:
            raise Uninspectable("this value looks like another one: write the one you mean")
        return {UNKNOWN if term is None else term}


def read_number(value: Any) -> int:
    """A number in millionths.

    Raises:
        Uninspectable: no JSON number, too large, or with more than six decimals.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Uninspectable("write a plain number")
    if not -_LARGEST <= value <= _LARGEST:
        raise Uninspectable("write a smaller number")
    scaled = Decimal(repr(value)) * UNIT
    if scaled != int(scaled):
        raise Uninspectable("write the number with at most six decimals")
    return int(scaled)
