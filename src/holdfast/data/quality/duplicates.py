"""Find exact and near duplicates in bounded memory.

MinHash (Broder 1997) by rensa with banding (Leskovec, Rajaraman and Ullman, ch. 3). Documents that agree in all rows of
a band are candidates; each candidate pair counts only if the Jaccard similarity of its shingles reaches the threshold.
Shingles and signatures are in temporary files; memory use is about a hundred bytes per document (`bench.duplicates`).
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from holdfast.core.extras import needs
from holdfast.core.store import writing

#: Words per shingle.
SHINGLE = 3
BANDS, ROWS = 25, 5
_PERMUTATIONS = BANDS * ROWS
_CHUNK = 2_000
_WORD = re.compile(r"\w+")
Ids = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Duplicates in a collection of documents.

    Attributes:
        count: number of documents.
        exact: (document, first document with the same words in the same order), shape (pairs, 2).
        near: (document, first document of its cluster), shape (pairs, 2); without exact duplicates.
        candidates: candidate pairs from all bands.
        checked: candidate pairs that were compared; the others were already in one cluster.
        threshold: Jaccard similarity from which two documents count as near duplicates.
    """

    count: int
    exact: Ids
    near: Ids
    candidates: int
    checked: int
    threshold: float

    @property
    def share(self) -> float | None:
        """Share of documents that repeat an earlier one; None if there are no documents."""
        return (len(self.exact) + len(self.near)) / self.count if self.count else None


def find(texts: Iterable[str], threshold: float = 0.7) -> Duplicates:
    """Find documents that repeat an earlier one.

    Near duplicates form clusters: the connected components of the graph whose edges are candidate pairs with a Jaccard
    similarity of at least `threshold`. The first document of each cluster is not a duplicate.

    Raises:
        PrerequisiteError: rensa is not installed.
        StoreError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        store = ShingleStore(Path(folder), texts)
        joined = _UnionFind(store.count)
        candidates = checked = 0
        for band in range(BANDS):
            for left, right in _pairs(store.band(band)):
                candidates += 1
                if joined.root(left) != joined.root(right):
                    checked += 1
                    if jaccard(store.shingles(left), store.shingles(right)) >= threshold:
                        joined.join(left, right)
        place = store.first
        near = np.array(
            [(place[i], place[root]) for i in range(store.count) if (root := joined.root(i)) != i], np.int64
        ).reshape(-1, 2)
        return Duplicates(store.seen, store.exact, near, candidates, checked, threshold)


def jaccard(one: Hashes, other: Hashes) -> float:
    """Return the Jaccard similarity of two sorted arrays of hashes; 1.0 if both are empty."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - both
    return both / either if either else 1.0


def shingles(text: str) -> Hashes:
    """Return the sorted hashes of a text's shingles of `SHINGLE` words; a shorter text is one shingle.

    The hashes are only comparable within one process.
    """
    words = _WORD.findall(text.lower())
    runs = set(zip(*(words[i:] for i in range(SHINGLE)), strict=False)) if len(words) >= SHINGLE else {tuple(words)}
    hashes = np.fromiter(map(hash, runs), np.int64, len(runs)).view(np.uint64)
    hashes.sort()
    return hashes


class ShingleStore:
    """Shingles and signatures of distinct texts, on disk.

    Attributes:
        seen: number of texts.
        count: number of distinct texts.
        first: index of each distinct text.
        exact: pairs (index, index of the first text with the same words).
    """

    def __init__(self, folder: Path, texts: Iterable[str]) -> None:
        self.seen = 0
        self._known: dict[bytes, int] = {}
        places, exact, offsets = _IntBuffer(), _IntBuffer(), _IntBuffer()
        offsets.add(0)
        stream = self._distinct(texts, places, exact)
        shingle_file, band_file = folder / "shingles", folder / "bands"
        with writing(shingle_file), shingle_file.open("wb") as sets, band_file.open("wb") as bands:
            while chunk := list(islice(stream, _CHUNK)):
                self._spool([shingles(text) for text in chunk], sets, bands, offsets)
        self._known.clear()
        self.first, self.exact = places.array(), exact.array().reshape(-1, 2)
        self.count, self._offsets = len(self.first), offsets.array()
        self._shingles = np.memmap(shingle_file, np.uint64, "r") if self.count else np.empty(0, np.uint64)
        self._bands = np.memmap(band_file, np.uint64, "r") if self.count else np.empty(0, np.uint64)

    def shingles(self, at: int) -> Hashes:
        """Return the sorted shingles of distinct text number `at`."""
        hashes: Hashes = self._shingles[self._offsets[at] : self._offsets[at + 1]]
        return hashes

    def band(self, number: int) -> Hashes:
        """Return the hash of one band for each distinct text."""
        parts, start = [], 0
        while start < self.count:
            size = min(_CHUNK, self.count - start)
            at = start * BANDS + number * size
            parts.append(np.array(self._bands[at : at + size]))
            start += size
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def _distinct(self, texts: Iterable[str], places: _IntBuffer, exact: _IntBuffer) -> Iterator[str]:
        for at, text in enumerate(texts):
            self.seen += 1
            digest = hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=12).digest()
            first = self._known.setdefault(digest, at)
            if first != at:
                exact.add(at)
                exact.add(first)
            else:
                places.add(at)
                yield text

    def _spool(self, sets: list[Hashes], shingle_file: BinaryIO, band_file: BinaryIO, offsets: _IntBuffer) -> None:
        flat = np.concatenate(sets)
        flat.tofile(shingle_file)
        within = np.cumsum([0, *map(len, sets)])
        for end in within[1:]:
            offsets.add(int(offsets.start + end))
        offsets.start += int(within[-1])
        rows = np.array(_signatures(flat, within), np.uint64).reshape(len(sets), BANDS, ROWS)
        mixed = np.zeros((len(sets), BANDS), np.uint64)
        for row in range(ROWS):
            mixed = (mixed ^ rows[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        # Ordered by band within each chunk, so that one band is read in a few long pieces.
        np.ascontiguousarray(mixed.T).tofile(band_file)


class _IntBuffer:
    """A growing array of integers with 8 bytes each; `start` is the offset of the next chunk."""

    def __init__(self) -> None:
        self._full: list[Ids] = []
        self._last: list[int] = []
        self.start = 0

    def add(self, value: int) -> None:
        self._last.append(value)
        if len(self._last) == 65_536:
            self._full.append(np.array(self._last, np.int64))
            self._last = []

    def array(self) -> Ids:
        return np.concatenate([*self._full, np.array(self._last, np.int64)])


class _UnionFind:
    """Union-find over documents; the root of a cluster is its first document."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def root(self, at: int) -> int:
        parent = self._parent
        while (up := int(parent[at])) != at:
            parent[at] = parent[up]
            at = up
        return at

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low


def _pairs(band: Hashes) -> Iterator[tuple[int, int]]:
    """Pair each document of a bucket with the first one and with the one before it."""
    order = np.argsort(band, kind="stable")
    same = band[order][1:] == band[order][:-1]
    first = 0
    for at in np.flatnonzero(same):
        before, this = int(order[at]), int(order[at + 1])
        if at == 0 or not same[at - 1]:
            first = before
        yield before, this
        if first != before:
            yield first, this


def _signatures(flat: Hashes, offsets: Any) -> list[list[int]]:
    with needs("teach"):
        import rensa  # type: ignore[import-untyped]
    make = rensa.RMinHash.digest_matrix_from_flat_token_hashes
    rows: list[list[int]] = make(flat.tolist(), offsets.tolist(), _PERMUTATIONS, 42).to_rows()
    return rows
