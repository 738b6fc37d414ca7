"""The two kinds of work a study is made of: build a data set, and make and measure a checkpoint.

Both run in worker processes, leave a folder whose manifest is written last, and do nothing where one is already there.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.errors import HoldfastError, IncompleteError
from holdfast.core.records import Case, Example, Record, RunCard
from holdfast.core.store import RunFolder
from holdfast.stats.sequential import Goal
from holdfast.study.plan import CellPlan, SetPlan, StagePlan
from holdfast.study.play import play, take_over, wanted
from holdfast.study.rooms import Rooms

TIMING, EXAMPLES = "timing", "examples"


class Timing(Record):
    """Wall-clock seconds of one piece of work, and the peak memory (MB) its process had reached at the end."""

    stage: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Bench:
    """What every piece of work needs: the study's folder, the model it begins from, and the rooms."""

    out: Path
    model: str
    rooms: Rooms
    code: str
    until: Goal | None = None
    #: what verdicts rest on: file of the cases, and source hash of the rules; see `study.stored`
    rests: Mapping[str, str] = field(default_factory=dict)


def make_set(bench: Bench, plan: SetPlan) -> None:
    """Build and store one data set."""
    folder = RunFolder(bench.out / plan.folder)
    if folder.complete:
        return
    _clear(folder.path)
    with blaming(f"data set '{plan.set}', seed {plan.seed}"):
        with timed("build") as spent:
            examples = bench.rooms.build_set(plan.set, plan.tokens, plan.seed, bench.rooms.base_path(bench.model))
        if not examples:
            raise IncompleteError("no examples came out", remedy="see the recipe's card for what was refused")
        folder.append(EXAMPLES, examples)
        folder.append(TIMING, spent)
        made = {"set": plan.set, "tokens": plan.tokens, "seed": plan.seed}
        folder.finish(card(bench, plan.key, "data set", made, {"examples": len(examples)}, _seconds(spent)))


def make_cell(bench: Bench, plan: CellPlan, cases: Sequence[Case]) -> None:
    """Train one checkpoint (or take over what is trained already), play its cases, store each verdict as it is reached.

    What an interrupted run left in the folder is kept, and no case is played twice.
    """
    folder = RunFolder(bench.out / plan.folder)
    if folder.complete:
        return
    with blaming(f"arm '{plan.arm}'" + ("" if plan.seed is None else f", seed {plan.seed}")):
        model = bench.model
        at = bench.rooms.base_path(bench.model) if plan.stages else Path()
        for stage in plan.stages:
            at = _make_stage(bench, stage, at)
            model = f"hf/{at}"
        with timed("measure") as spent:
            done = take_over(folder)
            while left := wanted(cases, done, bench.until):
                done |= play(bench.rooms.measure(model, left), left, folder)
        folder.append(TIMING, spent)
        made = {"arm": plan.arm, "seed": plan.seed, "stages": [stage.key for stage in plan.stages], **bench.rests}
        folder.finish(card(bench, plan.key, "cell", made, {"cases": len(done)}, _seconds(spent)))


def _make_stage(bench: Bench, plan: StagePlan, base: Path) -> Path:
    """Train one stage next door and move it into place when it is whole; two workers may race, one wins."""
    done = bench.out / plan.folder
    if RunFolder(done).complete:
        return done
    part = done.with_name(f"{done.name}.{os.getpid()}.part")
    _clear(part)
    examples = [e for s in plan.sets for e in RunFolder(bench.out / s.folder).read(EXAMPLES, Example)]
    part.parent.mkdir(parents=True, exist_ok=True)
    with timed("train") as spent:
        trained = bench.rooms.train(base, examples, plan.config, part)
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


def card(bench: Bench, key: str, kind: str, inputs: dict[str, Any], counts: dict[str, int], seconds: float) -> RunCard:
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
