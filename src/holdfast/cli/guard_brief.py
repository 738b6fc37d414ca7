"""`holdfast guard brief POLICY [--context FOLDER --agent NAME]`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option(
    "--context", type=click.Path(path_type=Path), help="Add the statements in this folder that have the agent in scope."
)
@click.option("--agent", help="The agent that reads the brief; by default the policy's first agent.")
def command(policy: Path, context: Path | None, agent: str | None) -> None:
    """Print the brief for the agent: the policy with its version as Markdown, and the organisation's context."""
    from holdfast.guard.context import bulletin
    from holdfast.guard.policy.brief import brief
    from holdfast.guard.policy.load import load_policy

    loaded = load_policy(policy)
    reader = agent or loaded.source.agents[0]
    click.echo(brief(loaded).rstrip())
    if context:
        click.echo("\n" + bulletin(context, reader, datetime.now(UTC).date()).rstrip())
