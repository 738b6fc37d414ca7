"""Shows the progress of long work: as bars on a terminal, as lines elsewhere (a notebook, a log)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from holdfast.study.run import WAITING, Progress, Watch


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def show_progress() -> Iterator[Watch]:
    """Yield a callback for `run.Watch`: progress bars on a terminal, one line per finished task elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[phase]:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def watch(step: Progress) -> None:
            if step.phase == WAITING:
                # The reason may quote a server, so control characters are replaced before it reaches the terminal.
                reason = "".join(char if char.isprintable() else "…" for char in step.name)
                console.print(f"{WAITING}: {reason}", highlight=False, markup=False)
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
