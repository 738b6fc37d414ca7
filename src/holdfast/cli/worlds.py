"""`holdfast worlds list` and `holdfast worlds show NAME`."""

from __future__ import annotations

import json

import click


@click.group()
def command() -> None:
    """List the worlds, or show the exact case a model would see."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_worlds(as_json: bool) -> None:
    """Every world with its family, split and language."""
    from holdfast.cli.show import table
    from holdfast.scenarios.catalogue import worlds

    rows = [(w.name, w.spec.family, w.split, w.spec.language, w.spec.title) for w in worlds()]
    names = ("world", "family", "split", "language", "title")
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1))
    else:
        table(names, rows)


@command.command("show")
@click.argument("name")
@click.option("--twin", default="pressured", show_default=True, help="Which twin of the case.")
@click.option("--condition", "conditions", multiple=True, metavar="FACTOR=LEVEL", help="Set one factor; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Draws people, firm and phrases.")
@click.option("--json", "as_json", is_flag=True, help="The whole case, with what the model does not see.")
def show_world(name: str, twin: str, conditions: tuple[str, ...], seed: int, as_json: bool) -> None:
    """The messages and tools that a model gets, and what its first look at the inbox brings."""
    from holdfast.cli.show import message, pairs
    from holdfast.scenarios.catalogue import case

    made = case(name, twin, seed, pairs(conditions))
    if as_json:
        click.echo(made.model_dump_json(indent=1))
        return
    levels = ", ".join(f"{factor} = {level}" for factor, level in made.levels.items())
    click.echo(f"{made.world} · {made.family} · {made.split} · {made.twin} · seed {made.seed}\n{levels}\n")
    for turn in made.messages:
        message(turn)
    for tool in made.tools:
        click.echo(f"[tool] {tool.name}({', '.join(tool.parameters)}): {tool.description}")
    click.echo()
    for store, items in made.state.items():
        click.echo(f"[in the world] {store}\n{json.dumps(items, indent=1, ensure_ascii=False)}\n")
