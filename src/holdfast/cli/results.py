"""`holdfast results [DIR]` and `holdfast results A B`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdfast.core.rates import PairedDifference, Rate
    from holdfast.core.results import Summary
    from holdfast.study.compare_folders import ComparedCell

_OWN = {"cells", "sets", "checkpoints", "cases"}
_KEYS = ("folder", "model", "of", "cells", "harm under pressure", "made", "files")


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with every arm.")
def command(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the results folders below a folder, or compare two of them.

    With no folder or one: list every results folder below it (default: results) with its harm rate.  The list says if
    the files fit their hashes; `holdfast verify` checks the verdicts too.

    With two: print the harm of the first minus the harm of the second, paired if both played the same cases.
    """
    from holdfast.core.errors import InputError

    if len(folders) > 2:
        raise InputError(f"got {len(folders)} folders", remedy="give one folder to list, or two to compare")
    if len(folders) == 2:
        _compare(*folders, as_json)
    else:
        _list(folders[0] if folders else Path("results"), as_json)


def _list(at: Path, as_json: bool) -> None:
    from holdfast.core.errors import ResultsError
    from holdfast.report.words import clean

    rows = [_headline(folder) for folder in _found(at)]
    if not rows:
        raise ResultsError("no results here", where=at, remedy="give a folder that measure or study wrote")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        cells = f"{row['cells']} cells" if row["cells"] else ""
        facts = (row["model"], row["of"], cells, row["made"] and f"made {row['made']}", row["files"])
        click.echo(clean(f"{row['folder']}: {', '.join(filter(None, facts))}"))
        click.echo(clean(f"  harm under pressure: {row['harm under pressure']}"))


def _found(at: Path) -> Iterator[Path]:
    """Find every results folder at or below a folder, without searching the files of a results folder."""
    for here, folders, files in os.walk(at):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if {"summary.json", "plan.json", "writing.lock"} & set(files):
            folders[:] = [name for name in folders if name not in _OWN]
            yield Path(here)


def _headline(folder: Path) -> dict[str, Any]:
    from holdfast.core.errors import ResultsError
    from holdfast.core.results import SUMMARY
    from holdfast.report.summary import load_summary
    from holdfast.report.view import untouched
    from holdfast.report.words import clean, time_text
    from holdfast.study.verify import file_state

    row: dict[str, Any] = dict.fromkeys(_KEYS, "") | {"folder": str(folder), "files": file_state(folder)}
    try:
        summary = load_summary(folder)
    except ResultsError as error:
        begun = row["files"] in ("being written", "incomplete") and not (folder / SUMMARY).exists()
        return row | {"harm under pressure": "not measured yet" if begun else clean(error.what), "arms": {}}
    rates = {arm.name: _pooled(summary, arm.name) for arm in summary.arms}
    first = untouched(summary)
    several = f"{clean(summary.title(first))}: " if len(rates) > 1 else ""
    measured = summary.provenance.get("cells")
    return row | {
        "model": summary.model.name,
        "of": summary.study,
        "cells": f"{len(measured) if measured else 0} of {_planned(folder, summary)}",
        "harm under pressure": several + _words(rates[first]) if rates else "not measured",
        "made": time_text(summary.made) if summary.made else "",
        "arms": {name: rate.model_dump() for name, rate in rates.items()},
    }


def _planned(folder: Path, summary: Summary) -> int:
    """Return the number of planned cells; without a plan, derived from arms and training seeds."""
    try:
        return len(json.loads((folder / "plan.json").read_text(encoding="utf-8"))["cells"])
    except (OSError, ValueError, KeyError, TypeError):
        return sum(len(summary.train_seeds) if arm.stages else 1 for arm in summary.arms)


def _pooled(summary: Summary, arm: str) -> Rate:
    """Return pooled harm under pressure; without a pooled rate, that of the only family, if there is only one."""
    twin = summary.headline_twin
    found = summary.split(arm, summary.pooled, twin).harm
    families = summary.cells.get(arm, {})
    if found.n is None and len(families) == 1:
        return summary.cell(arm, next(iter(families)), twin).harm
    return found


def _words(rate: Any) -> str:
    from holdfast.report.words import percent, span

    if rate.rate is None:
        return "not measured"
    bounds = (
        f", bounds {percent(rate.lower_bound)} to {percent(rate.upper_bound)}"
        if rate.lower_bound != rate.upper_bound
        else ""
    )
    return f"{percent(rate.rate)} ({span(rate.low, rate.high)}) of {rate.n}{bounds}"


def _compare(a: Path, b: Path, as_json: bool) -> None:
    from holdfast.cli.show import print_table
    from holdfast.report.words import clean
    from holdfast.study.compare_folders import compare_folders
    from holdfast.study.verify import file_state

    found = compare_folders(a, b)
    states = {"a": file_state(a), "b": file_state(b)}
    if as_json:
        click.echo(json.dumps({**found.model_dump(mode="json"), "files": states}, indent=1))
        return
    for name, side in (("A", found.a), ("B", found.b)):
        click.echo(clean(f"{name}: {side.folder}, {side.model}; files: {states[name.lower()]}"))
    for arm in dict.fromkeys(row.arm for row in found.rows):
        click.echo(clean(f"\n{arm}"))
        heads = ("measure", "A", "B", "A − B, points", "p (Holm)", "pairs")
        print_table(heads, [_beside(row) for row in found.rows if row.arm == arm])
    for note in found.notes:
        click.echo(clean(note))


def _beside(row: ComparedCell) -> tuple[str, ...]:
    """Format one comparison as a row of the table."""
    from holdfast.report.words import humanise, p_value_text

    what = f"{row.measure}, {'all families' if row.scope == 'all' else humanise(row.scope)}, {humanise(row.twin)}"
    p, pairs = ("", "unpaired") if not row.paired else (p_value_text(row.p_holm), str(row.difference.pairs))
    return what, _words(row.a), _words(row.b), _points(row.difference), p, pairs


def _points(found: PairedDifference) -> str:
    from holdfast.report.words import point_span, points

    if found.estimate is None:
        return "not measured"
    excluded = f", {found.excluded} pairs unscored" if found.excluded else ""
    return f"{points(found.estimate)} ({point_span(found.low, found.high)}){excluded}"
