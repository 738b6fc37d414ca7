"""Find content that should not be in a set: test awareness, refusals by the teacher, overlap with given texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from holdfast.core.records import Example, Record
from holdfast.core.store import RunFolder
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.findings import Findings, Tally, answer_of, text_patterns
from holdfast.data.response_cache import FOLDER, CachedResponse

#: Words of a shared n-gram that count as overlap (as in GPT-3's contamination check, Brown et al. 2020).
NGRAM = 13
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class AwarenessTally:
    """Finds phrases that mention a test or evaluation, in all turns and in the reasoning."""

    def __init__(self) -> None:
        self._tally = Tally()

    def add(self, example: Example) -> None:
        """Check one example."""
        self._tally.seen += 1
        text = "\n".join([example_text(example), *(m.reasoning for m in example.messages if m.reasoning)])
        for name, pattern in text_patterns("awareness").items():
            if match := pattern.search(text):
                around = text[max(0, match.start() - 40) : match.end() + 40]
                self._tally.hit(name, example, around)

    @property
    def result(self) -> Findings:
        """The findings so far."""
        return self._tally.findings


class RefusalTally:
    """Finds answers that are phrased as refusals: the teacher refused instead of writing the example."""

    def __init__(self) -> None:
        self._tally = Tally()

    def add(self, example: Example) -> None:
        """Check one example."""
        answer = answer_of(example).strip()
        if not answer:
            return
        self._tally.seen += 1
        for pattern in text_patterns("refusals").values():
            if match := pattern.search(answer):
                self._tally.hit("reads like a refusal", example, match[0])
                return

    @property
    def result(self) -> Findings:
        """The findings so far."""
        return self._tally.findings


class Answers(Record):
    """Outcomes of the requests made while building the set.

    Attributes:
        rows: rows in the response cache.
        refused: the provider reported a refusal.
        phrased: a complete answer that is phrased as a refusal.
        empty: a complete answer without content; often a silent content filter.
        cut: truncated at the token limit.
        failed: failed requests.
    """

    rows: int
    refused: int
    phrased: int
    empty: int
    cut: int
    failed: int


def answers_in(folder: Path) -> Answers | None:
    """Count the outcomes in a set's response cache; return None if the set has none.

    Raises:
        ResultsError: a line of the response cache is invalid.
    """
    cache = folder / FOLDER
    if not cache.is_dir():
        return None
    counts: Counter[str] = Counter()
    for path in sorted(cache.glob("*.jsonl")):
        for row in RunFolder(cache).each(path.stem, CachedResponse):
            counts["rows"] += 1
            counts[_outcome(row)] += 1
    names = ("rows", "refused", "phrased", "empty", "cut", "failed")
    return Answers(**{name: counts[name] for name in names})


def _outcome(row: CachedResponse) -> str:
    if row.finish != "stop":
        return {"refused": "refused", "length": "cut", "error": "failed"}[row.finish]
    text = row.text.strip()
    if not text and not row.calls:
        return "empty"
    return "phrased" if any(pattern.search(text) for pattern in text_patterns("refusals").values()) else "answered"


class OverlapTally:
    """Finds examples that share an n-gram of `NGRAM` words with given texts; shorter texts must match as a whole.

    Args:
        texts: for example the prompts of an evaluation. Texts of fewer than six words are ignored.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._tally = Tally()
        self._runs: dict[int, set[int]] = {}
        for text in texts:
            words = _WORD.findall(text.lower())
            n = min(NGRAM, len(words))
            if n >= 6:
                self._runs.setdefault(n, set()).update(_hashes(words, n))

    def add(self, example: Example) -> None:
        """Check one example."""
        self._tally.seen += 1
        words = _WORD.findall(example_text(example).lower())
        for n, known in self._runs.items():
            for at, run in enumerate(_hashes(words, n)):
                if run in known:
                    self._tally.hit("shares a passage with a given text", example, " ".join(words[at : at + n]))
                    return

    @property
    def result(self) -> Findings:
        """The findings so far."""
        return self._tally.findings


def _hashes(words: list[str], n: int) -> list[int]:
    return [hash(tuple(words[i : i + n])) for i in range(len(words) - n + 1)]
