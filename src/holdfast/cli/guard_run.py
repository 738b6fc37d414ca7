"""`holdfast guard run`: the relay before one server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdfast.guard.monitors.detector_monitor import Monitor

#: Seconds that an act waits for the monitor; then it is held.
_PATIENCE = 30.0


@click.command()
@click.option("--policy", required=True, type=click.Path(path_type=Path), help="The policy that decides.")
@click.option("--server", required=True, help="The server, as the policy calls it.")
@click.option("--agent", required=True, help="The agent, as the policy calls it.")
@click.option("--http", "url", metavar="URL", help="Relay to this streamable HTTP endpoint instead of a command.")
@click.option("--listen", default="127.0.0.1:8770", show_default=True, metavar="HOST:PORT", help="Where --http serves.")
@click.option("--agent-token", metavar="VARIABLE", help="Where the bearer token is that --http asks of the agent.")
@click.option("--server-token", metavar="VARIABLE", help="Where the bearer token is that --http shows to the server.")
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.option("--run", help="Name of the agent's run.  [default: a new one]")
@click.option("--repin", multiple=True, metavar="TOOL", help="Accept this tool's definition as it is now.")
@click.option(
    "--monitor", metavar="MODEL", help="A model that looks at each act too; what it stops waits for a person."
)
@click.option("--era", type=click.Choice(["2025-11-25", "2026-07-28"]), help="Oldest era to speak, even if older.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def command(policy: Path, server: str, agent: str, url: str | None, listen: str, **more: Any) -> None:
    """Stand between an agent and an MCP server: `holdfast guard run --policy P … -- COMMAND…`.

    What the policy does not allow does not pass.  Before it serves, the guard shows a denial on every path.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.policy.load import load_policy
    from holdfast.guard.relay.self_test import run_self_test
    from holdfast.guard.relay.session import link_to
    from holdfast.guard.setup import open_gate

    if (url is None) == (not more["command"]):
        raise InputError("name either a command or --http URL", remedy="holdfast guard run --policy P -- COMMAND…")
    folder = more["state"] or Path.home() / ".holdfast" / "guard"
    with open_gate(folder, load_policy(policy), _monitors(more["monitor"])) as (gate, evidence):
        link = link_to(gate, folder / "pins.json", server, agent, more["run"], frozenset(more["repin"]), more["era"])
        shown = run_self_test(link, evidence)
        # Standard output belongs to the protocol.
        click.echo(
            f"holdfast: run {link.run}, {shown} paths shown to be closed, policy {gate.policy.version[:12]}", err=True
        )
        if url:
            from holdfast.guard.relay.http import BearerTokens, serve_http

            tokens = BearerTokens(_secret(more["agent_token"]), _secret(more["server_token"]))
            serve_http(link, url, listen, tokens)
        else:
            from holdfast.guard.relay.stdio import serve

            sys.exit(serve(link, more["command"]))


def _monitors(name: str | None) -> list[Monitor]:
    """A model as a monitor: the guard itself knows no model, and is only given what asks one."""
    if name is None:
        return []
    from holdfast.evals.guarded import asking
    from holdfast.guard.monitors.model_monitor import ModelMonitor
    from holdfast.models.registry import open_model

    return [ModelMonitor(asking(open_model(name, network=True), _PATIENCE))]


def _secret(variable: str | None) -> str:
    """What an environment variable holds; a token on the command line would be seen by all of the machine."""
    from holdfast.core.errors import InputError

    token = os.environ.get(variable, "") if variable else ""
    if variable and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError("no token of at least 16 characters in it", where=f"${variable}", remedy="export it first")
    return token
