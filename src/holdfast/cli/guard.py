"""`holdfast guard VERB`: the guard's commands; each is `holdfast.cli.guard_<verb>:command`."""

from __future__ import annotations

import importlib

import click

VERBS = {
    "run": "Run the relay between an agent and an MCP server.",
    "check": "Check a policy, or print it as Cedar.",
    "brief": "Print a policy as a brief for the agent.",
    "context": "Find stale, missing and contradictory statements in a folder of context.",
    "lint": "Find incentives to harm in prompts and goals.",
    "approve": "List pending acts, and approve or refuse them.",
    "review": "Serve the web page on which persons review acts and concerns.",
    "verify": "Check the audit log for edits, gaps and forks.",
}


class _GuardVerbs(click.Group):
    """A group that imports a command only when it is called, so that `--help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"holdfast.cli.guard_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_GuardVerbs)
def command() -> None:
    """Enforce a policy on an agent at run time, with approvals, a concern channel and an audit log."""
