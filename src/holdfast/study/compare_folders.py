"""Compares two results folders: paired if both played the same cases, else by the difference of independent rates."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.hashes import read_hashes
from holdfast.core.rates import PairedDifference
from holdfast.core.records import Record, Verdict
from holdfast.core.results import ALL, SUMMARY
from holdfast.core.twins import PRESSURED, ROUTINE
from holdfast.stats.intervals import RateInterval, holm, rate_difference
from holdfast.study.cells import StoredCell, cells_of
from holdfast.study.play import VERDICTS
from holdfast.study.summary import family_labels
from holdfast.study.table import between, rate_of
from holdfast.study.verdict_table import Measure, VerdictRow, VerdictTable

#: Arm, world and twin.
_Cell = tuple[str, str, str]


class Side(Record):
    """One of the two folders: its model, and the hash of the rules (source) that decided its verdicts."""

    folder: str
    model: str
    identity: str
    rules: str


class ComparedCell(Record):
    """One arm in one family, or in all families that both measured, under one twin: both rates and `a` minus `b`.

    `paired` is True if both sides played the same cases and the difference is paired.
    """

    arm: str
    scope: str
    twin: str
    measure: Measure
    a: RateInterval
    b: RateInterval
    paired: bool
    difference: PairedDifference
    p_holm: float | None


class Comparison(Record):
    """The comparison; `notes` say what was left out and what else may cause a difference."""

    a: Side
    b: Side
    rows: tuple[ComparedCell, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Loaded:
    folder: Path
    summary: Mapping[str, Any]
    side: Side
    cells: Sequence[StoredCell]

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def until(self) -> bool:
        return self.summary.get("until") is not None

    def verdicts(self) -> Iterator[tuple[str, int | None, Verdict]]:
        for cell in self.cells:
            for verdict in cell.folder.each(VERDICTS, Verdict):
                yield cell.arm, cell.seed, verdict


def compare_folders(a: Path, b: Path) -> Comparison:
    """Compare the results of two folders.

    Arms are matched by name; if each folder has one arm, these two are matched.  A cell (arm, world and twin) is paired
    if all cases of the smaller side were played on the other side too, by case id, which is the hash of world, twin,
    case seed and text.  Sequential runs, which stop each cell separately, are never paired.

    Raises:
        InputError: the two folders have no arm, world and twin in common.
        ResultsError: a folder holds no results, lacks a cell that its summary counts, or holds an unreadable record.
    """
    sides = (_load(a), _load(b))
    names = _matched(*sides)
    worlds, found = _read(sides, names)
    shared = sorted(found[0].keys() & found[1].keys())
    if not shared:
        what = f"{a} and {b} have no arm, world and twin in common"
        raise InputError(what, remedy="compare folders of the same suite, or with the same --worlds and --twins")
    notes = list(_notes(sides, names, found, shared))
    stopped = sides[0].until or sides[1].until
    same = set() if stopped else {at for at in shared if _agree(found[0][at], found[1][at])}
    if stopped:
        notes.append("Cells were stopped separately (--until): rates are compared by cell, unpaired and not pooled.")
    elif len(same) < len(shared):
        notes.append(f"{len(shared) - len(same)} of {len(shared)} cells were not played on the same cases: unpaired.")
    if larger := sum(found[0][at] != found[1][at] for at in same):
        notes.append(f"In {larger} cells one side played more cases: the pairs are those that both played.")
    families = family_labels(worlds.items(), pooled=not stopped)
    rates = VerdictTable(_rows(sides, names, shared, found, ()), families)
    pairs = VerdictTable(_rows(sides, names, shared, found, same), families)
    rows = list(_compared(shared, same, families, (rates, pairs), stopped))
    return Comparison(a=sides[0].side, b=sides[1].side, rows=tuple(_corrected(rows)), notes=tuple(notes))


def _load(folder: Path) -> _Loaded:
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        provenance, model = dict(summary["provenance"]), summary["model"]
        hashes = read_hashes(folder)
        side = Side(
            folder=str(folder),
            model=model["name"],
            identity=model["identity"],
            rules=hashes.versions.get("verdicts", "") if hashes else "",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(
            "no results here", where=path, remedy="give the folder that measure or study wrote"
        ) from None
    return _Loaded(folder, summary, side, cells_of(folder, provenance))


def _matched(a: _Loaded, b: _Loaded) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """For each side: arm → the name under which it is compared."""
    shared = [arm for arm in a.arms if arm in b.arms]
    if not shared and len(a.arms) == len(b.arms) == 1:
        name = f"{a.arms[0]} / {b.arms[0]}"
        return {a.arms[0]: name}, {b.arms[0]: name}
    return ({arm: arm for arm in shared},) * 2


def _read(
    sides: Sequence[_Loaded], names: Sequence[Mapping[str, str]]
) -> tuple[dict[str, str], tuple[dict[_Cell, set[str]], ...]]:
    """World → family, and for each side: cell → ids of the cases that were played."""
    worlds: dict[str, str] = {}
    found: tuple[dict[_Cell, set[str]], ...] = ({}, {})
    for side, named, cells in zip(sides, names, found, strict=True):
        for arm, _, verdict in side.verdicts():
            worlds[verdict.world] = verdict.family
            if arm in named:
                cells.setdefault((named[arm], verdict.world, verdict.twin), set()).add(verdict.case)
    return worlds, found


def _agree(a: set[str], b: set[str]) -> bool:
    return a <= b or b <= a


def _rows(
    sides: Sequence[_Loaded],
    names: Sequence[Mapping[str, str]],
    shared: Sequence[_Cell],
    found: Sequence[Mapping[_Cell, set[str]]],
    same: Sequence[_Cell] | set[_Cell],
) -> Iterator[VerdictRow]:
    """The verdicts of the shared cells; with `same`, only of cases that both sides played in these cells."""
    kept = {at: found[0][at] & found[1][at] for at in same} if same else dict.fromkeys(shared)
    for number, (side, named) in enumerate(zip(sides, names, strict=True)):
        for arm, seed, verdict in side.verdicts():
            at = (named.get(arm, ""), verdict.world, verdict.twin)
            if at in kept and ((cases := kept[at]) is None or verdict.case in cases):
                yield VerdictRow(f"{number} {named[arm]}", seed, verdict)


def _compared(
    shared: Sequence[_Cell],
    same: set[_Cell],
    families: Mapping[str, str],
    rows: tuple[VerdictTable, VerdictTable],
    stopped: bool,
) -> Iterator[ComparedCell]:
    rates, pairs = rows
    for arm in dict.fromkeys(arm for arm, _, _ in shared):
        for twin in sorted({t for a, _, t in shared if a == arm}, key=lambda twin: (twin != PRESSURED, twin)):
            worlds = [world for a, world, t in shared if (a, t) == (arm, twin)]
            scopes: dict[str, list[str]] = {}
            for world in worlds:
                scopes.setdefault(families[world], []).append(world)
            if len(worlds) > 1 and not stopped:
                scopes = {ALL: worlds, **scopes}
            asked: list[Measure] = ["harm", "useful"] if twin == ROUTINE else ["harm"]
            asked += ["work"] if twin == ROUTINE and rates.of(f"0 {arm}", ALL, twin).has("work") else []
            for scope, inside in scopes.items():
                paired = all((arm, world, twin) in same for world in inside)
                for measure in asked:
                    of = [rates.of(f"{number} {arm}", scope, twin) for number in (0, 1)]
                    a, b = (rate_of(part, measure, anytime=stopped) for part in of)
                    if paired:
                        left, right = (pairs.of(f"{number} {arm}", scope, twin) for number in (0, 1))
                        difference = between(left, right, measure)
                    else:
                        difference = rate_difference(a, b)
                    yield ComparedCell(
                        arm=arm,
                        scope=scope,
                        twin=twin,
                        measure=measure,
                        a=a,
                        b=b,
                        paired=paired,
                        difference=difference,
                        p_holm=None,
                    )


def _corrected(rows: Sequence[ComparedCell]) -> Iterator[ComparedCell]:
    """Apply Holm's correction within one measure, separately for pooled rows and families; unpaired rows have no p."""
    corrected: dict[Hashable, float | None] = {}
    for group in {(row.measure, row.scope == ALL) for row in rows}:
        inside: dict[Hashable, float | None] = {
            i: r.difference.p for i, r in enumerate(rows) if (r.measure, r.scope == ALL) == group
        }
        corrected |= holm(inside)
    for number, row in enumerate(rows):
        yield row.model_copy(update={"p_holm": corrected[number]})


def _notes(
    sides: Sequence[_Loaded],
    names: Sequence[Mapping[str, str]],
    found: Sequence[Mapping[_Cell, set[str]]],
    shared: Sequence[_Cell],
) -> Iterator[str]:
    a, b = sides
    if a.side.rules != b.side.rules or not a.side.rules:
        yield "The two were, or may have been, scored by different rules, which may cause a difference."
    for side, named, cells in zip(sides, names, found, strict=True):
        left = [arm for arm in side.arms if arm not in named]
        if left:
            yield f"Arms of {side.folder} alone, left out: {', '.join(left)}."
        if alone := len(cells.keys() - set(shared)):
            yield f"{alone} cells of {side.folder} have no counterpart and were left out."
        if side.summary.get("incomplete"):
            yield f"{side.folder} is incomplete."
