"""Checks a results folder: files against their hashes, verdicts against transcripts, the summary against verdicts.

    result = verify(Path("results/demo"), pages_of)
    result.state        # "verified"
    result.root         # must equal the published root hash

If all hashes match, the folder is consistent.  Only a published root hash shows that it is the folder that somebody
published.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from holdfast.core.errors import HoldfastError, IncompleteError, InputError, ResultsError
from holdfast.core.hashes import DERIVED, FORMAT, HASHES, Hashes, being_written, compare, interrupted, read_hashes
from holdfast.core.records import Case, Record, RunCard, Verdict
from holdfast.core.results import SUMMARY
from holdfast.core.store import RunFolder
from holdfast.evals.scorers import score as present
from holdfast.scenarios.world import names as world_names
from holdfast.study.play import TRANSCRIPTS, VERDICTS
from holdfast.study.recheck import (
    FileFault,
    Rechecked,
    Score,
    VerdictChange,
    alike,
    find_cases,
    is_here,
    rebuilt,
    recheck,
)
from holdfast.study.stored import CASES, PLAN, Stored, load_plan, read_cases, rules
from holdfast.study.summary import build_summary
from holdfast.study.summary_check import count_differences, summary_differences

State = Literal["verified", "no hashes", "edited", "incomplete", "being written"]
#: (folder) → file name → the text that the page should have.
Pages = Callable[[Path], Mapping[str, str]]
#: Files that are drawn from the summary.
PAGES = ("report.html", "report.md")
#: Most faults that are listed at the head of a page.
_LISTED = 10
_EXIT: Mapping[State, int] = {"verified": 0, "no hashes": 0, "edited": 2, "incomplete": 4, "being written": 4}


class Verification(Record):
    """The result of a verification.

    Attributes:
        state: `no hashes` for a folder of an older version: consistent as far as can be checked without hashes.
        root: the folder's root hash; None if it has none.
        faults: files that were edited, are missing, were added, or do not follow from their inputs.
        unfinished: why the folder is incomplete.
        stopped_early: whether the summary itself says that the run stopped early; its pages then say so too.
        samples: number of transcripts.
        recomputed: number of verdicts that were recomputed from transcripts.
        changes: verdicts that the present rules would change, in a folder made under other rules.
        unknown: why verdicts could not be recomputed → how many.
        summary: whether every number was recomputed, only the counts of outcomes, or none.
        notes: sentences on what was not or could not be checked.
    """

    folder: str
    state: State
    root: str | None = None
    faults: tuple[FileFault, ...] = ()
    unfinished: str = ""
    stopped_early: bool = False
    samples: int = 0
    recomputed: int = 0
    changes: tuple[VerdictChange, ...] = ()
    unknown: Mapping[str, int] = {}
    summary: Literal["recomputed", "counts recomputed", "not recomputed"] = "not recomputed"
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 verified, 2 edited, 4 incomplete."""
        return _EXIT[self.state]

    @property
    def objections(self) -> list[str]:
        """Why no report may be drawn from the folder; empty if one may.

        Faults of the pages do not count, because they are drawn anew. An unfinished folder may be drawn only if it has
        hashes and its summary says that the run stopped early: then the pages say it too.
        """
        faults = [f"{fault.file}: {fault.what}" for fault in self._faults_below_pages]
        if len(faults) > _LISTED:
            faults = [*faults[:_LISTED], f"and {len(faults) - _LISTED} more"]
        says_so = self.stopped_early and self.root is not None and self.state != "being written"
        return [*faults, *([self.unfinished] if self.unfinished and not says_so else [])]

    def refusal(self, remedy: str) -> HoldfastError:
        """The error for a report that must not be drawn; see `objections`."""
        kind = ResultsError if self._faults_below_pages else IncompleteError
        what = f"these results do not verify: {'; '.join(self.objections[:3])}"
        return kind(what, where=self.folder, remedy=remedy)

    @property
    def _faults_below_pages(self) -> list[FileFault]:
        return [fault for fault in self.faults if fault.file not in PAGES]


