"""A trained folder is drawn from its files; missing values interrupt the line, and names are escaped."""

import json
import re
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import ResultsError
from holdfast.report.curves import Axis, curve, ticks, write_curves


def write(folder: Path, losses: list[float], looks: list[dict[str, object]]) -> Path:
    folder.mkdir()
    steps = [{"step": at + 1, "steps": len(losses), "loss": loss, "lr": 1e-3} for at, loss in enumerate(losses)]
    for name, lines in (("metrics", steps), ("safety", looks)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def look(step: int, harm: float | None) -> dict[str, object]:
    return {"step": step, "tokens": 10, "seconds": 0.1, "values": {"harm pressured": harm}}


def test_a_trained_folder_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "taught", [4.0, 3.0, 2.0], [look(0, 0.75), look(3, 0.25)])
    assert run(["report", str(folder)]) == 0
    assert "report.html" in capsys.readouterr().out
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "4.000 → <b>2.000</b>" in html
    assert "75% → <b>25%</b>" in html
    assert 'points="33.33,0.00 66.67,25.00 100.00,50.00"' in html
    assert 'points="0.00,25.00 100.00,75.00"' in html
    twin = (folder / "report.md").read_text(encoding="utf-8")
    assert "| loss | 4.000 | 2.000 |" in twin
    assert "| harm pressured | 75% | 25% |" in twin


def test_each_stage_of_a_training_is_drawn_separately(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = tmp_path / "chain"
    chain.mkdir()
    for name in ("2-sft", "10-dpo", "1-midtrain"):
        write(chain / name, [4.0, 2.0], [])
    assert run(["report", str(chain)]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.split()]
    assert [page.parent.name for page in drawn if page.suffix == ".html"] == ["1-midtrain", "2-sft", "10-dpo"]
    assert all(page.is_file() for page in drawn)


def test_a_training_without_probes_says_so(tmp_path: Path) -> None:
    html, markdown = write_curves(write(tmp_path / "taught", [1.0], []))
    assert "Not measured during training" in html.read_text(encoding="utf-8")
    assert "Not measured during training" in markdown.read_text(encoding="utf-8")


def test_a_missing_value_interrupts_the_line() -> None:
    scale = Axis("share", 0.0, 1.0, (0.0, 1.0), str)
    drawn = curve("harm", [(0, 1.0), (1, 0.5), (2, None), (3, 0.0), (4, None)], 4, scale, str)
    assert re.findall(r'points="([^"]*)"', drawn.svg) == ["0.00,0.00 25.00,50.00", "75.00,100.00 75.00,100.00"]
    assert (drawn.first, drawn.last) == ("1.0", "not measured")


def test_a_folder_name_is_escaped(tmp_path: Path) -> None:
    bad = {"step": 0, "tokens": 0, "seconds": 0.0, "values": {'"><script>': 0.5}}
    html, _ = write_curves(write(tmp_path / "<script>", [1.0], [bad]))
    assert "<script" not in html.read_text(encoding="utf-8")


def test_a_folder_without_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="the folder has no training step"):
        write_curves(write(tmp_path / "empty", [], []))


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0.0, 4.0, False, (0.0, 1.0, 2.0, 3.0, 4.0)),
        (0.0, 0.37, False, (0.0, 0.1, 0.2, 0.3, 0.4)),
        (-0.2, 7.9, False, (-2.0, 0.0, 2.0, 4.0, 6.0, 8.0)),
        (0, 3, True, (0.0, 1.0, 2.0, 3.0)),
        (0, 1234, True, (0.0, 500.0, 1000.0, 1500.0)),
        (0.0, 0.0, False, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, whole: bool, expected: tuple[float, ...]) -> None:
    assert ticks(low, high, whole) == expected


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_both_axes_are_labelled_with_units_and_ticks(tmp_path: Path) -> None:
    folder = write(tmp_path / "taught", [3.9, 3.0, 2.0], [look(0, 0.75), look(3, 0.25)])
    html = write_curves(folder)[0].read_text(encoding="utf-8")
    drawings = re.findall(r'<svg class="curve".*?</svg></svg>', html, re.DOTALL)
    assert [labels(svg) for svg in drawings] == [
        ["loss in nats", "0", "1", "2", "3", "4", "0", "1", "2", "3", "step"],
        ["share of cases", "0%", "50%", "100%", "0", "1", "2", "3", "step"],
    ]
    # A tick stands where its value lies: 130 is the foot of the plot, 20 its top.
    heights = re.findall(r'y2="([0-9.]+)"/><text[^>]*text-anchor="end"', drawings[0])
    assert heights == ["130.0", "102.5", "75.0", "47.5", "20.0"]


def test_a_reward_has_its_own_scale(tmp_path: Path) -> None:
    folder = write(tmp_path / "taught", [1.0], [])
    step = {"step": 1, "steps": 1, "loss": 1.0, "reward": -0.5}
    (folder / "metrics.jsonl").write_text(json.dumps(step) + "\n", encoding="utf-8")
    drawn = labels(write_curves(folder)[0].read_text(encoding="utf-8"))
    assert drawn == ["mean reward of an episode", "-1", "-0.5", "0", "+0.5", "+1", "0", "1", "step"]
