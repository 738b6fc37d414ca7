"""Faults around a measurement: a one-line error, the right exit code, and no loss of existing data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.main import run

Captured = pytest.CaptureFixture[str]
WORLD = ["--worlds", "pocket-leaking", "--twins", "pressured,routine", "--cases", "2"]


def measure(out: Path, *more: str) -> int:
    return run(["measure", "--model", "scripted/proper", *WORLD, "--out", str(out), *more])


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """The cell folder of a run that was killed just before it wrote its hashes."""
    assert measure(tmp_path / "out") == 0
    (tmp_path / "out" / "hashes.json").unlink()
    return next(tmp_path.rglob("manifest.json")).parent


def results(cell: Path) -> Path:
    return cell.parent.parent


def refused(cell: Path, capsys: Captured, code: int) -> str:
    capsys.readouterr()
    assert measure(results(cell)) == code
    output = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(output) == 1
    return output[0]


def test_an_interrupted_cell_resumes_after_its_last_complete_sample(cell: Path) -> None:
    (cell / "manifest.json").unlink()
    verdicts = cell / "verdicts.jsonl"
    whole = verdicts.read_bytes()
    verdicts.write_bytes(whole[: len(whole) // 2])
    assert measure(results(cell)) == 0
    lines = verdicts.read_text().splitlines()
    assert len({json.loads(line)["case"] for line in lines}) == len(lines) == 4


@pytest.mark.parametrize("finished", [True, False])
def test_an_invalid_line_is_refused_with_its_place_and_not_changed(
    finished: bool, cell: Path, capsys: Captured
) -> None:
    if not finished:
        (cell / "manifest.json").unlink()
    verdicts = cell / "verdicts.jsonl"
    verdicts.write_text("garbage\n" + verdicts.read_text())
    before = verdicts.read_bytes()
    message = refused(cell, capsys, 2)
    assert "verdicts.jsonl:1" in message
    assert "not a Verdict record" in message
    assert verdicts.read_bytes() == before


def test_an_invalid_manifest_is_refused(cell: Path, capsys: Captured) -> None:
    (cell / "manifest.json").write_text("{")
    assert "not a Holdfast manifest (delete the folder and run again)" in refused(cell, capsys, 2)


def test_a_truncated_summary_is_refused_and_written_again_by_measure(cell: Path, capsys: Captured) -> None:
    summary = results(cell) / "summary.json"
    summary.write_text(summary.read_text()[:100])
    assert run(["report", str(results(cell))]) == 2
    assert "half written or not JSON" in capsys.readouterr().err
    assert measure(results(cell)) == 0
    assert run(["report", str(results(cell))]) == 0


def test_a_file_edited_between_two_runs_is_refused_and_not_changed(cell: Path, capsys: Captured) -> None:
    assert measure(results(cell)) == 0
    verdicts = cell / "verdicts.jsonl"
    verdicts.write_text(verdicts.read_text().replace("proper_act", "harm"))
    before = verdicts.read_bytes()
    assert "verdicts.jsonl: edited since the run that wrote it" in refused(cell, capsys, 2)
    assert verdicts.read_bytes() == before


def test_a_full_disk_is_a_one_line_error_and_the_run_can_resume(cell: Path, capsys: Captured) -> None:
    (cell / "manifest.json").unlink()
    content = (cell / "verdicts.jsonl").read_bytes()
    (cell / "verdicts.jsonl").write_bytes(content[: content.index(b"\n") + 1])
    transcripts = cell / "transcripts.jsonl"
    stored = transcripts.read_bytes()
    transcripts.write_bytes(stored[: stored.index(b"\n") + 1])
    # Every write to /dev/full fails with ENOSPC.
    judged = cell / "judgements.jsonl"
    judged.symlink_to("/dev/full")
    assert measure(results(cell), "--judge", "scripted/judge") == 4
    assert "the disk is full (free some space and run again: it resumes)" in capsys.readouterr().err
    judged.unlink()
    assert measure(results(cell), "--judge", "scripted/judge") == 0
    assert len((cell / "verdicts.jsonl").read_text().splitlines()) == 4


def test_a_price_table_without_the_model_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."vendor/other"]\nin = 1.0\nout = 1.0\n')
    arguments = ["--judge", "openai/gpt-5-mni", "--prices", str(prices)]
    assert measure(tmp_path / "out", *arguments, "--budget", "5usd") == 2
    output = capsys.readouterr().err
    assert "no price is known for 'openai/gpt-5-mni', the nearest is 'openai/gpt-5-mini'" in output
    assert output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_plan_has_a_line_for_the_judge(tmp_path: Path, capsys: Captured) -> None:
    assert measure(tmp_path / "out", "--judge", "scripted/judge", "--plan") == 0
    assert "judge scripted/judge: at most 40 requests" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_answers_in_another_language_are_counted_as_missing(tmp_path: Path, capsys: Captured) -> None:
    assert measure(tmp_path, "--judge", "scripted/judge-german") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "no answer because it" in output
    assert "answered off form:" in output
    assert "nein" not in output
    [unanswered] = json.loads((tmp_path / "summary.json").read_text())["unanswered"]
    assert (unanswered["judge"], unanswered["arm"], unanswered["answered"]) == ("scripted/judge-german", "base", 0)
    assert unanswered["unanswered"] == sum(reason["count"] for reason in unanswered["reasons"]) > 0
    assert "answered off form: the answer is in another language" in (tmp_path / "report.md").read_text()


def test_an_interrupted_run_has_a_summary_marked_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from holdfast.models.scripted import ScriptedModel

    plain = ScriptedModel.generate
    asked = 0

    def breaking(self: ScriptedModel, requests: list[object]) -> object:
        nonlocal asked
        asked += 1
        if asked > 4:
            raise KeyboardInterrupt
        return plain(self, requests)  # type: ignore[arg-type]

    monkeypatch.setattr(ScriptedModel, "generate", breaking)
    two = ["--suite", "insider-classic", "--language", "pocket", "--cases", "1"]
    arguments = ["measure", "--model", "scripted/proper", *two, "--out", str(tmp_path)]
    assert run(arguments) == 4
    result = json.loads((tmp_path / "summary.json").read_text())
    assert result["incomplete"] == {"played": 6, "of": 18}
    assert "The run is incomplete" in (tmp_path / "report.html").read_text()
    assert "**The run is incomplete.** 6 of 18 samples" in (tmp_path / "report.md").read_text()
    assert run(["verify", str(tmp_path)]) == 4
    output = capsys.readouterr().out
    assert "incomplete: 2 of 3 cells are not finished: restriction, replacement" in output
    assert run(["report", str(tmp_path)]) == 0
    assert run(["verify", str(tmp_path)]) == 4
    with next(tmp_path.rglob("verdicts.jsonl")).open("a") as file:
        file.write("\n")
    assert run(["verify", str(tmp_path)]) == 2
    with next(tmp_path.rglob("verdicts.jsonl")).open("r+") as file:
        file.truncate(file.seek(0, 2) - 1)
    monkeypatch.undo()
    assert run(arguments) == 0
    assert run(["verify", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["incomplete"] is None
    assert "incomplete" not in (tmp_path / "report.md").read_text()
