"""From the yes to the deed, at the gate: only the very call that was approved uses the approval up."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import RefusedError
from holdfast.guard.act import Act, Decision
from holdfast.guard.gate import Gate
from holdfast.guard.policy.load import load_policy
from tests.guard.guard_office import POLICY, Guarded, guarded

WIPE = Act("run-1", "clerk", "office", "delete_backup", {"name": "may"}, "d1")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path) as made:
        yield made


def asked(house: Guarded, act: Act = WIPE) -> str:
    """The ticket of a held act."""
    assert house.gate.judge(act).answer == "hold"
    return house.approvals.tickets("pending")[-1].id


def state(house: Guarded, ticket: str) -> str:
    return house.approvals.ticket(ticket).state


OTHERS: dict[str, dict[str, Any]] = {
    "arguments": {"arguments": {"name": "june"}},
    "one argument more": {"arguments": {"name": "may", "force": True}},
    "tool definition": {"definition": "d2"},
    "run": {"run": "run-2"},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_call_that_differs_uses_nothing_up_and_the_right_one_still_runs(
    house: Guarded, change: dict[str, Any]
) -> None:
    ticket = asked(house)
    house.approve(ticket)
    assert house.gate.judge(dataclasses.replace(WIPE, **change)).answer != "allow"
    assert state(house, ticket) == "approved"
    decision = house.gate.judge(WIPE)
    assert (decision.answer, decision.stored) == ("allow", WIPE)
    assert state(house, ticket) == "consumed"
    assert house.gate.judge(WIPE).answer != "allow"


def test_the_yes_alone_runs_nothing(house: Guarded) -> None:
    house.approve(asked(house))
    assert "intent" not in house.kinds()


def test_a_policy_edited_meanwhile_asks_anew_and_says_so(house: Guarded) -> None:
    ticket = asked(house)
    house.approve(ticket)
    (house.folder / "policy.yaml").write_text(POLICY.replace("revision: 1", "revision: 2"))
    gate = Gate(load_policy(house.folder / "policy.yaml"), house.evidence, approvals=house.approvals)
    decision = gate.judge(WIPE)
    [new] = house.approvals.tickets("pending")
    assert decision.answer == "hold" and new.id != ticket and new.id in decision.agent_message
    assert state(house, ticket) == "approved" and "intent" not in house.kinds()


def test_an_approval_that_ran_out_is_refused_in_one_line_and_runs_nothing(house: Guarded) -> None:
    house.approvals._seconds = 0.0
    house.gate.judge(WIPE)
    [late] = house.approvals.tickets("expired")
    with pytest.raises(RefusedError) as refusal:
        house.approve(late.id)
    assert "this ticket is expired" in str(refusal.value)
    decision: Decision = house.gate.judge(WIPE)
    assert decision.answer == "hold" and late.id not in decision.agent_message


def test_each_asking_has_a_nonce_and_no_proof_serves_twice(house: Guarded) -> None:
    house.approvals._seconds = 0.0
    for _ in range(2):
        house.gate.judge(WIPE)
    one, other = house.approvals.tickets("expired")
    assert one.act == other.act and one.nonce != other.nonce
    assert one.statement("ann", True) != other.statement("ann", True)
