"""`holdfast study plan FILE` and `holdfast study run FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import click

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Plan or run a study: train several arms and compare them.

    FILE is a study file in TOML, such as studies/teach-why.toml.
    """


@command.command("plan")
@FILE
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def plan_study(file: Path, as_json: bool) -> None:
    """Show what FILE would build, train and measure; runs nothing."""
    from holdfast.cli.show import print_table
    from holdfast.study import wiring

    study = wiring.open_study(file)
    grid = wiring.plan_study(study)
    cells = [
        {"checkpoint": cell.label, "sets": [s.set for stage in cell.stages for s in stage.sets], "key": cell.key}
        for cell in grid.cells
    ]
    if as_json:
        click.echo(json.dumps({"study": study.name, "key": grid.key, "cases": len(grid.facts.cases), "cells": cells}))
        return
    click.echo(
        f"{study.name}: {len(grid.sets)} data sets, {len(cells)} checkpoints, {len(grid.facts.cases)} cases each"
    )
    print_table(("checkpoint", "trained on", "key"), [(c["checkpoint"], ", ".join(c["sets"]), c["key"]) for c in cells])


@command.command("run")
@FILE
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: results/NAME, from FILE]")
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes, one thread each.  [default: one per core]"
)
@click.option(
    "--judge",
    "judges",
    multiple=True,
    help="A model that judges what effects and words leave open, after all episodes; give it twice for two judges.",
)
@click.pass_obj
def run_study(typed: str | None, file: Path, out: Path | None, workers: int | None, judges: tuple[str, ...]) -> None:
    """Run FILE and write its report.  To resume it, run the command again."""
    from holdfast.cli.judge_run import judge_results
    from holdfast.cli.missing import check_scored, show_missing
    from holdfast.cli.pages import draw
    from holdfast.cli.show import print_table
    from holdfast.models.registry import open_model
    from holdfast.report.summary import load_summary
    from holdfast.report.view import outline_table
    from holdfast.study import wiring
    from holdfast.study.progress import cores, show_progress

    opened = [open_model(name, network=True) for name in dict.fromkeys(judges)]
    study = wiring.open_study(file)
    out = out or Path("results") / study.name
    with show_progress() as watch:
        summary = wiring.run_study(study, out, workers=workers or cores(), watch=watch, command=typed or "")
    if opened:
        judge_results(summary.parent, opened)
    found = load_summary(summary.parent)
    print_table(*outline_table(found))
    show_missing(found)
    draw(summary.parent)
    check_scored(found, out)
