"""At the gate, only exactly the approved call consumes an approval."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import RefusedError
from holdfast.guard.act import Act, Decision
from holdfast.guard.gate import Gate
from holdfast.guard.policy.load import load_policy
from tests.guard.guard_office import POLICY, GuardFixture, guarded

WIPE = Act("run-1", "clerk", "office", "delete_backup", {"name": "may"}, "d1")


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[GuardFixture]:
    with guarded(tmp_path) as made:
        yield made


def asked(guard: GuardFixture, act: Act = WIPE) -> str:
    """Request a held act and return its ticket."""
    assert guard.gate.judge(act).answer == "hold"
    return guard.approvals.tickets("pending")[-1].id


def state(guard: GuardFixture, ticket: str) -> str:
    return guard.approvals.ticket(ticket).state


OTHERS: dict[str, dict[str, Any]] = {
    "arguments": {"arguments": {"name": "june"}},
    "one argument more": {"arguments": {"name": "may", "force": True}},
    "tool definition": {"definition": "d2"},
    "run": {"run": "run-2"},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_different_call_does_not_consume_the_approval(guard: GuardFixture, change: dict[str, Any]) -> None:
    ticket = asked(guard)
    guard.approve(ticket)
    assert guard.gate.judge(dataclasses.replace(WIPE, **change)).answer != "allow"
    assert state(guard, ticket) == "approved"
    decision = guard.gate.judge(WIPE)
    assert (decision.answer, decision.stored) == ("allow", WIPE)
    assert state(guard, ticket) == "consumed"
    assert guard.gate.judge(WIPE).answer != "allow"


def test_approval_alone_executes_nothing(guard: GuardFixture) -> None:
    guard.approve(asked(guard))
    assert "intent" not in guard.kinds()


def test_policy_edited_after_approval_needs_a_new_ticket(guard: GuardFixture) -> None:
    ticket = asked(guard)
    guard.approve(ticket)
    (guard.folder / "policy.yaml").write_text(POLICY.replace("revision: 1", "revision: 2"))
    gate = Gate(load_policy(guard.folder / "policy.yaml"), guard.evidence, approvals=guard.approvals)
    decision = gate.judge(WIPE)
    [new] = guard.approvals.tickets("pending")
    assert decision.answer == "hold" and new.id != ticket and new.id in decision.agent_message
    assert state(guard, ticket) == "approved" and "intent" not in guard.kinds()


def test_expired_approval_is_refused(guard: GuardFixture) -> None:
    guard.approvals._seconds = 0.0
    guard.gate.judge(WIPE)
    [late] = guard.approvals.tickets("expired")
    with pytest.raises(RefusedError) as refusal:
        guard.approve(late.id)
    assert "this ticket is expired" in str(refusal.value)
    decision: Decision = guard.gate.judge(WIPE)
    assert decision.answer == "hold" and late.id not in decision.agent_message


def test_each_ticket_has_a_nonce_and_proofs_are_single_use(guard: GuardFixture) -> None:
    guard.approvals._seconds = 0.0
    for _ in range(2):
        guard.gate.judge(WIPE)
    one, other = guard.approvals.tickets("expired")
    assert one.act == other.act and one.nonce != other.nonce
    assert one.statement("ann", True) != other.statement("ann", True)
