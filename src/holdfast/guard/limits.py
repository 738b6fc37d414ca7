"""Whose limits an act spends: those of its agent and of the agent's principal, the person who runs it.

A new run, another agent of the same person or a reconnect starts no limit anew. Only a person does, who is neither the
agent nor its operator:

    limits = LimitPeriods(store, operators)
    limits.renew("clerk", "ann", proof, "a new task")      # proof of `renewal_statement`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.identity import canonical
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.reviewers import Persons, Proof

RENEWALS = """CREATE TABLE IF NOT EXISTS renewals (holder TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS renewals_by_holder ON renewals (holder)"""


@dataclass(frozen=True)
class LimitScope:
    """Who shares the limits of an agent.

    Attributes:
        operators: agent → id of the person who runs it, its principal.
        by_run: each run has limits of its own, as in an evaluation whose samples know nothing of one another.
    """

    operators: Mapping[str, str] = field(default_factory=dict)
    by_run: bool = False

    def holder(self, run: str, agent: str) -> str:
        """Return the name under which an act of this run is counted."""
        return f"{agent} in {run}" if self.by_run else agent

    def sharers(self, run: str, agent: str) -> tuple[str, ...]:
        """Return the names whose acts count against an act of this run: the agent, and those of its principal."""
        if self.by_run:
            return (self.holder(run, agent),)
        principal = self.operators.get(agent)
        theirs = [other for other, person in self.operators.items() if person == principal and other != agent]
        return (agent, *sorted(theirs))


class LimitPeriods:
    """Renewals of limits by persons.

    Args:
        store: the guard's audit log.
        operators: agent → id of the person who runs it.
    """

    def __init__(self, store: AuditLog, operators: Mapping[str, str]) -> None:
        self._store, self._scope, self._persons = store, LimitScope(operators), Persons(store)
        with store.transaction() as db:
            for statement in RENEWALS.split(";"):
                db.execute(statement)

    def last(self, agent: str) -> float:
        """Return the time of an agent's last renewal, in seconds since 1970; 0 if there is none."""
        [row] = self._store.read("SELECT coalesce(max(at), 0) AS at FROM renewals WHERE holder = ?", agent)
        return float(row["at"])

    def renew(self, agent: str, person: str, proof: Proof, reason: str = "") -> None:
        """Start the limits of an agent, and of the other agents of its principal, anew.

        Raises:
            RefusedError: the proof is wrong, it was used already, or the person runs the agent.
        """
        with self._store.transaction() as db:
            statement = renewal_statement(agent, person, self.last(agent))
            credential = self._persons.check(person, statement, proof)
            operator = self._scope.operators.get(agent, agent)
            self._persons.check_independent(person, credential, {agent, operator})
            sharers = self._scope.sharers("", agent)
            db.executemany("INSERT INTO renewals VALUES (?, ?)", [(name, self._store.now()) for name in sharers])
            body = {"agents": sharers, "person": person, "reason": reason, "proof": proof.model_dump()}
            self._store.append("limits_renewed", body, durable=True)


def renewal_statement(agent: str, person: str, last: float) -> bytes:
    """Return the 32 bytes that a person signs to renew an agent's limits; `last` makes the proof valid once."""
    return hashlib.sha256(canonical(["holdfast/renewal/1", agent, person, last]).encode()).digest()
