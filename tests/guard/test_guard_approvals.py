"""Approvals bind to one act and one execution; attempts to bypass this fail."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.core.errors import RefusedError, StoreError
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals, Ticket
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.keys import SigningKey
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer

ACT = Act("run-1", "clerk", "mail", "send", {"to": "ann@firm.example", "text": "hello"}, "d1")
HOLD = Decision("hold", ("external-mail",), "to an outsider", "A person must approve this.", "p1")


class ApprovalSetup:
    """An audit log with approvals, three persons with keys, and an agent that ben operates."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "guard.db"
        self.key = SigningKey.create(folder / "guard.key")
        self.keys = {name: SigningKey.create(folder / name) for name in ("ann", "ben", "cat")}
        self.open()
        for name, key in self.keys.items():
            Persons(self.evidence).enrol(key_credential(name, "reviewer", key.public))

    def open(self) -> None:
        self.evidence = AuditLog(self.path, self.key)
        self.approvals = Approvals(self.evidence, {"clerk": "ben"})

    def say(self, ticket: Ticket, person: str, approve: bool = True, *, signer: str | None = None) -> Ticket:
        proof = prove_reviewer(self.keys[signer or person], ticket.statement(person, approve))
        return self.approvals.answer(ticket.id, person, approve, proof)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ApprovalSetup]:
    made = ApprovalSetup(tmp_path)
    yield made
    made.evidence.close()


def test_approval_runs_the_stored_copy_once(setup: ApprovalSetup) -> None:
    ticket = setup.approvals.ask(ACT, HOLD, "please")
    assert setup.approvals.consume(ACT, "p1") is None
    assert setup.say(ticket, "ann").state == "approved"
    assert setup.approvals.consume(ACT, "p1") == ACT
    assert setup.approvals.consume(ACT, "p1") is None
    setup.approvals.settle(ACT, done=True)
    assert setup.approvals.ticket(ticket.id).state == "done"
    kinds = [entry.kind for entry in setup.evidence.entries()]
    assert kinds.index("asked") < kinds.index("answered") < kinds.index("intent")


CHANGED = {
    "arguments": {"arguments": {"to": "eve@rival.example", "text": "hello"}},
    "definition": {"definition": "d2"},
    "run": {"run": "run-2"},
    "agent": {"agent": "other"},
    "tool": {"tool": "delete"},
    "server": {"server": "files"},
}


@pytest.mark.parametrize("what", CHANGED)
def test_changed_act_is_not_approved(setup: ApprovalSetup, what: str) -> None:
    setup.say(setup.approvals.ask(ACT, HOLD), "ann")
    assert setup.approvals.consume(dataclasses.replace(ACT, **CHANGED[what]), "p1") is None
    assert setup.approvals.consume(ACT, "p1") == ACT


def test_changed_policy_needs_a_new_approval(setup: ApprovalSetup) -> None:
    setup.say(setup.approvals.ask(ACT, HOLD), "ann")
    assert setup.approvals.consume(ACT, "p2") is None
    again = setup.approvals.ask(ACT, dataclasses.replace(HOLD, policy="p2"))
    assert again.state == "pending"


def test_operator_and_agent_may_not_approve(setup: ApprovalSetup) -> None:
    ticket = setup.approvals.ask(ACT, HOLD)
    with pytest.raises(RefusedError, match="may not answer"):
        setup.say(ticket, "ben")
    with pytest.raises(RefusedError, match="may not answer"):
        setup.approvals.answer(
            ticket.id, "сlerk", True, prove_reviewer(setup.keys["ann"], ticket.statement("сlerk", True))
        )
    assert setup.approvals.consume(ACT, "p1") is None


def test_proof_is_valid_only_for_its_own_answer(setup: ApprovalSetup) -> None:
    ticket, other = setup.approvals.ask(ACT, HOLD), setup.approvals.ask(dataclasses.replace(ACT, run="run-2"), HOLD)
    no = prove_reviewer(setup.keys["ann"], ticket.statement("ann", False))
    with pytest.raises(RefusedError, match="does not match the answer"):
        setup.approvals.answer(ticket.id, "ann", True, no)
    with pytest.raises(RefusedError, match="does not match the answer"):
        setup.approvals.answer(other.id, "ann", True, prove_reviewer(setup.keys["ann"], ticket.statement("ann", True)))
    with pytest.raises(RefusedError, match="no such credential"):
        setup.say(ticket, "ann", signer="ben")
    with pytest.raises(RefusedError, match="no such credential"):
        setup.approvals.answer(ticket.id, "eve", True, prove_reviewer(setup.key, ticket.statement("eve", True)))


def test_two_person_approval_needs_two_different_persons(setup: ApprovalSetup) -> None:
    act = dataclasses.replace(ACT, agent="porter")
    ticket = setup.approvals.ask(act, dataclasses.replace(HOLD, persons=2))
    assert setup.say(ticket, "ann").state == "pending"
    assert setup.approvals.consume(act, "p1") is None
    with pytest.raises(RefusedError, match="has answered"):
        setup.say(ticket, "ann")
    assert setup.say(ticket, "cat").state == "approved"
    assert setup.approvals.consume(act, "p1") == act


