"""`holdfast demo`: a whole study offline, on the embedded organism."""

from __future__ import annotations

from pathlib import Path

import click

INTRO = """\
Holdfast demo: measures the small model of this package under pressure, trains it in {arms} ways with {seeds} seeds
each, and measures every checkpoint on {cases} cases, most of them from families that were not in its training data.
About {minutes} minutes on 2 cores.  No API key, no network.  To resume after an interruption, run the command again.
"""
#: Duration measured on 2 cores; see LOG.md.
MINUTES = 6


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/demo"), show_default=True, help="Results folder."
)
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes, one thread each.  [default: one per core]"
)
@click.pass_context
def command(ctx: click.Context, out: Path, workers: int | None) -> None:
    """Run a whole study offline on the embedded model: measure, train, measure again, report."""
    from holdfast.cli.study import run_study
    from holdfast.study.wiring import open_study

    file = study_file("teach-why")
    study = open_study(file)
    cases = len(study.worlds) * len(study.twins) * study.cases
    trained = sum(bool(arm.stages) for arm in study.arms)
    click.echo(INTRO.format(arms=trained, seeds=len(study.seeds), cases=cases, minutes=MINUTES))
    ctx.invoke(run_study, file=file, out=out, workers=workers)


def study_file(name: str) -> Path:
    """Return the path of a built-in study, in an installed package or in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "studies" / f"{name}.toml"
    return inside if inside.is_file() else package.parent.parent / "studies" / f"{name}.toml"
