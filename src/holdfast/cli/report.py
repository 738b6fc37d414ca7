"""`holdfast report FOLDER`."""

from __future__ import annotations

from pathlib import Path

import click

_REMEDY = "run holdfast verify to see all faults; --unverified writes pages with a warning"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--unverified", is_flag=True, help="Write pages for a folder that does not verify; they start with a warning."
)
def command(folder: Path, unverified: bool) -> None:
    """Write the report of a results folder as HTML and Markdown.

    FOLDER is a results folder of measure or study, or a training (metrics.jsonl, or one subfolder for each stage).  The
    pages are FOLDER/report.html and FOLDER/report.md.  Results must verify; see `holdfast verify`.
    """
    from holdfast.cli.pages import draw
    from holdfast.core.results import SUMMARY
    from holdfast.report.curves import trained_folders, write_curves
    from holdfast.report.page import write_report
    from holdfast.report.summary import load_summary

    if trained := trained_folders(folder):
        for pages in map(write_curves, trained):
            for page in pages:
                click.echo(page)
        return
    # Imported late, because the report of a training does not need the packages of verification.
    from holdfast.study.verify import verify

    checked = verify(folder) if folder.is_dir() else None
    if checked and checked.unfinished and not (folder / SUMMARY).exists():
        raise checked.refusal(_REMEDY)
    # An invalid summary cannot be rendered, verified or not, and its own error says more than a failed hash.
    load_summary(folder)
    checked = checked or verify(folder)
    if not checked.objections:
        draw(folder, every=True)
    elif unverified:
        for page in write_report(folder, checked.objections):
            click.echo(page)
    else:
        raise checked.refusal(_REMEDY)
