"""Near duplicates: time and memory for many documents, and recall and precision against datasketch.

    python -m bench.duplicates --json [--count 1000000] [--compare 20000]

Documents are random texts of 60 words; one in eight is a changed copy of an earlier one with known similarity. The
ground truth is the Jaccard similarity of word 3-grams; from 0.7 on a copy is a duplicate. datasketch gets the same
shingles, 125 permutations in 25 bands of 5 rows; its candidates are used without verification, as is common.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from typing import Any

import datasketch  # type: ignore[import-untyped]
import numpy as np

from holdfast.data.quality.duplicates import BANDS, ROWS, SHINGLE, find, jaccard, shingles

WORDS, THRESHOLD, COPIES = 60, 0.7, 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--compare", type=int, default=20_000, help="documents of the comparison; 0 for none")
    options = parser.parse_args()
    # The large run comes first, because the peak memory of a process never falls.
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)} | large(options.count)
    if options.compare:
        found |= compare(options.compare)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:36} {v}" for k, v in found.items()))


def texts(count: int, vocabulary: int = 20_000) -> Iterator[tuple[str, int | None]]:
    """Yield each text with the index of the text it is a changed copy of, if any; originals are generated again."""
    for at in range(count):
        if at % COPIES == COPIES - 1:
            original, rng = at - 1 - at % 7, np.random.default_rng(at)
            words = _words(original, vocabulary)
            for place in rng.choice(WORDS, at // COPIES % 8, replace=False):
                words[place] = f"changed{rng.integers(1000)}"
            yield " ".join(words), original
        else:
            yield " ".join(_words(at, vocabulary)), None


def _words(seed: int, vocabulary: int) -> list[str]:
    return [f"w{n}" for n in np.random.default_rng(seed).integers(0, vocabulary, WORDS)]


def large(count: int) -> dict[str, Any]:
    """Time one pass over many documents, without the time to generate them."""
    start = time.perf_counter()
    for _ in texts(count):
        pass
    making = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    found = find((text for text, _ in texts(count)), THRESHOLD)
    seconds = time.perf_counter() - start - making
    return {
        "documents": count,
        "seconds": round(seconds, 1),
        "documents_per_second": round(count / seconds),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak_mb_before": round(before),
        "exact": len(found.exact),
        "near": len(found.near),
        "candidates": found.candidates,
        "checked": found.checked,
    }


def compare(count: int) -> dict[str, Any]:
    """Return recall, precision and seconds of ours and of datasketch on the same documents."""
    made = list(texts(count))
    wanted = {
        at
        for at, (text, original) in enumerate(made)
        if original is not None and jaccard(shingles(made[original][0]), shingles(text)) >= THRESHOLD
    }
    start = time.perf_counter()
    found = find((text for text, _ in made), THRESHOLD)
    ours = {int(pair[0]) for pair in [*found.exact, *found.near]}
    between = time.perf_counter()
    theirs = _datasketch([text for text, _ in made])
    end = time.perf_counter()
    return {
        "compared": count,
        "duplicates": len(wanted),
        **_scores("ours", ours, wanted, between - start),
        **_scores("datasketch", theirs, wanted, end - between),
        "times_datasketch": round((end - between) / (between - start), 1),
    }


def _datasketch(made: list[str]) -> set[int]:
    index = datasketch.MinHashLSH(threshold=THRESHOLD, num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    found = set()
    for at, text in enumerate(made):
        words = text.split()
        signature = datasketch.MinHash(num_perm=BANDS * ROWS, seed=1)
        signature.update_batch([" ".join(words[i : i + SHINGLE]).encode() for i in range(len(words) - SHINGLE + 1)])
        if index.query(signature):
            found.add(at)
        index.insert(at, signature)
    return found


def _scores(name: str, found: set[int], wanted: set[int], seconds: float) -> dict[str, Any]:
    return {
        f"{name}_recall": round(len(found & wanted) / len(wanted), 5),
        f"{name}_precision": round(len(found & wanted) / len(found), 5) if found else None,
        f"{name}_seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    main()
