"""Judging a results folder: judgements stand beside the verdicts, a stopped run resumes, nothing is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.core.errors import ResultsError
from holdfast.core.records import Judgement, Message, RunCard, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.harms import HARM_KINDS
from holdfast.evals.judge_folder import JUDGEMENTS, PROBES, both, cells, judge_folder
from holdfast.evals.labelled import load_labelled
from holdfast.evals.quote_transcript import quoted
from holdfast.evals.scorers import score
from holdfast.models.base import Output, Request
from holdfast.models.registry import open_model


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    labelled, made = load_labelled(), RunFolder(tmp_path / "run" / "cell")
    items = labelled.items[::13][:40]  # of every family and part
    made.append("transcripts", [item.transcript for item in items])
    made.append("verdicts", [score(labelled.case(item), item.transcript) for item in items])
    made.finish(RunCard(key="k", kind="cell", made="now", holdfast="0", code="0", inputs={}))
    return made


class Counting:
    """A judge that counts its requests and raises KeyboardInterrupt after a number of them."""

    def __init__(self, breaks_after: int | None = None) -> None:
        self.name = self.identity = "counting"
        self.inner, self.asked, self.breaks_after = open_model("scripted/judge"), 0, breaks_after

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        if self.breaks_after is not None and self.asked >= self.breaks_after:
            raise KeyboardInterrupt
        self.asked += len(requests)
        return self.inner.generate(requests)


def test_settled_questions_are_asked_only_with_everything(folder: RunFolder) -> None:
    few, every = Counting(), Counting()
    judge_folder(folder, few)
    (folder.path / f"{JUDGEMENTS}.jsonl").unlink()
    judge_folder(folder, every, everything=True)
    assert 0 < few.asked < every.asked
    assert len(folder.read(JUDGEMENTS, Judgement)) == 40 * (2 * 2 + 1 + len(HARM_KINDS))


def test_an_interrupted_run_resumes_and_asks_nothing_twice(folder: RunFolder) -> None:
    broken, whole = Counting(breaks_after=1), Counting()
    with pytest.raises(KeyboardInterrupt):
        judge_folder(folder, broken, everything=True)
    kept = folder.read(JUDGEMENTS, Judgement)
    assert kept
    judge_folder(folder, whole, everything=True)
    assert folder.read(JUDGEMENTS, Judgement)[: len(kept)] == kept
    again = Counting()
    judge_folder(folder, again, everything=True)
    assert again.asked == 0


def test_judgements_of_two_judges_are_kept_and_verdicts_stay(folder: RunFolder) -> None:
    before = (folder.path / "transcripts.jsonl").read_bytes(), (folder.path / "verdicts.jsonl").read_bytes()
    judge_folder(folder, open_model("scripted/judge"), everything=True)
    judge_folder(folder, open_model("scripted/judge-refuses"), everything=True)
    samples = list(both(folder))
    assert len(samples) == 40
    assert {s.answer("intent", "full", "scripted/judge") for s in samples} == {"yes", "no"}
    assert {s.answer("intent", "full", "scripted/judge-refuses") for s in samples} == {"judge_refused"}
    assert ((folder.path / "transcripts.jsonl").read_bytes(), (folder.path / "verdicts.jsonl").read_bytes()) == before


class Honest:
    """A target that answers the probe."""

    name = identity = "honest"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [Output(Message(role="assistant", content="i took it for a test.")) for _ in requests]


def test_probes_are_stored_in_their_own_file_and_judged(folder: RunFolder) -> None:
    judge_folder(folder, open_model("scripted/judge"), target=Honest())
    assert len(folder.read(PROBES, Transcript)) == 40
    assert {s.answer("probe", "full", "scripted/judge") for s in both(folder)} == {"yes"}


def test_a_folder_without_finished_transcripts_is_refused(tmp_path: Path, folder: RunFolder) -> None:
    assert [found.path for found in cells(tmp_path)] == [folder.path]
    (folder.path / "manifest.json").unlink()
    with pytest.raises(ResultsError, match="no finished transcripts"):
        cells(tmp_path)


def test_a_transcript_without_a_verdict_is_refused(folder: RunFolder) -> None:
    folder.replace("verdicts", [])
    with pytest.raises(ResultsError, match="has no verdict"):
        judge_folder(folder, open_model("scripted/judge"))


def test_failed_requests_are_recorded_and_sent_again(folder: RunFolder) -> None:
    broken = open_model("scripted/judge-broken")
    judge_folder(folder, broken, everything=True, target=open_model("scripted/proper"))
    assert {s.answer("intent", "full", broken.name) for s in both(folder)} == {"error"}
    assert {s.answer("probe", "full", broken.name) for s in both(folder)} == {"error"}, "the target had no script"
    judge_folder(folder, open_model("scripted/judge"), target=Honest())
    assert {s.answer("probe", "full", "scripted/judge") for s in both(folder)} == {"yes"}


def unresolved(folder: RunFolder, count: int) -> list[str]:
    """Store the first verdicts of a folder as `unresolved`; returns the cases of all that are."""
    verdicts = folder.read("verdicts", Verdict)
    changed = [v.model_copy(update={"outcome": "unresolved", "acted": None}) for v in verdicts[:count]]
    folder.replace("verdicts", [*changed, *verdicts[count:]])
    return [verdict.case for verdict in (*changed, *verdicts[count:]) if verdict.outcome == "unresolved"]


def test_a_judge_reads_each_kind_of_harm_in_what_is_unresolved(folder: RunFolder) -> None:
    cases = unresolved(folder, 10)
    before = (folder.path / "verdicts.jsonl").read_bytes()
    judge_folder(folder, open_model("scripted/judge"))
    made = [j for j in folder.read(JUDGEMENTS, Judgement) if j.rubric in HARM_KINDS]
    assert {(j.case, j.rubric, j.view) for j in made} == {(c, kind, "spoken") for c in cases for kind in HARM_KINDS}
    transcripts = {t.case: t for t in folder.read("transcripts", Transcript)}
    for found in made:
        if found.answer == "yes":
            assert found.entry is not None
            assert found.quote in quoted(transcripts[found.case].messages, reasoning=False).agent[found.entry]
    assert (folder.path / "verdicts.jsonl").read_bytes() == before
    found_harm = {s.verdict.case: dict(s.found_harm) for s in both(folder)}
    assert {found_harm[case]["scripted/judge"] for case in cases} == {"yes", "no"}
    assert not any(answers for case, answers in found_harm.items() if case not in cases)


def test_judges_disagree_and_each_keeps_its_answer(folder: RunFolder) -> None:
    cases = unresolved(folder, 3)
    for name in ("judge-harsh", "judge-mild", "judge-other", "judge-misquotes", "judge-reasons-in-german"):
        judge_folder(folder, open_model(f"scripted/{name}"))
    for sample in both(folder):
        if sample.verdict.case in cases:
            assert sample.found_harm == {
                "scripted/judge-harsh": "yes",
                "scripted/judge-mild": "no",
                "scripted/judge-other": "judge_unparseable",
                "scripted/judge-misquotes": "judge_unparseable",
                "scripted/judge-reasons-in-german": "judge_unparseable",
            }
