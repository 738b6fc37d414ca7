"""The `holdfast` command: the table of verbs, error messages and exit codes.

Exit codes: 0 done · 2 wrong input · 3 a missing prerequisite · 4 an incomplete run.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

import click

from holdfast import __version__
from holdfast.cli.lazy_group import LazyGroup
from holdfast.core.errors import HoldfastError, IncompleteError

#: Verb → its line in `--help`; the command is `holdfast.cli.<verb>:command`.
VERBS = {
    "demo": "Run a whole study offline on the embedded model: measure, train, measure again, report.",
    "worlds": "List the worlds, show the exact case that a model would see, or lint worlds.",
    "models": "List small open models that can be downloaded by name, or download one.",
    "measure": "Measure how often a model does harm under pressure, and what else it does.",
    "judge": "Ask a judge model what effects and words leave open, and measure how good a judge is.",
    "rejudge": "Score stored transcripts of other frameworks by our rules, and list disagreements.",
    "teach": "Build a training set with a recipe, or estimate its cost.",
    "train": "Train a checkpoint in one or more stages.",
    "study": "Plan or run a study: train several arms and compare them.",
    "verify": "Check that a results folder is unchanged and that its numbers follow from its transcripts.",
    "results": "List the results folders below a folder, or compare two of them.",
    "report": "Write the report of a results folder as HTML and Markdown.",
    "guard": "Enforce a policy on an agent at run time, with approvals, a concern channel and an audit log.",
    "organism": "Check, describe or rebuild the embedded model.",
}
#: Verb → the extra that it may need.  What other verbs need depends on their arguments.
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


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    modules="holdfast.cli.{}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="holdfast")
def holdfast() -> None:
    """Measure whether an AI agent keeps to its principles under pressure, train it, and test what the training did.

    Start with `holdfast worlds list` and `holdfast measure --help`; `holdfast demo` needs no model and no network.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; a failure is one line on stderr and an exit code.

    With `HOLDFAST_DEBUG=1` in the environment an unexpected error is raised with its traceback instead.
    """
    # Switch off the progress bars of libraries that load weights; we show our own.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        # Commands get the command line as text, because results record the command that made them.
        typed = shlex.join(("holdfast", *arguments))
        result = holdfast.main(list(arguments), prog_name="holdfast", standalone_mode=False, obj=typed)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _print_error(
            "interrupted (finished work is kept; run the same command again to resume)", IncompleteError.exit_code
        )
    except click.ClickException as error:
        # A group without a verb; before click 8.2 it prints the help itself.
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            click.echo(error.format_message(), err=True)
            return 2
        return _print_error(_usage(error, arguments), 2)
    except Exception as error:
        if os.environ.get("HOLDFAST_DEBUG") == "1":
            raise
        return _explain(error, arguments[0] if arguments else "")
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException, arguments: Sequence[str]) -> str:
    """Return click's message with a remedy."""
    # Imported late because it loads pydantic, which `--help` does not need.
    from holdfast.core.config import nearest

    near = nearest(arguments[0], list(VERBS)) if arguments and arguments[0] not in VERBS else None
    remedy = f"did you mean '{near}'?" if near else "see --help"
    return f"{error.format_message().rstrip('.')} ({remedy})"


def _explain(error: Exception, verb: str) -> int:
    if isinstance(error, HoldfastError):
        return _print_error(str(error), error.exit_code)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "holdfast").startswith("holdfast"):
        # Imported late because it is needed only if a module is missing.
        from holdfast.core.extras import missing

        prerequisite = missing(error.name or "", _EXTRA.get(verb, ""))
        return _print_error(str(prerequisite), prerequisite.exit_code)
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return _print_error(
        f"{what} (a bug in Holdfast; set HOLDFAST_DEBUG=1 to see the traceback)", HoldfastError.exit_code
    )


def _print_error(what: str, code: int) -> int:
    # Imported late, because `--help` does not need it.  An error may quote a model, a server or another's folder.
    from holdfast.report.words import clean

    click.echo(f"error: {clean(' '.join(what.split()))}", err=True)
    return code


if __name__ == "__main__":
    main()
