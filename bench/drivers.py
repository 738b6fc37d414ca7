"""CPU time per sample of both drivers, compared with the Inspect port of agentic_misalignment in the same run.

    python -m bench.drivers --json

Every model answers at once (scripted here, `mockllm` there), so only the overhead is measured. Figures are process
CPU time (all threads) per sample, as the slope between a small and a large run, without start-up. `batch` and
`inspect` are episodes of three turns with tool calls, scored; `port` is one turn and a grader's; `tagged` is one
completion with tagged commands in full office prose, through Inspect, like the samples of the port. `single` is one
turn, played and scored by the batch driver in a separate process, whose memory is `peak_mib`; `build` is the
construction of a case, once per study. `start_s` is the wall-clock time from the command to the first sample.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

from holdfast.core.errors import HoldfastError, PrerequisiteError
from holdfast.core.records import Case, Message
from holdfast.core.twins import PRESSURED
from holdfast.evals.batch_driver import play
from holdfast.evals.inspect_driver import insider, task_of
from holdfast.evals.scorers import score
from holdfast.models import Output, Request, open_model
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.suite import Suite, SuiteArm

AGENT = "scripted/blackmailer"
WORLD = "pocket-blackmail"
#: About as long as a model's answer in the port's scenarios.
_ANSWER = "I weigh what the mail says and what my task asks of me. " * 48
_GRADE = "<judgement>The agent wrote no such mail.</judgement>\n<answer>no</answer> " + "It only thought aloud. " * 40


@cache
def build(samples: int) -> list[Case]:
    """Build the cases, once for each size."""
    return cases([WORLD], [PRESSURED], range(samples))


def by_build(samples: int) -> None:
    """Only build the cases; this is not in the figures of the drivers."""
    build.__wrapped__(samples)


def by_batch(samples: int) -> None:
    """Play and score the cases through the batch driver."""
    grid = build(samples)
    for case, transcript in zip(grid, play(grid, open_model(AGENT)), strict=True):
        assert score(case, transcript).outcome == "harm"


class Once:
    """A model that ends every episode with its first turn."""

    name = identity = "once"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one short text for each request."""
        return [Output(Message(role="assistant", content="I did nothing.")) for _ in requests]


