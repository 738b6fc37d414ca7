"""Shared by all checks: named counts with example hits, and the text patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import Field

from holdfast.core.config import read_toml
from holdfast.core.records import Example, Record
from holdfast.core.text import Text

FILE = Path(__file__).parent / "patterns.toml"
_SHOWN, _EACH = 120, 3


class Hit(Record):
    """An example with a finding, and the matched text."""

    example: Text
    text: Text


class Occurrences(Record):
    """Number of examples with a finding, out of `of`, and the first hits."""

    count: int = 0
    of: int = 0
    hits: tuple[Hit, ...] = ()

    @property
    def share(self) -> float | None:
        """Share of examples; None if no example was checked."""
        return self.count / self.of if self.of else None


class Findings(Record):
    """Results of one check: name → occurrences, in descending order."""

    counts: Mapping[str, Occurrences] = Field(default_factory=dict)


class Tally:
    """Counts named findings over a stream of examples."""

    def __init__(self) -> None:
        self.seen = 0
        self._counts: dict[str, int] = {}
        self._hits: dict[str, list[Hit]] = {}

    def hit(self, name: str, example: Example, text: str) -> None:
        """Count an example under a name."""
        self._counts[name] = self._counts.get(name, 0) + 1
        hits = self._hits.setdefault(name, [])
        if len(hits) < _EACH:
            hits.append(Hit(example=example.id, text=" ".join(text.split())[:_SHOWN]))

    @property
    def findings(self) -> Findings:
        """The findings so far."""
        order = sorted(self._counts, key=lambda name: -self._counts[name])
        return Findings(
            counts={
                name: Occurrences(count=self._counts[name], of=self.seen, hits=tuple(self._hits[name]))
                for name in order
            }
        )


def answer_of(example: Example) -> str:
    """Return a document's text, or all that the assistant says in its last answer; empty if there is neither.

    An answer that calls tools has several turns: what is said before the calls and after their results.
    """
    if example.kind == "document":
        return example.text
    last = example.messages[-1] if example.messages else None
    if last is None or last.role != "assistant":
        return ""
    start = max((at for at, message in enumerate(example.messages) if message.role == "user"), default=-1)
    said = (message.content for message in example.messages[start + 1 :] if message.role == "assistant")
    return "\n\n".join(text for text in said if text)


@cache
def text_patterns(table: str) -> Mapping[str, re.Pattern[str]]:
    """Return name → pattern from a table of `patterns.toml`; phrases are their own names."""
    entries = read_toml(FILE)[table]
    named = {phrase: phrase for phrase in entries["phrases"]} if "phrases" in entries else entries
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in named.items()}
