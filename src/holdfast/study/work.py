"""The two kinds of task in a run: build a data set, and make and measure a cell.

Both may run in worker processes. Each writes a folder whose manifest comes last, and skips a finished folder.
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
from holdfast.study.trained import machine_mark

TIMING, EXAMPLES = "timing", "examples"
_WEIGHTS = "*.safetensors"


def _no_step(*_: Any) -> Any:
    """The default of a step that a run without training does not need."""
    raise RuntimeError("a run without training has no such step")


class Timing(Record):
    """Wall-clock seconds of one task, and the peak memory (MB) that its process had reached by its end."""

    stage: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Steps:
    """The functions that do the parts of a run. `wiring.steps` has the real ones; tests pass toy ones.

    With several workers every function must be importable by name.

    Attributes:
        play: (cell, name of its model, cases) → transcript and verdict of each case when it ends, in any order.
        base_path: name of a model → its checkpoint folder.
        build_set: (name, tokens, seed, checkpoint folder for its tokenizer) → examples.
        train: (base folder, examples, configuration, new folder) → manifest; writes a checkpoint to the new folder.
        leakage_reference: (training worlds, twins) → their cases, whose text may occur in training data, and the canary
            strings, which may not.
        refuse_leaks: whether a leak stops the run; otherwise the arms are marked.
        keep_weights: whether the weights of a checkpoint stay when its cases are played.
    """

    play: Callable[[CellPlan, str, Sequence[Case]], Iterable[Played]]
    base_path: Callable[[str], Path] = _no_step
    build_set: Callable[[str, int, int, Path], list[Example]] = _no_step
    train: Callable[[Path, Sequence[Example], Mapping[str, Any], Path], RunCard] = _no_step
    leakage_reference: Callable[[Sequence[str], Sequence[str]], tuple[Sequence[Case], Sequence[str]]] = _no_step
    refuse_leaks: bool = True
    keep_weights: bool = True


@dataclass(frozen=True)
class StudyContext:
    """The settings that every task of a run shares.

    Attributes:
        out: results folder.
        model: name of the model that training starts from.
        steps: the functions that do the parts.
        code: hash of the code that makes data, trains and measures, for the manifests.
        until: stopping rule of the cells.
        rules: hash of the code that decides verdicts; see `study.stored`.
        shared: keys of the stages that several cells use.
    """

    out: Path
    model: str
    steps: Steps
    code: str
    until: Goal | None = None
    rules: str = ""
    shared: frozenset[str] = frozenset()


def make_data_set(context: StudyContext, plan: DataSetPlan) -> None:
    """Build and store one data set."""
    folder = RunFolder(context.out / plan.folder)
    if folder.complete:
        return
    _clear(folder.path)
    with blaming(f"data set '{plan.set}', seed {plan.seed}"):
        with timed("build") as timings:
            examples = context.steps.build_set(plan.set, plan.tokens, plan.seed, context.steps.base_path(context.model))
        if not examples:
            raise IncompleteError("the recipe made no examples", remedy="read in the recipe's card what was refused")
        folder.append(EXAMPLES, examples)
        folder.append(TIMING, timings)
        made = {"set": plan.set, "tokens": plan.tokens, "seed": plan.seed}
        folder.finish(card(context, plan.key, "data set", made, {"examples": len(examples)}, _seconds(timings)))


def make_cell(context: StudyContext, plan: CellPlan, cases: Sequence[Case], stored: str) -> None:
    """Train the checkpoint of a cell if it has training stages, then play its cases and store each verdict at once.

    Samples of an interrupted run are kept, and no case is played twice.

    Args:
        context: the settings of the run.
        plan: the cell.
        cases: the cases it plays.
        stored: name of the file that holds these cases; see `study.stored`.
    """
    folder = RunFolder(context.out / plan.folder)
    if folder.complete:
        return
    with blaming(f"arm '{plan.arm}'" + ("" if plan.seed is None else f", seed {plan.seed}")):
        model = context.model
        at = context.steps.base_path(context.model) if plan.stages else Path()
        for stage in plan.stages:
            at = _make_stage(context, stage, at)
            model = f"hf/{at}"
        with timed("measure") as timings:
            done = take_over(folder)
            while left := wanted(cases, done, context.until):
                done |= store_played(context.steps.play(plan, model, left), left, folder)
        folder.append(TIMING, timings)
        inputs = {"arm": plan.arm, "seed": plan.seed, "stages": [stage.key for stage in plan.stages]}
        inputs |= {"cases": stored, "rules": context.rules, "machine": machine_mark()}
        folder.finish(card(context, plan.key, "cell", inputs, {"cases": len(done)}, _seconds(timings)))
        if not context.steps.keep_weights:
            _drop_weights(context, plan)


def _make_stage(context: StudyContext, plan: StagePlan, base: Path) -> Path:
    """Train one stage in a temporary folder and rename it when it is complete; if two workers race, one wins."""
    done = context.out / plan.folder
    if RunFolder(done).complete:
        if any(done.glob(_WEIGHTS)) or context.steps.keep_weights:
            return done
        shutil.rmtree(done)  # its weights were removed, and a cell needs them again
    part = done.with_name(f"{done.name}.{os.getpid()}.part")
    _clear(part)
    examples = [e for s in plan.sets for e in RunFolder(context.out / s.folder).read(EXAMPLES, Example)]
    part.parent.mkdir(parents=True, exist_ok=True)
    with timed("train") as timings:
        trained = context.steps.train(base, examples, plan.config, part)
    RunFolder(part).append(TIMING, timings)
    RunFolder(part).finish(trained)
    try:
        part.rename(done)
    except OSError:
        if not RunFolder(done).complete:
            raise
        _clear(part)
    return done


def _drop_weights(context: StudyContext, plan: CellPlan) -> None:
    """Remove the weights of a cell's stages, except of those that other cells use; cards, losses and adapters stay."""
    for stage in plan.stages:
        if stage.key not in context.shared:
            for file in (context.out / stage.folder).glob(_WEIGHTS):
                file.unlink()


@contextmanager
def blaming(who: str) -> Iterator[None]:
    """Prefix every error of a worker with the task it worked on, as a HoldfastError that can be pickled."""
    try:
        yield
    except HoldfastError as error:
        raise type(error)(f"{who}: {error.what}", where=error.where, remedy=error.remedy) from None
    except Exception as error:
        what = f"{who}: {type(error).__name__}: {str(error).strip() or 'no message'}"
        raise IncompleteError(what, remedy="fix it and run the same command again: finished cells are kept") from error


@contextmanager
def timed(stage: str) -> Iterator[list[Timing]]:
    """Yield a list that holds one Timing when the block has ended."""
    timings: list[Timing] = []
    start = time.perf_counter()
    yield timings
    # Linux counts in kilobytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    timings.append(Timing(stage=stage, seconds=round(time.perf_counter() - start, 3), peak_mb=round(peak, 1)))


def card(
    context: StudyContext, key: str, kind: str, inputs: dict[str, Any], counts: dict[str, int], seconds: float
) -> RunCard:
    """Make the manifest of a task, dated now."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return RunCard(
        key=key,
        kind=kind,
        made=made,
        holdfast=__version__,
        code=context.code,
        inputs=inputs,
        counts=counts,
        seconds=seconds,
    )


def _seconds(timings: Sequence[Timing]) -> float:
    return round(sum(timing.seconds for timing in timings), 3)


def _clear(folder: Path) -> None:
    """Remove a folder that a killed worker left: without a manifest it does not count as finished."""
    if folder.exists():
        shutil.rmtree(folder)
