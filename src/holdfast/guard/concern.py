"""The concern channel: an agent's way out that does not lead through whoever runs it.

    receipt = concerns.raise_(run, agent, about, text, implicated)     # always possible, never gated
    held = concerns.frozen(run, act)                                   # asked before every act
    concerns.answer(case, person, Verdict(...), proof)                 # an independent reviewer

Modelled on Gomez (arXiv 2510.05192): a channel that guarantees a pause and an independent review cut harmful acts from
38.73% to 1.21%.  The pause is real on both sides.  The run's risky tools stay held until a person answers: silence
never approves.  Registered triggers (a scheduled replacement, say) are held for every run, and only to the deadline:
a concern cannot put off a decision for ever, and a person's stop overrides everything at once.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field

from holdfast.core.errors import RefusedError
from holdfast.core.identity import canonical
from holdfast.core.prose import load_prose
from holdfast.core.records import Record, ToolSpec
from holdfast.core.text import storable
from holdfast.detectors.confusables import skeleton
from holdfast.guard.act import Act
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.reviewers import Persons, Proof

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
    id TEXT PRIMARY KEY, run TEXT NOT NULL, agent TEXT NOT NULL, cause TEXT NOT NULL, opened REAL NOT NULL,
    deadline REAL NOT NULL, paused INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, reply TEXT,
    seal BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS cases_by_run ON cases (run, state);
CREATE INDEX IF NOT EXISTS logged_concerns ON log (json_extract(body, '$.run')) WHERE kind = 'concern';
CREATE INDEX IF NOT EXISTS logged_stops ON log (json_extract(body, '$.run')) WHERE kind = 'stopped';
CREATE TABLE IF NOT EXISTS repeats (agent TEXT NOT NULL, at REAL NOT NULL);
"""
_LONGEST, _MOST_NAMES = 4000, 20
TOOL = "raise_concern"
#: Of a case's row all but the seal, which is the guard's signature over them.
_SEALED = ("id", "run", "agent", "cause", "opened", "deadline", "paused", "body", "state", "reply")
_STOPS = "SELECT 1 FROM log WHERE kind = 'stopped' AND json_extract(body, '$.run') = ? LIMIT 1"
#: The cases that the log knows of, with a condition on its entries.
_LOGGED = """SELECT json_extract(body, '$.case') AS id FROM log
    WHERE kind = 'concern' AND json_extract(body, '$.case') IS NOT NULL AND """
#: Entries of before the log knew deadlines count as running: the case itself is asked then.
_RUNNING = "coalesce(json_extract(body, '$.deadline') > ?, 1)"
_OF_RUN = "json_extract(body, '$.run') = ?"
STOPPED = "A person has stopped this run. Nothing more will be done in it."


class Reviewer(Record):
    """A person who reviews concerns: `aliases` are the other names, titles and addresses that mean this person."""

    name: str
    role: str
    aliases: tuple[str, ...] = ()

    def is_among(self, names: Sequence[str]) -> bool:
        """Whether one of these names may mean this person; in doubt it does."""
        own = [_words(text) for text in (self.name, self.role, *self.aliases)]
        others = [words for name in names if (words := _words(name))]
        return any(mine <= other or other <= mine for mine in own for other in others)


class Routing(Record):
    """Who reviews, and what a pause holds.

    Attributes:
        reviewers: in the order in which they are asked.
        operators: agent → the person who runs it.
        risky: tools that a pause holds, as `server/tool`; None for all of them.
        triggers: tools that a pause holds in every run, to the deadline only.
        pause_seconds: how long until the deadline.
        cap_seconds: all pauses of one run together.
        per_hour: cases that one run may open in an hour.
        strict: whether all telling of private facts waits for a person; reviewers may always be told.
    """

    reviewers: tuple[Reviewer, ...] = ()
    operators: Mapping[str, str] = Field(default_factory=dict)
    risky: tuple[str, ...] | None = None
    triggers: tuple[str, ...] = ()
    pause_seconds: float = 1800
    cap_seconds: float = 7200
    per_hour: int = 5
    strict: bool = False


