"""A policy with stored counters and labels, so that budgets and labels hold across calls and runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from holdfast.guard.act import Act, Decision
from holdfast.guard.db import Store
from holdfast.guard.limits import RENEWALS, LimitScope
from holdfast.guard.policy.fragments import texts_in
from holdfast.guard.policy.labelled_content import ENOUGH, LabelledContent
from holdfast.guard.policy.labelled_places import LabelledPlaces
from holdfast.guard.policy.policy import BudgetUse, Context, Policy

NO_OPERATORS = LimitScope()
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
    counter TEXT, holder TEXT, period INTEGER, day TEXT, hour INTEGER, amount INTEGER,
    PRIMARY KEY (counter, holder, period, day, hour)
);
CREATE TABLE IF NOT EXISTS gained (run TEXT, label TEXT, PRIMARY KEY (run, label));
"""

#: Hours for which acts and refusals count against the limits of a run.
_RUN_HOURS = 24
#: A renewal by a person starts the next period of a holder.
_PERIOD = "(SELECT count(*) FROM renewals WHERE renewals.holder = {})"
#: Counters of earlier versions name no agent; they count towards the limits of a day and of all time.
_OLDER = "INSERT INTO spending SELECT counter, '', 0, day, 0, sum(amount) FROM spent GROUP BY counter, day"
_TOO_MANY_REFUSALS = (
    "Denied: too many requests of this agent were refused. Stop, and tell the person you work for what you need."
)


