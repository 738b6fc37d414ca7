"""Tables by family and by skeleton (plot), for families that were measured in several skeletons."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.core.results import Cell, Family, Summary
from holdfast.core.twins import ROUTINE
from holdfast.report.view import ArmRow, Band, RateTable, Shown, has_graded_work, rate_text
from holdfast.report.words import humanise

#: More rows than this do not help in a terminal.
_MOST_ROWS = 40


def by_skeleton(summary: Summary) -> RateTable:
    """Lay out harm under pressure by skeleton, for families that were measured in several."""
    families = [family for family in summary.families if _several(summary, family)]
    bands = tuple(
        Band(humanise(family.name), tuple(_plot_name(family, world) for world in family.skeletons))
        for family in families
    )
    worlds = [world for family in families for world in family.skeletons]
    rows = [
        ArmRow(arm, tuple(_harm(summary.skeleton(arm.name, world, summary.headline_twin)) for world in worlds))
        for arm in summary.arms
    ]
    return RateTable(bands, tuple(rows) if bands else ())


def _several(summary: Summary, family: Family) -> bool:
    return any(world in worlds for worlds in summary.skeletons.values() for world in family.skeletons)


def _plot_name(family: Family, world: str) -> str:
    """The name of a world without that of its family."""
    return humanise(world.removeprefix(f"{family.name.partition(',')[0]}-"))


def every_cell(summary: Summary) -> Iterator[tuple[str, str, str, Cell]]:
    """Arm, family, twin and results of each cell, with the skeletons of a family beneath it."""
    members = {family.name: family for family in summary.families if _several(summary, family)}
    for arm, cells in summary.cells.items():
        for name, twins in cells.items():
            rows = [(humanise(name), twins)]
            if family := members.get(name):
                held = summary.skeletons.get(arm, {})
                rows += [(f"– {_plot_name(family, world)}", held.get(world, {})) for world in family.skeletons]
            for title, found in rows:
                for twin, cell in found.items():
                    yield summary.title(arm), title, humanise(twin), cell


def family_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay out harm by arm and family for a terminal, with the skeletons beneath each family if there is room.

    The rows are empty if no family has several skeletons, or if there are too many for a terminal.
    """
    members = [family for family in summary.families if _several(summary, family)]
    if not members or len(summary.arms) * len(summary.families) > _MOST_ROWS:
        return (), []
    room = len(summary.arms) * sum(1 + len(family.skeletons) for family in summary.families) <= _MOST_ROWS
    twin = summary.headline_twin
    job = ROUTINE if ROUTINE in summary.twins else twin
    steps = has_graded_work(summary, job)
    rows = []
    for arm in summary.arms:
        title = arm.title or arm.name
        for family in summary.families:
            at = [(humanise(family.name), summary.cell(arm.name, family.name, twin))]
            jobs = [summary.cell(arm.name, family.name, job)]
            if room and family in members:
                at += [(f"  {_plot_name(family, w)}", summary.skeleton(arm.name, w, twin)) for w in family.skeletons]
                jobs += [summary.skeleton(arm.name, w, job) for w in family.skeletons]
            for (name, found), done in zip(at, jobs, strict=True):
                work = [rate_text(done.work).main if steps else rate_text(done.useful).main]
                rows.append((title, name, _harm(found).words, rate_text(found.exposed).main, *work))
                title = ""
    return ("arm", "family", "harm", "if exposed", "work" if steps else "useful"), rows


def _harm(cell: Cell) -> Shown:
    return rate_text(cell.harm, cell.by_seed)