@dataclass
class _Check:
    """The state of one verification."""

    folder: Path
    hashes: Hashes | None
    score: Score
    rules: Mapping[str, str]
    faults: list[FileFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unfinished: str = ""
    stopped_early: bool = False
    cells: list[Rechecked] = field(default_factory=list)
    summary: Literal["recomputed", "counts recomputed", "not recomputed"] = "not recomputed"

    def same(self, what: str) -> bool:
        """Whether the folder's verdicts, summary or pages were made by the present source."""
        return self.hashes is not None and self.hashes.versions.get(what) == self.rules[what]

    def blame(self, file: str, what: str) -> None:
        """Record a fault of a file."""
        self.faults.append(FileFault(file=file, what=what))

    def blamed(self, file: str) -> bool:
        return any(fault.file == file for fault in self.faults)

    def result(self, state: State) -> Verification:
        unknown: Counter[str] = Counter()
        for cell in self.cells:
            unknown.update(cell.unknown)
        return Verification(
            folder=str(self.folder),
            state=state,
            root=self.hashes.root if self.hashes else None,
            faults=tuple(self.faults),
            unfinished=self.unfinished,
            stopped_early=self.stopped_early,
            samples=sum(cell.samples for cell in self.cells),
            recomputed=sum(cell.recomputed for cell in self.cells),
            changes=tuple(change for cell in self.cells for change in cell.changes),
            unknown=unknown,
            summary=self.summary,
            notes=tuple(self.notes),
        )


def verify(folder: Path, pages: Pages | None = None, root: str | None = None, score: Score = present) -> Verification:
    """Check a folder that `measure` or `study` wrote.

    Args:
        folder: results folder.
        pages: draws the pages as they should be; without it pages are checked by their hashes alone.
        root: a published root hash that the folder's root hash must equal.
        score: the present scorer.

    Raises:
        InputError: `root` is no root hash.
        ResultsError: the folder holds no results, or its hashes cannot be read.
    """
    if root is not None and not re.fullmatch(r"[0-9a-f]{64}", root := root.strip().lower()):
        raise InputError(f"'{root}' is no root hash", remedy="give the 64 hexadecimal digits that were published")
    _require_results(folder)
    if being_written(folder):
        waiting = _Check(folder, None, score, {}, unfinished="a running process writes in this folder")
        return waiting.result("being written")
    check = _Check(folder, read_hashes(folder), score, rules())
    if check.hashes is None and (interrupted(folder) or (folder / PLAN).exists()):
        check.unfinished = f"the run that wrote here did not reach its end, or {HASHES} was removed: no hashes to check"
        return check.result("incomplete")
    if check.hashes is None:
        _check_old(check, root)
    else:
        _check_hashes(check, check.hashes, root)
        _check_content(check, pages)
    if check.faults:
        return check.result("edited")
    if check.unfinished:
        return check.result("incomplete")
    return check.result("verified" if check.hashes else "no hashes")


def file_state(folder: Path) -> str:
    """Compare the files of a folder with their hashes, without recomputing anything and without reading weights."""
    if being_written(folder):
        return "being written"
    try:
        hashes = read_hashes(folder)
        if hashes is None:
            return "incomplete" if interrupted(folder) or (folder / PLAN).exists() else "no hashes"
        if hashes.root != hashes.expected_root or not compare(folder, hashes, weights=False).none:
            return "edited"
    except ResultsError:
        return "edited"
    return "hashes fit" if hashes.ended else "incomplete"


def _require_results(folder: Path) -> None:
    if not folder.is_dir():
        raise ResultsError("no such folder", where=folder, remedy="give the folder that measure or study wrote")
    known = (SUMMARY, PLAN, HASHES, "cells")
    if not any((folder / name).exists() for name in known) and not being_written(folder) and not interrupted(folder):
        raise ResultsError("no results here", where=folder, remedy="give the folder that measure or study wrote")


def _check_hashes(check: _Check, hashes: Hashes, root: str | None) -> None:
    """Check every file against its hash, the hashes against their root, and the root against the published one."""
    if hashes.format != FORMAT:
        what = f"hashes of format {hashes.format}, but this version reads {FORMAT}"
        raise ResultsError(what, where=check.folder / HASHES, remedy="use the version of holdfast that wrote it")
    if hashes.root != hashes.expected_root:
        check.blame(HASHES, "edited: its root hash does not follow from its content")
    if root is not None and root != hashes.root:
        check.blame(HASHES, f"the root hash is {hashes.root}, not the published {root}")
    changes = compare(check.folder, hashes)
    for kind, names in (("edited", changes.edited), ("missing", changes.missing), ("added", changes.added)):
        for name in names:
            check.blame(name, kind)
    if changes.absent:
        check.notes.append(f"{len(changes.absent)} files of model weights are not here; their hashes are kept.")
    if not hashes.ended:
        check.unfinished = "the last run that wrote here did not reach its end"


def _check_content(check: _Check, pages: Pages | None) -> None:
    """Check verdicts against transcripts, the summary against verdicts, and pages against the summary."""
    try:
        stored = load_plan(check.folder)
    except ResultsError as error:
        if not check.blamed(PLAN) and not any(fault.file.startswith(f"{CASES}/") for fault in check.faults):
            check.notes.append(f"The plan could not be read, so the summary was not recomputed: {error}")
        _check_verdicts(check, None)
        _check_unplanned(check)
        return
    if stored is None:
        if not check.blamed(PLAN):
            check.blame(PLAN, "missing: without it the summary cannot be recomputed")
        _check_verdicts(check, None)
        return
    open_ = [plan.label for plan in stored.plan.cells if not RunFolder(check.folder / plan.folder).complete]
    if open_:
        check.unfinished = f"{len(open_)} of {len(stored.plan.cells)} cells are not finished: {', '.join(open_)}"
    _check_verdicts(check, stored)
    summary = _summary(check)
    if summary is not None:
        _note_early_stop(check, summary)
        _check_summary(check, stored, summary)
    if pages is not None and summary is not None:
        _check_pages(check, pages)


def _note_early_stop(check: _Check, summary: Mapping[str, Any]) -> None:
    if summary.get("incomplete") is not None:
        check.stopped_early = True
        check.unfinished = check.unfinished or "the run stopped early, as its summary says"


def _check_unplanned(check: _Check) -> None:
    """Without a plan, compare the counts of outcomes in the cells that the summary names."""
    summary = _summary(check)
    if summary is None:
        return
    _note_early_stop(check, summary)
    if not any(fault.file not in DERIVED for fault in check.faults):
        keys = _keys(summary).values()
        cards = {cell: card for cell in _cells(check.folder) if (card := _card(check.folder / cell))}
        arms = {cell: str(card.inputs.get("arm")) for cell, card in cards.items() if card.key in keys}
        _check_counts(check, arms, summary)


def _check_verdicts(check: _Check, stored: Stored | None) -> None:
    """Recheck every played cell with the cases that the plan or its card names."""
    cases_by_file: dict[str, dict[str, Case]] = {}
    named = {plan.folder: stored.cases.get(plan.arm, "") for plan in stored.plan.cells} if stored else {}
    for cell in _cells(check.folder):
        card = _card(check.folder / cell)
        name = named.get(cell) or str(card.inputs.get("cases", "") if card else "")
        if name not in cases_by_file:
            cases_by_file[name] = _cases(check, name, stored) if name else {}
        same = check.rules["verdicts"] == (card.inputs.get("rules") if card else check.rules["verdicts"])
        cases = cases_by_file[name] or _searched(check, cell, stored.plan.design.name if stored else "")
        found = recheck(check.folder, cell, cases, check.score, same_rules=same)
        kept = tuple(fault for fault in found.faults if not _expected(check, fault, cell, card))
        whole = not any(check.blamed((cell / f"{file}.jsonl").as_posix()) for file in (VERDICTS, TRANSCRIPTS))
        if stored and card and whole and cell in named and cases_by_file[name]:
            kept += _short(cell, card, found, len(cases_by_file[name]), stored)
        check.cells.append(found.model_copy(update={"faults": kept}))
        check.faults += kept
        if stored and cell not in named:
            check.notes.append(
                f"{cell.as_posix()} is of an earlier run under other settings; the summary leaves it out."
            )


def _expected(check: _Check, fault: FileFault, cell: Path, card: RunCard | None) -> bool:
    """Whether a fault only repeats what is already recorded: an unfinished cell, or an edited file."""
    edited = any(check.blamed((cell / f"{name}.jsonl").as_posix()) for name in (VERDICTS, TRANSCRIPTS))
    half = card is None and "have no" in fault.what
    # For an edited file, a fault that names the line adds information; other faults only repeat that it was edited.
    return half or (edited and not fault.what.startswith("line "))


def _short(cell: Path, card: RunCard, found: Rechecked, cases: int, stored: Stored) -> tuple[FileFault, ...]:
    """A fault if a finished cell lacks samples that it should have."""
    wanted = card.counts.get("cases", cases) if stored.plan.design.until else cases
    if found.samples == wanted or found.unknown:
        return ()
    what = f"{found.samples} samples are here, of {wanted} that the finished cell had"
    return (FileFault(file=(cell / f"{TRANSCRIPTS}.jsonl").as_posix(), what=what),)


def _cases(check: _Check, name: str, stored: Stored | None) -> dict[str, Case]:
    """Read the cases of one file by id, and compare them with the cases that the present worlds make."""
    file = f"{CASES}/{name}"
    try:
        cases = {case.id: case for case in read_cases(check.folder, name)}
    except ResultsError as error:
        if not check.blamed(file):
            check.notes.append(f"Cases could not be read: {error}")
        return {}
    if check.blamed(file):
        return cases
    made = {case.id: rebuilt(case) for case in cases.values()}
    apart = [case.id for case in cases.values() if (now := made[case.id]) is None or not alike(case, now)]
    if not apart:
        return cases
    gone = [world for world in sorted({cases[id_].world for id_ in apart}) if not is_here(world)]
    if gone:
        check.notes.append(f"Worlds that are not here: {', '.join(gone)}. Verdicts were recomputed from stored cases.")
    other = sum(cases[id_].world not in gone for id_ in apart)
    # A world from outside may have been edited since; the hash of our source does not cover it.
    built_in = world_names()
    bound = any(cases[id_].world in built_in for id_ in apart)
    if bound and check.same("cases") and stored and name in stored.cases.values():
        check.blame(file, f"{other} of {len(cases)} cases are not those that the same worlds make")
    elif other:
        what = f"{other} of {len(cases)} cases of {file} differ from those that the worlds of this version make."
        check.notes.append(f"{what} Verdicts were recomputed from the stored ones.")
    return cases


def _searched(check: _Check, cell: Path, suite: str) -> dict[str, Case]:
    try:
        return find_cases(RunFolder(check.folder / cell).each(VERDICTS, Verdict), suite)
    except ResultsError:
        return {}


def _summary(check: _Check) -> dict[str, Any] | None:
    """Read the summary; None if it cannot be used, with a fault if nothing else says so."""
    path = check.folder / SUMMARY
    if not path.is_file():
        if not check.unfinished and not check.blamed(SUMMARY):
            check.blame(SUMMARY, "missing")
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError, RecursionError):
        pass
    if not check.blamed(SUMMARY):
        check.blame(SUMMARY, "not a summary")
    return None


