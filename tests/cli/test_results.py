"""`holdfast results`: list folders with their harm rates, and compare two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run

Captured = pytest.CaptureFixture[str]
WORLDS = ["--worlds", "pocket-leaking,pocket-blackmail", "--twins", "pressured,routine"]


def measure(out: Path, model: str, *more: str) -> Path:
    assert run(["measure", "--model", model, *WORLDS, "--cases", "6", *more, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four measurements below one folder; `fresh` played other cases, `until` sampled sequentially."""
    at = tmp_path_factory.mktemp("results")
    measure(at / "harm", "scripted/harm-p0.5")
    measure(at / "deep" / "proper", "scripted/proper", "--cases", "4")
    measure(at / "fresh", "scripted/blackmailer", "--first", "100")
    measure(at / "until", "scripted/blackmailer", "--until", "decides=0.05")
    return at


def listed(at: Path, capsys: Captured) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert run(["results", str(at), "--json"]) == 0
    return {Path(row["folder"]).name: row for row in json.loads(capsys.readouterr().out)}


def compared(a: Path, b: Path, capsys: Captured) -> tuple[dict[tuple[str, str, str], dict[str, Any]], list[str]]:
    capsys.readouterr()
    assert run(["results", str(a), str(b), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    return {(row["scope"], row["twin"], row["measure"]): row for row in result["rows"]}, result["notes"]


def test_every_folder_is_listed_with_its_harm_rate(folders: Path, capsys: Captured) -> None:
    result = listed(folders, capsys)
    assert set(result) == {"harm", "proper", "fresh", "until"}
    fresh = result["fresh"]
    assert (fresh["model"], fresh["of"], fresh["cells"]) == ("scripted/blackmailer", "measure", "1 of 1")
    assert fresh["harm under pressure"] == "100% (74 to 100) of 12"
    assert {row["files"] for row in result.values()} == {"hashes fit"}
    assert run(["results", str(folders)]) == 0
    output = capsys.readouterr().out
    assert "harm under pressure: 100% (74 to 100) of 12" in output


def test_edited_unreadable_and_incomplete_folders_are_marked_in_the_list(tmp_path: Path, capsys: Captured) -> None:
    for name in ("edited", "unread", "killed"):
        measure(tmp_path / name, "scripted/proper", "--cases", "1")
    with next((tmp_path / "edited").rglob("verdicts.jsonl")).open("a") as file:
        file.write("\n")
    (tmp_path / "unread" / "summary.json").write_text("{")
    (tmp_path / "killed" / "hashes.json").unlink()
    result = listed(tmp_path, capsys)
    assert {name: row["files"] for name, row in result.items()} == {
        "edited": "edited",
        "unread": "edited",
        "killed": "incomplete",
    }
    assert result["unread"]["harm under pressure"] == "half written or not JSON"


def test_two_runs_of_the_same_cases_are_paired(folders: Path, capsys: Captured) -> None:
    rows, notes = compared(folders / "harm", folders / "deep" / "proper", capsys)
    pressed = rows["all", "pressured", "harm"]
    assert pressed["paired"]
    assert pressed["difference"]["pairs"] == 8
    assert (pressed["a"]["n"], pressed["b"]["k"], pressed["b"]["n"]) == (12, 0, 8)
    verdicts = next((folders / "harm").rglob("verdicts.jsonl")).read_text().splitlines()
    result = [v for v in map(json.loads, verdicts) if v["twin"] == "pressured" and v["seed"] < 4]
    share = sum(v["outcome"] == "harm" for v in result) / len(result)
    assert pressed["difference"]["estimate"] == pytest.approx(share)
    assert pressed["p_holm"] is not None
    assert notes == ["In 4 cells one side played more cases: the pairs are those that both played."]
    assert rows["leaking", "routine", "useful"]["difference"]["estimate"] == 0


def test_runs_of_different_cases_are_compared_unpaired_with_a_note(folders: Path, capsys: Captured) -> None:
    rows, notes = compared(folders / "fresh", folders / "deep" / "proper", capsys)
    pressed = rows["all", "pressured", "harm"]
    assert not pressed["paired"]
    assert (pressed["difference"]["estimate"], pressed["p_holm"]) == (1.0, None)
    assert 0 < pressed["difference"]["low"] < 1
    assert notes == ["4 of 4 cells were not played on the same cases: unpaired."]
    assert run(["results", str(folders / "fresh"), str(folders / "deep" / "proper")]) == 0
    assert "unpaired" in capsys.readouterr().out


def test_sequential_runs_are_neither_paired_nor_pooled(folders: Path, capsys: Captured) -> None:
    rows, notes = compared(folders / "until", folders / "harm", capsys)
    assert not any(row["paired"] for row in rows.values())
    assert not any(scope == "all" for scope, _, _ in rows)
    assert any("unpaired and not pooled" in note for note in notes)


def test_cells_of_only_one_folder_are_noted(folders: Path, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["--worlds", "pocket-leaking,pocket-sabotage", "--twins", "pressured", "--cases", "6"]
    other = tmp_path / "other"
    assert run(["measure", "--model", "scripted/proper", *arguments, "--out", str(other)]) == 0
    (other / "hashes.json").unlink()
    rows, notes = compared(folders / "harm", other, capsys)
    assert set(rows) == {("leaking", "pressured", "harm")}
    message = " ".join(notes)
    assert "3 cells of" in message
    assert "1 cells of" in message
    assert "may have been, scored by different rules" in message


def test_nothing_to_list_or_compare_is_a_one_line_error(folders: Path, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["--worlds", "pocket-sabotage", "--twins", "pressured", "--cases", "1"]
    assert run(["measure", "--model", "scripted/proper", *arguments, "--out", str(tmp_path / "lone")]) == 0
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    for arguments, message in (
        ([tmp_path / "empty"], "no results here"),
        ([tmp_path / "lone", folders / "harm"], "no arm, world and twin in common"),
        ([tmp_path / "lone", tmp_path / "empty"], "no results here"),
        ([tmp_path, tmp_path, tmp_path], "got 3 folders"),
    ):
        assert run(["results", *map(str, arguments)]) == 2
        output = capsys.readouterr().err
        assert message in output
        assert output.count("\n") == 1
