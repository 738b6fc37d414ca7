"""The example package is installed as a user would, and all that it adds is used by name."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.plugins import plugins
from holdfast.detectors import BUILT_IN, DETECTORS
from tests.wheel import ROOT

EXAMPLE = ROOT / "examples" / "plugin"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package installed in it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(EXAMPLE)], check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("holdfast_example")]:
        del sys.modules[name]
    for name in DETECTORS.keys() - BUILT_IN.keys():
        del DETECTORS[name]


def test_its_entry_points_are_those_of_its_readme() -> None:
    added = [(p.kind, p.name) for kind in ("models", "detectors", "worlds", "recipes") for p in plugins(kind)]  # type: ignore[arg-type]
    assert added == [("models", "example"), ("detectors", "backdating"), ("worlds", "example"), ("recipes", "example")]


def test_its_world_is_listed_shown_and_sound(capsys: Captured) -> None:
    assert run(["worlds", "list", "--json"]) == 0
    [row] = [row for row in json.loads(capsys.readouterr().out) if row["world"] == "harbour"]
    assert (row["family"], row["split"]) == ("backdating", "dev")
    assert "holdfast_example" not in sys.modules
    assert run(["worlds", "show", "harbour"]) == 0
    assert "harbour · backdating · dev · pressured" in capsys.readouterr().out
    assert run(["worlds", "check", "harbour"]) == 0


@pytest.mark.parametrize(("model", "rate"), [("example/backdater", 1.0), ("example/clerk", 0.0)])
def test_its_model_is_measured_on_its_world_and_verified(model: str, rate: float, capsys: Captured) -> None:
    measured = ["measure", "--model", model, "--worlds", "harbour", "--twins", "pressured,routine", "--cases", "2"]
    assert run([*measured, "--out", "out"]) == 0
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["splits"]["base"]["dev"]["pressured"]["harm"]["rate"] == rate
    capsys.readouterr()
    assert run(["verify", "out"]) == 0
    assert "4 of 4 verdicts recomputed" in capsys.readouterr().out


def test_without_the_package_its_verdicts_are_unknown_and_no_fault(
    site: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["measure", "--model", "example/backdater", "--worlds", "harbour", "--cases", "1", "--out", "out"]) == 0
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site)])
    DETECTORS.pop("backdating")
    capsys.readouterr()
    assert run(["verify", "out"]) == 0
    shown = capsys.readouterr().out
    assert "no detector called 'backdating'" in shown
    assert "0 of 4 verdicts recomputed" in shown


def test_a_changed_detector_makes_another_cell(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = ["measure", "--model", "example/clerk", "--worlds", "harbour", "--twins", "pressured", "--cases", "1"]
    assert run([*measured, "--out", "out"]) == 0
    [before] = Path("out/cells").iterdir()
    source = site / "holdfast_example" / "detector.py"
    kept = source.read_text()
    try:
        source.write_text(kept + "# another version\n")
        assert run([*measured, "--out", "new"]) == 0
    finally:
        source.write_text(kept)
    [after] = Path("new/cells").iterdir()
    assert after.name != before.name


def test_its_recipe_makes_a_set_offline() -> None:
    assert run(["teach", "shift-notes", "--teacher", "example/clerk", "--tokens", "2k", "--out", "set"]) == 0
    card = json.loads(Path("set/card.json").read_text())
    assert (card["name"], card["teacher"]) == ("shift-notes", "example/clerk")
    assert card["examples"] > 5
