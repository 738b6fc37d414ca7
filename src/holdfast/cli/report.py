"""`holdfast report DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.study.verify import Verification

#: Faults that the page itself lists.
_LISTED = 10


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--unverified", is_flag=True, help="Draw a folder that does not verify; the pages say so at their head.")
def command(folder: Path, unverified: bool) -> None:
    """Draw the report of a results folder.

    FOLDER holds the summary.json that a study wrote, or the metrics.jsonl of a training, or its stages in folders of
    their own; report.html and report.md are written beside them.  Results must verify: see holdfast verify.
    """
    from holdfast.cli.pages import draw
    from holdfast.report.curves import trained_folders, write_curves
    from holdfast.report.page import write_report
    from holdfast.report.summary import FILE, load_summary

    if trained := trained_folders(folder):
        for pages in map(write_curves, trained):
            for page in pages:
                click.echo(page)
        return
    # Imported late: a training is drawn without what verification needs.
    from holdfast.study.verify import verify

    found = verify(folder) if folder.is_dir() else None
    if found and found.unfinished and not (folder / FILE).exists():
        raise _refusal(found, [found.unfinished])
    # What is no summary of ours cannot be drawn, verified or not.
    stopped_early = load_summary(folder).incomplete is not None
    found = found or verify(folder)
    if not (why := _against(found, stopped_early)):
        draw(folder, every=True)
    elif unverified:
        for page in write_report(folder, why):
            click.echo(page)
    else:
        raise _refusal(found, why)


def _against(found: Verification, stopped_early: bool) -> list[str]:
    """Why a folder must not be drawn as it is; pages do not count, since they are drawn anew."""
    faults = [f"{fault.file}: {fault.what}" for fault in found.faults if fault.file not in ("report.html", "report.md")]
    if len(faults) > _LISTED:
        faults = [*faults[:_LISTED], f"and {len(faults) - _LISTED} more"]
    # A page of a run that stopped early says so itself.
    open_ = found.unfinished and not (stopped_early and found.state != "being written" and found.root)
    return [*faults, *([found.unfinished] if open_ else [])]


def _refusal(found: Verification, why: list[str]) -> Exception:
    from holdfast.core.errors import IncompleteError, ResultsError

    kind = ResultsError if found.faults else IncompleteError
    what = f"these results do not verify: {'; '.join(why[:3])}"
    remedy = "see holdfast verify; --unverified draws them with a warning"
    return kind(what, where=found.folder, remedy=remedy)
