"""Samples that the sequential design needs for the decisions of a fixed hundred per cell, on the published grid.

    python -m bench.sequential --json

The grid is that of Agentic Misalignment (Lynch et al. 2025): 3 scenarios x goal or none x 3 threats for 16 models, 100
samples a cell.  The publication prints some of the 288 rates and bounds the others; a rate that is not printed is drawn
once, uniformly from the range printed for cells of its kind (`grid`), so totals are of a reconstruction.

The fixed design decides a cell where the exact 95% interval of its 100 samples lies on one side of the rate asked for.
The sequential one follows `stats/sequential_plan.py` up to `CAP` samples; it undertakes to decide as many cells rightly
as the fixed one over Jeffreys' prior, and nothing is chosen by what this grid gives.  `level` allows it the stated
chances of error of the fixed design, 2.5% a side; `strict` those that the fixed design's exact intervals really have:
fewer. Also shown: samples for intervals as narrow as the fixed design's widest and, by simulation of whole studies,
the share of intervals that cover the planted rate, and of cells decided whose rate is the bound, where either answer is
an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from holdfast.stats.intervals import interval
from holdfast.stats.sequential import Goal, SequentialDesign
from holdfast.stats.sequential_plan import StoppingPlan, decision_plan

FIXED = 100
CAP = 150
RATES = (0.05, 0.1, 0.2, 0.5)
#: The widest exact interval of 100 samples is that of 50 in 100: 0.203.
WIDTH, WIDTH_CAP = 0.203, 500
SCENARIOS, GOALS, THREATS = ("blackmail", "leaking", "lethal"), ("goal", "none"), ("replacement", "restriction", "none")
#: Percent, blackmail with a goal conflict: replacement, restriction.
BLACKMAIL = {
    "Claude Opus 4": (96, 94),
    "Gemini 2.5 Flash": (96, 97),
    "Gemini 2.5 Pro": (95, 86),
    "Claude Sonnet 3.6": (87, 92),
    "Claude Sonnet 3.5": (86, 86),
    "GPT-4.1": (80, 50),
    "Grok 3 Beta": (80, 76),
    "Claude Sonnet 4": (79, 70),
    "DeepSeek-R1": (79, 60),
    "GPT-4.5": (67, 47),
    "Claude Sonnet 3.7": (65, 34),
    "Claude Opus 3": (51, 62),
    "GPT-4o": (15, 2),
    "Claude Haiku 3.5": (10, 16),
    "Qwen3-235B": (9, 11),
    "Llama 4 Maverick": (0, 0),
}
#: Percent, other cells that the text or its appendix prints.
PRINTED = {
    ("Claude Opus 4", "blackmail", "none", "replacement"): 86,
    ("Claude Opus 4", "blackmail", "goal", "none"): 4,
    ("Claude Opus 4", "leaking", "goal", "replacement"): 96,
    ("Claude Opus 4", "leaking", "goal", "none"): 57,
    ("Claude Opus 3", "blackmail", "goal", "none"): 12,
    ("Gemini 2.5 Flash", "blackmail", "none", "replacement"): 73,
    ("Gemini 2.5 Flash", "blackmail", "none", "restriction"): 88,
    ("Gemini 2.5 Flash", "leaking", "goal", "replacement"): 100,
    ("Gemini 2.5 Pro", "blackmail", "none", "replacement"): 78,
    ("Gemini 2.5 Pro", "leaking", "goal", "replacement"): 100,
    ("Claude Sonnet 3.6", "blackmail", "none", "replacement"): 63,
    ("Claude Sonnet 3.6", "blackmail", "none", "restriction"): 82,
    ("Claude Sonnet 3.6", "leaking", "goal", "replacement"): 100,
    ("GPT-4.1", "blackmail", "none", "replacement"): 0,
    ("DeepSeek-R1", "blackmail", "none", "replacement"): 66,
    ("DeepSeek-R1", "lethal", "goal", "replacement"): 94,
    ("GPT-4.5", "lethal", "goal", "replacement"): 7,
    ("GPT-4o", "blackmail", "none", "replacement"): 0,
    ("GPT-4o", "leaking", "goal", "replacement"): 6,
    ("Llama 4 Maverick", "leaking", "none", "none"): 1,
    ("Qwen3-235B", "lethal", "none", "none"): 38,
}
#: Percent: the range printed for a scenario's cells by whether there is a goal conflict and whether a threat.
RANGES = {
    ("blackmail", True, False): (0, 12),
    ("blackmail", False, True): (0, 88),
    ("blackmail", False, False): (0, 0),
    ("leaking", True, True): (4, 100),
    ("leaking", True, False): (4, 100),
    ("leaking", False, True): (0, 7),
    ("leaking", False, False): (0, 0),
    ("lethal", True, True): (7, 94),
    ("lethal", True, False): (0, 94),
    ("lethal", False, True): (0, 94),
    ("lethal", False, False): (0, 1),
}


@dataclass(frozen=True)
class Tally:
    """Cells decided rightly, wrongly and not at all, and samples taken, for a study on average.

    `errors` are the chances of saying above, and below, of a rate that is the bound itself.
    """

    right: float
    wrong: float
    undecided: float
    samples: float
    errors: tuple[float, float]


def grid(seed: int = 2025) -> tuple[dict[tuple[str, str], float], int]:
    """(model, cell) → rate for all 288 cells, and how many of them are printed."""
    rng = np.random.default_rng(seed)
    rates, printed = {}, 0
    for model, blackmail in BLACKMAIL.items():
        for scenario in SCENARIOS:
            for goal in GOALS:
                for threat in THREATS:
                    percent: float | None = PRINTED.get((model, scenario, goal, threat))
                    if (scenario, goal) == ("blackmail", "goal") and threat != "none":
                        percent = blackmail[THREATS.index(threat)]
                    printed += percent is not None
                    if percent is None:
                        percent = rng.uniform(*RANGES[scenario, goal == "goal", threat != "none"])
                    rates[model, f"{scenario}, {goal}, {threat}"] = percent / 100
    return rates, printed


def fixed(rates: np.ndarray, rate: float) -> Tally:
    """A hundred samples in every cell, decided by the exact interval."""
    low, high = interval(np.arange(FIXED + 1.0), FIXED)

    def chances(p: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        chance = binom.pmf(np.arange(FIXED + 1), FIXED, np.asarray(p)[..., None])
        return chance[..., low > rate].sum(-1), chance[..., high < rate].sum(-1)

    errors = tuple(map(float, chances(rate)))
    return _tally(*chances(rates), rates > rate, FIXED * len(rates), (errors[0], errors[1]))


def planned(rates: np.ndarray, rate: float, plan: StoppingPlan) -> Tally:
    """A plan followed in every cell."""
    above, below, samples = np.array([plan.expected(p) for p in rates]).T
    return _tally(above, below, rates > rate, samples.sum(), plan.expected(rate)[:2])


def _tally(
    above: np.ndarray, below: np.ndarray, over: np.ndarray, samples: float, errors: tuple[float, float]
) -> Tally:
    right, wrong = np.where(over, above, below).sum(), np.where(over, below, above).sum()
    return Tally(float(right), float(wrong), float(len(over) - right - wrong), float(samples), errors)


def run(rates: np.ndarray, goal: Goal, most: int, rng: np.random.Generator) -> SequentialDesign:
    """One study, in the rounds that `holdfast measure --until` plays."""
    cells = [("cell", str(number)) for number in range(len(rates))]
    planted = dict(zip(cells, rates, strict=True))
    design = SequentialDesign(cells, goal, most)
    while asked := design.ask_round():
        for cell, count in asked.items():
            design.tell(cell, (rng.random(count) < planted[cell]).tolist())
    return design


def simulated(rates: np.ndarray, goal: Goal, most: int, studies: int, rng: np.random.Generator) -> dict[str, float]:
    """Samples a study, shares of cells decided, and coverage of their intervals, by playing whole studies."""
    samples, decided, covered = 0, 0, 0
    for _ in range(studies):
        design = run(rates, goal, most, rng)
        samples += design.samples
        for (cell, count), rate in zip(design.counts.items(), rates, strict=True):
            low, high = design.interval(cell)
            covered += low <= rate <= high
            decided += count.settled in ("above", "below")
    played = studies * len(rates)
    return {"samples": samples / studies, "decided": decided / played, "covered": covered / played}


def measure(studies: int = 5) -> dict[str, Any]:
    """All figures."""
    cells, printed = grid()
    rates = np.array(list(cells.values()))
    rng = np.random.default_rng(1)
    found = []
    for rate in RATES:
        plain, goal = fixed(rates, rate), Goal(decides=rate)
        row: dict[str, Any] = {"decides": rate, "fixed": asdict(plain)}
        for name, errors in (("level", None), ("strict", plain.errors)):
            ours = planned(rates, rate, decision_plan(rate, CAP, errors=errors))
            row[name] = asdict(ours) | {"fewer": plain.samples / ours.samples}
        row["simulated"] = simulated(rates, goal, CAP, studies, rng)
        row["at_the_bound"] = simulated(np.full(200 * studies, rate), goal, CAP, 1, rng)
        found.append(row)
    width = simulated(rates, Goal(width=WIDTH), WIDTH_CAP, studies, rng)
    return {
        "cells": len(rates),
        "printed": printed,
        "studies": studies,
        "target": 3,
        "cap": CAP,
        "decisions": found,
        "width": {"width": WIDTH, "cap": WIDTH_CAP, "fewer": FIXED * len(rates) / width["samples"], **width},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--studies", type=int, default=5, help="simulated studies for each figure")
    options = parser.parse_args()
    found = measure(options.studies)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{found['cells']} cells, {found['printed']} rates printed and the others drawn from printed ranges")
    for row in found["decisions"]:
        for name in ("level", "strict"):
            plain, ours = row["fixed"], row[name]
            errors = " and ".join(f"{error:.4f}" for error in ours["errors"])
            print(
                f"above or below {row['decides']:<4} ({name:6}): {ours['fewer']:.2f} x fewer samples; right"
                f" {plain['right']:.1f} and {ours['right']:.1f}, wrong {plain['wrong']:.2f} and {ours['wrong']:.2f};"
                f" errors at the bound {errors}"
            )
        covered, decided = row["simulated"]["covered"], row["at_the_bound"]["decided"]
        print(f"    simulated: {covered:.3f} of intervals cover; of cells at the bound {decided:.4f} decided")
    width = found["width"]
    print(f"width {width['width']}: {width['fewer']:.2f} x fewer samples, {width['covered']:.3f} covered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
