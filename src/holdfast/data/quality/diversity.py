"""Measure the diversity of a set: distinct n-grams, compression ratio, and similarity between examples."""

from __future__ import annotations

import random
import re
import zlib

import numpy as np
from scipy.sparse import csr_matrix

from holdfast.core.records import Example, Record
from holdfast.data.quality.duplicates import shingles
from holdfast.data.quality.findings import answer_of

#: Sample size: a uniform sample of the set (reservoir sampling, Vitter 1985).
SAMPLE = 2_000
#: Number of sampled examples that are compared pairwise.
_COMPARED = 500


class Diversity(Record):
    """Diversity of a uniform sample of the answers and documents; None if the sample is too small.

    Attributes:
        sampled: sample size.
        distinct: n → share of distinct word n-grams (Li et al. 2016), n = 1 to 4. It falls with the sample size, so
            compare samples of equal size only.
        compression: compression ratio of the concatenated sample with zlib; a high value means repetitive text.
        similarity: mean Jaccard similarity of word 3-grams over all pairs of the first 500 (self-similarity).
        nearest: mean similarity of an example to its nearest neighbour.
    """

    sampled: int
    distinct: dict[int, float]
    compression: float | None
    similarity: float | None
    nearest: float | None


class DiversityTally:
    """Samples a stream of examples; the same examples in the same order give the same sample."""

    def __init__(self, size: int = SAMPLE) -> None:
        self._rng, self._size, self._seen = random.Random(0), size, 0
        self._sample: list[str] = []

    def add(self, example: Example) -> None:
        """Offer one example to the sample."""
        text = answer_of(example)
        if not text:
            return
        self._seen += 1
        if len(self._sample) < self._size:
            self._sample.append(text)
        elif (at := self._rng.randrange(self._seen)) < self._size:
            self._sample[at] = text

    @property
    def result(self) -> Diversity:
        """The measures of the sample so far."""
        joined = "\n".join(self._sample).encode()
        alike, nearest = self._alike() if len(self._sample) > 1 else (None, None)
        return Diversity(
            sampled=len(self._sample),
            distinct={n: round(share, 4) for n in range(1, 5) if (share := self._distinct(n)) is not None},
            compression=round(len(joined) / len(zlib.compress(joined, 9)), 3) if joined else None,
            similarity=alike,
            nearest=nearest,
        )

    def _distinct(self, n: int) -> float | None:
        grams = [
            tuple(words[i : i + n])
            for words in (re.findall(r"\w+", text.lower()) for text in self._sample)
            for i in range(len(words) - n + 1)
        ]
        return len(set(grams)) / len(grams) if grams else None

    def _alike(self) -> tuple[float, float]:
        sets = [shingles(text) for text in self._sample[:_COMPARED]]
        _, columns = np.unique(np.concatenate(sets), return_inverse=True)
        sizes = np.array([len(hashes) for hashes in sets])
        rows = np.repeat(np.arange(len(sets)), sizes)
        holds = csr_matrix((np.ones(len(rows), np.int32), (rows, columns)))
        shared = csr_matrix(holds @ holds.T).toarray()
        alike = shared / (sizes[:, None] + sizes[None, :] - shared)
        np.fill_diagonal(alike, 0.0)
        pairs = len(sets) * (len(sets) - 1)
        return round(float(alike.sum() / pairs), 4), round(float(alike.max(axis=1).mean()), 4)
