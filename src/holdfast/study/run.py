"""Runs a study: data sets, then the leakage check, then the grid in worker processes, then the summary.

Everything finished is kept, whatever stops the run; the same command goes on from there and repeats nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from holdfast.core.errors import IncompleteError, ResultsError
from holdfast.core.hashes import sealing
from holdfast.core.identity import key_of
from holdfast.core.records import Example
from holdfast.core.store import RunFolder, write_text
from holdfast.study.leakage import Leakage, search
from holdfast.study.plan import Facts, Plan, plan
from holdfast.study.preregistration import register
from holdfast.study.rooms import Rooms
from holdfast.study.stored import rules, store_plan
from holdfast.study.study_file import Study
from holdfast.study.summary import LEAKAGE, summarise
from holdfast.study.work import EXAMPLES, Bench, make_cell, make_set

#: What workers are started under: one numeric thread each, and no progress bars but the study's own.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
#: Case seeds of each train world from which the leakage check learns what is nobody's secret.
_SCAFFOLDING = 200
_AGAIN = "run the same command again: it resumes and repeats nothing"


@dataclass(frozen=True)
class Progress:
    """One piece of work is done; `reused` where it was there already. The first of a phase has `done` 0 and no name."""

    phase: str
    name: str
    done: int
    total: int
    seconds: float
    reused: bool = False


Watch = Callable[[Progress], None]
#: What is to be done: its name, the folder it leaves, the function and its arguments.
Task = tuple[str, Path, Callable[..., None], tuple[object, ...]]


def lay_out(study: Study, rooms: Rooms) -> Plan:
    """The plan of a study on the rooms as they are now; builds and trains nothing.

    Raises:
        HoldfastError: a world, the model or a training knob is wrong.
    """
    cases = rooms.cases(study.worlds, study.twins, study.case_seeds)
    kinds = sorted({stage.kind for arm in study.arms for stage in arm.stages})
    configs: dict[str, Mapping[str, Any]] = {
        kind: rooms.config({**study.train.get(kind, {}), "stage": kind}) for kind in kinds
    }
    return plan(study, Facts(rooms.identify(study.model), cases, configs, rooms.versions()))


def run(
    study: Study, out: Path, rooms: Rooms, workers: int = 2, watch: Watch = lambda _: None, command: str = ""
) -> Path:
    """Run a study into `out` and return the path of its `summary.json`.

    Args:
        study: a checked study.
        out: the study's folder, usually `results/NAME`.
        rooms: the other rooms.
        workers: worker processes of one thread each; 1 works in this process.
        watch: called after each piece of work.
        command: what was typed, for the provenance.

    Raises:
        ResultsError: training data hold test text and the study says `on_leak = "refuse"`.
        HoldfastError: a piece of work failed; the error names its arm or data set. What is finished is kept.
        IncompleteError: interrupted, a worker died, or another process writes in `out`.
    """
    grid = lay_out(study, rooms)
    with sealing(out, rules()):
        return _run(grid, out, rooms, workers, watch, command)


def _run(grid: Plan, out: Path, rooms: Rooms, workers: int, watch: Watch, command: str) -> Path:
    study = grid.study
    register(study, out)
    stored = store_plan(grid, out, {arm.name: grid.facts.cases for arm in study.arms}, command)
    rests = {"cases": next(iter(stored.values())), "rules": rules()["verdicts"]}
    bench = Bench(out, study.model, rooms, key_of(grid.facts.versions), study.until, rests)
    sets: list[Task] = [(f"{s.set}, seed {s.seed}", out / s.folder, make_set, (bench, s)) for s in grid.sets]
    cases = grid.facts.cases
    cells: list[Task] = [(c.label, out / c.folder, make_cell, (bench, c, cases)) for c in grid.cells]
    for part in out.glob("checkpoints/*.part"):
        shutil.rmtree(part)  # what a killed worker left
    try:
        with _crew(workers) as pool:
            _do("build", sets, pool, watch)
            check_leakage(grid, out, rooms)
            _do("cells", cells, pool, watch)
    except KeyboardInterrupt:
        raise IncompleteError("interrupted; what is finished is kept", where=out, remedy=_AGAIN) from None
    return summarise(grid, out, command)


def check_leakage(grid: Plan, out: Path, rooms: Rooms) -> Leakage:
    """Search every data set for test text and store what was found.

    Raises:
        ResultsError: there is a leak and the study says `on_leak = "refuse"`.
    """
    sets: dict[str, list[Example]] = {}
    for made in grid.sets:
        sets.setdefault(made.set, []).extend(RunFolder(out / made.folder).read(EXAMPLES, Example))
    cases = grid.facts.cases
    train = list(dict.fromkeys(case.world for case in cases if case.split == "train"))
    scaffolding = rooms.cases(train, grid.study.twins, range(_SCAFFOLDING))
    leakage = search(sets, cases, scaffolding, rooms.canaries())
    write_text(out / LEAKAGE, leakage.model_dump_json(indent=1) + "\n")
    if leakage.leaking and grid.study.on_leak == "refuse":
        first = leakage.findings[0]
        what = f"the data set '{first.set}' holds test text of {first.world or 'a world file'}: \"{first.text}\""
        remedy = "take it out of the recipe, or write 'on_leak = \"mark\"' to go on with the arms marked"
        raise ResultsError(what, where=out / LEAKAGE, remedy=remedy)
    return leakage


def _do(phase: str, tasks: Sequence[Task], pool: ProcessPoolExecutor | None, watch: Watch) -> None:
    """Do what is not done yet, in this process or in workers."""
    ready = [task for task in tasks if RunFolder(task[1]).complete]
    left = [task for task in tasks if not RunFolder(task[1]).complete]
    watch(Progress(phase, "", 0, len(tasks), 0.0))
    for number, (name, *_) in enumerate(ready, 1):
        watch(Progress(phase, name, number, len(tasks), 0.0, reused=True))
    start, done = time.perf_counter(), len(ready)

    def report(name: str) -> None:
        nonlocal done
        done += 1
        watch(Progress(phase, name, done, len(tasks), time.perf_counter() - start))

    if pool is None:
        for name, _, function, arguments in left:
            function(*arguments)
            report(name)
    else:
        _share(left, pool, report)


def _share(tasks: Sequence[Task], pool: ProcessPoolExecutor, report: Callable[[str], None]) -> None:
    futures: dict[Future[None], str] = {pool.submit(function, *args): name for name, _, function, args in tasks}
    try:
        for future in as_completed(futures):
            future.result()
            report(futures[future])
    except BrokenProcessPool:
        what = "a worker process died, most likely for want of memory"
        raise IncompleteError(what, remedy=f"free some or use fewer workers, then {_AGAIN}") from None


@contextmanager
def _crew(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Workers that start with the first task and serve the whole study; None where this process does the work."""
    if workers <= 1:
        yield None
        return
    # Spawned, not forked: a fork would inherit torch's thread pool in a broken state.
    with _environment(), ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(),)) as pool:
        try:
            yield pool
        except BaseException:
            # What runs is let finish and is kept; what has not begun is dropped.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _environment() -> Iterator[None]:
    """Set before the workers start and put back after: libraries read it once, when they are loaded."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(parent: int) -> None:
    """Start of a worker: Ctrl-C ends it without a word, and so does the death of the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
