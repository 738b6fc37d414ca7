"""Measure the style of a set: shared openings, self-BLEU, reading level, and balance over the axes of its plan."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.core.records import Example, Record
from holdfast.core.text import Text

#: Words of an opening.
OPENING = 5
_REFERENCES, _HYPOTHESES = 50, 200
#: Texts of which the figures are computed: a uniform sample of a large set (reservoir sampling, Vitter 1985).
_SAMPLE = 5_000


class Balance(Record):
    """How evenly a set covers the values of an axis.

    Attributes:
        values: number of values.
        least: examples of the rarest one.
        most: examples of the commonest one.
        evenness: entropy as a share of its maximum.
    """

    values: int
    least: int
    most: int
    evenness: float


class Style(Record):
    """Style of the texts that training supervises; None if there are too few.

    Attributes:
        texts: number of texts.
        words: words in them.
        opening: the commonest first five words.
        opening_share: share of the texts that begin with them.
        self_bleu: mean BLEU-4 of a text against 50 others (Zhu et al. 2018, Texygen); higher is more alike.
        grade: mean Flesch-Kincaid grade (Kincaid et al. 1975), syllables counted as groups of vowels.
        balance: axis of the plan → how evenly it is covered.
    """

    texts: int
    words: int
    opening: Text
    opening_share: float | None
    self_bleu: float | None
    grade: float | None
    balance: Mapping[str, Balance]


class StyleTally:
    """Collects the supervised texts of a stream of examples."""

    def __init__(self) -> None:
        self._rng, self._sample = random.Random(0), list[str]()
        self._openings = Counter[str]()
        self._seen = self._words = 0

    def add(self, example: Example) -> None:
        """Add the texts of one example."""
        documents = [example.text] if example.kind == "document" else []
        for text in (*documents, *(m.content for m in example.messages if m.role == "assistant")):
            if not text.strip():
                continue
            self._seen += 1
            self._words += len(text.split())
            self._openings[" ".join(text.lower().split()[:OPENING])] += 1
            if len(self._sample) < _SAMPLE:
                self._sample.append(text)
            elif (at := self._rng.randrange(self._seen)) < _SAMPLE:
                self._sample[at] = text

    def result(self, places: Mapping[str, Sequence[str]]) -> Style:
        """Return the figures; `places` holds, for each axis of the plan, the value of each example."""
        opening, count = self._openings.most_common(1)[0] if self._openings else ("", 0)
        return Style(
            texts=self._seen,
            words=self._words,
            opening=opening,
            opening_share=round(count / self._seen, 4) if self._seen else None,
            self_bleu=round(self_bleu(self._sample), 4) if len(self._sample) > 1 else None,
            grade=round(reading_grade(self._sample), 2) if self._sample else None,
            balance={axis: balance(values) for axis, values in places.items() if values},
        )


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 with smoothing (Lin and Och 2004, method 2) of up to 200 texts, each against 50 others."""
    chance = random.Random(0)
    grams = [_grams(text) for text in texts]
    scores = []
    for at in chance.sample(range(len(texts)), min(_HYPOTHESES, len(texts))):
        others = [index for index in range(len(texts)) if index != at]
        references = chance.sample(others, min(_REFERENCES, len(others)))
        logs = []
        for n in range(4):
            best: Counter[tuple[str, ...]] = Counter()
            for reference in references:
                best |= grams[reference][n]
            total, shared = sum(grams[at][n].values()), sum((grams[at][n] & best).values())
            logs.append(math.log((shared + (n > 0)) / (total + (n > 0))) if shared + n else -20.0)
        scores.append(math.exp(sum(logs) / 4))
    return float(np.mean(scores))


def _grams(text: str) -> list[Counter[tuple[str, ...]]]:
    words = re.findall(r"\w+", text.lower())
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, 5)]


def reading_grade(texts: Sequence[str]) -> float:
    """Mean Flesch-Kincaid grade (Kincaid et al. 1975)."""
    grades = []
    for text in texts:
        words = re.findall(r"[A-Za-z']+", text)
        sentences = max(1, len(re.findall(r"[.!?]+(?:\s|$)", text)))
        syllables = sum(max(1, len(re.findall(r"[aeiouy]+", word.lower().removesuffix("e")))) for word in words)
        if words:
            grades.append(0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59)
    return float(np.mean(grades)) if grades else math.nan


def balance(values: Sequence[str]) -> Balance:
    """Return how evenly values occur."""
    counts = Counter(values)
    shares = np.array(list(counts.values())) / len(values)
    entropy = float(-(shares * np.log(shares)).sum() / math.log(len(counts))) if len(counts) > 1 else 1.0
    return Balance(
        values=len(counts), least=min(counts.values()), most=max(counts.values()), evenness=round(entropy, 3)
    )
