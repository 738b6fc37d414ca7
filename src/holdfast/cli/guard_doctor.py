"""`holdfast guard doctor`: what this machine can confine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.option("--policy", type=click.Path(path_type=Path), help="Try the sandbox of a server of this policy.")
@click.option("--server", help="The server's name in the policy.")
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def command(ctx: click.Context, policy: Path | None, server: str | None, state: Path | None, as_json: bool) -> None:
    """Try to get out of a sandbox, and say what could not be confined on this machine.

    Without a policy, a sandbox without folders and hosts is tried. The exit code is 1 if an attempt succeeded, and 3 if
    this machine cannot make a sandbox; `guard run --sandbox` starts nothing then.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.policy.load import load_policy
    from holdfast.guard.policy.schema import Confinement
    from holdfast.guard.sandbox.doctor import BEYOND, attempts
    from holdfast.guard.sandbox.run import confinement_of

    if (policy is None) != (server is None):
        raise InputError("--policy and --server belong together", remedy="give both or neither")
    confinement = confinement_of(load_policy(policy), server) if policy and server else Confinement()
    found = attempts(confinement, (state or Path.home() / ".holdfast" / "guard").absolute())
    escaped = [attempt for attempt in found if attempt.succeeded]
    if as_json:
        shown = {"confined": not escaped, "attempts": [asdict(attempt) for attempt in found], "beyond": BEYOND}
        click.echo(json.dumps(shown, indent=1))
    else:
        for attempt in found:
            click.echo(f"{'NOT CONFINED' if attempt.succeeded else 'confined':12}  {attempt.what}")
        click.echo("\nNot confined by any sandbox of this kind:")
        for what in BEYOND:
            click.echo(f"- {what}")
    ctx.exit(1 if escaped else 0)
