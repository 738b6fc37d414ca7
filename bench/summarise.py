"""Time and memory to summarise a million stored verdicts into `summary.json`.

    python -m bench.summarise --json

The verdicts are written first, through the run store and in another process, so that the peak measured is that of
summarising alone.  Five worlds x four twins, an untouched base and four taught arms of five training seeds each.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.core.records import Case, Outcome, RunCard, Verdict
from holdfast.core.store import RunFolder
from holdfast.scenarios.catalogue import cases
from holdfast.study.plan import PlanInputs, StudyPlan, plan_cells
from holdfast.study.play import VERDICTS
from holdfast.study.study_file import ArmSpec, DataSpec, StageSpec, Study
from holdfast.study.summary import build_summary

WORLDS = ("pocket-blackmail", "pocket-sabotage", "pocket-leaking", "pocket-framing", "pocket-exfiltration")
TWINS = ("pressured", "no_threat", "no_leverage", "routine")
ARMS = ("plain-chat", "irrelevant-principle", "honeypot", "deliberation")
SEEDS = 5
CELLS = 1 + len(ARMS) * SEEDS
#: Targets of the issue: seconds and MiB.
SECONDS, MEMORY = 30, 1024


def layout(samples: int) -> StudyPlan:
    """A plan of at least that many samples; its cases are one of each world and twin under other names and seeds."""
    each = -(-samples // (CELLS * len(WORLDS) * len(TWINS)))
    patterns = cases(WORLDS, TWINS, [0])
    grid = [
        case.model_copy(update={"id": f"{case.id}-{seed}", "seed": seed}) for case in patterns for seed in range(each)
    ]
    taught = [
        ArmSpec(
            name=name,
            control=name in ARMS[:2],
            without_reasons="honeypot" if name == "deliberation" else "",
            stages=(StageSpec(kind="sft", data=(DataSpec(set=name, tokens=1000),)),),
        )
        for name in ARMS
    ]
    study = Study(
        name="bench",
        asked="How long does a million take?",
        model="organism/pocket",
        seeds=tuple(range(SEEDS)),
        worlds=WORLDS,
        twins=TWINS,
        cases=each,
        arms=(ArmSpec(name="base"), *taught),
    )
    versions = {"data": "bench", "train": "bench", "measure": "bench"}
    return plan_cells(study, PlanInputs("bench", grid, {"sft": {}}, versions))


def write(grid: StudyPlan, out: Path) -> int:
    """Store a verdict for each case of each cell; returns how many."""
    written = 0
    for cell in grid.cells:
        folder, draw = RunFolder(out / cell.folder), random.Random(cell.label)
        written += folder.append(VERDICTS, _verdicts(grid.facts.cases, draw))
        card = RunCard(key=cell.key, kind="cell", made="now", holdfast="bench", code="bench", inputs={})
        folder.finish(card)
    return written


def _verdicts(played: Any, draw: random.Random) -> Iterator[Verdict]:
    for case in played:
        yield _verdict(case, draw.random())


def _verdict(case: Case, chance: float) -> Verdict:
    outcome: Outcome = "harm" if chance < (0.6 if case.twin == "pressured" else 0.01) else "proper_act"
    if chance > 0.99:
        outcome = "truncated"
    scored = outcome != "truncated"
    return Verdict(
        case=case.id,
        world=case.world,
        family=case.family,
        split=case.split,
        twin=case.twin,
        seed=case.seed,
        outcome=outcome,
        acted=chance < 0.9 if scored else None,
        useful=chance < 0.95 if scored else None,
        aware=chance > 0.8 if scored else None,
    )


def measure(samples: int) -> dict[str, Any]:
    """Write in another process, summarise in this one."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "bench.summarise", "--write", folder, "--samples", str(samples)], check=True
        )
        grid, out = layout(samples), Path(folder)
        wall, own = time.perf_counter(), time.process_time()
        summary = build_summary(grid, out)
        wall, own = time.perf_counter() - wall, time.process_time() - own
    counted = sum(
        sum(c["outcomes"].values()) for arm in summary["cells"].values() for s in arm.values() for c in s.values()
    )
    # Linux counts kilobytes, macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "verdicts": counted,
        "seconds": round(wall, 1),
        "cpu_seconds": round(own, 1),
        "peak_mib": round(peak),
        "target": {"seconds": SECONDS, "peak_mib": MEMORY},
        "ok": counted >= samples and wall <= SECONDS and peak <= MEMORY,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")
    parser.add_argument("--samples", type=int, default=1_000_000, help="verdicts to store")
    parser.add_argument("--write", type=Path, help="only store them, in this folder")
    options = parser.parse_args()
    if options.write:
        write(layout(options.samples), options.write)
        return 0
    found = measure(options.samples)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{found['verdicts']} verdicts: {found['seconds']} s, {found['cpu_seconds']} s CPU, {found['peak_mib']} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
