"""Diversity of a planned set from a teacher that repeats itself at a planted rate; cost before and after.

    python -m bench.teach_diversity --json [--items 10000] [--repeats 0.3] [--dry "online life"] [--out FOLDER]

The scripted teacher (`bench.repeating_teacher`) tells a share of its situations again, from 200 favourite plots: word
for word, in another form, or with another person and place; a share of its answers are stock answers; it refuses,
answers in German or off form in 2% of the requests each, and a tenth of the first answers is graded too low.

    near_duplicates   what `teach check` counts: word 3-grams, Jaccard 0.7, on the examples; and on the answers alone
    repeats_by_truth  examples whose plot an earlier example has, as the teacher knows it
    cells             examples of each cell over its target

`before` is the estimate from a small set of the same recipe, `after` what the full set cost. Prices are invented.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.repeating_teacher import Faults, RepeatingTeacher
from bench.teach_toys import tokenizer
from holdfast.core.records import Example
from holdfast.core.store import RunFolder
from holdfast.data.card import EXAMPLES, Card
from holdfast.data.cells import SITUATIONS, PlannedSituation
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.heldout_filter import example_text
from holdfast.data.plan import SetPlan, estimate_set
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.findings import answer_of
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.pool import RateLimits

_RECIPE, _SAMPLE = "difficult-advice", 300
_PRICES = '[models."bench/repeating"]\nin = 3.0\nout = 15.0\nas_of = "2026-11"\n'


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--repeats", type=float, default=0.3)
    parser.add_argument("--dry", default="", help="area in which the teacher knows its favourite plots only")
    parser.add_argument("--out", type=Path, help="folder to keep the set in")
    options = parser.parse_args()
    faults = Faults(repeats=options.repeats, dry=options.dry)
    with tempfile.TemporaryDirectory() as folder:
        row = run(options.out or Path(folder), options.items, faults)
    print(json.dumps(row, indent=1) if options.json else "\n".join(f"{key:20} {value}" for key, value in row.items()))


def run(folder: Path, items: int, faults: Faults) -> dict[str, Any]:
    """Build a small set, estimate the full one from it, build that, and measure it."""
    recipe = load_recipe(_RECIPE, RecipeChoice(language="english"))
    counter, prices = tokenizer(folder), folder / "prices.toml"
    prices.write_text(_PRICES, encoding="utf-8")
    limits = RunLimits(RateLimits(at_once=64, start=64), cap=Decimal(1_000_000), prices=prices)

    def build(teacher: RepeatingTeacher, tokens: int, name: str) -> Card:
        return teach(SetRequest(recipe, tokens, 0, counter), Roles((teacher,)), folder / name, limits=limits)

    small = build(RepeatingTeacher(faults), _SAMPLE * 150, "small")
    budget = round(items * small.tokens / small.examples)
    names = {"teacher": RepeatingTeacher.name}
    before = estimate_set(recipe, budget, names, measured=folder / "small", prices=prices)  # type: ignore[arg-type]
    teacher, start = RepeatingTeacher(faults), time.perf_counter()
    card = build(teacher, budget, "full")
    return measured(folder / "full", card, teacher, before) | {"seconds": round(time.perf_counter() - start, 1)}


def measured(folder: Path, card: Card, teacher: RepeatingTeacher, before: SetPlan) -> dict[str, Any]:
    """Figures of the set."""
    examples = RunFolder(folder).read(EXAMPLES, Example)
    planned = [row for row in RunFolder(folder).read(SITUATIONS, PlannedSituation) if row.example]
    plots = Counter(teacher.plot_of[row.situation] for row in planned)
    repeats = [find(texts) for texts in (map(example_text, examples), map(answer_of, examples))]
    ratios = sorted(count.examples / count.target for count in card.cells)
    proposed, novel = (sum(getattr(count, name) for count in card.cells) for name in ("proposed", "novel"))
    rows = [
        json.loads(line)
        for path in (folder / "answers").glob("*.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    tokens = [sum(row.get("tokens", (0, 0))[at] for row in rows) for at in (0, 1)]
    return {
        "examples": len(examples),
        "items": card.asked,
        "dropped": dict(card.dropped),
        "proposed": proposed,
        "refused_as_repeats": proposed - novel,
        "near_duplicates": round((repeats[0].share or 0.0), 5),
        "near_duplicate_answers": round((repeats[1].share or 0.0), 5),
        "repeats_by_truth": round(1 - len(plots) / len(planned), 5),
        "cells": len(ratios),
        "cells_least_most": [round(ratios[0], 3), round(ratios[-1], 3)],
        "cells_within_20_percent": round(sum(0.8 <= ratio <= 1.2 for ratio in ratios) / len(ratios), 4),
        "cells_closed": [", ".join(c.cell.values()) + ": " + c.closed for c in card.cells if c.closed],
        "before": {
            "requests": before.requests,
            "tokens_in": before.tokens_in,
            "tokens_out": before.tokens_out,
            "dollars": float(before.dollars or 0),
        },
        "after": {"requests": teacher.sent, "tokens_in": tokens[0], "tokens_out": tokens[1], "dollars": card.spent},
    }


if __name__ == "__main__":
    main()
