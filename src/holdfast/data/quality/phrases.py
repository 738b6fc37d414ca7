"""Find clichés, and word n-grams that many examples of a set repeat verbatim."""

from __future__ import annotations

import re
from collections import Counter

from holdfast.core.records import Example
from holdfast.data.quality.findings import Findings, Hit, Occurrences, Tally, answer_of, text_patterns

#: Words per n-gram, and the share of answers from which an n-gram counts as repeated verbatim.
RUN, OFTEN = 6, 0.02
#: Answers between two prunings, which bound the memory (lossy counting, Manku and Motwani 2002).
_BUCKET = 2_000
_REPORTED = 20
_WORD = re.compile(r"\w+(?:['’]\w+)*")


class PhraseTally:
    """Counts clichés and n-grams in a stream of answers and documents."""

    def __init__(self) -> None:
        self._cliches = Tally()
        self._runs: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, example: Example) -> None:
        """Check one example."""
        answer = answer_of(example)
        if not answer:
            return
        self._cliches.seen += 1
        for pattern in text_patterns("cliches").values():
            if match := pattern.search(answer):
                self._cliches.hit(match[0].lower(), example, match[0])
        words = _WORD.findall(answer.lower())
        for run in {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}:
            self._runs[run] += 1
            self._first.setdefault(run, example.id)
        if self._cliches.seen % _BUCKET == 0:
            self._prune()

    @property
    def cliches(self) -> Findings:
        """Clichés found so far."""
        return self._cliches.findings

    @property
    def verbatim(self) -> Findings:
        """The n-grams shared by most answers; of overlapping n-grams, only the most common one.

        A count can be too low by up to one per `_BUCKET` answers (lossy counting).
        """
        seen = self._cliches.seen
        often = [(run, n) for run, n in self._runs.items() if n >= max(3, OFTEN * seen)]
        reported: dict[str, Occurrences] = {}
        taken: set[str] = set()
        for run, count in sorted(often, key=lambda pair: (-pair[1], pair[0])):
            words = run.split()
            inner = {" ".join(words[i : i + RUN - 2]) for i in range(3)}
            if not inner & taken and len(reported) < _REPORTED:
                reported[run] = Occurrences(count=count, of=seen, hits=(Hit(example=self._first[run], text=run),))
            taken |= inner
        return Findings(counts=reported)

    def _prune(self) -> None:
        """Drop n-grams whose count is at most the number of prunings so far (lossy counting)."""
        floor = self._cliches.seen // _BUCKET
        self._runs = Counter({run: n for run, n in self._runs.items() if n > floor})
        self._first = {run: self._first[run] for run in self._runs}
