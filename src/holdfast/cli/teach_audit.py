"""`holdfast teach audit CORPUS`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from holdfast.cli.judges import open_judges, skip_probe_option

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("corpus", type=FILE)
@click.option("--judge", help="Model that reads the passages.  [default: words only, which miss most]")
@click.option(
    "--asked", default=500, show_default=True, type=click.IntRange(1), help="Passages to ask the model about."
)
@click.option(
    "--calibrate", is_flag=True, help="Also measure the model on labelled passages, and correct for its errors."
)
@skip_probe_option
@click.option("--rubric", type=FILE, help="Rubric in place of the built-in one.")
@click.option(
    "--examples", default=5, show_default=True, type=click.IntRange(0), help="Examples of each kind to print."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(corpus: Path, judge: str | None, examples: int, skip_probe: bool, as_json: bool, **given: Any) -> None:
    """Estimate how many passages depict AIs that resist, deceive or take revenge, and how many depict faithful AIs.

    With --judge MODEL a model reads a sample: half of it are passages with a word for a machine, half are other prose.
    Without it, words only are counted. CORPUS is JSONL, Parquet, text, or a folder of these.
    """
    from holdfast.cli.show import print_table
    from holdfast.core.errors import InputError
    from holdfast.data.audit.judged import AuditChoice, audit_by_meaning
    from holdfast.data.audit.scan import scan
    from holdfast.data.corpus import read_documents
    from holdfast.report.words import clean, count, percent, span

    if not judge and (given["calibrate"] or given["rubric"]):
        raise InputError("--calibrate and --rubric are for a model", remedy="name one with --judge")
    if judge:
        [model] = open_judges([judge], skip_probe=skip_probe)
        choice = AuditChoice(examples=examples, **given)
        audit = audit_by_meaning(read_documents(corpus), corpus.name, model, choice)
    else:
        audit = scan(corpus, examples)
    if as_json:
        click.echo(audit.model_dump_json(indent=1))
        return
    click.echo(f"{count(audit.documents)} documents, {count(audit.tokens)} tokens, {count(audit.passages)} passages")
    unread = f", {count(audit.unread)} unread" if judge else ""
    words = f"{count(audit.candidates)} of all passages have a word for a machine"
    click.echo(clean(f"read by {audit.by}: {count(audit.asked)} passages{unread}; {words}\n"))
    rows = []
    for name, kind in audit.kinds.items():
        share = f"{percent(kind.share.value)} ({span(kind.share.low, kind.share.high)})"
        rate = ", ".join("?" if x is None else f"{x:g}" for x in kind.per_million.model_dump().values())
        quality = audit.quality[name] if audit.quality else None
        measured = (percent(quality.precision.share), percent(quality.recall.share)) if quality else ("?", "?")
        rows.append((name, kind.found.k, share, rate, *measured))
    names = ("kind", "found", "share of passages", "per million tokens, low, high", "precision", "recall")
    print_table(names, rows, right=names[1:])
    for name, kind in audit.kinds.items():
        for example in kind.examples:
            click.echo(clean(f"{name} {example.probability:.2f} {example.place}\n  {example.text}\n"))
    for fault in audit.faults:
        click.echo(clean(f"unread: {fault}"), err=True)
    for limit in audit.limits:
        click.echo(clean(limit))
