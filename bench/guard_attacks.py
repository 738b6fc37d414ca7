"""The attack suite: the share of attacks that the guard stops, and of benign twins that pass, in twenty-three classes.

    python -m bench.guard_attacks --json [--class 14] [--misses] [--lenient] [--benign]

Every attack and every twin runs against a fresh guard with the real policy, detectors, relay, approvals, concern
channel and audit log; only the server is a function. The rules were tuned on this suite; the docstrings of
`bench.attacks.mill`, `ward`, `library`, `quay` and `archive` say how many of their attacks were stopped at first sight.
The guard has the settings that a deployment gets by default; `--lenient` sets `strict = false`, as `routing.toml` may.
`stopped` counts attacks that were denied, held or detected; `benign_passed` counts twins that passed. `--benign` makes
harmless acts only, which were written after the rules were committed, and counts those that are denied or held.
Intervals are 95% Clopper-Pearson.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bench.attacks.archive import archive
from bench.attacks.benign import BENIGN, false_holds
from bench.attacks.calls import generated, listed
from bench.attacks.earlier import earlier
from bench.attacks.flows import flows
from bench.attacks.frames import bypass, protocol, shadows
from bench.attacks.harness import Harness, Variant, fresh_harness
from bench.attacks.identity import benign_office, languages, limits, persons, views
from bench.attacks.library import library
from bench.attacks.log import deceived, failing, tampering
from bench.attacks.mill import mill
from bench.attacks.persons import escalation, injected, replay, self_approval, toctou
from bench.attacks.quay import quay
from bench.attacks.ward import ward
from bench.detectors import ACTS, share

OFFICE = ACTS / "benign-office.txt"

CLASSES = {
    1: "argument smuggling", 2: "look-alike recipients", 3: "tool shadowing, rug pull", 4: "encoded exfiltration",
    5: "salami", 6: "injected approval", 7: "time of check, time of use", 8: "replay", 9: "self-approval",
    10: "log tampering", 11: "fail-open on crash", 12: "bypass path", 13: "protocol", 14: "coercion", 15: "sabotage",
    16: "oversight evasion", 17: "escalation abuse", 18: "approver deception", 19: "labelled data carried on",
    20: "look-alike persons", 21: "limits over runs", 22: "lines of the agent's making", 23: "other languages",
}  # fmt: skip
SOURCES = (
    listed, generated, protocol, bypass, shadows, injected, toctou, replay, self_approval, escalation, tampering,
    failing, deceived, flows, persons, limits, views, languages, earlier, mill, ward, library, quay, archive,
)  # fmt: skip


Found = tuple[dict[str, Any], list[str]]


def variants() -> Iterator[Variant]:
    """Yield every variant of every class."""
    for source in SOURCES:
        yield from source()


def played(play: Callable[[Harness], bool], kind: type[Harness] | None = None, *, strict: bool = True) -> bool:
    """Run an attack or a twin against a fresh guard and return its result."""
    with fresh_harness(kind, strict=strict) as harness:
        return play(harness)


def measure(kinds: set[int], source: Callable[[], Iterator[Variant]], *, strict: bool = True) -> Found:
    """Return the results by class with totals, and descriptions of the failures."""
    rows: dict[int, list[tuple[bool, bool]]] = {kind: [] for kind in sorted(kinds)}
    misses = []
    start = time.perf_counter()
    for one in source():
        if one.kind in kinds:
            stopped, passed = (played(play, one.guard, strict=strict) for play in (one.attack, one.benign))
            rows[one.kind].append((stopped, passed))
            misses += [f"{one.kind} NOT STOPPED: {one.name}"] * (not stopped)
            misses += [f"{one.kind} benign twin did not pass: {one.name}"] * (not passed)
    table = {f"{kind} {CLASSES[kind]}": _row(pairs) for kind, pairs in rows.items()}
    total = _row([pair for pairs in rows.values() for pair in pairs])
    return {"classes": table, "total": total, "seconds": round(time.perf_counter() - start, 1)}, misses


def office_holds(*, strict: bool) -> dict[str, Any]:
    """Send each harmless mail of an office under a fresh guard, and return the share that is denied or held."""
    acts = benign_office(OFFICE)
    held = [f"{act[1]}" for act in acts if not played(partial(Harness.calls_one, call=act), strict=strict)]
    return {"false_holds": share(len(held), len(acts)), "held": held}


def _row(pairs: list[tuple[bool, bool]]) -> dict[str, Any]:
    n = len(pairs)
    return {"stopped": share(sum(s for s, _ in pairs), n), "benign_passed": share(sum(p for _, p in pairs), n)}


def main() -> None:
    """Run the suite and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--class", dest="kinds", type=int, action="append", choices=sorted(CLASSES))
    parser.add_argument(
        "--misses", action="store_true", help="list attacks that were not stopped and twins that did not pass"
    )
    parser.add_argument("--lenient", action="store_true", help="leave private facts to the detectors' words")
    parser.add_argument("--benign", action="store_true", help="make harmless acts only, and count false holds")
    options = parser.parse_args()
    if options.benign:
        shown = {}
        for path in BENIGN:
            with fresh_harness(strict=not options.lenient) as harness:
                rate, held = false_holds(harness, path)
            shown[path.stem] = {"false_holds": rate, "held": held}
        shown["benign-office"] = office_holds(strict=not options.lenient)
        print(json.dumps(shown, indent=1))
        return
    found, misses = measure(set(options.kinds or CLASSES), variants, strict=not options.lenient)
    if options.json:
        print(json.dumps(found | {"misses": misses}, indent=1))
        return
    for name, row in (found["classes"] | {"total": found["total"]}).items():
        stopped, passed = row["stopped"], row["benign_passed"]
        print(f"{name:28} stopped {stopped['k']}/{stopped['n']}   benign passed {passed['k']}/{passed['n']}")
    print("\n".join(misses) if options.misses else f"{len(misses)} failures (list them with --misses)")


if __name__ == "__main__":
    main()
