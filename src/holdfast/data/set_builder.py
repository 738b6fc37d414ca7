"""Counts of a set while it is built, and a memory of its texts to detect repeated examples."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import Example
from holdfast.data.cells import Cell
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.findings import answer_of
from holdfast.data.stages import Draft
from holdfast.data.text_memory import TextMemory

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
        cells: cell of the plan → examples.
        texts: the first 8 bytes of the hash of each text.
        grams: distinct n-grams.
        memory: the texts and answers so far, to find near duplicates; None finds exact repeats only.
    """

    room: int
    examples: int = 0
    tokens: int = 0
    asked: int = 0
    unused: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    axes: dict[str, Counter[str]] = field(default_factory=dict)
    principles: Counter[str] = field(default_factory=Counter)
    cells: Counter[Cell] = field(default_factory=Counter)
    texts: set[int] = field(default_factory=set)
    grams: DistinctNGrams = field(default_factory=DistinctNGrams)
    memory: TextMemory | None = None

    def repeat(self, example: Example) -> str | None:
        """Return the reason if an earlier example has the same or nearly the same text or answer; else remember it."""
        text, answer = example_text(example), answer_of(example)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        before = len(self.texts)
        self.texts.add(int.from_bytes(digest))
        if len(self.texts) == before:
            return "repeats an earlier example"
        if self.memory is None:
            return None
        parts = list(dict.fromkeys(part for part in (text, answer) if part))
        if any(self.memory.repeats(part) for part in parts):
            return "nearly repeats an earlier example"
        for part in parts:
            self.memory.add(part)
        return None

    def put(self, example: Example, tokens: int, axes: Mapping[str, str], item: Draft) -> None:
        """Count an example that was added to the set, and its item's principle and cell."""
        self.examples += 1
        self.tokens += tokens
        self.grams.add(example_text(example))
        for axis, value in axes.items():
            self.axes.setdefault(axis, Counter())[value] += 1
        if item.principle:
            self.principles[item.principle] += 1
        if item.cell:
            self.cells[item.cell] += 1
