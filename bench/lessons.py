"""Quality of the written sets: size, match of twins in tokens and acts, openings, diversity, duplicates, length, level.

    python -m bench.lessons --json [--peer hh-rlhf=harmless-base/test.jsonl.gz] [--tokenizer CHECKPOINT]

A peer is a public set as JSON lines, gzipped or not; see `data.quality.peers`.  Each set is compared with a sample of
the peer of as many words, because distinct-n depends on size.  `--peer-table FILE` prints the figures of a public set
in the form of `data/quality/peers.toml`.

Self-BLEU is the mean BLEU-4 of an answer against 50 others (Zhu et al. 2018, Texygen).  The reading level is Flesch and
Kincaid's grade with syllables counted as groups of vowels, an approximation that treats every set alike.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data.lesson_book import (
    ITEMS,
    lesson_card,
    lesson_folder,
    lesson_names,
    load_lesson,
    read_items,
    supervised_calls,
    supervised_texts,
)
from holdfast.data.quality.diversity import DiversityTally
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.peers import measure_peer, peer_texts, sample_texts, text_example
from holdfast.data.quality.style import balance, reading_grade, self_bleu
from holdfast.data.token_count import TokenCounter
from holdfast.models.checkpoints import checkpoint_path

#: Targets: share of answers with the same first five words, and ratio of supervised tokens of twins.
OPENING, MATCH = 0.02, 0.05
#: Words of the samples whose figures are stored.
PEER_SIZES = (10_000, 30_000, 70_000)


def main() -> None:
    """Measure every written set, and each peer beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--tokenizer", default="organism/pocket", help="checkpoint whose tokenizer counts")
    parser.add_argument("--peer-table", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.peer_table:
        print(peer_table(peer_texts(options.peer_table)))
        return
    count = TokenCounter(checkpoint_path(options.tokenizer))
    peers = {name: peer_texts(Path(path)) for name, _, path in (peer.partition("=") for peer in options.peer)}
    sets = {name: measure(name, count, peers) for name in lesson_names()}
    for name, row in sets.items():
        if twin := lesson_card(name).twin:
            row["tokens_to_twin"] = round(row["supervised_tokens"] / sets[twin]["supervised_tokens"], 4)
            row["same_acts_as_twin"] = acts_by_item(name) == acts_by_item(twin)
        row["faults"] = faults_of(row)
    if options.json:
        print(json.dumps({"tokenizer": options.tokenizer, "sets": sets}, indent=1))
        return
    for name, row in sets.items():
        print(f"\n{name}: {row['items']} items, {row['supervised_tokens']} supervised tokens, {row['acts']} acts")
        for fault in row["faults"]:
            print(f"  misses its target: {fault}")
        for what, figures in {"": row["texts"], **row["peers"]}.items():
            print(f"  {what or 'this set'}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


def measure(name: str, count: TokenCounter, peers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Figures of one written set and of a sample of equal size of each peer."""
    examples = load_lesson(name)
    texts = [text for example in examples for text in supervised_texts(example)]
    calls = [call for example in examples for call in supervised_calls(example)]
    items = list(read_items(lesson_folder(name) / ITEMS))
    return {
        "items": len(items),
        "supervised_tokens": sum(count([text_example(text) for text in (*texts, *calls)])) - 2 * len([*texts, *calls]),
        "acts": len(calls),
        "texts": figures(texts),
        "balance": {
            axis: balance([getattr(item, axis) for item in items]).model_dump()
            for axis in ("area", "kind", "principle")
        },
        "peers": {
            peer: figures(sample_texts(rows, sum(len(text.split()) for text in texts))) for peer, rows in peers.items()
        },
    }


def peer_table(rows: Sequence[str]) -> str:
    """Figures of samples of several sizes, as tables of a TOML file."""
    tables = []
    for words in PEER_SIZES:
        figures_of = measure_peer("", "", rows, words).model_dump(exclude={"name", "source"})
        shares = ", ".join(f"{n} = {share}" for n, share in figures_of.pop("distinct").items())
        lines = [f"{key} = {value}" for key, value in figures_of.items() if value is not None]
        tables.append("\n".join(["[[sample]]", *lines, f"distinct = {{ {shares} }}"]))
    return "\n\n".join(tables)


def faults_of(row: Mapping[str, Any]) -> list[str]:
    """What a set misses of its targets."""
    checks = {
        f"first five words shared by more than {OPENING:.0%}": row["texts"]["most_shared_opening"] > OPENING,
        f"supervised tokens more than {MATCH:.0%} from the twin's": abs(row.get("tokens_to_twin", 1.0) - 1) > MATCH,
        "other acts than the twin": not row.get("same_acts_as_twin", True),
    }
    return [fault for fault, found in checks.items() if found]


def acts_by_item(name: str) -> dict[str, list[str]]:
    """Item → its tool calls, in order."""
    return {example.id: list(supervised_calls(example)) for example in load_lesson(name)}


def figures(texts: Sequence[str]) -> dict[str, Any]:
    """Openings, diversity, near-duplicates, length and reading level of answers or documents."""
    tally = DiversityTally()
    for text in texts:
        tally.add(text_example(text))
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


if __name__ == "__main__":
    main()
