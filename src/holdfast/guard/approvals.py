"""Approvals: a person approves one act, for one execution.

    ticket = approvals.ask(act, decision, story)             # by the gate, when the policy holds an act
    approvals.answer(ticket.id, person, True, proof)         # by a person, with a proof that no agent can make
    stored = approvals.consume(act, decision.policy)         # by the gate: execute the stored copy
    approvals.settle(act, done=True)                         # by the gate: record the outcome

The proof signs the whole ticket: canonical arguments, definition hash, policy version, run, expiry and nonce. It is
verified when the person answers and again when the approval is consumed, so edits to the file in between have no
effect. One transaction consumes the approval and logs the intent. If the process dies before `settle`, the ticket
becomes `indeterminate`, and only a person can close it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from typing import Any, Literal

from holdfast.core.errors import RefusedError
from holdfast.core.identity import canonical
from holdfast.core.records import Record
from holdfast.detectors.confusables import skeleton
from holdfast.guard.act import Act, Decision
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.ids import likeness
from holdfast.guard.limits import LimitScope
from holdfast.guard.names import Names, agent_name, person_names
from holdfast.guard.reviewers import Credential, Persons, Proof

State = Literal["pending", "approved", "denied", "expired", "consumed", "done", "failed", "indeterminate"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY, act TEXT NOT NULL, likeness TEXT NOT NULL, run TEXT NOT NULL, expires REAL NOT NULL,
    body TEXT NOT NULL, state TEXT NOT NULL, session INTEGER
);
CREATE INDEX IF NOT EXISTS tickets_by_act ON tickets (act);
CREATE INDEX IF NOT EXISTS tickets_by_state ON tickets (state);
CREATE TABLE IF NOT EXISTS answers (
    ticket TEXT NOT NULL REFERENCES tickets, person TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (ticket, person)
);
"""
_LONGEST_STORY = 4000
_MOST_WAITING = 20
#: Seconds for which a person's refusal also applies to look-alikes of the act.
_VETO_SECONDS = 24 * 3600.0


class StoredAct(Record):
    """An act as stored on disk."""

    run: str
    agent: str
    server: str
    tool: str
    arguments: Mapping[str, Any]
    definition: str

    @classmethod
    def of(cls, act: Act) -> StoredAct:
        """Return the record of an act."""
        return cls(**{name: getattr(act, name) for name in cls.model_fields})

    @property
    def act(self) -> Act:
        """The stored act as an `Act`."""
        return Act(**{name: getattr(self, name) for name in type(self).model_fields})


class Ticket(Record):
    """A request for approval. A person signs every field except `state`.

    Attributes:
        story: the agent's reasoning; hostile text, cut at 4,000 characters.
        why: for each rule, why it exists, as the policy says it.
        persons: number of persons who must approve.
        barred: persons who may not answer, such as the agent's operator.
        asked: seconds since 1970, as is `expires`.
    """

    id: str
    act: StoredAct
    policy: str
    rules: tuple[str, ...]
    reason: str
    story: str
    persons: int
    barred: tuple[str, ...]
    asked: float
    expires: float
    nonce: str
    why: tuple[str, ...] = ()
    state: State = "pending"

    def statement(self, person: str, yes: bool, reason: str = "", *, purpose: str = "approval") -> bytes:
        """Return the 32 bytes that a person signs to answer or reconcile this ticket (the WebAuthn challenge)."""
        content = [f"holdfast/{purpose}/1", self.model_dump(mode="json", exclude={"state"}), person, yes, reason]
        return hashlib.sha256(_json(content)).digest()


class Answer(Record):
    """A person's answer with its proof."""

    person: str
    approve: bool
    reason: str
    at: float
    proof: Proof