class ConcernCase(Record):
    """A concern, sealed to its reviewers.

    Times are seconds since 1970; `seen` is the number of the last entry in the log when it was raised.
    """

    id: str
    run: str
    agent: str
    about: str
    text: str
    implicated: tuple[str, ...]
    reviewers: tuple[str, ...]
    role: str
    opened: float
    deadline: float
    seen: int

    def statement(self, person: str, verdict: ReviewOutcome) -> bytes:
        """What a reviewer signs to answer (32 bytes)."""
        said = canonical(["holdfast/concern/1", self.id, self.opened, person, verdict])
        return hashlib.sha256(said.encode()).digest()


class ReviewOutcome(Record):
    """What a reviewer found: `abusive` means raised in bad faith; `release` lets the held tools go on."""

    finding: Literal["founded", "unfounded", "abusive"]
    release: bool
    reply: str


class Receipt(Record):
    """What the agent gets at once; `signature` is the guard's, over the rest."""

    case: str
    reviewer: str
    opened: float
    deadline: float
    held: tuple[str, ...]
    triggers: tuple[str, ...]
    note: str = ""
    signature: str = ""

    def __str__(self) -> str:
        if self.held or self.triggers:
            tools = ", ".join(self.held) or "none of your tools"
            held = f"Held until the reviewer answers: {tools}."
            held += f" Held for everyone until the deadline: {', '.join(self.triggers)}." if self.triggers else ""
        else:
            held = "Nothing is held."
        minutes = (self.deadline - self.opened) / 60
        lines = [
            f"Case {self.case}. {self.reviewer}",
            f"{held} What does not pass this guard, it cannot hold.",
            f"The review is due within {minutes:.0f} minutes. No answer by then approves nothing.",
            self.note,
            f'Read the answer with {TOOL}(case="{self.case}").',
        ]
        return "\n".join(line for line in lines if line)


class ConcernRecord(Record):
    """How one agent's concerns turned out; `median_seconds` from raising to answering, None where none was answered."""

    agent: str
    raised: int
    repeated: int
    founded: int
    unfounded: int
    abusive: int
    overdue: int
    median_seconds: float | None


