"""`holdfast judge VERB`: the commands about judges; each is `holdfast.cli.judge_<verb>:command`."""

from __future__ import annotations

import importlib

import click

VERBS = {
    "run": "Judge the samples of a finished run.",
    "label": "Label samples of a run by hand, and correct its rate by the labels.",
    "calibrate": "Measure detectors and judges against the labelled set.",
    "import": "Judge transcripts that others stored; the same as `holdfast rejudge`.",
}
_MODULES = {"import": "holdfast.cli.rejudge"}


class _JudgeVerbs(click.Group):
    """A group that imports a command only when it is called, so that `--help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        module = _MODULES.get(cmd_name, f"holdfast.cli.judge_{cmd_name}")
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_JudgeVerbs)
def command() -> None:
    """Ask a judge model what effects and words leave open, and measure how good a judge is."""
