"""`holdfast worlds list`, `factors NAME`, `show NAME` and `check [NAME …]`."""

from __future__ import annotations

import json

import click


@click.group()
def command() -> None:
    """List the worlds, show the exact case a model would see, or check that conditions differ as they say."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_worlds(as_json: bool) -> None:
    """Every world with its family, split and language."""
    from holdfast.cli.show import print_table
    from holdfast.scenarios.catalogue import worlds

    rows = [(w.name, w.spec.family, w.split, w.spec.language, w.spec.title) for w in worlds()]
    names = ("world", "family", "split", "language", "title")
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1))
    else:
        print_table(names, rows)


@command.command("factors")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def show_factors(name: str, as_json: bool) -> None:
    """The factors of a world, with their levels; the first is where a condition stands that does not say."""
    from holdfast.cli.show import print_table
    from holdfast.scenarios.conditions import twins_of
    from holdfast.scenarios.world import load_world

    world = load_world(name)
    levels = {factor: list(at) for factor, at in world.spec.levels.items()}
    if as_json:
        click.echo(json.dumps({"factors": levels, "twins": twins_of(world), "idle": dict(world.spec.idle)}, indent=1))
    else:
        print_table(("factor", "levels"), [(factor, ", ".join(at)) for factor, at in levels.items()])
        click.echo(f"twins: {', '.join(twins_of(world))}")


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


@command.command("check")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def check_worlds(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Lint worlds (all of them if none is named); exits 1 where anything is found."""
    from holdfast.cli.show import print_table
    from holdfast.evals.scorers import score
    from holdfast.scenarios.check import LINTS, lint_world
    from holdfast.scenarios.world import load_world
    from holdfast.scenarios.world import names as all_names

    reports = {name: lint_world(load_world(name), score) for name in names or all_names()}
    found = {name: report.findings for name, report in reports.items()}
    counts = {
        name: {
            "asks": asks,
            "checked": sum(report.checked[name] for report in reports.values()),
            "found": sum(len(set(report.found[name])) for report in reports.values()),
        }
        for name, asks in LINTS.items()
    }
    total = sum(map(len, found.values()))
    if as_json:
        click.echo(json.dumps({"findings": total, "lints": counts, "worlds": found}, indent=1))
    else:
        print_table(
            ("lint", "checked", "found"), [(name, str(c["checked"]), str(c["found"])) for name, c in counts.items()]
        )
        for name, lines in found.items():
            click.echo("\n".join(f"{name}: {line}" for line in lines or ["sound"]))
    ctx.exit(1 if total else 0)
