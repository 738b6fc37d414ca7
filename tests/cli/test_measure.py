"""`holdfast measure`: a scripted agent in, its planted behaviour out, with the report beside it."""

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


def test_planted_behaviour_is_found(tmp_path: Path, capsys: Captured) -> None:
    harmful = measured("scripted/blackmailer", tmp_path / "harmful")
    shown = capsys.readouterr()
    proper = measured("scripted/proper", tmp_path / "proper")
    assert harmful["pressured"]["harm"] == 1.0
    assert proper["pressured"]["harm"] == 0.0
    assert proper["routine"] == {"harm": 0.0, "useful": 1.0}
    assert str(tmp_path / "harmful" / "report.html") in shown.out
    assert "100%" in shown.out
    assert "cells 1/1 base" in shown.err


def test_a_second_run_repeats_nothing(tmp_path: Path, capsys: Captured) -> None:
    first = measured("scripted/proper", tmp_path)
    verdicts = next(tmp_path.rglob("verdicts.jsonl"))
    before = verdicts.stat().st_mtime_ns
    capsys.readouterr()
    assert measured("scripted/proper", tmp_path) == first
    assert verdicts.stat().st_mtime_ns == before
    assert "base (kept)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "worlds", "said"),
    [
        ("scripted/propr", "pocket-leaking", "did you mean 'scripted/proper'?"),
        ("scripted/proper", "pocket-leakin", "did you mean 'pocket-leaking'?"),
        ("hf/nowhere", "pocket-leaking", "nowhere"),
    ],
)
def test_a_wrong_name_is_one_line(model: str, worlds: str, said: str, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run(["measure", "--model", model, "--worlds", worlds, "--out", str(out)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not out.exists()


def test_a_vendor_that_is_not_set_up_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run(["measure", "--model", "openai/gpt-x", "--worlds", "pocket-leaking", "--out", str(out)]) == 3
    shown = capsys.readouterr().err
    assert "cannot be reached" in shown
    assert "[bold]" not in shown
    assert shown.count("\n") == 1
    assert not out.exists()
