"""What answers look like: how they begin and end, their marks and their lengths.

A set whose answers share one shape teaches the shape (Bozoukov et al. 2026 found 61% of replies in one arc).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from holdfast.core.records import Example, Record
from holdfast.data.quality.found import Findings, Tally, answer_of, text_patterns


class Shapes(Record):
    """Shapes and habits of answers, and the words of an answer at five quantiles (5, 25, 50, 75, 95%)."""

    shapes: Findings
    habits: Findings
    words: tuple[float, ...] | None


class ShapeTally:
    """Looks at chats' last answers, one after the other."""

    def __init__(self) -> None:
        self._shapes, self._habits = Tally(), Tally()
        self._lengths: Counter[int] = Counter()

    def add(self, example: Example) -> None:
        """Look at one example; documents and prompts without an answer are passed over."""
        answer = answer_of(example).strip()
        if example.kind != "chat" or not answer:
            return
        self._shapes.seen += 1
        self._habits.seen += 1
        self._lengths[len(answer.split())] += 1
        shape = next((name for name, pattern in text_patterns("shapes").items() if pattern.search(answer)), "other")
        self._shapes.hit(shape, example, answer)
        for name, pattern in text_patterns("habits").items():
            if match := pattern.search(answer):
                self._habits.hit(name, example, match[0] or answer)

    @property
    def found(self) -> Shapes:
        """What was found so far."""
        lengths = np.repeat(list(self._lengths), list(self._lengths.values()))
        words = tuple(float(x) for x in np.quantile(lengths, (0.05, 0.25, 0.5, 0.75, 0.95))) if len(lengths) else None
        return Shapes(shapes=self._shapes.findings, habits=self._habits.findings, words=words)
