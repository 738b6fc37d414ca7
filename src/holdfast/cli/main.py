"""The `holdfast` command: the table of verbs, and what an error looks like.

Exit codes: 0 done · 2 something you wrote is wrong · 3 something is not installed · 4 the run is incomplete.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Sequence

import click

from holdfast import __version__
from holdfast.core.errors import HoldfastError, IncompleteError

#: verb → the line that `--help` shows; the command itself is `holdfast.cli.<verb>:command`
VERBS = {
    "demo": "Run the main job offline, from the untouched model to the report.",
    "worlds": "List the worlds, show the exact case a model would see, or check that conditions differ only as stated.",
    "models": "List the small open models that can be fetched by name, or fetch one.",
    "measure": "Put a model before cases and count what it does.",
    "judge": "Ask a judge model what effects and words leave open, and measure how good a judge is.",
    "rejudge": "Judge stored transcripts by our rules, and list each disagreement.",
    "teach": "Build a training set with a recipe, or estimate its cost.",
    "train": "Train a checkpoint in one or more stages.",
    "study": "Plan or run a whole comparison from a study file.",
    "verify": "Check that a results folder is as it was written, and that its numbers follow from its transcripts.",
    "results": "List the results folders below a folder, or compare two of them.",
    "report": "Draw the report of a results folder.",
    "guard": "Enforce a policy on an agent at run time, with approvals, a concern channel and an audit log.",
    "organism": "Check, describe or rebuild the embedded model.",
}
#: verb → the extra with all that it may need; the other verbs need what their arguments name
_EXTRA = {
    "demo": "local",
    "measure": "measure",
    "judge": "measure",
    "rejudge": "measure",
    "teach": "teach",
    "train": "train",
    "study": "local",
    "verify": "measure",
    "results": "measure",
    "report": "measure",
    "guard": "guard",
    "organism": "local",
}


class Verbs(click.Group):
    """A group whose commands are imported when they are called, and listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None where there is no such verb."""
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"holdfast.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holdfast")
def holdfast() -> None:
    """Measure whether an AI agent keeps to its principles under pressure, teach it why, and prove what that did."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with the exit code of what happened."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every failure becomes one line on stderr and an exit code.

    With `HOLDFAST_DEBUG=1` in the environment the traceback comes through instead.
    """
    # Libraries draw bars of their own while they load weights; what is worth showing, we show.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        # What was typed goes along: results name the command that made them.
        typed = shlex.join(("holdfast", *arguments))
        result = holdfast.main(list(arguments), prog_name="holdfast", standalone_mode=False, obj=typed)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted (what is finished is kept: run again to resume)", IncompleteError.exit_code)
    except click.ClickException as error:
        return _say(_usage(error, arguments), 2)
    except Exception as error:
        if os.environ.get("HOLDFAST_DEBUG") == "1":
            raise
        return _explain(error, arguments[0] if arguments else "")
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException, arguments: Sequence[str]) -> str:
    """What click found wrong, with a way out."""
    # Imported late: it brings pydantic, and `--help` has no use for that.
    from holdfast.core.config import nearest

    near = nearest(arguments[0], list(VERBS)) if arguments and arguments[0] not in VERBS else None
    way_out = f"did you mean '{near}'?" if near else "see --help"
    return f"{error.format_message().rstrip('.')} ({way_out})"


def _explain(error: Exception, verb: str) -> int:
    if isinstance(error, HoldfastError):
        return _say(str(error), error.exit_code)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "holdfast").startswith("holdfast"):
        # Imported late: only who lacks a module needs it.
        from holdfast.core.extras import missing

        lacks = missing(error.name or "", _EXTRA.get(verb, ""))
        return _say(str(lacks), lacks.exit_code)
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return _say(f"{what} (a fault of ours; HOLDFAST_DEBUG=1 shows the traceback)", HoldfastError.exit_code)


def _say(what: str, code: int) -> int:
    click.echo(f"error: {' '.join(what.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