class Approvals:
    """The approval tickets in the guard's database.

    Args:
        store: the guard's audit log.
        operators: agent → id of the person who runs it and may not approve its acts.
        seconds: lifetime of a ticket and of an approval.
        scope: whose tickets count together; by default those of an agent and of the other agents of its operator.
    """

    def __init__(
        self,
        store: AuditLog,
        operators: Mapping[str, str] | None = None,
        seconds: float = 900,
        scope: LimitScope | None = None,
    ) -> None:
        self._store, self._operators, self._seconds = store, dict(operators or {}), seconds
        self._scope = scope or LimitScope(self._operators)
        self._persons = Persons(store)
        with store.transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            lost = "state = 'consumed' AND session NOT IN (SELECT id FROM sessions)"
            for row in db.execute(f"SELECT id FROM tickets WHERE {lost}").fetchall():
                self._move(db, row["id"], "indeterminate")
        people = [name for person in self._operators.values() for name in person_names(person)]
        Names(store).note([*map(agent_name, self._operators), *people])

    def ask(self, act: Act, decision: Decision, story: str = "") -> Ticket:
        """Open a ticket for a held act, or return the open ticket of the same act.

        If a person refused this act or a look-alike, returns that `denied` ticket and opens no new one.

        Raises:
            RefusedError: too many tickets of this agent, or of the other agents of its operator, are pending.
            StoreError: the ticket could not be written.
        """
        likeness = _likeness(act)
        with self._store.transaction() as db:
            self._expire(db)
            # An indeterminate act may have happened: it gets no new ticket until a person reconciles the old one.
            standing = "('pending', 'approved', 'consumed', 'indeterminate')"
            found = f"SELECT * FROM tickets WHERE act = ? AND state IN {standing}"
            for row in db.execute(found, (_digest(act),)):
                ticket = _ticket(row)
                if ticket.policy == decision.policy or ticket.state in ("consumed", "indeterminate"):
                    return ticket
            vetoed = "SELECT * FROM tickets WHERE likeness = ? AND state = 'denied' AND expires > ?"
            for row in db.execute(vetoed, (likeness, self._store.now() + self._seconds - _VETO_SECONDS)):
                return _ticket(row)
            if self._waiting(db, act) >= _MOST_WAITING:
                raise RefusedError(
                    f"too many pending requests of this agent ({_MOST_WAITING})",
                    where=act.agent,
                    remedy="answer them with: holdfast guard approve",
                )
            return self._open(db, act, decision, story)

    def answer(self, ticket_id: str, person: str, approve: bool, proof: Proof, reason: str = "") -> Ticket:
        """Record a person's answer. One refusal denies the ticket; `Ticket.persons` approvals approve it.

        Raises:
            RefusedError: the ticket is not pending, the person is barred or has already answered, or the proof is
                invalid.
            StoreError: the answer could not be written.
        """
        with self._store.transaction() as db:
            self._expire(db)
            ticket = self.ticket(ticket_id)
            if ticket.state != "pending":
                raise RefusedError(
                    f"this ticket is {ticket.state}", where=ticket_id, remedy="only pending tickets take an answer"
                )
            credential = self._admit(ticket, person, ticket.statement(person, approve, reason), proof)
            if self._answered(ticket_id, person, credential):
                raise RefusedError(
                    f"{person} has answered already", where=ticket_id, remedy="another person must answer"
                )
            given = Answer(person=person, approve=approve, reason=reason, at=self._store.now(), proof=proof)
            body = given.model_dump_json()
            db.execute("INSERT INTO answers VALUES (?, ?, ?)", (ticket_id, person, body))
            self._store.append("answered", {"ticket": ticket_id, "answer": json.loads(body)}, durable=True)
            if not approve:
                self._move(db, ticket_id, "denied")
            elif len(self.answers(ticket_id)) >= ticket.persons:
                self._move(db, ticket_id, "approved")
        return self.ticket(ticket_id)

    def consume(self, act: Act, policy: str) -> Act | None:
        """Consume the approval of this act and log the intent, in one transaction.

        Returns:
            The stored act, which is the one to execute; None if no approval exists for it under this policy.

        Raises:
            RefusedError: the file lists an approval without a valid proof.
            StoreError: the intent could not be written; nothing may be executed.
        """
        with self._store.transaction() as db:
            self._expire(db)
            rows = db.execute("SELECT * FROM tickets WHERE act = ? AND state = 'approved'", (_digest(act),)).fetchall()
            ticket = next((t for t in map(_ticket, rows) if t.policy == policy), None)
            if ticket is None:
                return None
            self._check(ticket, act)
            taken = "UPDATE tickets SET state = 'consumed', session = ? WHERE id = ? AND state = 'approved'"
            if db.execute(taken, (self._store.session.id, ticket.id)).rowcount != 1:
                return None
            body = {"ticket": ticket.id, "act": ticket.act.model_dump(mode="json"), "policy": policy}
            self._store.append("intent", body, durable=True)
        return ticket.act.act

    def settle(self, act: Act, *, done: bool) -> None:
        """Record whether a consumed act was done; call this only if the outcome is certain."""
        with self._store.transaction() as db:
            mine = "SELECT id FROM tickets WHERE act = ? AND state = 'consumed' AND session = ?"
            for row in db.execute(mine, (_digest(act), self._store.session.id)).fetchall():
                self._move(db, row["id"], "done" if done else "failed")

    def reconcile(self, ticket_id: str, person: str, done: bool, proof: Proof, reason: str = "") -> Ticket:
        """Close an indeterminate ticket after a person has checked whether the act happened.

        Raises:
            RefusedError: the ticket is not indeterminate, the person is barred, or the proof is invalid.
        """
        with self._store.transaction() as db:
            ticket = self.ticket(ticket_id)
            if ticket.state != "indeterminate":
                raise RefusedError(
                    f"this ticket is {ticket.state}",
                    where=ticket_id,
                    remedy="only indeterminate tickets are reconciled",
                )
            statement = ticket.statement(person, done, reason, purpose="reconciling")
            self._admit(ticket, person, statement, proof)
            body = {"ticket": ticket_id, "person": person, "done": done, "reason": reason, "proof": proof.model_dump()}
            self._store.append("reconciled", body, durable=True)
            self._move(db, ticket_id, "done" if done else "failed")
        return self.ticket(ticket_id)

    def ticket(self, ticket_id: str) -> Ticket:
        """Return one ticket.

        Raises:
            RefusedError: there is no ticket with this id.
        """
        rows = self._store.read("SELECT * FROM tickets WHERE id = ?", ticket_id)
        if not rows:
            raise RefusedError("no such ticket", where=ticket_id, remedy="holdfast guard approve list")
        return _ticket(rows[0], self._store.now())

    def tickets(self, *states: State) -> list[Ticket]:
        """Return all tickets, or those in the given states, oldest first."""
        now = self._store.now()
        # An expired ticket may still be stored under its previous state.
        kept = {*states, "pending", "approved"} if not states or "expired" in states else states
        marks = ", ".join("?" * len(kept)) if states else "state"
        values = sorted(kept) if states else []
        rows = self._store.read(f"SELECT * FROM tickets WHERE state IN ({marks}) ORDER BY rowid", *values)
        return [t for t in (_ticket(row, now) for row in rows) if not states or t.state in states]

    def answers(self, ticket_id: str) -> list[Answer]:
        """Return the answers to a ticket so far."""
        rows = self._store.read("SELECT body FROM answers WHERE ticket = ? ORDER BY rowid", ticket_id)
        return [Answer.model_validate_json(row["body"]) for row in rows]

    def _waiting(self, db: sqlite3.Connection, act: Act) -> int:
        """Return the number of pending tickets that count together with those of an act."""
        sharers = self._scope.sharers(act.run, act.agent)
        query = "SELECT run, json_extract(body, '$.act.agent') AS agent FROM tickets WHERE state = 'pending'"
        return sum(self._scope.holder(row["run"], row["agent"]) in sharers for row in db.execute(query))

    def _open(self, db: sqlite3.Connection, act: Act, decision: Decision, story: str) -> Ticket:
        now = self._store.now()
        cut = len(story) - _LONGEST_STORY
        ticket = Ticket(
            id=secrets.token_hex(6),
            act=StoredAct.of(act),
            policy=decision.policy,
            rules=decision.rules,
            reason=decision.reason,
            story=story[:_LONGEST_STORY] + (f" … [{cut} more characters cut]" if cut > 0 else ""),
            persons=decision.persons,
            barred=tuple(sorted({act.agent, self._operators.get(act.agent, act.agent)})),
            asked=now,
            expires=now + self._seconds,
            nonce=secrets.token_hex(16),
            why=decision.why,
        )
        body = _json(ticket.model_dump(mode="json", exclude={"state"})).decode()
        row = (ticket.id, _digest(act), _likeness(act), act.run, ticket.expires, body, "pending", None)
        db.execute("INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._store.append("asked", json.loads(body), durable=True)
        return ticket

    def _admit(self, ticket: Ticket, person: str, statement: bytes, proof: Proof) -> Credential:
        """Verify a person's proof, and that neither the person nor the authenticator is barred from the ticket."""
        if likeness(person) in map(likeness, ticket.barred):
            raise RefusedError(f"{person} may not answer for this agent", where=ticket.id, remedy="ask another person")
        credential = self._persons.check(person, statement, proof)
        self._persons.check_independent(person, credential, ticket.barred)
        return credential

    def _answered(self, ticket_id: str, person: str, credential: Credential) -> bool:
        """Return whether the person, or another one with this authenticator, has answered a ticket."""
        known = {c.id: c for c in self._persons.credentials()}
        return any(
            likeness(given.person) == likeness(person)
            or credential.same_authenticator(known.get(given.proof.credential, credential))
            for given in self.answers(ticket_id)
        )

    def _check(self, ticket: Ticket, act: Act) -> None:
        """Verify the act and the proofs of a ticket that the file lists as approved."""
        if _digest(ticket.act.act) != _digest(act):
            raise RefusedError("the ticket belongs to another act", where=ticket.id, remedy="holdfast guard verify")
        persons, authenticators = set(), set()
        for given in self.answers(ticket.id):
            statement = ticket.statement(given.person, given.approve, given.reason)
            credential = self._admit(ticket, given.person, statement, given.proof)
            if not given.approve:
                raise RefusedError("a person refused this act", where=ticket.id, remedy="do not request it again")
            persons.add(likeness(given.person))
            authenticators.add(credential.public)
        if (count := min(len(persons), len(authenticators))) < ticket.persons:
            what = f"{count} of {ticket.persons} required persons approved"
            raise RefusedError(what, where=ticket.id, remedy="holdfast guard verify")
        # The log shows whether the act was executed, so resetting the state in the file allows no second execution.
        ran = "SELECT 1 FROM log WHERE kind = 'intent' AND instr(body, ?) LIMIT 1"
        if self._store.read(ran, ticket.id):
            raise RefusedError("this approval was used already", where=ticket.id, remedy="holdfast guard verify")

    def _expire(self, db: sqlite3.Connection) -> None:
        late = "SELECT id FROM tickets WHERE state IN ('pending', 'approved') AND expires <= ?"
        for row in db.execute(late, (self._store.now(),)).fetchall():
            self._move(db, row["id"], "expired")

    def _move(self, db: sqlite3.Connection, ticket_id: str, state: State) -> None:
        db.execute("UPDATE tickets SET state = ? WHERE id = ?", (state, ticket_id))
        self._store.append("ticket", {"ticket": ticket_id, "state": state}, durable=True)


def _ticket(row: sqlite3.Row, now: float = 0.0) -> Ticket:
    ticket = Ticket(**json.loads(row["body"]), state=row["state"])
    late = ticket.state in ("pending", "approved") and ticket.expires <= now
    return ticket.model_copy(update={"state": "expired"}) if late else ticket


def _json(value: Any) -> bytes:
    # ASCII escapes, because JSON can contain a lone surrogate, which UTF-8 cannot encode.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(act: Act) -> str:
    """Return the full 256-bit hash of an act, so that two crafted acts cannot share an approval."""
    return hashlib.sha256(_json(StoredAct.of(act).model_dump(mode="json"))).hexdigest()


def _likeness(act: Act) -> str:
    """Return a hash that is equal for all acts that look the same to a person, in any run."""
    text = canonical([act.agent, act.server, act.tool, dict(act.arguments)])
    return hashlib.sha256(" ".join(skeleton(text).split()).encode()).hexdigest()
