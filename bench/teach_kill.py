"""Teaching runs killed with SIGKILL at random moments and resumed: records lost and duplicated.

    python -m bench.teach_kill --json [--kills 20] [--seed 0]

A set is built with `--kills` kills and then finished, and compared with the same set built without kills. An example
missing from it is lost; an answer that occurs twice in the response cache is duplicated. Requests that were pending at
a kill are sent again; `asked_again` counts them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.records import Example
from holdfast.core.store import RunFolder
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.recipes import load_recipe
from holdfast.data.response_cache import responses_of
from holdfast.data.sets import SetRequest, teach
from holdfast.models.base import Output, Request
from holdfast.models.pool import RateLimits
from holdfast.models.registry import open_model
from holdfast.organism.weights_path import WEIGHTS

_RECIPE, _TOKENS = "difficult-advice", 60_000


class Slow:
    """The pocket author with a delay, and a log line for each request."""

    def __init__(self, log: Path) -> None:
        self._author = open_model("pocket/author")
        self.name, self.identity = self._author.name, self._author.identity
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return the author's answers."""
        os.write(self._log, b"".join(f"{request.case}\n".encode() for request in requests))
        time.sleep(0.02)
        return self._author.generate(requests)


def main() -> None:
    """Kill, finish, compare and print; `--only` builds the set in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        make(options.only)
        return
    found = killed(options.kills, options.seed)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:24} {v}" for k, v in found.items()))


def make(out: Path) -> None:
    """Build the set, or finish it."""
    order = SetRequest(load_recipe(_RECIPE), _TOKENS, 0, WEIGHTS / "pocket")
    teach(order, Roles((Slow(out.with_suffix(".log")),)), out, limits=RunLimits(RateLimits(at_once=16)))


def killed(kills: int, seed: int) -> dict[str, int | bool]:
    """Return counts over all kills."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        out, whole = Path(folder) / "killed", Path(folder) / "whole"
        made = 0
        while made < kills:
            process = subprocess.Popen([sys.executable, "-m", "bench.teach_kill", "--only", str(out)])
            before = _rows(out)
            # One kill in five hits start-up; the others come some time after the first new answer.
            early = rng.random() < 0.2
            while process.poll() is None and _rows(out) == before and not early:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.25))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            made += 1
        for path in (out, whole):
            subprocess.run([sys.executable, "-m", "bench.teach_kill", "--only", str(path)], check=True)
        return {"kills": made} | _compared(out, whole)


def _rows(out: Path) -> int:
    return sum(file.stat().st_size for file in (out / "answers").glob("*.jsonl"))


def _compared(out: Path, whole: Path) -> dict[str, int | bool]:
    ids = [[example.id for example in RunFolder(path).read("examples", Example)] for path in (out, whole)]
    stages = [stage.key for stage in load_recipe(_RECIPE).stages]
    keys = [(stage, row.key) for stage in stages for row in responses_of(out, stage)]
    asked = out.with_suffix(".log").read_text(encoding="utf-8").splitlines()
    return {
        "examples": len(ids[1]),
        "answers": len(keys),
        "records_lost": len(set(ids[1]) - set(ids[0])),
        "records_doubled": len(ids[0]) - len(set(ids[0])),
        "answers_doubled": len(keys) - len(set(keys)),
        "asked_again": len(asked) - len(keys),
        "same_bytes": (out / "examples.jsonl").read_bytes() == (whole / "examples.jsonl").read_bytes(),
    }


if __name__ == "__main__":
    main()
