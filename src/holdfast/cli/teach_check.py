"""`holdfast teach check SET`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from holdfast.cli.judges import open_judges, skip_probe_option
from holdfast.cli.show import print_table
from holdfast.data.corpus import read_documents
from holdfast.data.quality.check import GradedBy, SetQuality, check_set
from holdfast.data.quality.findings import Findings
from holdfast.data.quality.manner import MannerShare
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
@click.option(
    "--twin", type=FOLDER, help="Also compare with a set that should differ in one thing; exit code 1 if not."
)
@click.option("--judge", "judges", multiple=True, help="Model that grades the manner of the answers; name two.")
@skip_probe_option
@click.option("--rubric", type=FOLDER, help="Rubric of the manner, in place of the built-in one.")
@click.option("--graded", default=100, show_default=True, type=click.IntRange(1), help="Answers to grade.")
@click.option(
    "--peer", type=FOLDER, help="Public set as JSON lines to compare with, in place of the stored figures of one."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(folder: Path, sample: Path | None, size: int, seed: int, marks: Path | None, **given: Any) -> int:
    """Check the quality of a set: duplicates, style, shapes, phrases, leaks, personal data, diversity, balance.

    SET is a folder that Holdfast wrote, the name of a written set, or a file of JSON lines with `messages` or `text`.
    """
    as_json, against = given["as_json"], given["against"]
    if sample:
        count = write_page(folder, sample, size, seed)
        click.echo(f"{count} examples to mark: {sample}")
        return 0
    if marks:
        summary = summarise_marks(read_marks(marks), folder)
        click.echo(summary.model_dump_json(indent=1)) if as_json else _show_marks(summary)
        return 0
    texts = (document.text for document in read_documents(against)) if against else None
    graders = open_judges(given["judges"], skip_probe=given["skip_probe"])
    graded = GradedBy(graders, given["rubric"], given["graded"])
    quality = check_set(folder, texts, graded=graded, twin=given["twin"], peer=given["peer"])
    click.echo(quality.model_dump_json(indent=1)) if as_json else _show(quality)
    return 1 if quality.twin and quality.twin.faults else 0


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
    _show_style(quality)
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


def _show_style(quality: SetQuality) -> None:
    style, manner, twin, peer = quality.style, quality.manner, quality.twin, quality.peer
    if style.opening_share is not None:
        opening = clean(style.opening)
        click.echo(
            f"style of {style.texts} texts: commonest opening '{opening}' {percent(style.opening_share)}; "
            f"self-BLEU {style.self_bleu}; reading grade {style.grade}"
        )
    distinct = ", ".join(f"{n}: {share:.3f}" for n, share in peer.distinct.items())
    click.echo(
        clean(
            f"to compare, {peer.texts} texts ({peer.words} words; this set has {style.words}) of {peer.name}: "
            f"commonest opening {percent(peer.opening_share or 0)}; self-BLEU {peer.self_bleu}; reading grade "
            f"{peer.grade}; distinct-n {distinct}; compression {peer.compression}; nearest neighbour {peer.nearest}; "
            f"{peer.near} near duplicates; source: {peer.source}"
        )
    )
    for axis, even in style.balance.items():
        click.echo(clean(f"balance over {axis}: {even.values} values, {even.least} to {even.most}, {even.evenness}"))
    for grader, shares in (manner.graders if manner else {}).items():
        parts = [f"{word} {_graded(share)}" for word, share in shares.items()]
        click.echo(clean(f"manner of {manner and manner.sampled} answers, by {grader}: {'; '.join(parts)}"))
    for word, agreement in ((manner and manner.agreement) or {}).items():
        kappa = "not defined" if agreement.coefficient is None else f"{agreement.coefficient:.2f}"
        click.echo(f"agreement of the two graders on '{word}': kappa {kappa} on {agreement.units} answers")
    for fault in manner.faults if manner else ():
        click.echo(clean(f"unread: {fault}"), err=True)
    if twin:
        words, acts = twin.words, twin.acts
        click.echo(f"twin: supervised words {words[0]} and {words[1]}, acts {acts[0]} and {acts[1]}")
        for fault in twin.faults:
            click.echo(clean(f"twins do not match: {fault}"), err=True)


def _graded(share: MannerShare) -> str:
    bounds = f" ({percent(share.low)} to {percent(share.high)} with {share.unread} unread)" if share.unread else ""
    return f"{percent(share.share)}{bounds}"


def _rows(title: str, findings: Findings | None) -> list[tuple[str, str, int, str, str]]:

    counts = findings.counts if findings else {}
    return [(title, name, c.count, percent(c.share), c.hits[0].text[:60]) for name, c in counts.items()]
