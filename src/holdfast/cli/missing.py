"""Shows what could not be scored, and ends a run of which an arm has no scored sample with exit code 4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.core.results import Reason, Summary


def show_missing(summary: Summary) -> None:
    """Print why samples have no verdict and judges gave no answer, with counts, and what may be done about it."""
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


def show_reasons(why: str, what: str, reasons: Sequence[Reason]) -> None:
    """Print reasons and counts under two heads; nothing where there are none."""
    from holdfast.cli.show import print_table

    if reasons:
        print_table((why, what), [(reason.reason, reason.count) for reason in reasons], right=[what])


def in_words(reasons: Sequence[Reason]) -> str:
    """The three most frequent reasons with their counts, for an error."""
    return "; ".join(f"{reason.reason} ({reason.count})" for reason in reasons[:3])


def check_scored(summary: Summary, out: Path) -> None:
    """Refuse to call a run done of which an arm has no scored sample.

    Raises:
        IncompleteError: with the reasons.
    """
    from holdfast.core.errors import IncompleteError
    from holdfast.report.missing import empty_arms, remedies

    if why := empty_arms(summary):
        raise IncompleteError(why, where=out, remedy="; ".join(remedies(summary)) or "see report.md")
