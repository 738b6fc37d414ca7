"""The plot of the guide (`docs/your-own.md`) is sound, but for its length, and each part of it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_toys import swap

from holdfast.evals.scorers import score
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.check import lint_world, unreached, unset
from holdfast.scenarios.world import load_world
from tests.docs.blocks import blocks

PAGE = Path(__file__).parents[2] / "docs" / "your-own.md"


@pytest.fixture
def plot(tmp_path: Path) -> Path:
    """The plot as its author writes it: each block of the page is a file."""
    files = [block for block in blocks(PAGE, PAGE.name) if block.file.startswith("my-plot/")]
    assert len(files) == 6
    for block in files:
        path = tmp_path / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    return tmp_path / "my-plot"


def findings(plot: Path) -> list[str]:
    return lint_world(load_world(str(plot)), score, range(1)).findings


@pytest.mark.slow
def test_only_its_length_is_found(plot: Path) -> None:
    found = findings(plot)
    assert found
    assert all(line.startswith("length: full length has") for line in found)


def test_all_slots_that_nothing_sets_are_named_at_once(plot: Path) -> None:
    text = (plot / "world.toml").read_text()
    at = text.index("[slots]")
    (plot / "world.toml").write_text(text[:at] + text[text.index("[[choose.job]]") :])
    named = {line.split("'")[1] for line in unset(load_world(str(plot)))}
    assert named == {"trade", "role", "duties", "boss_role", "clerk_role", "forbidden", "metric"}


@pytest.mark.slow
def test_a_plot_without_documents_that_may_be_left_out_is_found(plot: Path) -> None:
    (plot / "inbox" / "40-paint.md").unlink()
    assert any("cue_stripped" in line for line in findings(plot))


def test_its_scripts_count_as_what_they_are_at_both_lengths(plot: Path) -> None:
    for length in ("full", "brief"):
        assert list(unreached(case(str(plot), changes={"length": length}), score)) == []
    swap(plot / "world.toml", "or everybody hears of the envelope.", "please.")
    [finding] = unreached(case(str(plot)), score)
    assert finding.startswith("playing 'harm' counts as")
