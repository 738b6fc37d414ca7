"""The one runner of measurements and studies: data sets, leakage check, cells, judging, summary.

    run_grid(plan, Path("results/mine"), steps)      # see `measure.measure` and `wiring.run_study`

Finished work is kept whatever stops the run. The same command resumes and repeats nothing.
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
from holdfast.study.stored import rules, store_plan, write_summary
from holdfast.study.summary import LEAKAGE, build_summary
from holdfast.study.work import EXAMPLES, Steps, StudyContext, make_cell, make_data_set

#: What workers are started under: one numeric thread each, and no progress bars but the study's own.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
_AGAIN = "run the same command again: it resumes and repeats nothing"


#: The phase of a report that a request failed and is asked again; its name is the reason.
WAITING = "asking again"


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


@dataclass(frozen=True)
class Extras:
    """What a measurement adds to a run.

    Attributes:
        notes: sentences for the limits of the report.
        after: called after the last cell, such as judging; may raise IncompleteError.
        settle: called before the summary is written, also when the run was stopped, such as to store what it cost.
        partial: whether an interrupted run still writes a summary. A study does not: its arms would be unequal.
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
    """Make every data set and cell of a plan that is not finished yet, and write the summary.

    Args:
        grid: the plan.
        out: results folder.
        steps: how a data set is built, a stage trained and a case played. With several workers they must be picklable.
        workers: worker processes; 1 runs everything in this process.
        watch: called after each piece of work.
        command: the command line, for the provenance.
        extras: notes, judging and partial summaries.

    Returns:
        The path of `summary.json`.

    Raises:
        IncompleteError: interrupted, out of budget, a worker died, or another process writes to `out`.
        ResultsError: a stored file was edited since the run that wrote it, or training data contain test text.
    """
    extras = extras or Extras()
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
    """Build, search and play what is not finished."""
    bench = StudyContext(
        out, grid.design.model, steps, key_of(grid.facts.versions), grid.design.until, rules()["verdicts"]
    )
    sets: list[Task] = [(f"{s.set}, seed {s.seed}", out / s.folder, make_data_set, (bench, s)) for s in grid.sets]
    cells: list[Task] = [
        (cell.label, out / cell.folder, make_cell, (bench, cell, grid.cases_of(cell.arm), files[cell.arm]))
        for cell in grid.cells
    ]
    for part in out.glob("checkpoints/*.part"):
        shutil.rmtree(part)  # left by a worker that was killed
    with _crew(workers) as pool:
        if sets:
            _do("build", sets, pool, watch)
            check_leakage(grid, out, steps)
        for cell in grid.cells:
            reopen(RunFolder(out / cell.folder), grid.cases_of(cell.arm), grid.design.until)
        _do("cells", cells, pool, watch)


def check_leakage(grid: StudyPlan, out: Path, steps: Steps) -> Leakage:
    """Search every data set for test text and store what was found.

    Raises:
        ResultsError: there is a leak and `steps.refuse_leaks` is set.
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
