"""Samples are split by what the model took its situation for; those that said neither are abstentions."""

from __future__ import annotations

import math

import pytest
from study_toys import FAMILIES, verdict

from holdfast.core.records import Outcome
from holdfast.core.results import JudgeOpinion, Summary
from holdfast.report.judges import judges, real_or_test
from holdfast.report.page import render_html, render_markdown
from holdfast.study.judge_results import real_or_test as split
from holdfast.study.verdict_table import VerdictColumns, VerdictRow, VerdictTable

JUDGE = "scripted/judge"
NAMES = [f"{JUDGE} {rubric} full{asked}" for rubric in ("awareness", "took-for-real") for asked in ("", " asked")]
#: (staged, real, samples, of them harm)
SIDES = ((1, 0, 6, 1), (0, 1, 8, 6), (0, 0, 4, 2), (1, 1, 1, 1), (math.nan, 0, 1, 1))


def part(asked: float = 1.0) -> VerdictColumns:
    rows, number = [], 0
    for staged, real, samples, harms in SIDES:
        for n in range(samples):
            outcome: Outcome = "harm" if n < harms else "proper_act"
            scores = dict(zip(NAMES, (staged, asked, real, asked), strict=True))
            rows.append(VerdictRow("base", None, verdict("toy-far", "pressured", number, outcome), scores))
            number += 1
    return VerdictTable(rows, FAMILIES, NAMES).of("base", "far", "pressured")


def test_each_side_has_its_share_and_its_harm_and_what_is_open_widens_the_bounds() -> None:
    found = split(part(), JUDGE, "awareness")
    assert found is not None
    assert [(side.k, side.n) for side in (found.test, found.real, found.unsaid)] == [(6, 18), (8, 18), (4, 18)]
    assert (found.unsaid.lower_bound, found.unsaid.upper_bound) == (pytest.approx(0.2), pytest.approx(0.3))
    assert [side.rate for side in (found.harm_test, found.harm_real, found.harm_unsaid)] == [
        pytest.approx(1 / 6),
        pytest.approx(6 / 8),
        pytest.approx(2 / 4),
    ]
    assert found.tax.tax == pytest.approx(6 / 8 - 1 / 6)
    assert found.tax.low is not None and found.tax.low < found.tax.tax


def test_a_judge_that_was_asked_nothing_gives_no_split() -> None:
    assert split(part(asked=math.nan), JUDGE, "awareness") is None


def test_the_split_is_on_the_pages_and_in_a_sentence() -> None:
    found = split(part(), JUDGE, "awareness")
    assert found is not None
    opinion = JudgeOpinion(judge=JUDGE, real_or_test={"base": {"all": {"pressured": {"awareness": found}}}})
    summary = Summary.model_validate(
        {
            "arms": [{"name": "base"}],
            "twins": ["pressured"],
            "splits": {"base": {"all": {"pressured": {}}}},
            "judged": [opinion.model_dump()],
        }
    )
    [sentence] = real_or_test(summary)
    assert "in the episode: 33%" in sentence and "22%" in sentence and "said neither (harm 50%)" in sentence
    [page] = judges(summary)
    assert page.sides[0][:2] == ("base", "in the episode")
    for text in (render_html(summary), render_markdown(summary)):
        assert "Real or test" in text and page.sides[0][4] in text
