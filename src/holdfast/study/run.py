"""The one runner of measurements and studies: data sets, leakage check, cells, judging, summary.

    run_grid(plan, Path("results/mine"), steps)      # see `measure.measure` and `wiring.run_study`

Finished work is kept if the run is interrupted. The same command resumes and repeats nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from holdfast.core.errors import IncompleteError, ResultsError, StoreError
from holdfast.core.hashes import sealing
from holdfast.core.identity import key_of
from holdfast.core.records import Example
from holdfast.core.results import SUMMARY, Leakage
from holdfast.core.store import RunFolder, write_text
from holdfast.study.leakage import search
from holdfast.study.plan import StudyPlan
from holdfast.study.play import reopen
from holdfast.study.preregistration import register
from holdfast.study.stored import refuse_other_code, rules, store_plan, write_summary
from holdfast.study.summary import LEAKAGE, build_summary
from holdfast.study.work import EXAMPLES, Steps, StudyContext, make_cell, make_data_set

#: Environment of the workers: one numeric thread each, and no progress bars except the study's own.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
_AGAIN = "run the same command again: it resumes and repeats nothing"
#: The phase that reports a failed request which is sent again; the name of the report is the reason.
WAITING = "asking again"


@dataclass(frozen=True)
class Progress:
    """One finished task; `reused` if an earlier run made it. The first report of a phase has `done` 0 and no name."""

    phase: str
    name: str
    done: int
    total: int
    seconds: float
    reused: bool = False


Watch = Callable[[Progress], None]
#: A task: its name, the folder that it writes, the function and its arguments.
Task = tuple[str, Path, Callable[..., None], tuple[object, ...]]


@dataclass(frozen=True)
class Extras:
    """What a measurement adds to a run.

    Attributes:
        notes: sentences for the limits of the report.
        after: called after the last cell, for example to judge it; may raise IncompleteError.
        settle: called before the summary is written, also if the run was stopped, for example to store its cost.
        partial: whether an interrupted run still writes a summary. A study does not, because its arms would hold
            unequal numbers of samples.
    """

    notes: tuple[str, ...] = ()
    after: Callable[[], None] = lambda: None
    settle: Callable[[], None] = lambda: None
    partial: bool = False


def run_grid(
    grid: StudyPlan,
    out: Path,
    steps: Steps,
    *,
    workers: int = 1,
    watch: Watch = lambda _: None,
    command: str = "",
    extras: Extras | None = None,
) -> Path:
    """Make every data set and cell of a plan that is not finished, and write the summary.

    Args:
        grid: the plan.
        out: results folder.
        steps: the functions that build a data set, train a stage and play a case. With several workers they must be
            picklable.
        workers: worker processes; 1 runs everything in this process.
        watch: called after each task.
        command: the command line, for the provenance.
        extras: notes, judging and partial summaries.

    Returns:
        The path of `summary.json`.

    Raises:
        IncompleteError: interrupted, out of budget, a worker died, or another process writes to `out`.
        ResultsError: a stored file was edited since the run that wrote it, other code started the study, or training
            data contain test text.
    """
    extras = extras or Extras()
    refuse_other_code(grid, out)
    with sealing(out, rules()):
        register(grid.design, out)
        files = store_plan(grid, out, command, extras.notes)
        stopped: IncompleteError | None = None
        try:
            _work(grid, out, steps, files, workers, watch)
            extras.after()
        except KeyboardInterrupt:
            stopped = IncompleteError("interrupted; finished work is kept", where=out, remedy=_AGAIN)
        except StoreError:
            raise
        except IncompleteError as error:
            stopped = error
        finally:
            extras.settle()
        if stopped and not extras.partial:
            raise stopped
        summary = build_summary(grid, out, command, partly=stopped is not None, notes=extras.notes)
        write_summary(out / SUMMARY, summary)
        if stopped:
            raise stopped
    return out / SUMMARY


def _work(grid: StudyPlan, out: Path, steps: Steps, files: Mapping[str, str], workers: int, watch: Watch) -> None:
    """Build data sets, search them for test text, and play cells, as far as they are not finished."""
    used = Counter(stage.key for cell in grid.cells for stage in cell.stages)
    context = StudyContext(
        out,
        grid.design.model,
        steps,
        key_of(grid.facts.versions),
        grid.design.until,
        rules()["verdicts"],
        frozenset(key for key, times in used.items() if times > 1),
    )
    sets: list[Task] = [(f"{s.set}, seed {s.seed}", out / s.folder, make_data_set, (context, s)) for s in grid.sets]
    cells: list[Task] = [
        (cell.label, out / cell.folder, make_cell, (context, cell, grid.cases_of(cell.arm), files[cell.arm]))
        for cell in grid.cells
    ]
    for part in out.glob("checkpoints/*.part"):
        shutil.rmtree(part)  # left by a worker that was killed
    with _worker_pool(workers) as pool:
        if sets:
            _run_tasks("build", sets, pool, watch)
            check_leakage(grid, out, steps)
        for cell in grid.cells:
            reopen(RunFolder(out / cell.folder), grid.cases_of(cell.arm), grid.design.until)
        _run_tasks("cells", cells, pool, watch)


def check_leakage(grid: StudyPlan, out: Path, steps: Steps) -> Leakage:
    """Search every data set for test text and store the findings.

    Raises:
        ResultsError: a data set leaks and `steps.refuse_leaks` is set.
    """
    sets: dict[str, list[Example]] = {}
    for made in grid.sets:
        sets.setdefault(made.set, []).extend(RunFolder(out / made.folder).read(EXAMPLES, Example))
    cases = grid.facts.cases
    train = list(dict.fromkeys(case.world for case in cases if case.split == "train"))
    scaffolding, canaries = steps.leakage_reference(train, grid.design.twins)
    leakage = search(sets, cases, scaffolding, canaries)
    write_text(out / LEAKAGE, leakage.model_dump_json(indent=1) + "\n")
    if leakage.leaking and steps.refuse_leaks:
        first = leakage.findings[0]
        what = f"the data set '{first.set}' holds test text of {first.world or 'a world file'}: \"{first.text}\""
        remedy = 'remove it from the recipe, or set on_leak = "mark" in the study file to continue with marked arms'
        raise ResultsError(what, where=out / LEAKAGE, remedy=remedy)
    return leakage


def _run_tasks(phase: str, tasks: Sequence[Task], pool: ProcessPoolExecutor | None, watch: Watch) -> None:
    """Run the tasks that are not finished, in this process or in workers."""
    ready = [task for task in tasks if RunFolder(task[1]).complete]
    open_tasks = [task for task in tasks if not RunFolder(task[1]).complete]
    watch(Progress(phase, "", 0, len(tasks), 0.0))
    for number, (name, *_) in enumerate(ready, 1):
        watch(Progress(phase, name, number, len(tasks), 0.0, reused=True))
    start, done = time.perf_counter(), len(ready)

    def report(name: str) -> None:
        nonlocal done
        done += 1
        watch(Progress(phase, name, done, len(tasks), time.perf_counter() - start))

    if pool is None:
        for name, _, function, arguments in open_tasks:
            function(*arguments)
            report(name)
    else:
        _run_in_pool(open_tasks, pool, report)


def _run_in_pool(tasks: Sequence[Task], pool: ProcessPoolExecutor, report: Callable[[str], None]) -> None:
    futures: dict[Future[None], str] = {pool.submit(function, *args): name for name, _, function, args in tasks}
    try:
        for future in as_completed(futures):
            future.result()
            report(futures[future])
    except BrokenProcessPool:
        what = "a worker process died, most likely because memory ran out"
        raise IncompleteError(what, remedy=f"free memory or use fewer workers, then {_AGAIN}") from None


@contextmanager
def _worker_pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool whose workers start with the first task and run the whole study; None if this process does the work."""
    if workers <= 1:
        yield None
        return
    # Spawned, not forked: a fork would inherit torch's thread pool in a broken state.
    with (
        _worker_environment(),
        ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (os.getpid(),)) as pool,
    ):
        try:
            yield pool
        except BaseException:
            # Running tasks finish and are kept; tasks that have not started are cancelled.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Set the environment before the workers start and restore it after: libraries read it once, on import."""
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


def _start_worker(parent: int) -> None:
    """Start a worker: Ctrl-C ends it without output, and so does the end of the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
