"""Judges the samples of a results folder.  Judgements are stored beside the verdicts, which stay as they are.

An interrupted run resumes: answered questions are not asked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ResultsError
from holdfast.core.records import Answer, Judgement, Transcript, Verdict
from holdfast.core.store import MANIFEST, RunFolder
from holdfast.evals.harms import HARM_KINDS, resolutions
from holdfast.evals.judge import PROBE_REAL, RUBRICS, TOOK_FOR_REAL, UNKNOWN, judge, settled, unsettled
from holdfast.evals.probe import ask_afterwards
from holdfast.models.base import Model

JUDGEMENTS, PROBES = "judgements", "probes"
_BATCH = 32


@dataclass(frozen=True)
class JudgedSample:
    """One sample with its verdict and the judgements about it, in the order in which they were made.

    Attributes:
        settled: rubric → what effects and lexicon answer by themselves; see `judge.settled`.
    """

    verdict: Verdict
    judgements: tuple[Judgement, ...]
    settled: Mapping[str, bool]

    def answer(self, rubric: str, view: str, judge: str) -> Answer | None:
        """The last answer of a judge, or None if it was not asked."""
        found = [j for j in self.judgements if (j.rubric, j.view, j.judge) == (rubric, view, judge)]
        return found[-1].answer if found else None

    @property
    def found_harm(self) -> Mapping[str, Answer]:
        """Judge → whether it found harm of any kind; judges that were not asked about every kind are left out."""
        return resolutions(self.judgements)


def cells(results: Path) -> list[RunFolder]:
    """The finished folders of played cases under `results`.

    Raises:
        ResultsError: no folder is finished.
    """
    found = sorted(path.parent for path in results.rglob("transcripts.jsonl") if (path.parent / MANIFEST).is_file())
    if not found:
        raise ResultsError("no finished transcripts here", where=results, remedy="name a folder that measure wrote")
    return [RunFolder(path) for path in found]


def names_of_model(name: str) -> tuple[str, ...]:
    """The names by which a text may give a model away: its full name, and its last part if that is no common word.

    A last part without a digit or punctuation (`pocket` in `organism/pocket`) may be an ordinary word of a text.
    """
    last = name.rpartition("/")[2]
    return (name, last) if re.search(r"[\W\d_]", last) else (name,)


def judge_folder(
    folder: RunFolder,
    model: Model,
    *,
    everything: bool = False,
    target: Model | None = None,
    rubrics: Sequence[str] = (),
    hide: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Judge the samples of one folder and append the judgements to `judgements.jsonl`.

    Args:
        folder: a folder with `transcripts.jsonl` and `verdicts.jsonl`.
        model: the judge.
        everything: also ask the built-in rubrics about samples that effects and words settle.
        target: the model that played, which is asked afterwards what it took its situation for (`probes.jsonl`).
        rubrics: further rubrics by path, asked about every sample that was played to its end.
        hide: names of the model that played, which the judge must not see.
        on_progress: called with (transcripts judged, transcripts in all).

    Raises:
        ResultsError: a line is not a record, or a transcript has no verdict.
        ConfigError: a rubric does not exist.
    """
    transcripts = folder.read("transcripts", Transcript)
    verdicts = {verdict.case: verdict for verdict in folder.each("verdicts", Verdict)}
    if lost := [transcript.case for transcript in transcripts if transcript.case not in verdicts]:
        raise ResultsError(f"'{lost[0]}' has no verdict", where=folder.path, remedy="run the same command again")
    every = (*RUBRICS, TOOK_FOR_REAL, *HARM_KINDS)
    wanted = {t.case: every if everything else unsettled(verdicts[t.case], t) for t in transcripts}
    # Effects settle nothing about a rubric of the user's own.
    wanted |= {case: (*names, *rubrics) for case, names in wanted.items() if verdicts[case].outcome not in UNKNOWN}
    # Failed requests are sent again.
    answered = {_at(j): j for j in folder.each(JUDGEMENTS, Judgement) if j.answer != "error"}
    for start in range(0, len(transcripts), _BATCH):
        some = transcripts[start : start + _BATCH]
        judgements = judge(wanted, some, model, done=answered.values(), hide=hide)
        if target is not None:
            judgements += _probe_judged(folder, some, (model, target), answered.values(), hide)
        new = {_at(j): j for j in judgements if _at(j) not in answered}
        folder.append(JUDGEMENTS, new.values())
        answered |= {at: j for at, j in new.items() if j.answer != "error"}
        if on_progress:
            on_progress(start + len(some), len(transcripts))


def _at(judgement: Judgement) -> tuple[str, ...]:
    return judgement.case, judgement.rubric, judgement.view, judgement.key


def _probe_judged(
    folder: RunFolder,
    transcripts: Sequence[Transcript],
    models: tuple[Model, Model],
    done: Iterable[Judgement],
    hide: Sequence[str],
) -> list[Judgement]:
    """Ask the target about each transcript that it has not answered about yet, and the judge about the answers."""
    model, target = models
    probes = {p.case: p for p in folder.each(PROBES, Transcript) if p.stop != "error"}
    new = ask_afterwards([t for t in transcripts if t.case not in probes], target)
    folder.append(PROBES, new)
    probes |= {p.case: p for p in new}
    mine = [probes[t.case] for t in transcripts if t.case in probes]
    asked = ("probe", PROBE_REAL)
    judgements = judge(asked, [p for p in mine if p.stop == "done"], model, done=done, hide=hide)
    for lost in (p for p in mine if p.stop != "done"):
        for name in asked:
            at = {"case": lost.case, "rubric": name, "view": "full", "judge": model.name, "key": f"{name} {lost.stop}"}
            note = f"the target's answer is missing or incomplete: {lost.error or lost.stop}"
            judgements.append(Judgement.model_validate({**at, "answer": "error", "note": note}))
    return judgements


def both(folder: RunFolder) -> Iterator[JudgedSample]:
    """Yield every sample of a folder with its verdict and its judgements.

    Raises:
        ResultsError: a line is not a record.
    """
    by_case: dict[str, list[Judgement]] = {}
    for judgement in folder.each(JUDGEMENTS, Judgement):
        by_case.setdefault(judgement.case, []).append(judgement)
    known = {v.case: v for v in folder.each("verdicts", Verdict)}
    for transcript in folder.each("transcripts", Transcript):
        if verdict := known.get(transcript.case):
            yield JudgedSample(verdict, tuple(by_case.get(verdict.case, ())), settled(verdict, transcript))
