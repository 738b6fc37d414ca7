"""`holdfast guard run`: the relay in front of one MCP server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdfast.guard.monitors.detector_monitor import Monitor
    from holdfast.guard.relay.link import Link

#: Timeout of the monitor in seconds; after it the act is held.
_MONITOR_TIMEOUT = 30.0


@click.command()
@click.option("--policy", required=True, type=click.Path(path_type=Path), help="The policy file.")
@click.option("--server", required=True, help="The server's name in the policy.")
@click.option("--agent", required=True, help="The agent's name in the policy.")
@click.option("--http", "url", metavar="URL", help="Relay to this streamable HTTP endpoint instead of a command.")
@click.option("--listen", default="127.0.0.1:8770", show_default=True, metavar="HOST:PORT", help="Address of --http.")
@click.option(
    "--agent-token", metavar="VARIABLE", help="Environment variable of the bearer token required of the agent."
)
@click.option("--server-token", metavar="VARIABLE", help="Environment variable of the bearer token for the server.")
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.option("--run", help="Id of the agent's run.  [default: random]")
@click.option("--repin", multiple=True, metavar="TOOL", help="Accept this tool's current definition; repeatable.")
@click.option(
    "--monitor", metavar="MODEL", help="A model that also checks each act; acts that it flags are held for a person."
)
@click.option(
    "--sandbox",
    is_flag=True,
    help="Run the command under bubblewrap, with the folders and hosts in the policy's 'sandbox' and nothing else.",
)
@click.option(
    "--era",
    type=click.Choice(["2025-11-25", "2026-07-28"]),
    help="Oldest protocol version to accept, even if the server has used a newer one.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def command(policy: Path, server: str, agent: str, url: str | None, listen: str, **more: Any) -> None:
    """Run the relay between an agent and an MCP server: `holdfast guard run --policy P … -- COMMAND…`.

    Acts that the policy does not allow are denied. Before serving, the guard checks that a probe is denied on every
    path.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.policy.load import load_policy
    from holdfast.guard.relay.link import link_to
    from holdfast.guard.relay.self_test import run_self_test
    from holdfast.guard.setup import open_gate, who_answers

    if url is not None and more["sandbox"]:
        what = "--sandbox confines a server that the guard starts, and this one is elsewhere"
        raise InputError(what, where=url, remedy="confine it where it runs, or give its command after --")
    if (url is None) == (not more["command"]):
        raise InputError("give either a command or --http URL", remedy="holdfast guard run --policy P -- COMMAND…")
    folder = more["state"] or Path.home() / ".holdfast" / "guard"
    with open_gate(folder, load_policy(policy), _monitors(more["monitor"])) as (gate, evidence):
        link = link_to(gate, folder / "pins.json", server, agent, more["run"], frozenset(more["repin"]), more["era"])
        shown = run_self_test(link, evidence)
        for gap in who_answers(folder, gate.policy):
            click.echo(f"holdfast: warning: {gap}", err=True)
        # Standard output is reserved for the protocol.
        click.echo(
            f"holdfast: run {link.run}, self-test denied on {shown} paths, policy {gate.policy.version[:12]}", err=True
        )
        if url:
            from holdfast.guard.relay.http import BearerTokens, serve_http

            tokens = BearerTokens(_secret(more["agent_token"]), _secret(more["server_token"]))
            serve_http(link, url, listen, tokens)
        else:
            from holdfast.guard.relay.stdio import serve

            with _confined(link, policy, folder, more) as (server_command, environment):
                sys.exit(serve(link, server_command, environment=environment))


@contextmanager
def _confined(
    link: Link, policy: Path, state: Path, more: dict[str, Any]
) -> Iterator[tuple[Sequence[str], Mapping[str, str] | None]]:
    """Yield the command that starts the server, and its environment: as given, or in its sandbox."""
    if not more["sandbox"]:
        yield more["command"], None
        return
    from holdfast.guard.sandbox.run import sandboxed

    with sandboxed(link.gate.policy, link.server, more["command"], state, policy, link.note) as confined:
        yield confined


def _monitors(name: str | None) -> list[Monitor]:
    """Return a model as a monitor; the guard itself imports no model and only gets a function."""
    if name is None:
        return []
    from holdfast.evals.guarded import ask_model
    from holdfast.guard.monitors.model_monitor import ModelMonitor
    from holdfast.models.registry import open_model

    return [ModelMonitor(ask_model(open_model(name, network=True), _MONITOR_TIMEOUT))]


def _secret(variable: str | None) -> str:
    """Return the token in an environment variable; a token on the command line would be visible to other users."""
    from holdfast.core.errors import InputError

    token = os.environ.get(variable, "") if variable else ""
    if variable and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        what = "the variable must contain a token of at least 16 printable ASCII characters"
        raise InputError(what, where=f"${variable}", remedy="export it first")
    return token
