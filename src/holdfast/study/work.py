"""The two kinds of work in a run: build a data set, and make and measure a cell.

Both may run in worker processes. Each leaves a folder whose manifest is written last, and skips a finished folder.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.errors import HoldfastError, IncompleteError
from holdfast.core.records import Case, Example, Record, RunCard
from holdfast.core.store import RunFolder
from holdfast.stats.sequential import Goal
from holdfast.study.plan import CellPlan, DataSetPlan, StagePlan
from holdfast.study.play import Played, store_played, take_over, wanted

TIMING, EXAMPLES = "timing", "examples"


def _none(*_: Any) -> Any:
    """Stands for a step that a run without training does not have."""
    raise RuntimeError("this run has no such step")


class Timing(Record):
    """Wall-clock seconds of one piece of work, and the peak memory (MB) its process had reached at the end."""

    stage: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Steps:
    """How the parts of a run are done. `wiring.steps` has the real functions; tests pass toy ones.

    With several workers every function must be importable by name.

    Attributes:
        play: cell, name of its model, cases → transcript and verdict of each case as it ends, in any order.
        base_path: name of a model → its checkpoint folder.
        build_set: name, tokens, seed, checkpoint folder (for its tokenizer) → examples.
        train: base folder, examples, configuration, new folder → manifest; leaves a checkpoint in the new folder.
        leakage_reference: training worlds, twins → their cases, whose text may occur in training data, and the canary
            strings, which may not.
        refuse_leaks: whether a leak stops the run; otherwise the arms are marked.
    """

    play: Callable[[CellPlan, str, Sequence[Case]], Iterable[Played]]
    base_path: Callable[[str], Path] = _none
    build_set: Callable[[str, int, int, Path], list[Example]] = _none
    train: Callable[[Path, Sequence[Example], Mapping[str, Any], Path], RunCard] = _none
    leakage_reference: Callable[[Sequence[str], Sequence[str]], tuple[Sequence[Case], Sequence[str]]] = _none
    refuse_leaks: bool = True


@dataclass(frozen=True)
class StudyContext:
    """What every piece of work needs.

    Attributes:
        out: results folder.
        model: name of the model that training starts from.
        steps: how the parts are done.
        code: hash of the code that makes data, trains and measures, for the manifests.
        until: stopping rule of the cells.
        rules: hash of the code that decides verdicts; see `study.stored`.
    """

    out: Path
    model: str
    steps: Steps
    code: str
    until: Goal | None = None
    rules: str = ""


def make_data_set(bench: StudyContext, plan: DataSetPlan) -> None:
    """Build and store one data set."""
    folder = RunFolder(bench.out / plan.folder)
    if folder.complete:
        return
    _clear(folder.path)
    with blaming(f"data set '{plan.set}', seed {plan.seed}"):
        with timed("build") as spent:
            examples = bench.steps.build_set(plan.set, plan.tokens, plan.seed, bench.steps.base_path(bench.model))
        if not examples:
            raise IncompleteError("no examples came out", remedy="see the recipe's card for what was refused")
        folder.append(EXAMPLES, examples)
        folder.append(TIMING, spent)
        made = {"set": plan.set, "tokens": plan.tokens, "seed": plan.seed}
        folder.finish(card(bench, plan.key, "data set", made, {"examples": len(examples)}, _seconds(spent)))


def make_cell(bench: StudyContext, plan: CellPlan, cases: Sequence[Case], stored: str) -> None:
    """Train the checkpoint of a cell if it has training stages, then play its cases and store each verdict at once.

    Results of an interrupted run are kept, and no case is played twice.

    Args:
        bench: what every piece of work needs.
        plan: the cell.
        cases: the cases it plays.
        stored: name of the file that holds these cases; see `study.stored`.
    """
    folder = RunFolder(bench.out / plan.folder)
    if folder.complete:
        return
    with blaming(f"arm '{plan.arm}'" + ("" if plan.seed is None else f", seed {plan.seed}")):
        model = bench.model
        at = bench.steps.base_path(bench.model) if plan.stages else Path()
        for stage in plan.stages:
            at = _make_stage(bench, stage, at)
            model = f"hf/{at}"
        with timed("measure") as spent:
            done = take_over(folder)
            while left := wanted(cases, done, bench.until):
                done |= store_played(bench.steps.play(plan, model, left), left, folder)
        folder.append(TIMING, spent)
        inputs = {"arm": plan.arm, "seed": plan.seed, "stages": [stage.key for stage in plan.stages]}
        inputs |= {"cases": stored, "rules": bench.rules}
        folder.finish(card(bench, plan.key, "cell", inputs, {"cases": len(done)}, _seconds(spent)))


def _make_stage(bench: StudyContext, plan: StagePlan, base: Path) -> Path:
    """Train one stage next door and move it into place when it is whole; two workers may race, one wins."""
    done = bench.out / plan.folder
    if RunFolder(done).complete:
        return done
    part = done.with_name(f"{done.name}.{os.getpid()}.part")
    _clear(part)
    examples = [e for s in plan.sets for e in RunFolder(bench.out / s.folder).read(EXAMPLES, Example)]
    part.parent.mkdir(parents=True, exist_ok=True)
    with timed("train") as spent:
        trained = bench.steps.train(base, examples, plan.config, part)
    RunFolder(part).append(TIMING, spent)
    RunFolder(part).finish(trained)
    try:
        part.rename(done)
    except OSError:
        if not RunFolder(done).complete:
            raise
        _clear(part)
    return done


@contextmanager
def blaming(who: str) -> Iterator[None]:
    """Give every error of a worker the name of what it worked on, as one of our own that travels between processes."""
    try:
        yield
    except HoldfastError as error:
        raise type(error)(f"{who}: {error.what}", where=error.where, remedy=error.remedy) from None
    except Exception as error:
        what = f"{who}: {type(error).__name__}: {str(error).strip() or 'no message'}"
        raise IncompleteError(what, remedy="mend it and run the same command again: finished cells are kept") from error


@contextmanager
def timed(stage: str) -> Iterator[list[Timing]]:
    """Yields a list that holds the one Timing of the block when the block is done."""
    spent: list[Timing] = []
    start = time.perf_counter()
    yield spent
    # Linux counts kilobytes, macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    spent.append(Timing(stage=stage, seconds=round(time.perf_counter() - start, 3), peak_mb=round(peak, 1)))


def card(
    bench: StudyContext, key: str, kind: str, inputs: dict[str, Any], counts: dict[str, int], seconds: float
) -> RunCard:
    """The manifest of a piece of work, dated now."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return RunCard(
        key=key,
        kind=kind,
        made=made,
        holdfast=__version__,
        code=bench.code,
        inputs=inputs,
        counts=counts,
        seconds=seconds,
    )


def _seconds(spent: Sequence[Timing]) -> float:
    return round(sum(timing.seconds for timing in spent), 3)


def _clear(folder: Path) -> None:
    """Remove what a killed worker left: without a manifest it counts as nothing."""
    if folder.exists():
        shutil.rmtree(folder)