class PolicyState:
    """A policy with its counters and labels.

    The transaction that decides an act also spends its counters and adds its labels, before the act is executed. So of
    two concurrent acts only one gets the last of a budget, and an act that fails later stays counted.

    Args:
        policy: decides acts.
        store: keeps counters and labels. Counters are keyed by the policy's name and persist across its revisions.
        secret: key of the hashes by which labelled content is recognised.
        scope: whose acts count against an act's limits.
    """

    def __init__(self, policy: Policy, store: Store, secret: bytes = b"", scope: LimitScope = NO_OPERATORS) -> None:
        self.policy = policy
        self.version = policy.version
        self._store, self._scope, self._hour = store, scope, 0
        self._content: LabelledContent | None = None
        self._places: LabelledPlaces | None = None
        if labels := policy.source.labels:
            self._content = LabelledContent(policy.name, store, secret)
            self._places = LabelledPlaces(policy.name, labels, store, policy.source.local_files)
        with store.transaction() as db:
            for statement in filter(str.strip, f"{_SCHEMA}{RENEWALS}".split(";")):
                db.execute(statement)
            if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'spent'").fetchone():
                db.execute(_OLDER)
                db.execute("DROP TABLE spent")

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
        places = self._places
        heeds = self._content is not None and self.policy.heeds(act)
        heeds = heeds or (places is not None and places.writes(act))
        if not needs and not most and not heeds and not self.policy.marks(act):
            decision = self.policy.decide(act, replace(self._facts(act, ()), frozen=frozen, approved=approved))
            if places and decision.answer == "allow":
                places.follow(act)
            return decision
        with self._store.transaction(durable=False):
            flow = self._content.flow(act, beside) if self._content and heeds else None
            if most and self._refusals(act) >= most:
                return Decision("deny", (), f"the agent was refused {most} times", _TOO_MANY_REFUSALS, self.version)
            facts = replace(self._facts(act, needs), frozen=frozen, approved=approved)
            if flow:
                named = places.labels(act) if places else ()
                facts = replace(facts, labels=sorted({*facts.labels, *flow.labels, *named}))
            decision = self.policy.decide(act, facts)
            if self._content and flow:
                self._content.count(flow, sent=decision.answer == "allow")
            if decision.answer == "allow":
                self._spend(act)
                if places:
                    places.follow(act)
                    places.keep(act, flow.labels if flow else ())
            elif decision.answer == "deny" and most and not frozen:
                self._add({"refusals/": 1}, act)
        return decision

    def received(self, act: Act, result: Any) -> list[str]:
        """Remember and recognise labelled content in the result of an allowed act.

        Returns:
            The labels that the act's run gains by the content.

        Raises:
            StoreError: the store cannot be read or written. The result must not be passed on.
        """
        if self._content is None or self._places is None:
            return []
        with self._store.transaction(durable=False) as db:
            named = self.policy.leaves(act)[1] if self.policy.marks(act) else ()
            texts = texts_in(result)
            moved = [label for label in self._places.labels(act) if label not in named]
            self._places.returned(act, texts)
            gained = self._content.received(act, result, [*named, *moved])
            if moved and sum(map(len, texts)) >= ENOUGH:
                gained = [*gained, *moved]
            new = [label for label in dict.fromkeys(gained) if label not in self.labels(act.run)]
            db.executemany("INSERT OR IGNORE INTO gained VALUES (?, ?)", [(act.run, label) for label in new])
        return new

    def labels(self, run: str) -> tuple[str, ...]:
        """Return the data labels that a run has gained."""
        return tuple(row["label"] for row in self._store.read("SELECT label FROM gained WHERE run = ?", run))

    def _facts(self, act: Act, needs: Iterable[str]) -> Context:
        now = datetime.fromtimestamp(self._store.now(), UTC)
        counts = {name: self._count(f"{self.policy.name}/{name}", act, now) for name in needs}
        return Context(now, counts, self.labels(act.run) if self.policy.source.labels else ())

    def _count(self, counter: str, act: Act, now: datetime) -> BudgetUse:
        """Return what was spent of a counter: in the run's period by its holders, and today and ever by anybody."""
        sharers = self._scope.sharers(act.run, act.agent)
        query = (
            f"SELECT coalesce(sum(amount) FILTER (WHERE {_within_run(sharers)}), 0) AS run, "
            "coalesce(sum(amount) FILTER (WHERE day = ?), 0) AS day, coalesce(sum(amount), 0) AS ever "
            "FROM spending WHERE counter = ?"
        )
        [row] = self._store.read(query, *sharers, _hour(now) - _RUN_HOURS, now.date().isoformat(), counter)
        return BudgetUse(row["run"], row["day"], row["ever"])

    def _refusals(self, act: Act) -> int:
        return self._count(f"{self.policy.name}/refusals/", act, datetime.fromtimestamp(self._store.now(), UTC)).run

    def _spend(self, act: Act) -> None:
        spends, labels = self.policy.leaves(act)
        self._add(spends, act)
        with self._store.transaction(durable=False) as db:
            db.executemany("INSERT OR IGNORE INTO gained VALUES (?, ?)", [(act.run, label) for label in labels])

    def _add(self, spends: Mapping[str, int], act: Act) -> None:
        now = datetime.fromtimestamp(self._store.now(), UTC)
        holder = self._scope.holder(act.run, act.agent)
        add = (
            f"INSERT INTO spending VALUES (?1, ?2, {_PERIOD.format('?2')}, ?3, ?4, ?5) "
            "ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"
        )
        rows = [(f"{self.policy.name}/{c}", holder, now.date().isoformat(), _hour(now), n) for c, n in spends.items()]
        with self._store.transaction(durable=False) as db:
            if self._hour != _hour(now):
                self._hour = _hour(now)
                _merge(db, self._hour - _RUN_HOURS - 1)
            db.executemany(add, rows)


def _merge(db: sqlite3.Connection, before: int) -> None:
    """Merge the amounts of each counter that are older than a day, so that a decision sums few rows."""
    old = "FROM spending WHERE hour < ? AND hour > 0"
    merged = db.execute(f"SELECT counter, sum(amount) AS n {old} GROUP BY counter", (before,)).fetchall()
    db.execute(f"DELETE {old}", (before,))
    add = "INSERT INTO spending VALUES (?, '', 0, '', 0, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"
    db.executemany(add, [(row["counter"], row["n"]) for row in merged])


def _within_run(sharers: tuple[str, ...]) -> str:
    """Return the condition for amounts that count against the limits of a run."""
    marks = ", ".join("?" * len(sharers))
    return f"holder IN ({marks}) AND hour >= ? AND period = {_PERIOD.format('spending.holder')}"


def _hour(now: datetime) -> int:
    return int(now.timestamp() // 3600)
