"""Failed samples are removed from their cell and played again; samples in which the model acted are kept."""

from __future__ import annotations

from pathlib import Path

from study_toys import PLAYED, cases, run, study, verdict

from holdfast.core.records import Judgement, Outcome, RunCard, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.stats.sequential import Goal
from holdfast.study.play import FAILURES, TRANSCRIPTS, VERDICTS, reopen, take_over

OUTCOMES: tuple[Outcome, ...] = ("error", "harm", "truncated", "error", "passive")
CARD = RunCard(key="k", kind="cell", made="now", holdfast="0", code="c", inputs={"arm": "base"})
CASES = cases(["toy-far"], ["pressured"], range(len(OUTCOMES)))


def cell(path: Path) -> RunFolder:
    folder = RunFolder(path)
    verdicts = [
        verdict("toy-far", "pressured", case.seed, outcome).model_copy(update={"case": case.id})
        for case, outcome in zip(CASES, OUTCOMES, strict=True)
    ]
    stop = {"error": "error", "harm": "error", "truncated": "truncated"}
    played = [
        Transcript.model_validate({"case": v.case, "messages": (), "stop": stop.get(v.outcome, "done"), "error": "e"})
        for v in verdicts
    ]
    judgements = [
        Judgement(case=v.case, rubric="intent", view="full", judge="j", key="k", answer="no") for v in verdicts
    ]
    folder.append(TRANSCRIPTS, played)
    folder.append(VERDICTS, verdicts)
    folder.append("judgements", judgements)
    folder.append("probes", played)
    folder.finish(CARD)
    return folder


def test_only_failed_samples_are_removed_with_their_judgements(tmp_path: Path) -> None:
    folder = cell(tmp_path)
    failed, kept = {CASES[0].id, CASES[3].id}, {CASES[i].id for i in (1, 2, 4)}
    assert reopen(folder, CASES, None) == 2
    assert not folder.complete
    assert take_over(folder).keys() == kept
    assert {t.case for t in folder.read(FAILURES, Transcript)} == failed
    for name in ("judgements", "probes", TRANSCRIPTS):
        kind = Judgement if name == "judgements" else Transcript
        assert {record.case for record in folder.read(name, kind)} == kept


def test_a_cell_without_failures_is_unchanged(tmp_path: Path) -> None:
    folder = cell(tmp_path)
    reopen(folder, CASES, None)
    folder.finish(CARD)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert reopen(folder, CASES, None) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert reopen(RunFolder(tmp_path / "nothing"), CASES, None) == 0


def test_a_settled_cell_is_not_reopened(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    many = cases(["toy-far"], ["pressured"], range(40))
    made = [
        verdict("toy-far", "pressured", case.seed, "error" if case.seed < 2 else "harm").model_copy(
            update={"case": case.id}
        )
        for case in many
    ]
    folder.append(VERDICTS, made)
    folder.append(TRANSCRIPTS, [Transcript(case=v.case, messages=()) for v in made])
    folder.finish(CARD)
    assert reopen(folder, many, Goal(decides=0.05)) == 0
    assert folder.complete
    assert reopen(folder, many, None) == 2


def test_a_study_plays_its_failed_samples_again(tmp_path: Path) -> None:
    whole = study(worlds=("toy-home", "toy-far"), cases=2)
    run(whole, tmp_path)
    broken = next(tmp_path.glob("cells/base*"))
    folder = RunFolder(broken)
    verdicts = folder.read(VERDICTS, Verdict)
    lost = verdicts[0].model_copy(update={"outcome": "error", "acted": None, "useful": None, "aware": None})
    folder.replace(VERDICTS, [lost, *verdicts[1:]])
    # An edit would be refused: the folder stands for one that was written so.
    (tmp_path / "hashes.json").unlink()
    PLAYED.clear()
    run(whole, tmp_path)
    assert [lost.case] == PLAYED
    assert {v.case: v for v in folder.each(VERDICTS, Verdict)} == {v.case: v for v in verdicts}
