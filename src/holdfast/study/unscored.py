"""Counts unscored samples and unanswered questions to judges, with reasons, for `summary.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.core.records import Judgement, Transcript, Verdict
from holdfast.core.results import Unanswered, Unscored
from holdfast.core.store import RunFolder
from holdfast.evals.judge_folder import JUDGEMENTS
from holdfast.evals.reasons import reason_of, tally, unanswered
from holdfast.study.cells import StoredCell
from holdfast.study.play import FAILURES, TRANSCRIPTS, VERDICTS


def unscored(cells: Sequence[StoredCell]) -> list[Unscored]:
    """Make one entry for each arm in which a sample is unscored, or was unscored before it was played again.

    Raises:
        ResultsError: a stored line is not a record.
    """
    entries = []
    for arm, folders in _by_arm(cells):
        verdicts = [[*folder.each(VERDICTS, Verdict)] for folder in folders]
        lost: list[tuple[str, str]] = []
        for folder, found in zip(folders, verdicts, strict=True):
            missing = {verdict.case: verdict for verdict in found if not verdict.scored}
            known = {t.case: t for t in folder.each(TRANSCRIPTS, Transcript) if t.case in missing} if missing else {}
            lost += [(v.outcome, reason_of(v, known.get(case))) for case, v in missing.items()]
        again = len({(f.path, t.case) for f in folders for t in f.each(FAILURES, Transcript)})
        if lost or again:
            scored = sum(map(len, verdicts)) - len(lost)
            entry = Unscored(arm=arm, scored=scored, unscored=len(lost), asked_again=again, reasons=tally(lost))
            entries.append(entry)
    return entries


def unanswered_questions(cells: Sequence[StoredCell]) -> list[Unanswered]:
    """Make one entry for each judge and arm with a missing answer; only the last answer to a question counts.

    Raises:
        ResultsError: a stored line is not a record.
    """
    entries = []
    for arm, folders in _by_arm(cells):
        last: dict[str, dict[tuple[object, ...], Judgement]] = {}
        for folder in folders:
            for judgement in folder.each(JUDGEMENTS, Judgement):
                question = (folder.path, judgement.case, judgement.rubric, judgement.view)
                last.setdefault(judgement.judge, {})[question] = judgement
        for judge, questions in sorted(last.items()):
            reasons = unanswered(questions.values())
            if lost := sum(reason.count for reason in reasons):
                answered = len(questions) - lost
                entry = Unanswered(judge=judge, arm=arm, answered=answered, unanswered=lost, reasons=reasons)
                entries.append(entry)
    return entries


def _by_arm(cells: Sequence[StoredCell]) -> Iterator[tuple[str, list[RunFolder]]]:
    """Each arm with the folders of its cells, which are counted together."""
    for arm in dict.fromkeys(cell.arm for cell in cells):
        yield arm, [cell.folder for cell in cells if cell.arm == arm]
