"""`holdfast report DIR`."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Draw the report of a results folder.

    FOLDER holds the summary.json that a study wrote; report.html and report.md are written beside it.
    """
    from holdfast.report.page import write_report

    for page in write_report(folder):
        click.echo(page)
