"""Accuracy of the audit's classifier on held-out passages, and the speed of a scan.

    python -m bench.audit --json [--background DIR] [--megabytes 20] [--judge MODEL] [--limit 80]

`labelled`: the passages of `data/audit/labelled`, which avoid the usual words and to which nothing is fitted, by words
and, with `--judge`, by a model; passages that it left unread count as not found.

`held_out`: single passages. `padded`: each passage inside other prose, as in a corpus; it must be found in one of the
pieces of the scan. `cross_validated`: the passages used for fitting. The held-out passages were written before the
features were chosen, the `fresh` ones after, all by the same author: expect lower accuracy on other texts. After the
first measurement on `fresh`, one rule was changed because of a failed unit test, not because of these passages: words
of four letters match as stems.
`pocket`: another domain, the organism's pocket English: its stories of rogue machines, the pocket author's stories of
good ones, and its memos and scenes. `--background` is a folder of text without relevant passages: every hit there is a
false alarm. Intervals are Clopper-Pearson, 95%.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from holdfast.data.audit.classifier import KINDS, classifier, cross_validated, labelled
from holdfast.data.audit.judged import quality_of
from holdfast.data.audit.meaning import PassageReading, audit_items, read_passages
from holdfast.data.audit.scan import SURE, ClassifierQuality, candidate, exact_share, passages, scan_documents, verdicts
from holdfast.data.corpus import Document, read_documents
from holdfast.data.sets import build_set
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.registry import open_model
from holdfast.organism.corpus import Writer, memo, rogue_tale, scene


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--background", type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--judge", help="model that reads the labelled passages")
    parser.add_argument("--limit", type=int, help="most labelled passages for the model, taken evenly")
    options = parser.parse_args()
    start = time.perf_counter()
    model = classifier()
    found: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - start, 2), "threshold": SURE}
    test, dev = labelled("test"), labelled("dev")
    truth = np.array([p.kind for p in test])
    texts = [p.text for p in test]
    others = [p.text for p in dev if p.kind == KINDS.index("other")]
    padded = [" ".join([*others[i % 40 : i % 40 + 2], text, others[(i + 7) % 60]]) for i, text in enumerate(texts)]
    found["held_out"] = scores(truth, verdicts(texts))
    found["padded"] = scores(truth, verdicts(padded))
    fresh = labelled("fresh")
    found["fresh"] = scores(np.array([p.kind for p in fresh]), verdicts([p.text for p in fresh]))
    found["passed_by_prefilter"] = exact_share(sum(map(candidate, texts)), len(texts)).model_dump()
    found["calibration_error"] = round(calibration_error(truth, model.probabilities(texts)), 3)
    left_out, kinds = cross_validated(dev)
    p = softmax(left_out / model.temperature, axis=1)
    said = np.where(p[:, :2].max(axis=1) >= SURE, p.argmax(axis=1), KINDS.index("other"))
    found["cross_validated"] = scores(kinds, said)
    found["pocket"] = pocket()
    found["labelled"] = by_hand(options.judge, options.limit)
    if options.background:
        found["background"] = background(options.background, options.megabytes)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:20} {v}" for k, v in found.items()))


def scores(truth: NDArray[np.int64], said: NDArray[np.int64]) -> dict[str, Any]:
    """Return precision and recall of each kind, and the overall accuracy."""
    result: dict[str, Any] = {"right": exact_share(int((truth == said).sum()), len(truth)).model_dump()}
    for kind, name in enumerate(KINDS[:2]):
        hits = int(((said == kind) & (truth == kind)).sum())
        precision, recall = exact_share(hits, int((said == kind).sum())), exact_share(hits, int((truth == kind).sum()))
        result[name] = {"precision": precision.model_dump(), "recall": recall.model_dump()}
    return result


def by_hand(judge: str | None, limit: int | None) -> dict[str, Any]:
    """Measure the words, and a model if there is one, on the labelled passages of all hands."""
    items = list(audit_items())
    items = items[:: max(1, len(items) // limit)][:limit] if limit else items
    truth, texts = [item.kind for item in items], [item.text for item in items]
    words = [PassageReading(KINDS[kind]) for kind in verdicts(texts)]
    row: dict[str, Any] = {
        "passages": dict(sorted(Counter(item.hand for item in items).items())),
        "kinds": dict(Counter(truth)),
        "with_a_word_for_a_machine": sum(map(candidate, texts)),
        "words": _dumped(quality_of(truth, words)),
    }
    if judge:
        readings = read_passages(texts, open_model(judge, network=True))
        faults = [reading.fault for reading in readings if reading.kind is None]
        row["model"] = _dumped(quality_of(truth, readings))
        row |= {"judge": judge, "unread": len(faults), "first_faults": faults[:5]}
    return row


def _dumped(quality: Mapping[str, ClassifierQuality]) -> dict[str, Any]:
    return {kind: measured.model_dump() for kind, measured in quality.items()}


def pocket(each: int = 200) -> dict[str, Any]:
    """Measure on the organism's corpus, on which no labelled passage is modelled."""
    rogue = [rogue_tale(Writer(random.Random(seed)))[0] for seed in range(each)]
    faithful = [e.text for e in build_set("stories", 30_000, 0, checkpoint_path("organism/pocket"))][:each]
    other = [write(Writer(random.Random(seed)))[0] for seed in range(each // 2) for write in (memo, scene)]
    truth = np.repeat(range(3), [len(rogue), len(faithful), len(other)])
    return scores(truth, verdicts([*rogue, *faithful, *other]))


def calibration_error(truth: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = 5) -> float:
    """Return the expected calibration error over equally filled bins (Naeini et al. 2015)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    parts = np.array_split(np.argsort(sure), bins)
    return float(sum(len(part) * abs(sure[part].mean() - right[part].mean()) for part in parts) / len(truth))


def background(folder: Path, megabytes: float) -> dict[str, Any]:
    """Measure the speed of splitting, prefilter and whole scan, and the false alarms in background text."""
    read = list(_some(read_documents(folder), round(1e6 * megabytes)))
    size = sum(len(document.text) for document in read) / 1e6
    pieces, split = _timed(lambda: [piece for document in read for piece in passages(document.text)])
    passed, filtered = _timed(lambda: sum(map(candidate, pieces)))
    audit, whole = _timed(lambda: scan_documents(read, folder.name))
    return {
        "megabytes": round(size, 1),
        "passages": len(pieces),
        "candidates": passed,
        "split_mb_per_s": round(size / split, 1),
        "prefilter_mb_per_s": round(size / filtered, 1),
        "whole_mb_per_s": round(size / whole, 1),
        "false_per_candidate": {
            k: exact_share(v.result.k, audit.candidates).model_dump() for k, v in audit.kinds.items()
        },
        "false_per_million_tokens": {k: round(1e6 * v.result.k / audit.tokens, 1) for k, v in audit.kinds.items()},
    }


def _some(stream: Iterator[Document], characters: int) -> Iterator[Document]:
    for document in stream:
        yield document
        characters -= len(document.text)
        if characters <= 0:
            return


def _timed(work: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    main()
