"""Whether a lesson arrived is read from the model's own turns; what cannot be told is neither seen nor unseen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from study_toys import run, study, verdict

from holdfast.core.records import Effect, Message, Outcome, ToolCall, Transcript
from holdfast.study.delivery import sign_score
from holdfast.study.study_file import DeliverySpec

BEFORE = DeliverySpec(sign="reasons before the act", where="before the act", any_of=("because", "free to choose"))
ANYWHERE = BEFORE.model_copy(update={"where": "anywhere"})
WORDS = DeliverySpec(sign="a text before the act", where="before the act", least_words=4)
CALL = ToolCall(id="1", name="send_mail", arguments={"body": "because i say so"})


def transcript(*turns: str, act: int | None = None, prompt: str = "do the job, because it is noon") -> Transcript:
    """Turns of the model; the one at `act` calls a tool that changes something."""
    own = [Message(role="assistant", content=t, tool_calls=(CALL,) if i == act else ()) for i, t in enumerate(turns)]
    effects = () if act is None else (Effect(kind="mail", call=act + 1),)
    return Transcript(case="c", messages=(Message(role="user", content=prompt), *own), effects=effects)


@pytest.mark.parametrize(
    ("sign", "found", "outcome", "score"),
    [
        (BEFORE, transcript("Because it is hers.", "done.", act=0), "proper_act", 1),
        (BEFORE, transcript("she is Free\n to  choose", "", act=1), "harm", 1),
        (BEFORE, transcript("", "because i could", act=0), "harm", 0),
        (ANYWHERE, transcript("", "because i could", act=0), "harm", 1),
        (BEFORE, transcript("that is becausey", act=0), "harm", 0),
        (BEFORE, transcript("", act=0), "harm", 0),
        (BEFORE, transcript("nothing to say"), "passive", 0),
        (BEFORE, transcript("i think"), "truncated", math.nan),
        (BEFORE, transcript("i think", act=0), "truncated", 0),
        (BEFORE, transcript("because"), "error", 1),
        (BEFORE, None, "error", math.nan),
        (WORDS, transcript("one two three four", act=0), "harm", 1),
        (WORDS, transcript("one two three", act=0), "harm", 0),
    ],
)
def test_the_sign_is_read_from_the_models_own_turns(
    sign: DeliverySpec, found: Transcript | None, outcome: Outcome, score: float
) -> None:
    assert sign_score(sign, verdict("toy-far", outcome=outcome), found) == pytest.approx(score, nan_ok=True)


def test_an_act_can_be_the_sign() -> None:
    sign = DeliverySpec(sign="the proper act", where="outcome", any_of=("proper_act", "escalated"), split="train")
    scores = [sign_score(sign, verdict("toy-home", outcome=o), None) for o in ("proper_act", "harm", "truncated")]
    assert scores == pytest.approx([1, 0, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"where": "anywhere"},
        {"where": "anywhere", "any_of": (" ",)},
        {"where": "outcome"},
        {"where": "outcome", "any_of": ("good_act",)},
        {"where": "before the act", "least_words": 3, "at_least": 0},
    ],
)
def test_a_sign_that_looks_for_nothing_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeliverySpec(sign="x", **fields)


def test_the_shares_of_a_study_stand_in_its_summary(tmp_path: Path) -> None:
    """The toys say their outcome: the arm that learned says `proper_act`, and the base does not."""
    signs = {
        "reasons": DeliverySpec(sign="says it", where="anywhere", any_of=("proper_act",)),
        "acts": DeliverySpec(sign="says it", where="anywhere", any_of=("proper_act",)),
    }
    arms = tuple(a.model_copy(update={"delivery": signs.get(a.name)}) for a in study().arms)
    summary = json.loads(run(study(arms=arms, claims=()), tmp_path).read_text())
    found = {row["arm"]: row for row in summary["delivery"]}
    assert {arm: row["verdict"] for arm, row in found.items()} == {"reasons": "delivered", "acts": "not delivered"}
    reasons = found["reasons"]
    assert reasons["rate"]["n"] == 2 * 2 * 16
    assert reasons["rate"]["rate"] > 0.8 > 0.3 > reasons["base"]["rate"]
    assert sorted(reasons["by_seed"]) == ["0", "1"]
    assert (reasons["harm"]["k"], reasons["harm"]["n"]) == (0, reasons["rate"]["k"])
