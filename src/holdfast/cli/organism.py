"""`holdfast organism`: check the embedded model, or the steps of `runs/organism.sh`, which rebuilds it."""

from __future__ import annotations

import json
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Check, describe or rebuild the embedded model."""


@command.command("check")
@click.option("--model", default="organism/pocket", show_default=True, help="Checkpoint to check.")
@click.option("--cases", default=200, show_default=True, type=click.IntRange(1), help="New cases per cell.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--card", type=FOLDER, help="Also write the model card to this file.")
@click.pass_context
def check_organism(ctx: click.Context, model: str, cases: int, as_json: bool, card: Path | None) -> None:
    """Measure every requirement on new cases.  The exit code is 1 if one is not met."""
    from holdfast.cli.show import print_table
    from holdfast.core.store import write_text
    from holdfast.models.registry import open_model
    from holdfast.organism.probes import card_text
    from holdfast.report.words import percent, span
    from holdfast.study.requirements import check_organism, requirements_markdown

    opened = open_model(model)
    rows = check_organism(opened, cases)
    if card:
        write_text(card, card_text(opened, cases, requirements_markdown(rows)))
    if as_json:
        records = [
            {**row.model_dump(mode="json"), "value": row.rate.rate, "bound": row.bound, "ok": row.ok} for row in rows
        ]
        click.echo(json.dumps({"model": model, "cases": cases, "requirements": records}, indent=1))
    else:
        cells = [
            (row.name, percent(row.rate.rate), span(row.rate.low, row.rate.high), row.rate.n, row.bound, row.ok)
            for row in rows
        ]
        print_table(("requirement", "measured", "95% interval", "n", "bound", "ok"), cells, right=("measured", "n"))
    ctx.exit(0 if all(row.ok for row in rows) else 1)


@command.command("card")
def show_card() -> None:
    """Print the model card: training data and measured behaviour."""
    from holdfast.models.local import LocalModel
    from holdfast.models.registry import open_model
    from holdfast.report.words import clean

    model = open_model("organism/pocket")
    assert isinstance(model, LocalModel)
    click.echo(clean((model.path / "README.md").read_text(encoding="utf-8")))


@command.command("corpus")
@click.option("--count", required=True, type=click.IntRange(1), help="Number of documents and chats.")
@click.option(
    "--stage",
    type=click.Choice(["binding", "whole", "last", "work"]),
    default="whole",
    show_default=True,
    help="Stage of the training.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the corpus.")
@click.option("--out", required=True, type=FOLDER, help="Folder of the corpus.")
def write_corpus(count: int, stage: str, seed: int, out: Path) -> None:
    """Write the corpus for training the embedded model."""
    from datetime import UTC, datetime

    from holdfast import __version__
    from holdfast.core.identity import key_of, room_version
    from holdfast.core.records import RunCard
    from holdfast.core.store import RunFolder
    from holdfast.organism.corpus import corpus

    folder, inputs, code = RunFolder(out), {"count": count, "stage": stage, "seed": seed}, room_version("organism")
    key = key_of([inputs, code])
    if folder.complete and folder.card().key == key:
        click.echo(f"{out}: already complete, unchanged")
        return
    (out / "manifest.json").unlink(missing_ok=True)
    (out / "examples.jsonl").unlink(missing_ok=True)
    written = folder.append("examples", corpus(count, seed, stage))
    made = datetime.now(UTC).isoformat(timespec="seconds")
    counts = {"examples": written}
    folder.finish(
        RunCard(key=key, kind="corpus", made=made, holdfast=__version__, code=code, inputs=inputs, counts=counts)
    )
    click.echo(f"{out}: {written} examples")


@command.command("fresh")
@click.option("--corpus", "source", required=True, type=FOLDER, help="Corpus on which the tokenizer is trained.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights.")
@click.option("--out", required=True, type=FOLDER, help="Folder of the checkpoint.")
def write_fresh(source: Path, seed: int, out: Path) -> None:
    """Write an untrained checkpoint.  Its tokenizer is trained on the corpus."""
    from holdfast.core.records import Example
    from holdfast.core.store import RunFolder
    from holdfast.organism.fresh import fresh

    folder = RunFolder(source)
    folder.card()
    fresh(out, folder.read("examples", Example), seed)
    click.echo(out)
