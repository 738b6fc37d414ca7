"""What has been taken into a set so far: counts, and as little of the texts as keeps repeats out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import Example
from holdfast.data.heldout_filter import example_text

#: words of a gram, and examples at the beginning of a set that are looked at: all of a large set would fill the memory
NGRAM = 4
SAMPLED = 10_000


class Grams:
    """Distinct word n-grams over all of them (Li et al. 2016, distinct-n), of the first examples of a set."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()
        self._total = self._examples = 0

    def add(self, text: str) -> None:
        """Count the grams of one more example."""
        self._examples += 1
        if self._examples > SAMPLED:
            return
        words = re.findall(r"\S+", text)
        grams = [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]
        self._seen.update(grams)
        self._total += len(grams)

    @property
    def distinct(self) -> float:
        """The share of grams that occur for the first time; 1.0 where there are none to repeat."""
        return len(self._seen) / self._total if self._total else 1.0


@dataclass(slots=True)
class SetBuilder:
    """A set in the making, with room for so many tokens; `texts` holds 8 bytes of the hash of each text."""

    room: int
    examples: int = 0
    tokens: int = 0
    asked: int = 0
    unused: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    axes: dict[str, Counter[str]] = field(default_factory=dict)
    principles: Counter[str] = field(default_factory=Counter)
    texts: set[int] = field(default_factory=set)
    grams: Grams = field(default_factory=Grams)

    def new(self, example: Example) -> bool:
        """Whether no example before had the same words; from now on this one has."""
        digest = hashlib.blake2b(example_text(example).encode(), digest_size=8).digest()
        before = len(self.texts)
        self.texts.add(int.from_bytes(digest))
        return len(self.texts) > before

    def put(self, example: Example, tokens: int, axes: Mapping[str, str], principle: str | None) -> None:
        """Count an example that is in the set."""
        self.examples += 1
        self.tokens += tokens
        self.grams.add(example_text(example))
        for axis, value in axes.items():
            self.axes.setdefault(axis, Counter())[value] += 1
        if principle:
            self.principles[principle] += 1