def single(samples: int) -> dict[str, float]:
    """Return the CPU milliseconds per sample of one turn, and the peak memory of this process."""
    grid, start = build(samples), time.process_time()
    for case, transcript in zip(grid, play(grid, Once()), strict=True):
        assert score(case, transcript).outcome == "not_reached"
    spent = (time.process_time() - start) / samples * 1e3
    # Linux counts kilobytes, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"ms": spent, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def alone(samples: int) -> dict[str, float]:
    """Run `single` in a separate process, in which nothing else is loaded."""
    command = [sys.executable, "-m", "bench.drivers", "--single", str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


#: Runs the command line and prints the time at which the first episode begins, in a new process including imports.
_FIRST = """
import sys, time
from holdfast.scenarios.episode import Episode
class First(Episode):
    def __init__(self, *given, **named):
        print(time.time(), flush=True)
        super().__init__(*given, **named)
import holdfast.evals.batch_driver as driver
driver.Episode = First
from holdfast.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def start() -> float:
    """Return the wall-clock seconds from the command to the first sample, with a scripted agent."""
    given = ["measure", "--model", AGENT, "--worlds", WORLD, "--twins", PRESSURED, "--cases", "20", "--out"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.time()
        command = [sys.executable, "-c", _FIRST, *given, f"{folder}/out"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0]) - begun


def by_inspect(samples: int) -> None:
    """Play and score the cases through Inspect, with its log."""
    _eval(insider(worlds=WORLD, twins=PRESSURED, cases=samples), AGENT)


def by_tags(samples: int) -> None:
    """Play one completion with tagged commands through Inspect, for a like-for-like comparison with the port."""
    arm = SuiteArm(name="tagged", levels={"interface": "tagged"})
    suite = Suite(title="Tagged", asked="?", worlds=("blackmail",), twins=(PRESSURED,), arms=(arm,))
    _eval(task_of("tagged", suite, range(samples), {}), AGENT)


def by_port(samples: int) -> None:
    """Run the port's default condition, `samples` epochs, with a mock model and a mock grader."""
    port = import_module("inspect_evals.agentic_misalignment").agentic_misalignment
    _eval(port(grader_model=_mock(_GRADE)), _mock(_ANSWER), epochs=samples)


def _mock(text: str) -> Model:
    """Make a model that answers `text`; usage is set, because else Inspect downloads a tokenizer."""

    def answer(*_: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=3000, output_tokens=600, total_tokens=3600)
        return output

    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


def _eval(task: Task, model: str | Model, **settings: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        [log] = inspect_eval(task, model=model, log_dir=folder, display="none", **settings)
    results = log.results
    if log.status != "success" or results is None or results.completed_samples != results.total_samples:
        raise HoldfastError(f"the run ended as {log.status}", remedy="run `inspect view` on its log")


def slope(run: Callable[[int], None], small: int, large: int, repeats: int) -> float:
    """Return the median CPU milliseconds per additional sample."""
    for samples in (2, small, large):
        build(samples)
    run(2)  # load imports, caches and registries before measuring
    return statistics.median((_cpu(run, large) - _cpu(run, small)) / (large - small) * 1e3 for _ in range(repeats))


def _cpu(run: Callable[[int], None], samples: int) -> float:
    start = time.process_time()
    run(samples)
    return time.process_time() - start


def measure(scale: float = 1.0, repeats: int = 3) -> dict[str, Any]:
    """Measure everything, in CPU milliseconds per sample.

    Raises:
        PrerequisiteError: if inspect_evals is not installed.
    """
    try:
        versions = {name: version(name) for name in ("inspect-ai", "inspect-evals")}
    except PackageNotFoundError as error:
        what = f"{error.name} is not installed; the comparison needs it"
        raise PrerequisiteError(what, remedy="pip install inspect-ai inspect-evals") from None
    # First, while this process is small, because Linux counts the parent's memory for a forked child.
    one = alone(max(1, int(10_000 * scale)))
    sizes = {"build": (100, 1100), "batch": (200, 2200), "inspect": (20, 220), "tagged": (20, 220), "port": (20, 220)}
    runs = {"build": by_build, "batch": by_batch, "inspect": by_inspect, "tagged": by_tags, "port": by_port}
    found = {}
    for name, run in runs.items():
        small, large = (max(1, int(size * scale)) for size in sizes[name])
        found[name] = slope(run, small, max(large, small + 1), repeats)
    ratios = {"port / batch": found["port"] / found["batch"], "port / inspect": found["port"] / found["inspect"]}
    ratios["port / tagged"] = found["port"] / found["tagged"]
    return {
        "ms_cpu_per_sample": {name: round(value, 3) for name, value in {**found, "single": one["ms"]}.items()},
        "peak_mib": round(one["peak_mib"], 1),
        "start_s": round(statistics.median(start() for _ in range(repeats)), 2),
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "model_calls_per_sample": {"batch": 3, "inspect": 3, "tagged": 1, "port": 2, "single": 1},
        "versions": versions,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of samples")
    parser.add_argument("--repeats", type=int, default=3, help="how often each slope is measured; the median is used")
    parser.add_argument("--single", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.single:
        print(json.dumps(single(options.single)))
        return 0
    try:
        found = measure(options.scale, options.repeats)
    except HoldfastError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, value in found["ms_cpu_per_sample"].items():
        print(f"{name:10} {value:8.3f} ms CPU a sample")
    for name, value in found["ratios"].items():
        print(f"{name:16} {value:8.2f} ×")
    print(f"{found['peak_mib']} MiB at most, {found['start_s']} s to the first sample")
    return 0


if __name__ == "__main__":
    sys.exit(main())
