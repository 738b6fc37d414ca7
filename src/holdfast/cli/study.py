"""`holdfast study plan FILE` and `holdfast study run FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from holdfast.cli.judges import open_judges

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Plan or run a study: train several arms and compare them.

    FILE is a study file in TOML, such as studies/teach-why.toml.
    """


@command.command("plan")
@FILE
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--base-harm", type=float, default=0.6, show_default=True, help="Harm of the base, as a rate, for power.")
@click.option("--fall", type=float, default=0.4, show_default=True, help="The fall in harm to find, as a rate.")
@click.option("--tokens-a-second", type=float, help="Measured speed of training, for the time that it takes.")
@click.option("--seconds-a-case", type=float, help="Measured time that a case takes, for the time that playing takes.")
def plan_study(
    file: Path,
    as_json: bool,
    base_harm: float,
    fall: float,
    tokens_a_second: float | None,
    seconds_a_case: float | None,
) -> None:
    """Show what FILE would build, train and measure, and what it could find; runs nothing."""
    from holdfast.cli.show import print_table
    from holdfast.stats.trainings import LEAST_SEEDS
    from holdfast.study import wiring
    from holdfast.study.power import planned_power
    from holdfast.study.workload import workload

    study = wiring.open_study(file)
    grid = wiring.plan_study(study)
    cells = [
        {"checkpoint": cell.label, "sets": [s.set for stage in cell.stages for s in stage.sets], "key": cell.key}
        for cell in grid.cells
    ]
    power = planned_power(grid, base_harm, fall)
    work = workload(grid, tokens_a_second, seconds_a_case)
    if as_json:
        found = {"study": study.name, "key": grid.key, "cases": len(grid.facts.cases), "cells": cells}
        found |= {"workload": work.model_dump()}
        click.echo(json.dumps(found | {"power": power and power.model_dump()}))
        return
    click.echo(
        f"{study.name}: {len(grid.sets)} data sets, {len(cells)} checkpoints, {len(grid.facts.cases)} cases each"
    )
    print_table(("checkpoint", "trained on", "key"), [(c["checkpoint"], ", ".join(c["sets"]), c["key"]) for c in cells])
    click.echo(work.sentence)
    if power is None:
        return
    click.echo(
        f"\nPower: a fall of {100 * power.fall:.0f} points from {power.base:.0%}, {power.arms} judged arms, "
        f"{power.planned_seeds} seeds, {power.planned_cases} cases in each of {power.worlds} held-out worlds. "
        "Needed is a power of 80%."
    )
    few = f"none: {LEAST_SEEDS} seeds are the least"
    print_table(
        ("seed SD, logit", "power", "seeds needed", f"cases needed with {max(power.planned_seeds, LEAST_SEEDS)} seeds"),
        [
            (
                f"{row.seed_sd:g}",
                few if row.power is None else f"{row.power:.0%}",
                str(row.seeds or "more than 20"),
                str(row.cases or "more than 96"),
            )
            for row in power.rows
        ],
    )


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
@click.option(
    "--skip-probe",
    is_flag=True,
    help="Do not ask a served model or judge first if tool calls, results and the system message arrive.",
)
@click.pass_obj
def run_study(
    typed: str | None, file: Path, out: Path | None, workers: int | None, judges: tuple[str, ...], skip_probe: bool
) -> None:
    """Run FILE and write its report.  To resume it, run the command again."""
    from holdfast.cli.judge_run import judge_results
    from holdfast.cli.missing import check_scored, show_families, show_missing
    from holdfast.cli.pages import draw
    from holdfast.cli.show import print_table
    from holdfast.report.summary import load_summary
    from holdfast.report.view import outline_table
    from holdfast.study import wiring
    from holdfast.study.progress import cores, show_progress

    opened = open_judges(dict.fromkeys(judges), skip_probe=skip_probe)
    study = wiring.open_study(file)
    out = out or Path("results") / study.name
    with show_progress() as watch:
        summary = wiring.run_study(
            study, out, workers=workers or cores(), watch=watch, command=typed or "", skip_probe=skip_probe
        )
    if opened:
        judge_results(summary.parent, opened)
    found = load_summary(summary.parent)
    print_table(*outline_table(found))
    show_families(found)
    show_missing(found)
    draw(summary.parent)
    check_scored(found, out)
