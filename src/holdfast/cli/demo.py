"""`holdfast demo`: the whole path offline, on the embedded organism."""

from __future__ import annotations

from pathlib import Path

import click

INTRO = """\
Holdfast demo: a small model that comes with the package is measured under pressure and taught in {arms} ways, with
{seeds} seeds each; every checkpoint is measured on {cases} cases, most of them of families it was never taught on.
About {minutes} minutes on 2 cores.  No key, no network.  Interrupt at will: the same command resumes.
"""
#: Measured on 2 cores; see LOG.md.
MINUTES = 6


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/demo"), show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes of one thread each.  [default: one a core]")
@click.pass_context
def command(ctx: click.Context, out: Path, workers: int | None) -> None:
    """Run the main job offline, from the untouched model to the report."""
    from holdfast.cli.study import run_study
    from holdfast.study.wiring import open_study

    file = study_file("teach-why")
    study = open_study(file)
    cases = len(study.worlds) * len(study.twins) * study.cases
    taught = sum(bool(arm.stages) for arm in study.arms)
    click.echo(INTRO.format(arms=taught, seeds=len(study.seeds), cases=cases, minutes=MINUTES))
    ctx.invoke(run_study, file=file, out=out, workers=workers)


def study_file(name: str) -> Path:
    """A study that comes with Holdfast: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "studies" / f"{name}.toml"
    return inside if inside.is_file() else package.parent.parent / "studies" / f"{name}.toml"
