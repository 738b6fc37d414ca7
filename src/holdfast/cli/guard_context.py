"""`holdfast guard context FOLDER`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--agent", "agents", multiple=True, help="An agent that must be in the scope of a valid statement; repeatable."
)
@click.option("--on", type=click.DateTime(["%Y-%m-%d"]), help="The reference day; by default today (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def command(ctx: click.Context, folder: Path, agents: tuple[str, ...], on: datetime | None, as_json: bool) -> None:
    """Find stale, missing and contradictory statements in a folder of context; exit code 2 if there is an issue."""
    from holdfast.guard.context import check_context
    from holdfast.report.words import clean

    found = check_context(folder, (on or datetime.now(UTC)).date(), agents)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=1, ensure_ascii=False))
    else:
        lines = [f"{f.where}: {f.kind}: {f.what} ({f.remedy})" for f in found]
        click.echo("\n".join(map(clean, lines)) or "no issues")
    ctx.exit(2 if found else 0)
