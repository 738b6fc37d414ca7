"""`holdfast guard check POLICY`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--cedar", is_flag=True, help="Print the generated Cedar policies.")
@click.option("--schema", is_flag=True, help="Print the generated Cedar schema.")
@click.option(
    "--tools",
    multiple=True,
    metavar="SERVER=FILE",
    help="A server's tools/list response, to check the names of tools and arguments.",
)
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(policy: Path, cedar: bool, schema: bool, tools: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Check a policy, and whether somebody would answer; an error is shown with its file, line and rule."""
    from holdfast.cli.show import pairs
    from holdfast.guard.policy.load import load_policy
    from holdfast.guard.setup import who_answers

    offered = {name: given for server, file in pairs(tools).items() for name, given in _offered(server, Path(file))}
    loaded = load_policy(policy, offered if tools else None)
    gaps = who_answers(state or Path.home() / ".holdfast" / "guard", loaded)
    if as_json:
        found: dict[str, Any] = {"policy": loaded.name, "version": loaded.version, "rules": len(loaded.source.rules)}
        found |= {"nobody_answers": gaps}
        found |= {"cedar": loaded.cedar} if cedar else {}
        found |= {"schema": loaded.schema} if schema else {}
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif cedar or schema:
        click.echo("\n".join(text for text in (loaded.cedar * cedar, loaded.schema * schema) if text).rstrip())
    else:
        click.echo(f"{loaded.name}: valid, {len(loaded.source.rules)} rules, version {loaded.version}")
        for gap in gaps:
            click.echo(f"warning: {gap}")


def _offered(server: str, file: Path) -> list[tuple[str, list[str]]]:
    """Return the tools in a server's `tools/list` response with the names of their arguments."""
    from holdfast.core.errors import InputError

    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        tools = listed.get("result", listed)["tools"]
        return [(f"{server}/{tool['name']}", list(tool["inputSchema"].get("properties", {}))) for tool in tools]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        remedy = "save the server's JSON response there"
        raise InputError("not a tools/list response", where=file, remedy=remedy) from None
