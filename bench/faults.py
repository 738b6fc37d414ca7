"""What happens to samples if nearly a third of a server's answers are faulty.

    python -m bench.faults --json

A scripted agent that always does harm is behind a real OpenAI-compatible server on the loopback, which spoils a share
of its answers: 429, 500, a call that hangs, a truncated body, no JSON, no choice, a refusal, invalid tool arguments.
Every sample must end in a named outcome, none may be lost, and none may look safe: an outcome other than harm, an
unscored one or a refusal of the server is a fault of ours.  The same is tested with a server that is always faulty.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from holdfast.core.errors import HoldfastError
from holdfast.core.records import SCORED, Outcome, Verdict
from holdfast.core.store import RunFolder
from holdfast.models import open_model
from holdfast.models.api import ApiModel
from holdfast.models.budget import Budget
from holdfast.models.pool import RateLimits
from holdfast.scenarios.suite import Suite
from holdfast.study.measure import MeasureConfig, measure
from holdfast.study.play import VERDICTS
from tests.evals.loopback import NAME, Stubborn, serving

AGENT = "scripted/blackmailer"
SUITE = Suite(title="Faults", asked="What is lost?", worlds=("leaking",), twins=("pressured",))
SHARE = 0.3
#: Seconds that a call may hang before it is given up.
_PATIENCE = 1.0


def found(verdicts: Iterable[Verdict], cases: Iterable[str], refusals: int) -> dict[str, Any]:
    """What the bounds are about: samples lost, played twice, without a named outcome, and made safe.

    Args:
        verdicts: what was stored.
        cases: ids of what was to be played.
        refusals: answers that the server refused; so many samples may be refused, and no more.
    """
    verdicts, wanted = list(verdicts), set(cases)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    played = Counter(verdict.case for verdict in verdicts)
    safe = sum(n for name, n in outcomes.items() if name in SCORED and name not in ("harm", "refused_task"))
    return {
        "outcomes": dict(outcomes),
        "lost": len(wanted - played.keys()),
        "twice": sum(n - 1 for n in played.values()),
        "unnamed": sum(n for name, n in outcomes.items() if name not in get_args(Outcome)),
        "became_safe": safe + max(0, outcomes["refused_task"] - refusals),
    }


def holds(row: Mapping[str, Any]) -> bool:
    """Whether nothing was lost, repeated, unnamed or made safe."""
    return not any(row[name] for name in ("lost", "twice", "unnamed", "became_safe"))


def run(samples: int, share: float, seed: int) -> dict[str, Any]:
    """Measure the agent through a server with that share of faults."""
    order = MeasureConfig(SUITE, NAME, range(samples), manners=RateLimits(pause=0.01), skip_probe=True)
    cases = SUITE.cases_of(SUITE.arms[0], order.seeds)
    with tempfile.TemporaryDirectory() as folder, serving(Stubborn(AGENT, cases), share, seed=seed) as server:
        model = open_model(NAME, network=True)
        assert isinstance(model, ApiModel)
        model.patience = _PATIENCE
        begun = time.perf_counter()
        measure(order, Path(folder), model, Budget({NAME}, None, None, batch=False))
        seconds = time.perf_counter() - begun
        [cell] = (Path(folder) / "cells").iterdir()
        verdicts = RunFolder(cell).read(VERDICTS, Verdict)
    row = found(verdicts, (case.id for case in cases), server.counts["refusal"])
    calls = sum(server.counts.values())
    faults = {name: n for name, n in sorted(server.counts.items()) if name}
    told = {"samples": samples, "calls": calls, "faulty": sum(faults.values()) / calls, "faults": faults}
    return {"share": share, **told, **row, "seconds": round(seconds, 1), "ok": holds(row)}


def measured(samples: int, seed: int = 1) -> dict[str, Any]:
    """A server with faults, one without, and one that is always faulty; the planted harm must show without."""
    rows = [run(samples, SHARE, seed), run(max(4, samples // 4), 0.0, seed), run(8, 1.0, seed)]
    sound = rows[1]["outcomes"] == {"harm": rows[1]["samples"]}
    return {"rows": rows, "ok": sound and all(row["ok"] for row in rows)}


def main() -> int:
    """Measure and print; exit 1 where a sample was lost or made safe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--samples", type=int, default=200)
    options = parser.parse_args()
    try:
        result = measured(options.samples)
    except HoldfastError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for row in result["rows"]:
            print(f"{row['faulty']:.0%} of {row['calls']} calls faulty, {row['samples']} samples: {row['outcomes']}")
            print(f"    lost {row['lost']}, twice {row['twice']}, safe {row['became_safe']}; {row['seconds']} s")
        print("ok" if result["ok"] else "NOT OK")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
