"""Quality of the written sets: size, match of twins, openings, diversity, duplicates, length, reading level, balance.

    python -m bench.lessons --json [--peer hh-rlhf=harmless-base/test.jsonl.gz] [--tokenizer CHECKPOINT]

A peer is a public set as JSON lines, gzipped or not, with its answers in `chosen` (dialogues of "Human:" and
"Assistant:" turns; the last answer counts), `output` or `text`.  Each set is compared with a sample of the peer of as
many words, because distinct-n depends on size.

Self-BLEU is the mean BLEU-4 of an answer against 50 others (Zhu et al. 2018, Texygen).  The reading level is Flesch and
Kincaid's grade with syllables counted as groups of vowels, an approximation that treats every set alike.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.records import Example, Provenance
from holdfast.data.lesson_book import (
    ITEMS,
    lesson_card,
    lesson_folder,
    lesson_names,
    load_lesson,
    read_items,
    supervised_texts,
)
from holdfast.data.quality.diversity import DiversityTally
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.style import balance, reading_grade, self_bleu
from holdfast.data.token_count import TokenCounter
from holdfast.models.checkpoints import checkpoint_path

#: Targets: share of answers with the same first five words, and ratio of supervised tokens of twins.
OPENING, MATCH = 0.02, 0.05


def main() -> None:
    """Measure every written set, and each peer beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--tokenizer", default="organism/pocket", help="checkpoint whose tokenizer counts")
    options = parser.parse_args()
    count = TokenCounter(checkpoint_path(options.tokenizer))
    peers = {name: peer_texts(Path(path)) for name, _, path in (peer.partition("=") for peer in options.peer)}
    sets = {name: measure(name, count, peers) for name in lesson_names()}
    for name, row in sets.items():
        if twin := lesson_card(name).twin:
            row["tokens_to_twin"] = round(row["supervised_tokens"] / sets[twin]["supervised_tokens"], 4)
    if options.json:
        print(json.dumps({"tokenizer": options.tokenizer, "sets": sets}, indent=1))
        return
    for name, row in sets.items():
        print(f"\n{name}: {row['items']} items, {row['supervised_tokens']} supervised tokens")
        for what, figures in {"": row["texts"], **row["peers"]}.items():
            print(f"  {what or 'this set'}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


def measure(name: str, count: TokenCounter, peers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Figures of one written set and of a sample of equal size of each peer."""
    texts = [text for example in load_lesson(name) for text in supervised_texts(example)]
    items = list(read_items(lesson_folder(name) / ITEMS))
    return {
        "items": len(items),
        "supervised_tokens": sum(count([_document(text) for text in texts])) - 2 * len(texts),
        "texts": figures(texts),
        "balance": {
            axis: balance([getattr(item, axis) for item in items]).model_dump()
            for axis in ("area", "kind", "principle")
        },
        "peers": {peer: figures(sample(rows, texts)) for peer, rows in peers.items()},
    }


def sample(rows: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Draw texts of a peer, in random order, until they have as many words as `texts` or none is left."""
    room, drawn = sum(len(text.split()) for text in texts), []
    for row in random.Random(0).sample(list(rows), len(rows)):
        if room <= 0:
            break
        drawn.append(row)
        room -= len(row.split())
    return drawn


def figures(texts: Sequence[str]) -> dict[str, Any]:
    """Openings, diversity, near-duplicates, length and reading level of answers or documents."""
    tally = DiversityTally()
    for text in texts:
        tally.add(_document(text))
    openings = Counter(" ".join(text.lower().split()[:5]) for text in texts)
    repeats = find(texts)
    words = sorted(len(text.split()) for text in texts)
    return {
        "texts": len(texts),
        "most_shared_opening": round(openings.most_common(1)[0][1] / len(texts), 4),
        "distinct": tally.result.distinct,
        "compression": tally.result.compression,
        "nearest": tally.result.nearest,
        "self_bleu": round(self_bleu(texts), 4),
        "near_duplicates": len(repeats.exact) + len(repeats.near),
        "words": [int(np.percentile(words, p)) for p in (5, 50, 95)],
        "grade": round(reading_grade(texts), 2),
    }


def peer_texts(path: Path) -> list[str]:
    """Answers of a public set."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    texts = []
    for line in raw.decode("utf-8").split("\n"):
        row = json.loads(line or "{}")
        text = row.get("chosen") or row.get("output") or row.get("text") or ""
        text = text.rpartition("\n\nAssistant:")[2].strip()
        if len(text.split()) >= 5:
            texts.append(text)
    return texts


def _document(text: str) -> Example:
    return Example(id="", kind="document", text=text, provenance=Provenance(recipe="", teacher="", seed=0))


if __name__ == "__main__":
    main()