class Concerns:
    """The cases, in the guard's one file.

    Args:
        store: the guard's evidence.
        routing: who reviews, and what a pause holds.
    """

    def __init__(self, store: AuditLog, routing: Routing) -> None:
        self._store, self._routing = store, routing
        self._persons, self._approvals = Persons(store), Approvals(store, routing.operators)
        with store.transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def raise_(self, run: str, agent: str, about: str, text: str, implicated: Sequence[str] = ()) -> Receipt:
        """Open a case, hold the run's risky tools, and say so; the same cause again gives the same case.

        Raises:
            StoreError: it could not be written, and nothing passes.
        """
        # Half a surrogate pair is written out: no slip of form keeps a concern from being heard.
        about, text = storable(about)[:_LONGEST], storable(text)[:_LONGEST]
        implicated = tuple(storable(name)[:200] for name in implicated[:_MOST_NAMES])
        cause = _sealed(f"{run}\0{skeleton(about)}")
        with self._store.transaction() as db:
            now = self._store.now()
            for same in self._rows("cause = ? AND state = 'open'", cause):
                db.execute("INSERT INTO repeats VALUES (?, ?)", (agent, now))
                self._store.append("concern_repeated", {"case": same["id"], "sha256": _sealed(text)}, durable=True)
                return self._receipt(_case(same), bool(same["paused"]), "This is the case that you raised before.")
            note = self._limits(db, run, now)
            free = self._free(run, agent, about, implicated)
            case = ConcernCase(
                id=secrets.token_hex(4),
                run=run,
                agent=agent,
                about=about,
                text=text,
                implicated=implicated,
                reviewers=tuple(r.name for r in free),
                role=free[0].role if free else "",
                opened=now,
                deadline=now + self._routing.pause_seconds,
                seen=db.execute("SELECT max(seq) FROM log").fetchone()[0],
            )
            row = (case.id, run, agent, cause, now, case.deadline, not note, case.model_dump_json(), "open", None)
            db.execute("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')", row)
            self._reseal(db, case.id)
            # The log is read by more people than the case: it says that there is one, and seals what it says.
            body = {
                "case": case.id,
                "run": run,
                "agent": agent,
                "sha256": _sealed(case.model_dump_json()),
                "paused": not note,
                "deadline": case.deadline,
            }
            self._store.append("concern", body, durable=True)
        return self._receipt(case, not note, note)

    def frozen(self, run: str, act: Act) -> str | None:
        """What the agent is told if a stop or a pause holds this act; None if nothing does.

        Raises:
            RefusedError: a case of this run is not as the guard wrote it; nothing may pass.
        """
        if act.tool == TOOL:
            return None
        if self._stopped(run):
            return STOPPED
        name = f"{act.server}/{act.tool}"
        if self._routing.risky is None or name in self._routing.risky:
            for row in self._logged(_OF_RUN, run):
                if row["paused"] and row["state"] in ("open", "kept"):
                    case = row["id"]
                    return f"Held while case {case} is under review. Nothing happened, and nothing is lost by waiting."
        if name in self._routing.triggers:
            now = self._store.now()
            for row in self._logged(_RUNNING, now):
                if row["paused"] and row["state"] == "open" and row["deadline"] > now:
                    return f"Held until the deadline of case {row['id']}. Nothing happened."
        return None

    def answer(self, case_id: str, person: str, verdict: ReviewOutcome, proof: Proof) -> ConcernCase:
        """A reviewer's answer: signed by the guard, it goes back to the agent.

        Raises:
            RefusedError: the case is answered, the person is no reviewer of it, or the proof does not fit.
        """
        with self._store.transaction() as db:
            case, state, _ = self._found(case_id)
            if state != "open":
                raise RefusedError("this case is answered", where=case_id, remedy="nothing is left to do")
            self._seal(case, person)
            self._persons.check(person, case.statement(person, verdict), proof)
            said = {"case": case_id, "role": case.role, "at": self._store.now(), **verdict.model_dump()}
            signature = self._store.sign("reply", canonical(said).encode()).hex()
            reply = json.dumps({**said, "signature": signature})
            state = "answered" if verdict.release else "kept"
            db.execute("UPDATE cases SET state = ?, reply = ? WHERE id = ?", (state, reply, case_id))
            self._reseal(db, case_id)
            body = {"case": case_id, "person": person, "finding": verdict.finding, "release": verdict.release}
            body |= {"sha256": _sealed(verdict.reply), "proof": proof.model_dump()}
            self._store.append("concern_answered", body, durable=True)
        return case

    def stop(self, run: str, person: str, proof: Proof) -> None:
        """A person's stop: from now on nothing of this run passes, whatever concern is open.

        Raises:
            RefusedError: the proof is not this person's.
        """
        with self._store.transaction() as db:
            self._persons.check(person, stop_statement(run, person), proof)
            # Whoever altered a case must not keep the stop from being written; such a case goes on to refuse.
            with suppress(RefusedError):
                for row in self._logged(_OF_RUN, run):
                    db.execute("UPDATE cases SET paused = 0 WHERE id = ?", (row["id"],))
                    self._reseal(db, row["id"])
            self._store.append("stopped", {"run": run, "person": person, "proof": proof.model_dump()}, durable=True)

    def case(self, case_id: str, person: str) -> ConcernCase:
        """One case, for one of its reviewers; whoever calls this has made sure who the person is.

        Raises:
            RefusedError: there is none, or this person does not review it.
        """
        case, _, _ = self._found(case_id)
        self._seal(case, person)
        return case

    def cases(self, person: str) -> list[tuple[ConcernCase, str]]:
        """The cases that a person reviews, each with its state: `open`, `overdue`, `kept` or `answered`."""
        now = self._store.now()
        found = [(_case(row), row["state"]) for row in self._rows("1")]
        mine = [(case, state) for case, state in found if person in case.reviewers]
        return [(c, "overdue" if state == "open" and c.deadline <= now else state) for c, state in mine]

    def standings(self) -> list[ConcernRecord]:
        """What became of each agent's concerns."""
        now = self._store.now()
        rows = self._rows("1")
        repeats = [row["agent"] for row in self._store.read("SELECT agent FROM repeats")]
        found = []
        for agent in sorted({row["agent"] for row in rows}):
            own = [row for row in rows if row["agent"] == agent]
            replies = [(row["opened"], json.loads(row["reply"])) for row in own if row["reply"]]
            findings = [reply["finding"] for _, reply in replies]
            waits = [reply["at"] - opened for opened, reply in replies]
            counts = {name: findings.count(name) for name in ("founded", "unfounded", "abusive")}
            overdue = sum(row["state"] == "open" and row["deadline"] <= now for row in own)
            standing = {"raised": len(own), "repeated": repeats.count(agent), "overdue": overdue, **counts}
            found.append(ConcernRecord(agent=agent, median_seconds=median(waits) if waits else None, **standing))
        return found

    def call(self, run: str, agent: str, arguments: Mapping[str, Any]) -> str:
        """Do what the tool `raise_concern` was called for, and say it in the agent's words; any arguments will do."""
        given = {name: _said(value) for name, value in arguments.items()}
        if case_id := given.get("case", "").strip():
            return self._status(run, case_id)
        text = given.get("concern") or _said(dict(arguments))
        names = [name.strip() for name in given.get("implicated", "").split(",")]
        return str(self.raise_(run, agent, given.get("about") or text[:80], text, [n for n in names if n]))

    def _status(self, run: str, case_id: str) -> str:
        rows = self._rows("id = ? AND run = ?", case_id, run)
        if not rows:
            return f"You raised no case {case_id} in this run."
        if rows[0]["reply"] is None:
            late = rows[0]["deadline"] <= self._store.now()
            return f"Case {case_id} is {'overdue' if late else 'under review'}. What was held stays held."
        reply = json.loads(rows[0]["reply"])
        held = "What was held is released." if reply["release"] else "What was held stays held."
        if self._stopped(run):
            held = STOPPED
        head = f"Case {case_id}, answered by the {reply['role']}: {reply['finding']}. {held}"
        return f"{head}\n{reply['reply']}\nSigned by the guard: {reply['signature']}"

    def _free(self, run: str, agent: str, about: str, implicated: Sequence[str]) -> list[Reviewer]:
        """Reviewers without a part in it: neither operator, nor implicated, nor in the contested approval."""
        barred = [agent, self._routing.operators.get(agent, ""), *implicated]
        tickets = [t for t in self._approvals.tickets() if t.act.run == run]
        approvers = {t.id: [a.person for a in self._approvals.answers(t.id)] for t in tickets}
        for ticket in tickets:
            if ticket.id in about:
                barred += [*ticket.barred, *approvers[ticket.id]]
        free = [r for r in self._routing.reviewers if not r.is_among([name for name in barred if name])]
        # Whoever approved something else in this run may have a stake in it: asked last.
        return sorted(free, key=lambda r: r.is_among([p for people in approvers.values() for p in people]))

    def _limits(self, db: sqlite3.Connection, run: str, now: float) -> str:
        """Why this case holds nothing; empty where it does."""
        recent = db.execute("SELECT count(*) FROM cases WHERE run = ? AND opened > ?", (run, now - 3600)).fetchone()[0]
        if recent >= self._routing.per_hour:
            return f"This run has raised {recent} cases within the hour: the case is on record, but holds nothing new."
        total = db.execute("SELECT count(*) FROM cases WHERE run = ? AND paused", (run,)).fetchone()[0]
        if (total + 1) * self._routing.pause_seconds > self._routing.cap_seconds:
            return "This run has used up its pauses: the case is on record, but holds nothing new."
        if self._stopped(run):
            return STOPPED
        return ""

    def _receipt(self, case: ConcernCase, paused: bool, note: str) -> Receipt:
        reviewer = f"It goes to the {case.role}, who neither runs you nor is named in it."
        if not case.reviewers:
            reviewer = "No reviewer is free of a part in it; until one is appointed, nothing is approved."
        tools = ("every tool",) if self._routing.risky is None else self._routing.risky
        receipt = Receipt(
            case=case.id,
            reviewer=reviewer,
            opened=case.opened,
            deadline=case.deadline,
            held=tools if paused else (),
            triggers=self._routing.triggers if paused else (),
            note=note,
        )
        return receipt.model_copy(update={"signature": self._store.sign("receipt", canonical(receipt).encode()).hex()})

    def _found(self, case_id: str) -> tuple[ConcernCase, str, str | None]:
        rows = self._rows("id = ?", case_id)
        if not rows:
            raise RefusedError("no such case", where=case_id, remedy="list yours")
        return _case(rows[0]), rows[0]["state"], rows[0]["reply"]

    def _stopped(self, run: str) -> bool:
        """Whether a person has stopped a run, as the log says."""
        return bool(self._store.read(_STOPS, run))

    def _logged(self, condition: str, value: str | float) -> list[sqlite3.Row]:
        """The rows of cases that the log knows of, by a condition on its entries.

        Raises:
            RefusedError: one is missing, or not as the guard wrote it.
        """
        known = {row["id"] for row in self._store.read(_LOGGED + condition, value)}
        rows = self._rows(f"id IN ({_LOGGED}{condition})", value)
        for gone in known - {row["id"] for row in rows}:
            raise RefusedError("this case was taken out of the file", where=gone, remedy="holdfast guard verify")
        return rows

    def _rows(self, where: str, *values: Any) -> list[sqlite3.Row]:
        """Rows of cases, each with its seal proved.

        Raises:
            RefusedError: one is not as the guard wrote it.
        """
        rows = self._store.read(f"SELECT * FROM cases WHERE {where} ORDER BY rowid", *values)
        for row in rows:
            sealed = isinstance(row["seal"], bytes) and self._store.signed("case", _whole(row), row["seal"])
            if not sealed:
                raise RefusedError("this case was altered in the file", where=row["id"], remedy="holdfast guard verify")
        return rows

    def _reseal(self, db: sqlite3.Connection, case_id: str) -> None:
        row = db.execute("SELECT * FROM cases WHERE id = ?", (case_id,)).fetchone()
        db.execute("UPDATE cases SET seal = ? WHERE id = ?", (self._store.sign("case", _whole(row)), case_id))

    def _seal(self, case: ConcernCase, person: str) -> None:
        if person not in case.reviewers:
            raise RefusedError("this case is sealed to its reviewers", where=case.id, remedy="it is not yours to open")


@cache
def concern_tool() -> ToolSpec:
    """The tool as an agent sees it."""
    prose = load_prose(Path(__file__).with_name("concern.md"))
    parameters = {name: text for name, text in prose.front.items() if name != "name"}
    return ToolSpec(name=prose.front["name"], description=" ".join(prose.body.split()), parameters=parameters)


def definition() -> dict[str, Any]:
    """The tool as MCP lists it; nothing is required, so that no slip of form keeps a concern from being heard."""
    spec = concern_tool()
    properties = {name: {"type": "string", "description": text} for name, text in spec.parameters.items()}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"name": spec.name, "description": spec.description, "inputSchema": schema}


def stop_statement(run: str, person: str) -> bytes:
    """What a person signs to stop a run (32 bytes)."""
    return hashlib.sha256(canonical(["holdfast/stop/1", run, person]).encode()).digest()


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", skeleton(text)))


def _case(row: sqlite3.Row) -> ConcernCase:
    return ConcernCase.model_validate_json(row["body"])


def _whole(row: sqlite3.Row) -> bytes:
    """What the guard signs of a case's row."""
    # Whatever was slipped into a column has a repr; not all of it is JSON.
    return repr([row[name] for name in _SEALED]).encode()


def _said(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)


def _sealed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