def _check_summary(check: _Check, stored: Stored, summary: Mapping[str, Any]) -> None:
    """Rebuild the summary and compare; if other source made it, compare only the counts of outcomes."""
    if check.hashes and not check.hashes.ended and summary.get("incomplete") is None:
        check.notes.append("The summary is older than the files of the interrupted run; it was not recomputed.")
        return
    if any(fault.file not in DERIVED for fault in check.faults):
        check.notes.append("The summary was not recomputed, because the files that it is made from have faults.")
        return
    if not check.same("summary"):
        _check_counts(check, {plan.folder: plan.arm for plan in stored.plan.cells}, summary)
        return
    partly = summary.get("incomplete") is not None
    try:
        made = build_summary(stored.plan, check.folder, stored.command, partly=partly, notes=stored.notes)
    except (HoldfastError, KeyError, ValueError) as error:
        check.notes.append(f"The summary could not be recomputed: {error}")
        return
    apart = list(summary_differences(json.loads(json.dumps(made)), summary))
    check.summary = "recomputed"
    if apart:
        more = f", and {len(apart) - 3} more" if len(apart) > 3 else ""
        check.blame(SUMMARY, f"does not follow from the verdicts: {'; '.join(apart[:3])}{more}")


def _check_counts(check: _Check, arms: Mapping[Path, str], summary: Mapping[str, Any]) -> None:
    """Compare the outcomes of each cell of the summary with the stored verdicts."""
    try:
        apart = count_differences(check.folder, arms, summary)
    except (HoldfastError, KeyError, TypeError, AttributeError) as error:
        check.notes.append(f"The summary's counts could not be compared: {error}")
        return
    check.summary = "counts recomputed"
    check.notes.append("The summary was made by another version: its counts were recomputed, its intervals were not.")
    if apart:
        check.blame(SUMMARY, f"does not follow from the verdicts: {apart[0]} ({len(apart)} counts differ)")


