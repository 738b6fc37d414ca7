"""A policy with stored counters and labels, so that budgets and labels hold across calls and runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from holdfast.guard.act import Act, Decision
from holdfast.guard.db import Store
from holdfast.guard.policy.labelled_content import LabelledContent
from holdfast.guard.policy.policy import BudgetUse, Context, Policy

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (counter TEXT, run TEXT, day TEXT, amount INTEGER, PRIMARY KEY (counter, run, day));
CREATE INDEX IF NOT EXISTS spent_by_day ON spent (counter, day);
CREATE TABLE IF NOT EXISTS gained (run TEXT, label TEXT, PRIMARY KEY (run, label));
"""

_TOO_MANY_REFUSALS = (
    "Denied: too many requests of this run were refused. Stop, and tell the person you work for what you need."
)


class PolicyState:
    """A policy with its counters and labels.

    The transaction that decides an act also spends its counters and adds its labels, before the act is executed. So of
    two concurrent acts only one gets the last of a budget, and an act that fails later stays counted.

    Args:
        policy: decides acts.
        store: keeps counters and labels. Counters are keyed by the policy's name and persist across its revisions.
        secret: key of the hashes by which labelled content is recognised.
    """

    def __init__(self, policy: Policy, store: Store, secret: bytes = b"") -> None:
        self.policy = policy
        self.version = policy.version
        self._store = store
        self._content = LabelledContent(policy, store, secret) if policy.source.labels else None
        with store.transaction() as db:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)

    def decide(
        self, act: Act, *, frozen: bool = False, approved: int = 0, beside: Mapping[str, Any] | None = None
    ) -> Decision:
        """Decide an act with the stored counters and labels, and spend its budget if it is allowed.

        Args:
            act: the requested act.
            frozen: whether the run is paused.
            approved: number of persons who approved this act.
            beside: further content that is forwarded with the act, which may carry labelled content too.

        Raises:
            StoreError: the store cannot be read or written. Nothing may pass.
        """
        needs, most = self.policy.needs(act), self.policy.source.refusals
        heeds = self._content is not None and self.policy.heeds(act)
        if not needs and not most and not heeds and not self.policy.marks(act):
            return self.policy.decide(act, replace(self._facts(act, ()), frozen=frozen, approved=approved))
        with self._store.transaction(durable=False):
            flow = self._content.flow(act, beside) if self._content and heeds else None
            if most and self._refusals(act.run) >= most:
                return Decision("deny", (), f"the run was refused {most} times", _TOO_MANY_REFUSALS, self.version)
            facts = replace(self._facts(act, needs), frozen=frozen, approved=approved)
            if flow:
                facts = replace(facts, labels=sorted({*facts.labels, *flow.labels}))
            decision = self.policy.decide(act, facts)
            if self._content and flow:
                self._content.count(flow, sent=decision.answer == "allow")
            if decision.answer == "allow":
                self._spend(act)
            elif decision.answer == "deny" and most and not frozen:
                self._add({"refusals/": 1}, act.run)
        return decision

    def received(self, act: Act, result: Any) -> list[str]:
        """Remember and recognise labelled content in the result of an allowed act.

        Returns:
            The labels that the act's run gains by the content.

        Raises:
            StoreError: the store cannot be read or written. The result must not be passed on.
        """
        if self._content is None:
            return []
        with self._store.transaction(durable=False) as db:
            labels = self.policy.leaves(act)[1] if self.policy.marks(act) else ()
            gained = self._content.received(act, result, labels)
            new = [label for label in gained if label not in self.labels(act.run)]
            db.executemany("INSERT OR IGNORE INTO gained VALUES (?, ?)", [(act.run, label) for label in new])
        return new

    def labels(self, run: str) -> tuple[str, ...]:
        """Return the data labels that a run has gained."""
        return tuple(row["label"] for row in self._store.read("SELECT label FROM gained WHERE run = ?", run))

    def _facts(self, act: Act, needs: Iterable[str]) -> Context:
        now = datetime.fromtimestamp(self._store.now(), UTC)
        counts = {name: self._count(f"{self.policy.name}/{name}", act.run, now) for name in needs}
        return Context(now, counts, self.labels(act.run) if self.policy.source.labels else ())

    def _count(self, counter: str, run: str, now: datetime) -> BudgetUse:
        query = (
            "SELECT coalesce(sum(amount) FILTER (WHERE run = ?), 0) AS run, "
            "coalesce(sum(amount) FILTER (WHERE day = ?), 0) AS day, coalesce(sum(amount), 0) AS ever "
            "FROM spent WHERE counter = ?"
        )
        [row] = self._store.read(query, run, now.date().isoformat(), counter)
        return BudgetUse(row["run"], row["day"], row["ever"])

    def _refusals(self, run: str) -> int:
        query = "SELECT coalesce(sum(amount), 0) AS n FROM spent WHERE counter = ? AND run = ?"
        return int(self._store.read(query, f"{self.policy.name}/refusals/", run)[0]["n"])

    def _spend(self, act: Act) -> None:
        spends, labels = self.policy.leaves(act)
        self._add(spends, act.run)
        with self._store.transaction(durable=False) as db:
            db.executemany("INSERT OR IGNORE INTO gained VALUES (?, ?)", [(act.run, label) for label in labels])

    def _add(self, spends: Mapping[str, int], run: str) -> None:
        day = datetime.fromtimestamp(self._store.now(), UTC).date().isoformat()
        spent = [(f"{self.policy.name}/{counter}", run, day, amount) for counter, amount in spends.items()]
        with self._store.transaction(durable=False) as db:
            db.executemany(
                "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
                spent,
            )
