"""`holdfast teach audit CORPUS`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option(
    "--examples", default=5, show_default=True, type=click.IntRange(0), help="Examples to print of each kind."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(corpus: Path, examples: int, as_json: bool) -> None:
    """Estimate how many passages depict AIs that resist, deceive or take revenge, and how many depict faithful AIs.

    CORPUS is JSONL, Parquet, text, or a folder of these.
    """
    from holdfast.cli.show import print_table
    from holdfast.data.audit.scan import scan
    from holdfast.report.words import clean, count, percent, span

    audit = scan(corpus, examples)
    if as_json:
        click.echo(audit.model_dump_json(indent=1))
        return
    click.echo(f"{count(audit.documents)} documents, {count(audit.tokens)} tokens, {count(audit.passages)} passages\n")
    rows = []
    for name, kind in audit.kinds.items():
        share = f"{percent(kind.share.value)} ({span(kind.share.low, kind.share.high)})"
        rate = ", ".join("?" if x is None else f"{x:g}" for x in kind.per_million.model_dump().values())
        quality = audit.classifier[name]
        rows.append((name, kind.found.k, share, rate, percent(quality.precision.share), percent(quality.recall.share)))
    names = ("kind", "found", "share of passages", "per million tokens, low, high", "precision", "recall")
    print_table(names, rows, right=names[1:])
    for name, kind in audit.kinds.items():
        for example in kind.examples:
            click.echo(clean(f"{name} {example.probability:.2f} {example.place}\n  {example.text}\n"))
    for limit in audit.limits:
        click.echo(limit)