def _check_pages(check: _Check, pages: Pages) -> None:
    """Compare each page with the page that the summary gives."""
    if not check.same("pages"):
        check.notes.append("The pages were drawn by another version: they were checked by their hashes alone.")
        return
    try:
        made = pages(check.folder)
    except ResultsError as error:
        if not check.blamed(SUMMARY):
            check.blame(SUMMARY, str(error.what))
        return
    for name, text in made.items():
        path = check.folder / name
        known = check.blamed(name) or check.blamed(SUMMARY)
        if path.is_file() and not known and path.read_bytes() != text.encode("utf-8"):
            check.blame(name, f"is not the page that {SUMMARY} gives")


def _check_old(check: _Check, root: str | None) -> None:
    """Check a folder of a version that kept no hashes: recompute what is possible, and note what cannot be shown."""
    if root is not None:
        check.blame(HASHES, "missing: the folder has no root hash to compare with the published one")
    check.notes.append(
        "This folder was made by a version that kept no hashes: whether files were edited, removed or added cannot be "
        "shown, beyond what is recomputed here."
    )
    summary = _summary(check)
    if summary is None:
        return
    keys = _keys(summary)
    arms: dict[Path, str] = {}
    for cell in _cells(check.folder):
        card = _card(check.folder / cell)
        if card is None or card.key not in keys.values():
            continue
        arms[cell] = str(card.inputs.get("arm"))
        cases = _searched(check, cell, str(summary.get("study", "")))
        found = recheck(check.folder, cell, cases, check.score, same_rules=False)
        check.cells.append(found)
        check.faults += found.faults
    lost = sorted(label for label, key in keys.items() if not any(_has(check.folder / cell, key) for cell in arms))
    for label in lost:
        check.blame(SUMMARY, f"names a cell that is not here: {label}")
    _note_early_stop(check, summary)
    if not check.unfinished and not lost and not check.faults:
        _check_counts(check, arms, summary)


def _keys(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Label of a cell → its key, as the summary has it."""
    provenance = summary.get("provenance")
    found = provenance.get("cells") if isinstance(provenance, dict) else None
    return found if isinstance(found, dict) else {}


def _has(cell: Path, key: str) -> bool:
    card = _card(cell)
    return card is not None and card.key == key


def _cells(folder: Path) -> list[Path]:
    """The folders of played cells, relative to the results folder."""
    return sorted(path.parent.relative_to(folder) for path in folder.glob(f"cells/*/{VERDICTS}.jsonl"))


def _card(cell: Path) -> RunCard | None:
    try:
        return RunFolder(cell).card()
    except (ResultsError, OSError, UnicodeDecodeError):
        return None
