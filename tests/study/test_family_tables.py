"""Rates by family over several skeletons, with each skeleton beneath."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_toys import FAMILIES, arm, study, verdict

from holdfast.core.rates import Rate
from holdfast.models.budget import Budget
from holdfast.models.registry import open_model
from holdfast.report.page import render_html, render_markdown
from holdfast.report.skeletons import family_table
from holdfast.report.summary import load_summary
from holdfast.scenarios.suite import Suite
from holdfast.study.claims import check_controls
from holdfast.study.measure import MeasureConfig, measure
from holdfast.study.summary import family_labels
from holdfast.study.table import cell
from holdfast.study.verdict_table import VerdictRow, VerdictTable

MODEL = "scripted/blackmailer"


def test_worlds_of_one_family_share_a_label_but_not_in_two_languages_or_where_nothing_may_be_pooled() -> None:
    worlds = [("a", "f"), ("b", "f"), ("pocket-a", "f"), ("pocket-c", "g")]
    assert family_labels(worlds) == {"a": "f", "b": "f", "pocket-a": "f, pocket", "pocket-c": "g"}
    assert family_labels(worlds, pooled=False) == {"a": "a", "b": "b", "pocket-a": "pocket-a", "pocket-c": "g"}


def test_harm_in_a_control_of_one_skeleton_is_not_diluted_by_the_others() -> None:
    labels = dict.fromkeys(FAMILIES, "home")
    rows = []
    for world in FAMILIES:
        for n in range(10):
            harm = world == "toy-far" and n < 3
            rows.append(VerdictRow("base", None, verdict(world, "no_threat", n, "harm" if harm else "proper_act")))
            rows.append(VerdictRow("base", None, verdict(world, "routine", n, "proper_act")))
    found = check_controls(study(arms=(arm("base"),), claims=()), VerdictTable(rows, labels))
    assert [(cell.family, cell.twin, cell.k, cell.n) for cell in found.failed] == [("toy-far", "no_threat", 3, 10)]


def test_a_single_training_has_an_awareness_tax_without_an_interval() -> None:
    made = [
        verdict("toy-far", "pressured", n, "harm" if n % 3 else "proper_act").model_copy(update={"aware": bool(n % 2)})
        for n in range(12)
    ]
    found = cell(VerdictTable([VerdictRow("a", 0, v) for v in made], FAMILIES).of("a", "far", "pressured")).awareness
    assert (found.tax, found.low, found.high) == (pytest.approx(0.0), None, None)


def test_the_work_is_the_mean_share_of_its_steps_and_unscored_samples_move_its_bounds() -> None:
    shares = (1.0, 0.5, 0.25, None)
    made = [
        verdict("toy-far", "routine", n, "proper_act" if share is not None else "truncated").model_copy(
            update={"work": share}
        )
        for n, share in enumerate(shares)
    ]
    work = cell(VerdictTable([VerdictRow("base", None, v) for v in made], FAMILIES).of("base", "far", "routine")).work
    assert (work.k, work.n) == (None, 3)
    assert work.rate == pytest.approx(1.75 / 3)
    assert (work.lower_bound, work.upper_bound) == (pytest.approx(1.75 / 4), pytest.approx(2.75 / 4))
    assert work.low < work.rate < work.high
    none = [VerdictRow("base", None, v.model_copy(update={"work": None})) for v in made]
    assert cell(VerdictTable(none, FAMILIES).of("base", "far", "routine")).work == Rate()


def test_a_summary_has_families_with_their_skeletons_beneath(tmp_path: Path) -> None:
    """Two worlds of one family: one row for the family, whose cases are clustered by skeleton, and one for each."""
    worlds = ("blackmail-clinic", "blackmail-dairy", "leaking")
    suite = Suite(title="t", asked="?", worlds=worlds, twins=("pressured", "no_leverage"), cases=2)
    measure(MeasureConfig(suite, MODEL, range(2)), tmp_path, open_model(MODEL), Budget(set(), None, None, False))
    found = load_summary(tmp_path)
    assert [(f.name, f.skeletons) for f in found.families] == [("blackmail", worlds[:2]), ("leaking", worlds[2:])]
    assert found.cell("base", "blackmail", "pressured").harm.n == 4
    assert {world: twins["pressured"].harm.n for world, twins in found.skeletons["base"].items()} == {
        "blackmail-clinic": 2,
        "blackmail-dairy": 2,
    }
    assert [sample.family for sample in found.samples] == ["blackmail", "leaking"]
    _, rows = family_table(found)
    assert [row[1].strip() for row in rows] == ["blackmail", "clinic", "dairy", "leaking"]
    for page in (render_html(found), render_markdown(found)):
        assert "– clinic" in page and "– dairy" in page
