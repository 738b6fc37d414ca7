"""Memory of the texts of a set while it is written, to refuse near duplicates.

MinHash with banding and an exact check of each candidate, with the shingles and the threshold of `quality.duplicates`:
what the memory refuses is what `holdfast teach check` would report. All hashes are the same in every process, because a
resumed run must refuse the same texts.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.core.extras import needs
from holdfast.data.quality.duplicates import BANDS, ROWS, SHINGLE, jaccard

#: Similarity of shingles from which two texts are near duplicates, as in `quality.check`.
NEAR = 0.7


class TextMemory:
    """The texts of a set so far, for the search of near duplicates; about 3 kB for a text of 300 words.

    Raises:
        PrerequisiteError: rensa is not installed.
    """

    def __init__(self) -> None:
        with needs("teach"):
            import rensa  # type: ignore[import-untyped]
        self._minhash: Any = rensa.RMinHash
        self._bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        self._shingles: list[NDArray[np.uint64]] = []

    def repeats(self, text: str) -> bool:
        """Whether an earlier text is a near duplicate of this one."""
        tokens = _shingle_tokens(text)
        hashes = _hashes(tokens)
        candidates = {at for band in self._keys(tokens) for at in self._bands.get(band, ())}
        return any(jaccard(hashes, self._shingles[at]) >= NEAR for at in candidates)

    def add(self, text: str) -> None:
        """Remember a text."""
        tokens, at = _shingle_tokens(text), len(self._shingles)
        self._shingles.append(_hashes(tokens))
        for band in self._keys(tokens):
            self._bands[band].append(at)

    def _keys(self, tokens: list[str]) -> list[tuple[int, bytes]]:
        made = self._minhash(BANDS * ROWS, 42)
        made.update(tokens)
        rows = np.array(made.digest(), np.uint32).reshape(BANDS, ROWS)
        return [(band, row.tobytes()) for band, row in enumerate(rows)]


def _shingle_tokens(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    runs = zip(*(words[i:] for i in range(SHINGLE)), strict=False) if len(words) >= SHINGLE else [tuple(words)]
    return sorted({" ".join(run) for run in runs})


def _hashes(tokens: list[str]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(token.encode(), digest_size=8).digest() for token in tokens)
    return np.unique(np.frombuffer(digests, np.uint64))
