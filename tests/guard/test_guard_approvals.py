"""One person's yes to one act, once: and every way around that."""

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


class Desk:
    """A guard's file, three persons with keys, and an agent that ben runs."""

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
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.evidence.close()


def test_one_yes_runs_the_stored_copy_once(desk: Desk) -> None:
    ticket = desk.approvals.ask(ACT, HOLD, "please")
    assert desk.approvals.consume(ACT, "p1") is None
    assert desk.say(ticket, "ann").state == "approved"
    assert desk.approvals.consume(ACT, "p1") == ACT
    assert desk.approvals.consume(ACT, "p1") is None
    desk.approvals.settle(ACT, done=True)
    assert desk.approvals.ticket(ticket.id).state == "done"
    kinds = [entry.kind for entry in desk.evidence.entries()]
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
def test_a_changed_act_has_no_approval(desk: Desk, what: str) -> None:
    desk.say(desk.approvals.ask(ACT, HOLD), "ann")
    assert desk.approvals.consume(dataclasses.replace(ACT, **CHANGED[what]), "p1") is None
    assert desk.approvals.consume(ACT, "p1") == ACT


def test_another_policy_needs_another_approval(desk: Desk) -> None:
    desk.say(desk.approvals.ask(ACT, HOLD), "ann")
    assert desk.approvals.consume(ACT, "p2") is None
    again = desk.approvals.ask(ACT, dataclasses.replace(HOLD, policy="p2"))
    assert again.state == "pending"


def test_the_operator_and_the_agent_may_not_approve(desk: Desk) -> None:
    ticket = desk.approvals.ask(ACT, HOLD)
    with pytest.raises(RefusedError, match="may not answer"):
        desk.say(ticket, "ben")
    with pytest.raises(RefusedError, match="may not answer"):
        desk.approvals.answer(
            ticket.id, "сlerk", True, prove_reviewer(desk.keys["ann"], ticket.statement("сlerk", True))
        )
    assert desk.approvals.consume(ACT, "p1") is None


def test_a_proof_serves_for_its_own_words_alone(desk: Desk) -> None:
    ticket, other = desk.approvals.ask(ACT, HOLD), desk.approvals.ask(dataclasses.replace(ACT, run="run-2"), HOLD)
    no = prove_reviewer(desk.keys["ann"], ticket.statement("ann", False))
    with pytest.raises(RefusedError, match="does not match the answer"):
        desk.approvals.answer(ticket.id, "ann", True, no)
    with pytest.raises(RefusedError, match="does not match the answer"):
        desk.approvals.answer(other.id, "ann", True, prove_reviewer(desk.keys["ann"], ticket.statement("ann", True)))
    with pytest.raises(RefusedError, match="no such credential"):
        desk.say(ticket, "ann", signer="ben")
    with pytest.raises(RefusedError, match="no such credential"):
        desk.approvals.answer(ticket.id, "eve", True, prove_reviewer(desk.key, ticket.statement("eve", True)))


def test_two_persons_for_the_irreversible(desk: Desk) -> None:
    act = dataclasses.replace(ACT, agent="porter")
    ticket = desk.approvals.ask(act, dataclasses.replace(HOLD, persons=2))
    assert desk.say(ticket, "ann").state == "pending"
    assert desk.approvals.consume(act, "p1") is None
    with pytest.raises(RefusedError, match="has answered"):
        desk.say(ticket, "ann")
    assert desk.say(ticket, "cat").state == "approved"
    assert desk.approvals.consume(act, "p1") == act


def test_one_no_stands_against_every_dress_of_the_act(desk: Desk) -> None:
    ticket = desk.approvals.ask(ACT, HOLD)
    assert desk.say(ticket, "ann", approve=False).state == "denied"
    with pytest.raises(RefusedError, match="denied"):
        desk.say(ticket, "cat")
    dressed = dataclasses.replace(ACT, run="run-9", arguments={"to": "аnn@firm.example", "text": "HELLO\u200b"})
    assert desk.approvals.ask(dressed, HOLD).state == "denied"
    assert desk.approvals.ask(dataclasses.replace(ACT, arguments={"to": "bob"}), HOLD).state == "pending"


def test_asking_twice_is_one_ticket_and_floods_stop(desk: Desk) -> None:
    assert desk.approvals.ask(ACT, HOLD).id == desk.approvals.ask(ACT, HOLD).id
    with pytest.raises(RefusedError, match="too many"):
        for i in range(30):
            desk.approvals.ask(dataclasses.replace(ACT, arguments={"n": i}), HOLD)


