"""Stores the samples of one checkpoint as they end, so that an interruption loses no answer that was paid for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence, Set

from holdfast.core.errors import ResultsError
from holdfast.core.records import Case, Judgement, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.judge_folder import JUDGEMENTS, PROBES
from holdfast.evals.reasons import FAILED
from holdfast.stats.sequential import Cell, Goal, SequentialDesign
from holdfast.study.verdict_table import outcome_score

#: The transcript of a case and its verdict.
Played = tuple[Transcript, Verdict]
VERDICTS, TRANSCRIPTS, FAILURES = "verdicts", "transcripts", "failures"
#: Maximum seconds between two writes of finished samples to disk.
_WAIT = 1.0


def take_over(folder: RunFolder) -> dict[str, Verdict]:
    """Read the verdicts of an interrupted run by case; a verdict or transcript without its counterpart is dropped.

    Raises:
        ResultsError: a stored line is not a record.
    """
    verdicts = {verdict.case: verdict for verdict in folder.each(VERDICTS, Verdict)}
    transcripts = {transcript.case: transcript for transcript in folder.each(TRANSCRIPTS, Transcript)}
    if verdicts.keys() != transcripts.keys():
        both = [case for case in verdicts if case in transcripts]
        folder.replace(TRANSCRIPTS, [transcripts[case] for case in both])
        folder.replace(VERDICTS, [verdicts[case] for case in both])
        verdicts = {case: verdicts[case] for case in both}
    return verdicts


def reopen(folder: RunFolder, cases: Sequence[Case], goal: Goal | None) -> int:
    """Remove the failed samples of a cell, so that they are played again.

    Samples in which the model did something are kept: harm before a failure, refusals, truncated and unread answers.
    The failed attempts move to `failures.jsonl`; their judgements are dropped.  A cell whose question is settled is
    left unchanged.  A cell with removed samples counts as unfinished from then on.

    Returns:
        The number of removed samples.

    Raises:
        ResultsError: a stored line is not a record.
        StoreError: the folder cannot be written.
    """
    done = {verdict.case: verdict for verdict in folder.each(VERDICTS, Verdict)}
    failed = {case for case, verdict in done.items() if verdict.outcome in FAILED}
    kept = {case: verdict for case, verdict in done.items() if case not in failed}
    again = {case.id for case in wanted(cases, kept, goal) if case.id in failed} if failed else set()
    if not again:
        return 0
    folder.append(FAILURES, [t for t in folder.each(TRANSCRIPTS, Transcript) if t.case in again])
    folder.reopen()
    # A run killed between two of these files leaves transcripts without verdicts, which `take_over` drops.
    kinds = ((JUDGEMENTS, Judgement), (PROBES, Transcript), (VERDICTS, Verdict), (TRANSCRIPTS, Transcript))
    for name, kind in kinds:
        _drop(folder, name, kind, again)
    return len(again)


def _drop(folder: RunFolder, name: str, kind: type[Judgement | Transcript | Verdict], cases: Set[str]) -> None:
    records = folder.read(name, kind)
    if any(record.case in cases for record in records):
        folder.replace(name, [record for record in records if record.case not in cases])


def wanted(cases: Sequence[Case], done: dict[str, Verdict], goal: Goal | None) -> list[Case]:
    """Choose the cases to play next: all that are not played, or as many of each cell as `goal` requests."""
    unplayed = [case for case in cases if case.id not in done]
    if goal is None:
        return unplayed
    asked = dict(designed(cases, done.values(), goal).ask_round())
    chosen = []
    for case in unplayed:
        if asked.get(_cell(case), 0) > 0:
            asked[_cell(case)] -= 1
            chosen.append(case)
    return chosen


def designed(cases: Sequence[Case], verdicts: Iterable[Verdict], goal: Goal) -> SequentialDesign:
    """Make the sequential design over the cells of `cases` and update it with every verdict."""
    cells = [_cell(case) for case in cases]
    names = list(dict.fromkeys(cells))
    harms: dict[Cell, list[bool | None]] = {name: [] for name in names}
    for verdict in verdicts:
        harms[_cell(verdict)].append(outcome_score(verdict, "harm"))
    design = SequentialDesign(names, goal, most=len(cells) // len(names), level=goal.level)
    for name, found in harms.items():
        design.tell(name, found)
    return design


def store_played(played: Iterable[Played], cases: Sequence[Case], folder: RunFolder) -> dict[str, Verdict]:
    """Store samples as they end, at least once a second, also if an exception stops the run.

    Transcripts are written before verdicts.

    Args:
        played: samples as they end, in any order.
        cases: the cases that were to be played.
        folder: folder of the cell.

    Raises:
        ResultsError: some cases have no sample; the others are stored.
    """
    done: dict[str, Verdict] = {}
    waiting: list[Played] = []
    since = time.monotonic()
    try:
        for sample in played:
            waiting.append(sample)
            done[sample[1].case] = sample[1]
            if time.monotonic() - since >= _WAIT:
                _store(waiting, folder)
                since = time.monotonic()
    finally:
        _store(waiting, folder)
    if len(done) != len(cases):
        what = f"{len(cases)} cases were to be played, and the driver returned {len(done)}"
        raise ResultsError(what, remedy="fix the driver: it must return each case once")
    return done


def _store(waiting: list[Played], folder: RunFolder) -> None:
    if waiting:
        folder.append(TRANSCRIPTS, [transcript for transcript, _ in waiting])
        folder.append(VERDICTS, [verdict for _, verdict in waiting])
        waiting.clear()


def _cell(of: Case | Verdict) -> Cell:
    return of.world, of.twin
