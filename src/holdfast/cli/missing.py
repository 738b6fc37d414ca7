"""Shows rates by family, and why samples could not be scored.

A run with an arm without any scored sample ends with exit code 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.core.results import Reason, Summary


def show_missing(summary: Summary) -> None:
    """Print the reasons of unscored samples and of missing judge answers, with counts, and the remedies."""
    from holdfast.cli.show import print_table
    from holdfast.report.missing import asked_again, remedies, unanswered_rows, unscored_rows

    several = len(summary.arms) > 1
    if lost := unscored_rows(summary):
        heads = (*["arm"] * several, "not scored because", "samples")
        print_table(heads, [row if several else row[1:] for row in lost], right=["samples"])
    for line in [*remedies(summary), asked_again(summary)]:
        if line:
            click.echo(line)
    if silent := unanswered_rows(summary):
        heads = ("judge", *["arm"] * several, "no answer because it", "questions")
        print_table(heads, [row if several else (row[0], *row[2:]) for row in silent], right=["questions"])


def show_families(summary: Summary) -> None:
    """Print harm by family where families have several skeletons, with the skeletons beneath if there is room."""
    from holdfast.cli.show import print_table
    from holdfast.report.skeletons import family_table

    names, rows = family_table(summary)
    if rows:
        print_table(names, rows)
    elif summary.skeletons:
        click.echo("by family and skeleton: see the page")


def show_reasons(why: str, what: str, reasons: Sequence[Reason]) -> None:
    """Print a table of reasons and counts with the headings `why` and `what`; nothing if there are no reasons."""
    from holdfast.cli.show import print_table

    if reasons:
        print_table((why, what), [(reason.reason, reason.count) for reason in reasons], right=[what])


def in_words(reasons: Sequence[Reason]) -> str:
    """Return the three most frequent reasons with their counts, for an error message."""
    return "; ".join(f"{reason.reason} ({reason.count})" for reason in reasons[:3])


def check_scored(summary: Summary, out: Path) -> None:
    """Check that every arm has a scored sample.

    Raises:
        IncompleteError: if an arm has none; the message gives the reasons.
    """
    from holdfast.core.errors import IncompleteError
    from holdfast.report.missing import empty_arms, remedies

    if why := empty_arms(summary):
        raise IncompleteError(why, where=out, remedy="; ".join(remedies(summary)) or "see report.md")
