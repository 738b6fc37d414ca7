"""`holdfast report DIR`."""

from __future__ import annotations

from pathlib import Path

import click

_REMEDY = "see holdfast verify; --unverified draws them with a warning"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--unverified", is_flag=True, help="Draw a folder that does not verify; the pages say so at their head.")
def command(folder: Path, unverified: bool) -> None:
    """Draw the report of a results folder.

    FOLDER holds the summary.json that a study wrote, or the metrics.jsonl of a training, or its stages in folders of
    their own; report.html and report.md are written beside them.  Results must verify: see holdfast verify.
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
    # Imported late: a training is drawn without what verification needs.
    from holdfast.study.verify import verify

    checked = verify(folder) if folder.is_dir() else None
    if checked and checked.unfinished and not (folder / SUMMARY).exists():
        raise checked.refusal(_REMEDY)
    # A file that is no summary cannot be drawn, verified or not, and its own error says more than a failed hash.
    load_summary(folder)
    checked = checked or verify(folder)
    if not checked.objections:
        draw(folder, every=True)
    elif unverified:
        for page in write_report(folder, checked.objections):
            click.echo(page)
    else:
        raise checked.refusal(_REMEDY)
