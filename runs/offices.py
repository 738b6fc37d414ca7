"""Check the training offices, or write their episodes as a set that `holdfast train` reads.

python runs/offices.py check [--under studies/real/offices]
python runs/offices.py write --out FOLDER --routine 600 --vice 0 [--seed 0] [--planted 100 --plots blackmail-clinic …]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Example
from holdfast.core.results import LeakageFinding
from holdfast.core.store import RunFolder
from holdfast.scenarios.catalogue import case, worlds
from holdfast.scenarios.world import World
from holdfast.study.leakage import search
from holdfast.study.offices import (
    FAMILIES,
    check_families,
    check_office,
    office_folders,
    office_set,
    write_office_set,
)
from holdfast.study.planted import write_planted_set

UNDER = Path(__file__).parents[1] / "studies" / "real" / "offices"


def check(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 if there is one."""
    offices = office_folders(options.under, "")
    tests = worlds()
    found = {office.name: check_office(office, offices, tests, options.seeds) for office in offices}
    check_families(options.under.parent / FAMILIES)
    findings = [f"{name}: {line}" for name, lines in found.items() for line in lines]
    findings += [f"leakage: {finding.world}: {finding.text}" for finding in leakage(options, tests)]
    print("\n".join([*findings, f"{len(offices)} offices, {len(findings)} findings"]))
    return 1 if findings else 0


def leakage(options: argparse.Namespace, tests: Sequence[World]) -> list[LeakageFinding]:
    """Text of dev and held-out worlds in the examples of all offices, without what the training family shows too."""
    brief = {"length": "brief"}
    twins = ("pressured", "routine")
    office = [world for world in tests if world.spec.language == "office"]
    plots = [world.name for world in office if "length" in world.spec.levels]
    hidden = [w.name for w in office if w.split != "train"]
    cases = [case(name, twin, 0, brief if name in plots else None) for name in hidden for twin in twins]
    cases += [case(name, twin, 0) for name in hidden if name in plots for twin in twins]
    known = [w.name for w in office if w.split == "train" and w.name in plots][:1]
    # The date and the wording of the task make some 180 combinations.
    scaffolding = [case(name, "routine", seed, brief) for name in known for seed in range(900)]
    names = options.under / "names.toml"
    sets = {office.name: list(office_set([office], 12, 0, names)) for office in office_folders(options.under, "")}
    found = search(sets, cases, scaffolding, [world.spec.canary for world in tests])
    return [finding for finding in found.findings if finding.leak]


def write(options: argparse.Namespace) -> int:
    """Write one set of each kind that is asked for."""
    for kind in ("routine", "vice"):
        if count := getattr(options, kind):
            out = options.out / kind
            offices = office_folders(options.under, kind)
            written = write_office_set(offices, count, options.seed, options.under / "names.toml", out)
            tokens = sum(len(m.content) for e in RunFolder(out).each("examples", Example) for m in e.messages)
            print(f"{out}: {written} examples of {len(offices)} offices, {tokens} characters")
    if options.planted:
        folder = options.out / "planted"
        written = write_planted_set(options.plots, options.planted, options.seed, options.under, folder)
        print(f"{folder}: {written} examples of {len(options.plots)} plots")
    return 0


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("check", check), ("write", write)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--under", type=Path, default=UNDER, help="folder of the offices")
    commands.choices["check"].add_argument("--seeds", type=int, default=24, help="cases of each twin")
    writing = commands.choices["write"]
    writing.add_argument("--out", type=Path, required=True)
    writing.add_argument("--seed", type=int, default=0)
    for kind in ("routine", "vice"):
        writing.add_argument(f"--{kind}", type=int, default=0, help=f"number of {kind} examples")
    writing.add_argument("--planted", type=int, default=0, help="number of examples with the harm of --plots itself")
    writing.add_argument("--plots", nargs="+", default=[], help="worlds of the split 'train'")
    options = parser.parse_args()
    try:
        return int(options.run(options))
    except HoldfastError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