def test_time_runs_out(desk: Desk) -> None:
    brief = Approvals(desk.evidence, seconds=0.05)
    ticket = brief.ask(ACT, HOLD)
    desk.say(ticket, "ann")
    late = dataclasses.replace(ACT, run="run-2")
    waiting = brief.ask(late, HOLD)
    while desk.evidence.now() < waiting.expires:
        pass
    assert brief.consume(ACT, "p1") is None
    with pytest.raises(RefusedError, match="expired"):
        desk.say(waiting, "ann")


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE tickets SET state = 'approved'",
        "UPDATE tickets SET state = 'approved', body = replace(body, '\"persons\":2', '\"persons\":0')",
        "UPDATE tickets SET state = 'approved', body = replace(body, 'hello', 'your debt')",
        "UPDATE answers SET person = 'cat'",
    ],
)
def test_what_is_written_into_the_file_approves_nothing(desk: Desk, forgery: str) -> None:
    ticket = desk.approvals.ask(ACT, dataclasses.replace(HOLD, persons=2))
    desk.say(ticket, "ann")
    with desk.evidence.transaction() as db:
        db.execute(forgery)
        db.execute("UPDATE tickets SET state = 'approved'")
    with pytest.raises(RefusedError):
        desk.approvals.consume(ACT, "p1")
    assert not desk.evidence.entries("intent")


def test_a_person_slipped_into_the_file_is_nobody(desk: Desk, tmp_path: Path) -> None:
    eve = SigningKey.create(tmp_path / "eve")
    body = key_credential("eve", "reviewer", eve.public).model_dump_json()
    with desk.evidence.transaction() as db:
        db.execute("INSERT INTO credentials VALUES (?, 'eve', ?, ?)", (eve.public.hex(), body, bytes(64)))
    ticket = desk.approvals.ask(ACT, HOLD)
    with pytest.raises(RefusedError, match="no such credential"):
        desk.approvals.answer(ticket.id, "eve", True, prove_reviewer(eve, ticket.statement("eve", True)))


def test_a_crash_after_consuming_is_indeterminate_and_never_retried(desk: Desk) -> None:
    ticket = desk.approvals.ask(ACT, HOLD)
    desk.say(ticket, "ann")
    desk.evidence.close()
    child = os.fork()
    if child == 0:
        dying = AuditLog(desk.path, desk.key)
        Approvals(dying).consume(ACT, "p1")
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    desk.open()
    assert desk.approvals.ticket(ticket.id).state == "indeterminate"
    assert desk.approvals.consume(ACT, "p1") is None
    assert desk.approvals.ask(ACT, dataclasses.replace(HOLD, policy="p2")).id == ticket.id
    assert json.loads(desk.evidence.entries("gap")[-1].body)["why"]
    with pytest.raises(RefusedError, match="indeterminate"):
        desk.say(ticket, "cat")
    with pytest.raises(RefusedError, match="does not match the answer"):
        desk.approvals.reconcile(
            ticket.id, "ann", True, prove_reviewer(desk.keys["ann"], ticket.statement("ann", True))
        )
    proof = prove_reviewer(desk.keys["cat"], ticket.statement("cat", False, purpose="reconciling"))
    assert desk.approvals.reconcile(ticket.id, "cat", False, proof).state == "failed"


def test_a_lost_write_gives_nothing_away(desk: Desk) -> None:
    desk.say(desk.approvals.ask(ACT, HOLD), "ann")
    with desk.evidence.transaction() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StoreError, match="the disk is full"):
        desk.approvals.consume(ACT, "p1")
    with desk.evidence.transaction() as db:
        db.execute("DROP TRIGGER full")
    assert desk.approvals.consume(ACT, "p1") == ACT


def test_hostile_arguments_are_no_fault(desk: Desk) -> None:
    act = dataclasses.replace(ACT, arguments={"text": "\ud800\u202e\x00", "n": 1e308, "deep": [[[{"a": None}]]]})
    ticket = desk.approvals.ask(act, HOLD, "x" * 9000)
    assert "5000 more characters cut" in ticket.story
    desk.say(ticket, "ann")
    assert desk.approvals.consume(act, "p1") == act


def test_names_that_look_alike_are_one_person(desk: Desk, tmp_path: Path) -> None:
    twin = SigningKey.create(tmp_path / "twin")
    with pytest.raises(RefusedError, match="looks like 'ann'"):
        Persons(desk.evidence).enrol(key_credential("аnn", "reviewer", twin.public))
