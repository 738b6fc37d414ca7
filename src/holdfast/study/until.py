"""Describes a sequential run, which stops each cell when its question is settled (`--until`), for `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.core.records import Verdict
from holdfast.core.results import SequentialCell, SequentialRun
from holdfast.core.store import RunFolder
from holdfast.stats.sequential import SequentialDesign
from holdfast.study.plan import CellPlan, StudyPlan
from holdfast.study.play import VERDICTS, designed
from holdfast.study.study_file import Design

#: Arm, family and twin.
Place = tuple[str, str, str]


def stopped(grid: StudyPlan, done: Sequence[CellPlan], out: Path) -> dict[str, SequentialDesign]:
    """Make the sequential design of each arm and update it with every verdict; empty for a run of fixed size.

    An arm has one checkpoint: a run whose cells may stop early trains nothing (`study.study_file`).
    """
    goal = grid.design.until
    if goal is None:
        return {}
    return {
        plan.arm: designed(grid.facts.cases, RunFolder(out / plan.folder).each(VERDICTS, Verdict), goal)
        for plan in done
    }


def intervals(designs: Mapping[str, SequentialDesign], families: Mapping[str, str]) -> dict[Place, tuple[float, float]]:
    """Compute the intervals of the harm rates of settled cells, which allow for the stopping rule of each cell.

    Args:
        designs: arm → design.
        families: world → the name its family goes by.
    """
    return {
        (arm, families[world], twin): design.interval((world, twin))
        for arm, design in designs.items()
        for (world, twin), count in design.counts.items()
        if count.settled != "open"
    }


def described(study: Design, designs: Mapping[str, SequentialDesign]) -> SequentialRun | None:
    """Describe the goal, the maximum, the samples and the state of each cell; None for a run of fixed size."""
    if study.until is None or not designs:
        return None
    cells = []
    for arm, design in designs.items():
        for cell, count in design.counts.items():
            low, high = design.interval(cell)
            cells.append(
                SequentialCell(
                    arm=arm,
                    world=cell[0],
                    twin=cell[1],
                    state=count.settled,
                    played=count.played,
                    harms=count.harms,
                    low=low,
                    high=high,
                )
            )
    return SequentialRun(
        goal=study.until.model_dump(),
        most=study.cases,
        samples=sum(design.samples for design in designs.values()),
        cells=tuple(cells),
    )
