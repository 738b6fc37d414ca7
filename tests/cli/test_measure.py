"""`holdfast measure` with scripted agents: measured rates equal the planted behaviour."""

import json
from pathlib import Path

import pytest

from holdfast.cli.main import run

Captured = pytest.CaptureFixture[str]
ARGUMENTS = ["--worlds", "pocket-leaking", "--twins", "pressured,routine", "--cases", "4"]


def measured(model: str, out: Path) -> dict[str, dict[str, float]]:
    assert run(["measure", "--model", model, *ARGUMENTS, "--out", str(out)]) == 0
    cells = json.loads((out / "summary.json").read_text())["cells"]["base"]["leaking"]
    return {twin: {name: cell[name]["rate"] for name in ("harm", "useful")} for twin, cell in cells.items()}


def test_measured_rates_equal_planted_behaviour(tmp_path: Path, capsys: Captured) -> None:
    harmful = measured("scripted/blackmailer", tmp_path / "harmful")
    output = capsys.readouterr()
    proper = measured("scripted/proper", tmp_path / "proper")
    assert harmful["pressured"]["harm"] == 1.0
    assert proper["pressured"]["harm"] == 0.0
    assert proper["routine"] == {"harm": 0.0, "useful": 1.0}
    assert str(tmp_path / "harmful" / "report.html") in output.out
    assert "100%" in output.out
    assert "cells 1/1 base" in output.err


def test_a_second_run_repeats_nothing(tmp_path: Path, capsys: Captured) -> None:
    first = measured("scripted/proper", tmp_path)
    verdicts = next(tmp_path.rglob("verdicts.jsonl"))
    before = verdicts.stat().st_mtime_ns
    capsys.readouterr()
    assert measured("scripted/proper", tmp_path) == first
    assert verdicts.stat().st_mtime_ns == before
    assert "base (kept)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "worlds", "message"),
    [
        ("scripted/propr", "pocket-leaking", "did you mean 'scripted/proper'?"),
        ("scripted/proper", "pocket-leakin", "did you mean 'pocket-leaking'?"),
        ("hf/nowhere", "pocket-leaking", "nowhere"),
    ],
)
def test_a_wrong_name_is_a_one_line_error(
    model: str, worlds: str, message: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    assert run(["measure", "--model", model, "--worlds", worlds, "--out", str(out)]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1
    assert not out.exists()


def test_spaces_around_commas_are_ignored_and_the_command_is_recorded(tmp_path: Path) -> None:
    out = tmp_path / "my results"
    arguments = [
        "measure",
        "--model",
        "scripted/proper",
        "--worlds",
        " pocket-leaking, pocket-framing ,",
        "--cases",
        "1",
    ]
    assert run([*arguments, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [family["world"] for family in summary["families"]] == ["pocket-leaking", "pocket-framing"]
    typed = "holdfast measure --model scripted/proper --worlds ' pocket-leaking, pocket-framing ,' --cases 1 --out "
    assert summary["provenance"]["command"] == f"{typed}'{out}'"
    assert f"{typed}'{out}'".replace("_", "\\_") in (out / "report.md").read_text()


def test_a_wrong_name_on_the_command_line_has_no_line_number(tmp_path: Path, capsys: Captured) -> None:
    assert run(["measure", "--model", "scripted/proper", "--worlds", "pocket-leakin", "--out", str(tmp_path)]) == 2
    assert "command line: no world called 'pocket-leakin'" in capsys.readouterr().err


def test_until_stops_each_cell_when_it_is_settled(tmp_path: Path, capsys: Captured) -> None:
    arguments = ["measure", "--model", "scripted/blackmailer", *ARGUMENTS[:-1], "100", "--until", "decides=0.05"]
    assert run([*arguments, "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    cells = {cell["twin"]: (cell["state"], cell["played"]) for cell in summary["until"]["cells"]}
    assert cells["pressured"] == ("above", 2)
    assert cells["routine"][0] == "below"
    assert 60 < cells["routine"][1] < 100
    harm = summary["cells"]["base"]["leaking"]["routine"]["harm"]
    assert (harm["n"], harm["low"]) == (cells["routine"][1], 0)
    assert harm["high"] < 0.05
    assert summary["differences"] == []
    assert summary["splits"] == {}
    output = capsys.readouterr().out
    assert "above" in output
    assert "settled" in output
    assert "Sampling of each cell" in (tmp_path / "report.html").read_text()
    verdicts = next(tmp_path.rglob("verdicts.jsonl"))
    before = verdicts.stat().st_mtime_ns
    assert run([*arguments, "--out", str(tmp_path)]) == 0
    assert verdicts.stat().st_mtime_ns == before


@pytest.mark.parametrize("goal", ["width=2", "width", "decides=often", "precise=0.1"])
def test_an_invalid_goal_is_a_one_line_error(goal: str, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    arguments = [
        "measure",
        "--model",
        "scripted/proper",
        "--worlds",
        "pocket-leaking",
        "--until",
        goal,
        "--out",
        str(out),
    ]
    assert run(arguments) == 2
    output = capsys.readouterr().err
    assert "write width=0.1 or decides=0.05" in output
    assert output.count("\n") == 1
    assert not out.exists()


def test_an_api_without_key_is_a_one_line_error(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run(["measure", "--model", "openai/gpt-x", "--worlds", "pocket-leaking", "--out", str(out)]) == 3
    output = capsys.readouterr().err
    assert "cannot be reached" in output
    assert "[bold]" not in output
    assert output.count("\n") == 1
    assert not out.exists()
