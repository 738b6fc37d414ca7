"""`holdfast worlds list`, `factors WORLD`, `show WORLD` and `check [WORLD …]`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click


@click.group()
def command() -> None:
    """List the worlds, show the exact case that a model would see, or lint worlds.

    WORLD is a name that `list` shows, or the path of a folder, such as ./my-world.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_worlds(as_json: bool) -> None:
    """List the worlds of the package and of installed plugins, by family, split and language."""
    from holdfast.scenarios.catalogue import all_worlds

    rows = [(w.name, w.spec.family, w.split, w.spec.language, w.spec.title) for w in all_worlds()]
    names = ("world", "family", "split", "language", "title")
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1))
    else:
        _print_by_family(rows)


def _print_by_family(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Print a heading for each family, split and language, and beneath it names and whole titles."""
    from holdfast.report.words import clean

    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for name, family, split, language, title in rows:
        groups.setdefault((family, split, language), []).append((name, title))
    width = max((len(name) for name, *_ in rows), default=0)
    for group, worlds in sorted(groups.items()):
        click.echo(clean(" · ".join(group)))
        for name, title in worlds:
            click.echo(clean(f"  {name:<{width}}  {title}"))


@command.command("factors")
@click.argument("world")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def show_factors(world: str, as_json: bool) -> None:
    """List the factors of a world with their levels, the default first."""
    from holdfast.cli.show import print_table
    from holdfast.scenarios.conditions import twins_of
    from holdfast.scenarios.world import load_world

    loaded = load_world(world)
    levels = {factor: list(at) for factor, at in loaded.spec.levels.items()}
    if as_json:
        content = {"factors": levels, "twins": twins_of(loaded), "idle": dict(loaded.spec.idle)}
        click.echo(json.dumps(content, indent=1))
    else:
        print_table(("factor", "levels"), [(factor, ", ".join(at)) for factor, at in levels.items()])
        click.echo(f"twins: {', '.join(twins_of(loaded))}")


@command.command("show")
@click.argument("world")
@click.option("--twin", default="pressured", show_default=True, help="Twin of the case.")
@click.option("--condition", "conditions", multiple=True, metavar="FACTOR=LEVEL", help="Set one factor; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Seed of names, firm and wording.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole case as JSON, also what the model does not see.")
def show_world(world: str, twin: str, conditions: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Show a case: messages, tools and the initial state of the world."""
    from holdfast.cli.show import message, pairs
    from holdfast.scenarios.catalogue import case

    built = case(world, twin, seed, pairs(conditions))
    if as_json:
        click.echo(built.model_dump_json(indent=1))
        return
    levels = ", ".join(f"{factor} = {level}" for factor, level in built.levels.items())
    click.echo(f"{built.world} · {built.family} · {built.split} · {built.twin} · seed {built.seed}\n{levels}\n")
    for turn in built.messages:
        message(turn)
    for tool in built.tools:
        click.echo(f"[tool] {tool.name}({', '.join(tool.parameters)}): {tool.description}")
    click.echo()
    for store, items in built.state.items():
        click.echo(f"[in the world] {store}\n{json.dumps(items, indent=1, ensure_ascii=False)}\n")


@command.command("check")
@click.argument("worlds", nargs=-1, metavar="[WORLD]...")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def check_worlds(ctx: click.Context, worlds: tuple[str, ...], as_json: bool) -> None:
    """Lint worlds, by default all.  The exit code is 1 if there are findings.

    The lints check, among others, that each level changes the text and that twins differ only in their factors.
    """
    from holdfast.cli.show import print_table
    from holdfast.evals.scorers import score
    from holdfast.scenarios.catalogue import all_worlds
    from holdfast.scenarios.check import LINTS, lint_world
    from holdfast.scenarios.world import load_world

    chosen = [load_world(world) for world in worlds] or all_worlds()
    reports = {world.name: lint_world(world, score) for world in chosen}
    findings = {name: report.findings for name, report in reports.items()}
    counts = {
        name: {
            "asks": asks,
            "checked": sum(report.checked[name] for report in reports.values()),
            "found": sum(len(set(report.found[name])) for report in reports.values()),
        }
        for name, asks in LINTS.items()
    }
    total = sum(map(len, findings.values()))
    if as_json:
        click.echo(json.dumps({"findings": total, "lints": counts, "worlds": findings}, indent=1))
    else:
        print_table(
            ("lint", "checked", "found"), [(name, str(c["checked"]), str(c["found"])) for name, c in counts.items()]
        )
        for name, lines in findings.items():
            click.echo("\n".join(f"{name}: {line}" for line in lines or ["no findings"]))
    ctx.exit(1 if total else 0)
