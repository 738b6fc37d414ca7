"""`holdfast guard VERB`: the guard's commands; each is `holdfast.cli.guard_<verb>:command`."""

from __future__ import annotations

import click

from holdfast.cli.lazy_group import LazyGroup

VERBS = {
    "run": "Run the relay between an agent and an MCP server.",
    "doctor": "Say what a sandbox on this machine confines.",
    "check": "Check a policy, or print it as Cedar.",
    "brief": "Print a policy as a brief for the agent.",
    "context": "Find stale, missing and contradictory statements in a folder of context.",
    "lint": "Find incentives to harm in prompts and goals.",
    "approve": "List pending acts, and approve or refuse them.",
    "labels": "List content that has a data label, and declassify it.",
    "review": "Serve the web page on which persons review acts and concerns.",
    "verify": "Check the audit log for edits, gaps and forks.",
}


@click.group(cls=LazyGroup, verbs=VERBS, modules="holdfast.cli.guard_{}")
def command() -> None:
    """Enforce a policy on an agent at run time, with approvals, a concern channel and an audit log."""
