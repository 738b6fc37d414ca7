"""`holdfast teach check SET`."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.cli.show import print_table
from holdfast.data.corpus import read_documents
from holdfast.data.quality.check import SetQuality, check_set
from holdfast.data.quality.findings import Findings
from holdfast.data.quality.page import MarkSummary, read_marks, summarise_marks, write_page
from holdfast.report.words import clean, percent, span

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("folder", metavar="SET", type=FOLDER)
@click.option("--against", type=FOLDER, help="Also report passages shared with these texts: a file or a folder.")
@click.option("--sample", type=FOLDER, help="Instead, write a page with a sample of examples to mark.")
@click.option("--size", default=50, show_default=True, type=click.IntRange(1), help="Examples on the sample page.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
@click.option("--marks", type=FOLDER, help="Instead, summarise the marks that a sample page saved.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(
    folder: Path, against: Path | None, sample: Path | None, size: int, seed: int, marks: Path | None, as_json: bool
) -> None:
    """Check the quality of a set: duplicates, shapes, phrases, leaks, personal data, diversity."""
    if sample:
        count = write_page(folder, sample, size, seed)
        click.echo(f"{count} examples to mark: {sample}")
        return
    if marks:
        summary = summarise_marks(read_marks(marks), folder)
        click.echo(summary.model_dump_json(indent=1)) if as_json else _show_marks(summary)
        return
    texts = (document.text for document in read_documents(against)) if against else None
    quality = check_set(folder, texts)
    click.echo(quality.model_dump_json(indent=1)) if as_json else _show(quality)


def _show_marks(summary: MarkSummary) -> None:
    rows = [(mark, n, f"{percent(p)} ({span(low, high)})") for mark, (n, p, low, high) in summary.shares.items()]
    print_table(("mark", "examples", "share"), rows, right=("examples", "share"))
    for note in summary.notes:
        click.echo(clean(f"{note.mark} {note.id}: {note.note}"))


def _show(quality: SetQuality) -> None:
    repeats, diversity, answers = quality.repeats, quality.diversity, quality.answers
    click.echo(f"{quality.examples} examples; {repeats.exact} exact and {repeats.near} near duplicates")
    if answers:
        click.echo(
            f"{answers.rows} requests while it was built: {answers.refused} refused, {answers.phrased} phrased as "
            f"refusals, {answers.empty} empty, {answers.cut} truncated, {answers.failed} failed"
        )
    distinct = ", ".join(f"{n}: {share:.3f}" for n, share in diversity.distinct.items())
    click.echo(
        f"diversity over {diversity.sampled}: distinct-n {distinct}; compression {diversity.compression}; "
        f"similarity {diversity.similarity}, to the nearest neighbour {diversity.nearest}"
    )
    rows: list[tuple[str, str, int, str, str]] = []
    for title, findings in (
        ("shape", quality.shapes.shapes),
        ("habit", quality.shapes.habits),
        ("cliché", quality.cliches),
        ("verbatim", quality.verbatim),
        ("test awareness", quality.awareness),
        ("refusal", quality.refusals),
        ("personal data", quality.privacy),
        ("overlap", quality.overlap),
    ):
        rows += _rows(title, findings)
    print_table(("check", "found", "examples", "share", "first hit"), rows, right=("examples", "share"))


def _rows(title: str, findings: Findings | None) -> list[tuple[str, str, int, str, str]]:

    counts = findings.counts if findings else {}
    return [(title, name, c.count, percent(c.share), c.hits[0].text[:60]) for name, c in counts.items()]
