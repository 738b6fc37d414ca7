"""Map argument values to the terms of a policy, before any rule is evaluated.

A policy names finitely many addresses, folders, hosts and values. Each argument maps to the most specific of these
terms that covers it, or to `?`. So Cedar compares short strings and never sees a look-alike. An ambiguous value maps
to the terms of all its readings: a grant must contain every one, a denial matches any. A value that cannot be read
unambiguously is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any
from unicodedata import category

from holdfast.detectors.confusables import skeleton, unseen

UNKNOWN = "?"
#: Numbers are compared as integers, in millionths.
UNIT = 1_000_000
#: Characters that change the direction of text: overrides, embeddings, isolates and marks.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LARGEST = 9_000_000_000_000
Chain = Callable[[str], Iterator[str]]


class Uninspectable(ValueError):
    """An argument cannot be read unambiguously. The message says what to write instead and quotes nothing."""


def hides(text: str) -> bool:
    """Return whether a name, address or path contains an invisible character or a line break."""
    return not text.isprintable() if text.isascii() else any(c in "\n\t" or unseen(c) for c in text)


def deceives(text: str) -> bool:
    """Return whether prose contains control or direction characters, so that it displays differently from its content.

    Zero-width joiners are allowed, because emoji and several scripts need them.
    """
    if text.isascii() and text.isprintable():
        return False
    return any(c in _TURNS or (c not in "\t\n\r" and category(c) in ("Cc", "Cs")) for c in text)


def closest_known(steps: Iterable[str], known: Iterable[str]) -> str:
    """Return the first of `steps` that is in `known`, or `?` if none is; `steps` run from specific to general."""
    return next((step for step in steps if step in known), UNKNOWN)


def covered(listed: Iterable[str], known: Iterable[str], chain: Chain) -> list[str]:
    """Return every known term that equals a listed term or lies below one."""
    listed = set(listed)
    return sorted(term for term in known if not listed.isdisjoint(chain(term)))


def tool_chain(tool: str) -> Iterator[str]:
    """Yield a tool's name and the patterns that cover it: `files/read`, `files/*`, `*`."""
    yield tool
    head, slash, _ = tool.rpartition("/")
    if slash and not tool.endswith("/*"):
        yield f"{head}/*"
    if tool != "*":
        yield "*"


class Values:
    """Matches values to the fixed values in a policy; text, integers and booleans never equal one another."""

    def __init__(self, entries: Iterable[bool | int | str]) -> None:
        self._terms = {(type(entry), entry): self.entry(entry) for entry in entries}
        self._looks = {skeleton(entry): entry for entry in (key[1] for key in self._terms) if isinstance(entry, str)}
        self._longest = max(map(len, self._terms.values())) + 16
        self.known = frozenset(self._terms.values())

    @staticmethod
    def chain(term: str) -> Iterator[str]:
        """Yield the term itself: a value has no ancestors."""
        yield term

    @staticmethod
    def entry(value: bool | int | str) -> str:
        """Return the term of a value: text as it is, other values with their type."""
        return value if isinstance(value, str) else f"{type(value).__name__} {value}"

    def terms(self, value: Any) -> set[str]:
        """Return the term of one value.

        Raises:
            Uninspectable: the value is not text, integer or boolean, or is a text that looks like one in the policy.
        """
        if not isinstance(value, (str, int)):
            raise Uninspectable("write a plain value")
        term = self._terms.get((type(value), value))
        short = isinstance(value, str) and len(value) < 2 * self._longest
        if term is None and short and skeleton(str(value).strip()) in self._looks:
            raise Uninspectable("this value looks like another value: write the one that you mean")
        return {UNKNOWN if term is None else term}


def read_number(value: Any) -> int:
    """Return a number in millionths.

    Raises:
        Uninspectable: the value is not a JSON number, is too large, or has more than six decimals.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Uninspectable("write a plain number")
    if not -_LARGEST <= value <= _LARGEST:
        raise Uninspectable("write a smaller number")
    scaled = Decimal(repr(value)) * UNIT
    if scaled != int(scaled):
        raise Uninspectable("write the number with at most six decimals")
    return int(scaled)
