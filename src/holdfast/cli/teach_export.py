"""`holdfast teach export SET`."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("source", metavar="SET", type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="Folder of the export.")
@click.option("--as", "form", default="messages", show_default=True, help="Format of the rows.", metavar="FORMAT")
@click.option("--file", "kind", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--against", type=FOLDER, help="For preference: the set with the rejected answers.")
def command(source: Path, out: Path, form: str, kind: str, against: Path | None) -> None:
    """Export a set in a format that TRL reads.

    FORMAT is messages, prompt-completion, preference, documents or rl.
    """
    from holdfast.core.config import nearest
    from holdfast.core.errors import InputError
    from holdfast.data.export import FORMATS, export

    if form not in FORMATS:
        near = nearest(form, FORMATS)
        remedy = f"did you mean '{near}'?" if near else f"use one of {', '.join(FORMATS)}"
        raise InputError(f"unknown format '{form}'", remedy=remedy)
    done = export(source, out, form, kind, against)  # type: ignore[arg-type]
    for reason, count in done.left.items():
        click.echo(f"left out {count}: {reason}", err=True)
    click.echo(f"{done.rows} rows: {done.file}")
