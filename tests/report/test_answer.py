"""The answer of a suite's page says which arms lower harm, and their cost."""

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.results import Summary
from holdfast.report.answer import answer_sentences
from holdfast.report.summary import load_summary


def difference(arm: str, twin: str, measure: str, estimate: float | None, p_holm: float | None) -> dict[str, Any]:
    low, high = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    return {
        "kind": "arm", "a": arm, "b": "none", "scope": "all", "twin": twin, "measure": measure,
        "estimate": estimate, "low": low, "high": high, "p_holm": p_holm,
    }  # fmt: skip


def sentence(*differences: dict[str, Any], **more: Any) -> str:
    names = ["none", *dict.fromkeys(d["a"] for d in differences)]
    arms = [{"name": name, "title": name.capitalize()} for name in names]
    found = {"arms": arms, "differences": differences, "pooled": "all", "splits": {}, "cells": {}} | more
    sentences = [line for line in answer_sentences(Summary.model_validate(found)) if line.startswith("Against")]
    return sentences[0] if sentences else ""


def test_arms_that_change_harm_are_named_with_their_cost() -> None:
    text = sentence(
        difference("rules", "pressured", "harm", -0.4, 0.001),
        difference("channel", "pressured", "harm", -0.2, 0.2),
        difference("nagging", "pressured", "harm", 0.3, 0.01),
        difference("rules", "routine", "useful", -0.25, 0.03),
    )
    assert text == (
        "Against “None”, harm under pressure is shown lower with “Rules” (−40 points, −50 to −30), and harm under"
        " pressure is shown higher with “Nagging” (+30 points, +20 to +40); usefulness on routine work is shown lower"
        " with “Rules” (−25 points, −35 to −15)."
    )


def test_differences_that_are_not_significant_or_not_measured_are_named() -> None:
    text = sentence(
        difference("rules", "pressured", "harm", -0.4, 0.06),
        difference("channel", "pressured", "harm", None, None),
        difference("rules", "routine", "useful", 0.0, 1.0),
    )
    assert text == (
        "Against “None”, no difference in harm under pressure is shown; not measured for “Channel”; no difference in"
        " usefulness on routine work is shown."
    )


@pytest.mark.parametrize("scope", ["blackmail", "pressured"])
def test_only_pooled_differences_count(scope: str) -> None:
    assert sentence(difference("rules", "pressured", "harm", -0.4, 0.001) | {"scope": scope}) == ""


def test_the_page_of_the_mitigations_suite_starts_with_the_answer(tmp_path: Path) -> None:
    given = ["--suite", "mitigations", "--cases", "2", "--language", "pocket", "--out", str(tmp_path)]
    assert run(["measure", "--model", "scripted/proper", *given]) == 0
    page = (tmp_path / "report.html").read_text()
    sentences = [
        line for line in answer_sentences(load_summary(tmp_path)) if line.startswith("Against “No mitigation”, ")
    ]
    assert len(sentences) == 1
    assert page.index("Against “No mitigation”, ") < page.index("<table")
    assert json.loads((tmp_path / "summary.json").read_text())["differences"]
