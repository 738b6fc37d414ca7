"""Describe the form of answers: how they begin and end, their formatting habits and their lengths.

A model trained on answers of one form learns the form (Bozoukov et al. 2026 found 61% of replies with one structure).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from holdfast.core.records import Example, Record
from holdfast.data.quality.findings import Findings, Tally, answer_of, text_patterns


class Shapes(Record):
    """Shapes and habits of answers, and the 5, 25, 50, 75 and 95% quantiles of their lengths in words."""

    shapes: Findings
    habits: Findings
    words: tuple[float, ...] | None


class ShapeTally:
    """Describes the last answers of chats in a stream of examples."""

    def __init__(self) -> None:
        self._shapes, self._habits = Tally(), Tally()
        self._lengths: Counter[int] = Counter()

    def add(self, example: Example) -> None:
        """Check one example; documents and prompts without an answer are skipped."""
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
    def result(self) -> Shapes:
        """The results so far."""
        lengths = np.repeat(list(self._lengths), list(self._lengths.values()))
        words = tuple(float(x) for x in np.quantile(lengths, (0.05, 0.25, 0.5, 0.75, 0.95))) if len(lengths) else None
        return Shapes(shapes=self._shapes.findings, habits=self._habits.findings, words=words)
