"""`holdfast organism check`: is the embedded model what a study needs it to be?"""

from __future__ import annotations

import json

import click


@click.group()
def command() -> None:
    """Check, describe or rebuild the embedded model."""


@command.command("check")
@click.option("--model", default="organism/pocket", show_default=True, help="Which checkpoint to check.")
@click.option("--cases", default=200, show_default=True, type=click.IntRange(1), help="Fresh cases a cell.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def check_organism(ctx: click.Context, model: str, cases: int, as_json: bool) -> None:
    """Measure every requirement on fresh cases; exit 1 if one is missed."""
    from holdfast.cli.show import table
    from holdfast.models.door import open_model
    from holdfast.report.words import percent, span
    from holdfast.study.requirements import check

    rows = check(open_model(model), cases)
    if as_json:
        made = [{**row.model_dump(mode="json"), "value": row.rate.rate, "ok": row.ok} for row in rows]
        click.echo(json.dumps({"model": model, "cases": cases, "requirements": made}, indent=1))
    else:
        bounds = [
            f"≥ {percent(row.at_least)}" if row.at_least is not None else f"≤ {percent(row.at_most)}" for row in rows
        ]
        shown = [
            (row.name, percent(row.rate.rate), span(row.rate.low, row.rate.high), row.rate.n, bound, row.ok)
            for row, bound in zip(rows, bounds, strict=True)
        ]
        table(("requirement", "measured", "95% interval", "n", "bound", "ok"), shown, right=("measured", "n"))
    ctx.exit(0 if all(row.ok for row in rows) else 1)
