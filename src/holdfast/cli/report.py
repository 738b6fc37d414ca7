"""`holdfast report DIR`."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Draw the report of FOLDER, which holds a study's summary.json: report.html and report.md."""
    from holdfast.report.page import write_report

    for page in write_report(folder):
        click.echo(page)
