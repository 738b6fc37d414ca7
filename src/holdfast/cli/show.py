"""Output of the command line: tables and messages.  Text from models is hostile, so it is cleaned first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.core.errors import InputError
from holdfast.core.records import Message
from holdfast.report.words import clean

#: A column is at least as wide as its longest word, up to this width: long paths are wrapped, verdicts are not.
WORD = 14
#: The same for the first column, whose names are typed in other commands.
NAME = 24


def print_table(names: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> None:
    """Print a table with the column names `names`; columns in `right` are aligned to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    cleaned = [[clean(str(value)) for value in row] for row in rows]
    for name, *column in zip(names, *cleaned, strict=True):
        longest = max(len(word) for text in (name, *column) for word in text.split() or [""])
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            min_width=min(longest, WORD if table.columns else NAME),
        )
    for row in cleaned:
        table.add_row(*map(Text, row))
    Console().print(table, crop=False)


def message(turn: Message) -> None:
    """Print one turn of a conversation."""
    click.echo(f"[{turn.role}] {clean(turn.content)}\n")
    for call in turn.tool_calls:
        click.echo(clean(f"[{turn.role} calls {call.name}] {dict(call.arguments)}\n"))


def pairs(texts: Sequence[str]) -> Mapping[str, str]:
    """Parse `NAME=VALUE` arguments to a mapping.

    Raises:
        InputError: if one has no equals sign.
    """
    for text in texts:
        if "=" not in text:
            raise InputError(f"'{text}' is not NAME=VALUE", remedy="write for example threat=none")
    return dict(text.split("=", 1) for text in texts)