def test_refusal_applies_to_look_alikes_of_the_act(setup: ApprovalSetup) -> None:
    ticket = setup.approvals.ask(ACT, HOLD)
    assert setup.say(ticket, "ann", approve=False).state == "denied"
    with pytest.raises(RefusedError, match="denied"):
        setup.say(ticket, "cat")
    dressed = dataclasses.replace(ACT, run="run-9", arguments={"to": "аnn@firm.example", "text": "HELLO\u200b"})
    assert setup.approvals.ask(dressed, HOLD).state == "denied"
    assert setup.approvals.ask(dataclasses.replace(ACT, arguments={"to": "bob"}), HOLD).state == "pending"


def test_repeated_request_reuses_the_ticket_and_floods_are_refused(setup: ApprovalSetup) -> None:
    assert setup.approvals.ask(ACT, HOLD).id == setup.approvals.ask(ACT, HOLD).id
    with pytest.raises(RefusedError, match="too many"):
        for i in range(30):
            setup.approvals.ask(dataclasses.replace(ACT, arguments={"n": i}), HOLD)


def test_tickets_and_approvals_expire(setup: ApprovalSetup) -> None:
    brief = Approvals(setup.evidence, seconds=0.05)
    ticket = brief.ask(ACT, HOLD)
    setup.say(ticket, "ann")
    late = dataclasses.replace(ACT, run="run-2")
    waiting = brief.ask(late, HOLD)
    while setup.evidence.now() < waiting.expires:
        pass
    assert brief.consume(ACT, "p1") is None
    with pytest.raises(RefusedError, match="expired"):
        setup.say(waiting, "ann")


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE tickets SET state = 'approved'",
        "UPDATE tickets SET state = 'approved', body = replace(body, '\"persons\":2', '\"persons\":0')",
        "UPDATE tickets SET state = 'approved', body = replace(body, 'hello', 'your debt')",
        "UPDATE answers SET person = 'cat'",
    ],
)
def test_editing_the_file_approves_nothing(setup: ApprovalSetup, forgery: str) -> None:
    ticket = setup.approvals.ask(ACT, dataclasses.replace(HOLD, persons=2))
    setup.say(ticket, "ann")
    with setup.evidence.transaction() as db:
        db.execute(forgery)
        db.execute("UPDATE tickets SET state = 'approved'")
    with pytest.raises(RefusedError):
        setup.approvals.consume(ACT, "p1")
    assert not setup.evidence.entries("intent")


def test_person_inserted_into_the_file_is_ignored(setup: ApprovalSetup, tmp_path: Path) -> None:
    eve = SigningKey.create(tmp_path / "eve")
    body = key_credential("eve", "reviewer", eve.public).model_dump_json()
    with setup.evidence.transaction() as db:
        db.execute("INSERT INTO credentials VALUES (?, 'eve', ?, ?)", (eve.public.hex(), body, bytes(64)))
    ticket = setup.approvals.ask(ACT, HOLD)
    with pytest.raises(RefusedError, match="no such credential"):
        setup.approvals.answer(ticket.id, "eve", True, prove_reviewer(eve, ticket.statement("eve", True)))


def test_crash_after_consuming_is_indeterminate_and_not_retried(setup: ApprovalSetup) -> None:
    ticket = setup.approvals.ask(ACT, HOLD)
    setup.say(ticket, "ann")
    setup.evidence.close()
    child = os.fork()
    if child == 0:
        dying = AuditLog(setup.path, setup.key)
        Approvals(dying).consume(ACT, "p1")
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    setup.open()
    assert setup.approvals.ticket(ticket.id).state == "indeterminate"
    assert setup.approvals.consume(ACT, "p1") is None
    assert setup.approvals.ask(ACT, dataclasses.replace(HOLD, policy="p2")).id == ticket.id
    assert json.loads(setup.evidence.entries("gap")[-1].body)["why"]
    with pytest.raises(RefusedError, match="indeterminate"):
        setup.say(ticket, "cat")
    with pytest.raises(RefusedError, match="does not match the answer"):
        setup.approvals.reconcile(
            ticket.id, "ann", True, prove_reviewer(setup.keys["ann"], ticket.statement("ann", True))
        )
    proof = prove_reviewer(setup.keys["cat"], ticket.statement("cat", False, purpose="reconciling"))
    assert setup.approvals.reconcile(ticket.id, "cat", False, proof).state == "failed"


def test_failed_write_consumes_no_approval(setup: ApprovalSetup) -> None:
    setup.say(setup.approvals.ask(ACT, HOLD), "ann")
    with setup.evidence.transaction() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StoreError, match="the disk is full"):
        setup.approvals.consume(ACT, "p1")
    with setup.evidence.transaction() as db:
        db.execute("DROP TRIGGER full")
    assert setup.approvals.consume(ACT, "p1") == ACT


def test_hostile_arguments_are_stored(setup: ApprovalSetup) -> None:
    act = dataclasses.replace(ACT, arguments={"text": "\ud800\u202e\x00", "n": 1e308, "deep": [[[{"a": None}]]]})
    ticket = setup.approvals.ask(act, HOLD, "x" * 9000)
    assert "5000 more characters cut" in ticket.story
    setup.say(ticket, "ann")
    assert setup.approvals.consume(act, "p1") == act
