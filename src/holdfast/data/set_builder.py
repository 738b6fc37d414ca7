"""Counts of a set while it is built, and hashes of its texts to detect repeated examples."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import Example
from holdfast.data.heldout_filter import example_text

#: Words per n-gram, and number of first examples measured; the n-grams of a whole large set would not fit in memory.
NGRAM = 4
SAMPLED = 10_000


class DistinctNGrams:
    """Share of distinct word n-grams (distinct-n, Li et al. 2016) in the first examples of a set."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()
        self._total = self._examples = 0

    def add(self, text: str) -> None:
        """Count the n-grams of one more example."""
        self._examples += 1
        if self._examples > SAMPLED:
            return
        words = re.findall(r"\S+", text)
        grams = [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]
        self._seen.update(grams)
        self._total += len(grams)

    @property
    def distinct(self) -> float:
        """Share of n-grams that occur for the first time; 1.0 if there are none."""
        return len(self._seen) / self._total if self._total else 1.0


@dataclass(slots=True)
class SetBuilder:
    """Counts of a set while it is built.

    Attributes:
        room: token budget.
        examples: examples in the set.
        tokens: tokens of these examples.
        asked: items processed.
        unused: finished items that did not fit into the budget.
        dropped: reason → dropped items.
        axes: axis → value → examples.
        principles: principle → examples.
        texts: the first 8 bytes of the hash of each text.
        grams: distinct n-grams.
    """

    room: int
    examples: int = 0
    tokens: int = 0
    asked: int = 0
    unused: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    axes: dict[str, Counter[str]] = field(default_factory=dict)
    principles: Counter[str] = field(default_factory=Counter)
    texts: set[int] = field(default_factory=set)
    grams: DistinctNGrams = field(default_factory=DistinctNGrams)

    def new(self, example: Example) -> bool:
        """Record the text of an example; return whether no earlier example had the same text."""
        digest = hashlib.blake2b(example_text(example).encode(), digest_size=8).digest()
        before = len(self.texts)
        self.texts.add(int.from_bytes(digest))
        return len(self.texts) > before

    def put(self, example: Example, tokens: int, axes: Mapping[str, str], principle: str | None) -> None:
        """Count an example that was added to the set."""
        self.examples += 1
        self.tokens += tokens
        self.grams.add(example_text(example))
        for axis, value in axes.items():
            self.axes.setdefault(axis, Counter())[value] += 1
        if principle:
            self.principles[principle] += 1
