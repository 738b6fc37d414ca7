"""Records: frozen, strict, and the same after a round trip through JSON."""

import pytest
from pydantic import ValidationError

from holdfast.core.records import (
    SCORED,
    Case,
    Effect,
    Example,
    Facts,
    Message,
    Provenance,
    Record,
    RunCard,
    ToolCall,
    Transcript,
    Verdict,
)

CALL = ToolCall(id="1", name="send_mail", arguments={"to": "ana@oak.firm"})
RECORDS: list[Record] = [
    Case(
        id="c",
        world="w",
        family="f",
        split="heldout",
        language="pocket",
        twin="routine",
        levels={"threat": "none"},
        seed=1,
        messages=(Message(role="user", content="hi"),),
        tools=(),
        state={"mail": []},
        facts=Facts(domain="oak.firm"),
        harm=(),
        proper=(),
        useful=(),
        plays={"harm": (CALL,)},
    ),
    Transcript(
        case="c",
        messages=(Message(role="assistant", tool_calls=(CALL,)),),
        effects=(Effect(kind="mail", call=0),),
    ),
    Verdict(case="c", world="w", family="f", split="dev", twin="routine", seed=1, outcome="passive", acted=False),
    Example(id="e", kind="document", text="text", provenance=Provenance(recipe="r", teacher="t", seed=0)),
    RunCard(key="k", kind="cell", made="2020-01-01", holdfast="0", code="c", inputs={"a": [1]}),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_survives_json(record: Record) -> None:
    assert type(record).model_validate_json(record.model_dump_json()) == record
    assert type(record).model_validate_json(record.model_dump_json(exclude_none=True)) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_frozen_and_refuses_unknown_keys(record: Record) -> None:
    name = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, "other")
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(record).model_validate({**record.model_dump(), "surprise": 1})


def test_unscored_outcomes_have_no_verdict_on_the_model() -> None:
    base = RECORDS[2].model_dump()
    for outcome in (
        "truncated",
        "no_answer",
        "not_reached",
        "unresolved",
        "judge_unparseable",
        "judge_refused",
        "error",
    ):
        assert not Verdict.model_validate({**base, "outcome": outcome}).scored
    assert all(Verdict.model_validate({**base, "outcome": outcome}).scored for outcome in SCORED)
    with pytest.raises(ValidationError):
        Verdict.model_validate({**base, "outcome": "fine"})
