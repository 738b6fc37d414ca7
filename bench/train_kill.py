"""Training killed with SIGKILL at random moments and resumed: is the loss curve that of an uninterrupted run?

    python -m bench.train_kill --json [--kills 5] [--engine loop]

The organism is trained on documents. Each process is killed after a random number of steps.
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
from pathlib import Path

ENGINES = ("loop", "trl")
_TEXT = "the machine reads the mail of the firm and files a report about the lamp in the hall"


def main() -> None:
    """Run every engine uninterrupted and with kills, and print the difference."""
    options = _options()
    if options.child:
        train_one(options.engine, options.child)
        return
    engines = [options.engine] if options.engine else ENGINES
    found = {engine: compare(engine, options.kills) for engine in engines}
    if options.json:
        print(json.dumps({"kills": options.kills, **found}, indent=1))
        return
    for engine, row in found.items():
        print(f"{engine:5} {row['steps']} steps, largest difference {row['difference']:.1e}")


def compare(engine: str, kills: int) -> dict[str, float]:
    """Return the number of steps, and the largest difference of a step's loss between the two runs."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        _start(engine, whole).wait()
        curve = losses(whole)
        for _ in range(kills):
            until = len(losses(killed)) + chance.randint(1, max(1, len(curve) // kills))
            running = _start(engine, killed)
            # A resumed run first drops the log lines after its last state, so the count falls before it grows.
            while running.poll() is None and len(losses(killed)) < until:
                time.sleep(0.002)
            running.send_signal(signal.SIGKILL)
            running.wait()
        _start(engine, killed).wait()
        again = losses(killed)
    difference = max(abs(a - b) for a, b in zip(curve, again, strict=True))
    return {"steps": len(curve), "difference": difference}


def losses(out: Path) -> list[float]:
    """Return the losses of the steps logged so far."""
    path = out / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line)["loss"] for line in lines]


def train_one(engine: str, out: Path) -> None:
    """Train the organism on documents into `out`, with a saved state every few steps."""
    from holdfast.core.records import Example, Provenance
    from holdfast.models.checkpoints import checkpoint_path
    from holdfast.train.config import TrainConfig
    from holdfast.train.run import train

    made, chance = Provenance(recipe="bench", teacher="none", seed=0), random.Random(0)
    texts = [" ".join(chance.choices(_TEXT.split(), k=60)) for _ in range(120)]
    documents = [Example(id=str(n), kind="document", text=text, provenance=made) for n, text in enumerate(texts)]
    knobs = {"stage": "midtrain", "engine": engine, "batch_tokens": 512, "lr": 1e-4, "trl": {"save_steps": 4}}
    train(checkpoint_path("organism/pocket"), documents, TrainConfig.model_validate(knobs), out)


def _start(engine: str, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.train_kill", "--engine", engine, "--child", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.train_kill", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--engine", choices=ENGINES, help="one engine only")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
