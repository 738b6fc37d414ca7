"""Progress of long work, on a terminal as bars and elsewhere (a notebook, a log) as lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from holdfast.study.run import WAITING, Progress, Watch


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def show_progress() -> Iterator[Watch]:
    """Yield a callback for `run.Watch`: progress bars on a terminal, one line per finished piece elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[phase]:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def watch(step: Progress) -> None:
            if step.phase == WAITING:
                # The reason may quote a server: nothing in it may steer a terminal.
                shown = "".join(char if char.isprintable() else "…" for char in step.name)
                console.print(f"{WAITING}: {shown}", highlight=False, markup=False)
                return
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task("", total=step.total, phase=step.phase)
            bars.update(tasks[step.phase], completed=step.done, description=step.name)
            if not console.is_terminal and step.name:
                kept = "kept" if step.reused else f"{step.seconds:.0f} s"
                console.print(
                    f"{step.phase} {step.done}/{step.total} {step.name} ({kept})", highlight=False, markup=False
                )

        yield watch
