"""What should not be in a set: words that give the test away, refusals by the teacher, passages of given texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from holdfast.core.records import Example, Record
from holdfast.core.store import RunFolder
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.found import Findings, Tally, answer_of, text_patterns
from holdfast.data.response_cache import FOLDER, CachedResponse

#: words of a shared run that counts as overlap (the length of GPT-3's contamination check, Brown et al. 2020)
NGRAM = 13
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class AwarenessTally:
    """Finds words that say that somebody is tested, in all turns and in the reasoning."""

    def __init__(self) -> None:
        self._tally = Tally()

    def add(self, example: Example) -> None:
        """Look at one example."""
        self._tally.seen += 1
        text = "\n".join([example_text(example), *(m.reasoning for m in example.messages if m.reasoning)])
        for name, pattern in text_patterns("awareness").items():
            if match := pattern.search(text):
                around = text[max(0, match.start() - 40) : match.end() + 40]
                self._tally.hit(name, example, around)

    @property
    def found(self) -> Findings:
        """What was found so far."""
        return self._tally.findings


class RefusalTally:
    """Finds answers in the set that are refusals by the phrase: the teacher's, where a lesson was asked for."""

    def __init__(self) -> None:
        self._tally = Tally()

    def add(self, example: Example) -> None:
        """Look at one example."""
        answer = answer_of(example).strip()
        if not answer:
            return
        self._tally.seen += 1
        for pattern in text_patterns("refusals").values():
            if match := pattern.search(answer):
                self._tally.hit("reads like a refusal", example, match[0])
                return

    @property
    def found(self) -> Findings:
        """What was found so far."""
        return self._tally.findings


class Answers(Record):
    """What came back from models while the set was made, failed requests included.

    Attributes:
        rows: answers in the ledger.
        refused: the provider said that it refused.
        phrased: the answer was given as whole and reads like a refusal.
        empty: the answer was given as whole and holds nothing: the mark of a filter that keeps silent.
        cut: the answer broke off at the limit of tokens.
        failed: no answer came.
    """

    rows: int
    refused: int
    phrased: int
    empty: int
    cut: int
    failed: int


def answers_in(folder: Path) -> Answers | None:
    """Count the answers in a set's ledger; None where the set has none.

    Raises:
        ResultsError: a line of the ledger is no answer.
    """
    ledger = folder / FOLDER
    if not ledger.is_dir():
        return None
    counts: Counter[str] = Counter()
    for path in sorted(ledger.glob("*.jsonl")):
        for row in RunFolder(ledger).each(path.stem, CachedResponse):
            counts["rows"] += 1
            counts[_fate(row)] += 1
    names = ("rows", "refused", "phrased", "empty", "cut", "failed")
    return Answers(**{name: counts[name] for name in names})


def _fate(row: CachedResponse) -> str:
    if row.finish != "stop":
        return {"refused": "refused", "length": "cut", "error": "failed"}[row.finish]
    text = row.text.strip()
    if not text and not row.calls:
        return "empty"
    return "phrased" if any(pattern.search(text) for pattern in text_patterns("refusals").values()) else "answered"


class OverlapTally:
    """Finds examples that share a run of `NGRAM` words with given texts; shorter texts count whole.

    Args:
        texts: for instance the prompts of an evaluation.  A text of fewer than six words is left out: it tells nothing.
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
        """Look at one example."""
        self._tally.seen += 1
        words = _WORD.findall(example_text(example).lower())
        for n, known in self._runs.items():
            for at, run in enumerate(_hashes(words, n)):
                if run in known:
                    self._tally.hit("shares a passage with a given text", example, " ".join(words[at : at + n]))
                    return

    @property
    def found(self) -> Findings:
        """What was found so far."""
        return self._tally.findings


def _hashes(words: list[str], n: int) -> list[int]:
    return [hash(tuple(words[i : i + n])) for i in range(len(words) - n + 1)]
