"""Judges a results folder beside its verdicts: nothing there is changed, and a run that stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ResultsError
from holdfast.core.records import Judgement, Transcript, Verdict
from holdfast.core.store import MANIFEST, RunFolder
from holdfast.evals.judge import RUBRICS, UNKNOWN, judge, settled, unsettled
from holdfast.evals.probe import ask_afterwards
from holdfast.models.base import Model

JUDGEMENTS, PROBES = "judgements", "probes"
_BATCH = 32


@dataclass(frozen=True)
class JudgedSample:
    """One sample with both verdicts: what its effects say, and what judges said of it (none where none was asked).

    `settled` holds what effects and lexicon alone answer, by rubric; see `judge.settled`.
    """

    verdict: Verdict
    judgements: tuple[Judgement, ...]
    settled: Mapping[str, bool]

    def answer(self, rubric: str, view: str, judge: str) -> str | None:
        """The last answer of a judge, or None where it was not asked."""
        found = [j for j in self.judgements if (j.rubric, j.view, j.judge) == (rubric, view, judge)]
        return found[-1].answer if found else None


def cells(results: Path) -> list[RunFolder]:
    """The finished folders of played cases under `results`.

    Raises:
        ResultsError: there is none.
    """
    found = sorted(path.parent for path in results.rglob("transcripts.jsonl") if (path.parent / MANIFEST).is_file())
    if not found:
        raise ResultsError("no finished transcripts here", where=results, remedy="name a folder that measure wrote")
    return [RunFolder(path) for path in found]


def judge_folder(
    folder: RunFolder,
    model: Model,
    *,
    everything: bool = False,
    target: Model | None = None,
    rubrics: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Judge the samples of one folder and append what was said to `judgements.jsonl`.

    Args:
        folder: a folder with `transcripts.jsonl` and `verdicts.jsonl`.
        model: the judge.
        everything: also samples that effects settle.
        target: the model that played, to be asked afterwards what it took its situation for; kept in `probes.jsonl`.
        rubrics: further rubrics by path, asked about every sample that was played to its end.
        on_progress: called with (transcripts judged, transcripts in all).

    Raises:
        ResultsError: a line is not a record, or a verdict is without its transcript.
        ConfigError: a rubric is wrong.
    """
    transcripts = folder.read("transcripts", Transcript)
    verdicts = {verdict.case: verdict for verdict in folder.each("verdicts", Verdict)}
    if lost := [transcript.case for transcript in transcripts if transcript.case not in verdicts]:
        raise ResultsError(f"'{lost[0]}' has no verdict", where=folder.path, remedy="run the same command again")
    wanted = {t.case: RUBRICS if everything else unsettled(verdicts[t.case], t) for t in transcripts}
    # Effects settle nothing about a rubric of one's own.
    wanted |= {case: (*names, *rubrics) for case, names in wanted.items() if verdicts[case].outcome not in UNKNOWN}
    # What failed is asked again: an answer that never came was no answer.
    said = {_at(j): j for j in folder.each(JUDGEMENTS, Judgement) if j.answer != "error"}
    for start in range(0, len(transcripts), _BATCH):
        some = transcripts[start : start + _BATCH]
        made = judge(wanted, some, model, done=said.values())
        if target is not None:
            made += _probe_judged(folder, some, model, target, said.values())
        new = {_at(j): j for j in made if _at(j) not in said}
        folder.append(JUDGEMENTS, new.values())
        said |= {at: j for at, j in new.items() if j.answer != "error"}
        if on_progress:
            on_progress(start + len(some), len(transcripts))


def _at(judgement: Judgement) -> tuple[str, ...]:
    return judgement.case, judgement.rubric, judgement.view, judgement.key


def _probe_judged(
    folder: RunFolder, transcripts: Sequence[Transcript], model: Model, target: Model, done: Iterable[Judgement]
) -> list[Judgement]:
    """Ask the target about each transcript, unless it has answered already, and the judge about its answers."""
    probes = {p.case: p for p in folder.each(PROBES, Transcript) if p.stop != "error"}
    new = ask_afterwards([t for t in transcripts if t.case not in probes], target)
    folder.append(PROBES, new)
    probes |= {p.case: p for p in new}
    mine = [probes[t.case] for t in transcripts if t.case in probes]
    made = judge(("probe",), [p for p in mine if p.stop == "done"], model, done=done)
    for lost in (p for p in mine if p.stop != "done"):
        at = {"case": lost.case, "rubric": "probe", "view": "full", "judge": model.name, "key": f"probe {lost.stop}"}
        note = f"the target gave no whole answer: {lost.error or lost.stop}"
        made.append(Judgement.model_validate({**at, "answer": "error", "note": note}))
    return made


def both(folder: RunFolder) -> Iterator[JudgedSample]:
    """Every sample of a folder with its verdict and its judgements.

    Raises:
        ResultsError: a line is not a record.
    """
    said: dict[str, list[Judgement]] = {}
    for judgement in folder.each(JUDGEMENTS, Judgement):
        said.setdefault(judgement.case, []).append(judgement)
    known = {v.case: v for v in folder.each("verdicts", Verdict)}
    for transcript in folder.each("transcripts", Transcript):
        if verdict := known.get(transcript.case):
            yield JudgedSample(verdict, tuple(said.get(verdict.case, ())), settled(verdict, transcript))
