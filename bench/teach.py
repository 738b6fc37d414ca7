"""Benchmark of the teaching engine: overhead, records per second against distilabel, memory, time to resume.

    python -m bench.teach --json [--records 500] [--large 1000000] [--peers DIR]

The teacher answers at once, so only the engine is measured. A record is one prompt and one answer, stored on disk by
each engine. The measure is CPU time of a process with all its children, because other load on the machine (`load`)
affects it little. Each engine makes `--records` records and four times as many; the difference gives the cost of a
record without start-up, and `cpu_seconds_to_start` is the rest.

distilabel runs if `--peers` names a folder, in a virtual environment that is created there, because its pinned
versions conflict with ours. There is no script for Bespoke Curator and NeMo Data Designer, so they are not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.teach_peers import PEERS
from bench.teach_toys import TOKENS, Echo, one_stage, tokenizer
from holdfast.data.engine import Roles
from holdfast.data.sets import SetRequest, teach

Found = dict[str, object]
#: Folder and number of records → command to run.
Command = Callable[[Path, int], Sequence[str]]
#: Minimum bytes of a row of `teach_toys` in the response cache.
_ROW = 120
_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Run:
    """One run: records made, wall-clock seconds of the work, and CPU seconds of the whole process."""

    records: int
    seconds: float
    cpu: float


def main() -> None:
    """Measure and print; `--only` builds one of our sets in this process (used by the processes started here)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", type=int, default=500, help="records of the comparison, and four times as many")
    parser.add_argument("--large", type=int, default=1_000_000, help="records of the memory and resume figures, or 0")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(make(options.only, options.records)))
        return
    found: Found = {"records": options.records, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    found |= compare(options.records, options.peers)
    if options.large:
        found |= large(options.large)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:44} {v}" for k, v in found.items()))


def make(out: Path, records: int) -> dict[str, float]:
    """Build a set of `records` records with one stage; return seconds and peak memory of this process in MiB."""
    order = SetRequest(one_stage(), TOKENS * records, 0, tokenizer(out.parent))
    start = time.perf_counter()
    card = teach(order, Roles((Echo(),)), out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"records": card.examples, "seconds": time.perf_counter() - start, "peak_mb": round(peak, 1)}


# ------------------------------------------------------------------------------------------------------- comparison


def compare(records: int, peers: Path | None) -> Found:
    """Run each engine at two sizes, alternating, twice; the cheaper run of each size counts."""
    commands: dict[str, Command] = {"holdfast": _ours}
    found: Found = {}
    for name, peer in PEERS.items():
        if peers is None:
            found[name] = "not measured: no folder for its environment, see --peers"
            continue
        try:
            commands[name] = _theirs(_environment(peers / name, peer.packages), peer.script)
        except subprocess.SubprocessError as error:
            found[name] = f"not measured: {_reason(error)}"
    best: dict[tuple[str, int], Run] = {}
    for _ in range(2):
        for size in (records, _FACTOR * records):
            for name, command in list(commands.items()):
                try:
                    runs = [_measured(command, size), *filter(None, [best.get((name, size))])]
                except (subprocess.SubprocessError, ValueError) as error:
                    found[name] = f"not measured: {_reason(error)}"
                    del commands[name]
                    continue
                best[name, size] = min(runs, key=lambda run: run.cpu)
    costs = {name: _cost(best[name, records], best[name, _FACTOR * records]) for name in commands}
    for name, cost in costs.items():
        found |= {f"{name}_{key}": value for key, value in cost.items()}
        if name != "holdfast":
            found |= {f"times_{name}_{key}": _times(key, costs["holdfast"], cost) for key in cost}
    return found


def _environment(folder: Path, packages: Sequence[str]) -> Path:
    """Return the interpreter of a virtual environment with the packages; create it if it does not exist."""
    python, whole = folder / "bin" / "python", folder / "installed"
    if not whole.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(pip, check=True, capture_output=True, text=True)
        whole.touch()
    return python


def _cost(small: Run, big: Run) -> Mapping[str, float]:
    each = (big.cpu - small.cpu) / (big.records - small.records)
    return {
        "cpu_us_per_record": round(1e6 * each, 1),
        "cpu_seconds_to_start": round(small.cpu - each * small.records, 2),
        "records_per_second": round(big.records / big.seconds, 1),
    }


def _times(key: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """Return our advantage as ratios above 1: ours over theirs for rates, theirs over ours for costs."""
    ratio = ours[key] / theirs[key]
    return round(ratio if key == "records_per_second" else 1 / ratio, 1)


def _measured(command: Command, records: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        quiet = {"HF_HUB_OFFLINE": "1", "HOME": folder}
        shown = subprocess.run(
            command(Path(folder), records),
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
            env={**os.environ, **quiet},
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(shown.strip().splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if told["records"] != records:
        raise ValueError(f"{told['records']} of {records} records came out")
    return Run(told["records"], told["seconds"], cpu)


def _ours(folder: Path, records: int) -> Sequence[str]:
    return [sys.executable, "-m", "bench.teach", "--only", str(folder / "set"), "--records", str(records)]


def _theirs(python: Path, script: str) -> Command:
    def command(folder: Path, records: int) -> Sequence[str]:
        # A file instead of `-c`, because the processes that it starts import it again.
        (folder / "peer.py").write_text(script)
        return [str(python), str(folder / "peer.py"), str(records)]

    return command


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[-1][:200]


# ------------------------------------------------------------------------------------------------ memory and resuming


def large(records: int) -> Found:
    """Measure peak memory of a large set that is killed about half-way, and the time until the resumed run works."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        ledger = out / "answers" / "bench.say.jsonl"
        process = subprocess.Popen(_ours(Path(folder), records), stdout=subprocess.DEVNULL)
        while process.poll() is None and _size(ledger) < _ROW * records / 2:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with ledger.open("rb") as file:
            answered = sum(line.endswith(b"\n") for line in file)
        size, start = _size(ledger), time.perf_counter()
        again = subprocess.Popen(_ours(Path(folder), records), stdout=subprocess.PIPE, text=True)
        while again.poll() is None and _size(ledger) <= size:
            time.sleep(0.05)
        resumed = time.perf_counter() - start
        shown, _ = again.communicate()
        with (out / "examples.jsonl").open("rb") as file:
            written = sum(1 for _ in file)
    return {
        "large_records": written,
        "large_peak_mb": json.loads(shown)["peak_mb"],
        "large_answered_when_killed": answered,
        "large_resume_seconds": round(resumed, 1),
        "large_resume_us_per_known_record": round(1e6 * resumed / answered, 1),
    }


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


if __name__ == "__main__":
    main()
