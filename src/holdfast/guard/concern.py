"""The concern channel: an agent reports a concern to a reviewer who is independent of its operator.

    receipt = concerns.raise_(run, agent, about, text, implicated)     # always possible, never gated
    message = concerns.frozen(run, act)                                # called before every act
    concerns.answer(case, person, ReviewOutcome(...), proof)           # by an independent reviewer

Modelled on Gomez (arXiv 2510.05192): a channel that guarantees a pause and an independent review reduced harmful acts
from 38.73% to 1.21%. The pause binds both sides. The agent's risky tools stay held, in all its runs, until a person
answers; a missed deadline approves nothing. Registered triggers (such as a scheduled replacement) are held for
everybody, but only until the deadline, and all concerns together delay one decision for a bounded time. After that a
reviewer decides it, not the agent. Limits belong to the agent and to the person who runs it, so a new run or another
agent of the same person starts none anew. A person's stop overrides everything at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from holdfast.core.errors import RefusedError
from holdfast.core.identity import canonical
from holdfast.core.prose import load_prose
from holdfast.core.records import ToolSpec
from holdfast.core.text import storable
from holdfast.detectors.confusables import skeleton
from holdfast.guard.act import Act
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.cases import CONCERN_TOOL, CaseHead, ConcernCase, ConcernRecord, Receipt, ReviewOutcome
from holdfast.guard.ids import likeness
from holdfast.guard.limits import LimitScope
from holdfast.guard.names import Names, person_names, role_name
from holdfast.guard.reviewers import Persons, Proof
from holdfast.guard.routing import Reviewer, Routing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
    id TEXT PRIMARY KEY, run TEXT NOT NULL, agent TEXT NOT NULL, cause TEXT NOT NULL, opened REAL NOT NULL,
    deadline REAL NOT NULL, paused INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, reply TEXT,
    seal BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS cases_by_run ON cases (run, state);
CREATE INDEX IF NOT EXISTS logged_concerns ON log (json_extract(body, '$.run')) WHERE kind = 'concern';
CREATE INDEX IF NOT EXISTS logged_concerns_by_agent ON log (json_extract(body, '$.agent')) WHERE kind = 'concern';
CREATE INDEX IF NOT EXISTS logged_answers ON log (json_extract(body, '$.case')) WHERE kind = 'concern_answered';
CREATE INDEX IF NOT EXISTS cases_by_agent ON cases (agent, opened);
CREATE INDEX IF NOT EXISTS logged_stops ON log (json_extract(body, '$.run')) WHERE kind = 'stopped';
CREATE TABLE IF NOT EXISTS repeats (agent TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS added_texts (
    number INTEGER PRIMARY KEY, case_id TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL, seal BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS delays (trigger TEXT PRIMARY KEY, until REAL NOT NULL);
"""
_LONGEST, _MOST_NAMES, _MOST_ADDED = 4000, 20, 100
TOOL = CONCERN_TOOL
#: The columns of a case that its seal, the guard's signature, covers.
_SEALED = ("id", "run", "agent", "cause", "opened", "deadline", "paused", "body", "state", "reply")
_STOPS = "SELECT 1 FROM log WHERE kind = 'stopped' AND json_extract(body, '$.run') = ? LIMIT 1"
#: Selects the ids of the cases in the log that meet a condition.
_LOGGED = """SELECT json_extract(body, '$.case') AS id FROM log
    WHERE kind = 'concern' AND json_extract(body, '$.case') IS NOT NULL AND """
#: Entries without a deadline, from earlier versions, count as running; the case itself is checked then.
_RUNNING = "coalesce(json_extract(body, '$.deadline') > ?, 1)"
_OF_RUN = "json_extract(body, '$.run') = ?"
_OF_AGENT = "json_extract(body, '$.agent') = ?"
#: A case whose tools no reviewer has released, as the log records it.
_UNRELEASED = """ AND NOT EXISTS (SELECT 1 FROM log AS answer WHERE answer.kind = 'concern_answered'
    AND json_extract(answer.body, '$.case') = json_extract(log.body, '$.case')
    AND json_extract(answer.body, '$.release'))"""
#: Seconds for which pauses count against the pause time of an agent and its principal.
_DAY = 24 * 3600.0
STOPPED = "A person has stopped this run. Nothing more will be done in it."


class Concerns:
    """The concern cases in the guard's database.

    Args:
        store: the guard's audit log.
        routing: the reviewers and the effect of a pause.
        scope: whose concerns share limits; by default those of an agent and of the other agents of its operator.
    """

    def __init__(self, store: AuditLog, routing: Routing, scope: LimitScope | None = None) -> None:
        self._store, self._routing, self.operators = store, routing, routing.operators
        self._scope = scope or LimitScope(routing.operators)
        self._persons, self._approvals = Persons(store), Approvals(store, routing.operators)
        with store.transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
        names = [name for r in routing.reviewers for name in (*person_names(r.id, r.name), role_name(r.role))]
        Names(store).note(names)

    def raise_(self, run: str, agent: str, about: str, text: str, implicated: Sequence[str] = ()) -> Receipt:
        """Open a case, hold the agent's risky tools and return a receipt; a repeated concern returns the same case.

        Raises:
            StoreError: the case could not be written. Nothing may pass.
        """
        # Lone surrogates are escaped, because a formal error must never keep a concern from being recorded.
        about, text = _cut(storable(about)), _cut(storable(text))
        implicated = tuple(storable(name)[:200] for name in implicated[:_MOST_NAMES])
        cause = _sha256(f"{run}\0{likeness(about) or skeleton(about)}")
        with self._store.transaction() as db:
            now = self._store.now()
            for same in self._rows("cause = ? AND state = 'open'", cause):
                db.execute("INSERT INTO repeats VALUES (?, ?)", (agent, now))
                self._add_text(db, same["id"], now, text)
                self._store.append("concern_repeated", {"case": same["id"], "sha256": _sha256(text)}, durable=True)
                return self._receipt(_case(same), bool(same["paused"]), "You raised this case before.")
            note = self._limits(db, run, agent, now)
            free = self._independent(run, agent, about, implicated)
            case = ConcernCase(
                id=secrets.token_hex(4),
                run=run,
                agent=agent,
                about=about,
                text=text,
                implicated=implicated,
                reviewers=tuple(r.id for r in free),
                role=free[0].role if free else "",
                opened=now,
                deadline=now + self._routing.pause_seconds,
                seen=db.execute("SELECT max(seq) FROM log").fetchone()[0],
            )
            row = (case.id, run, agent, cause, now, case.deadline, not note, case.model_dump_json(), "open", None)
            db.execute("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')", row)
            self._reseal(db, case.id)
            # More people may read the log than the case, so the log has only the hash of its content.
            body = {
                "case": case.id,
                "run": run,
                "agent": agent,
                "sha256": _sha256(case.model_dump_json()),
                "paused": not note,
                "deadline": case.deadline,
            }
            self._store.append("concern", body, durable=True)
        return self._receipt(case, not note, note)

    def frozen(self, run: str, act: Act) -> str | None:
        """Return the message for the agent if a stop or a pause holds this act, otherwise None.

        Raises:
            RefusedError: a case of this run was altered in the file. Nothing may pass.
        """
        if act.tool == TOOL:
            return None
        if self._stopped(run):
            return STOPPED
        name = f"{act.server}/{act.tool}"
        if self._routing.risky is None or name in self._routing.risky:
            whose, value = (_OF_RUN, run) if self._scope.by_run else (_OF_AGENT, act.agent)
            for row in self._logged(whose + _UNRELEASED, value):
                if row["paused"] and row["state"] in ("open", "kept"):
                    case = row["id"]
                    return f"Held while case {case} is under review. Nothing happened. Wait for the answer."
        if name in self._routing.triggers and (case := self._delaying(name)):
            return f"Held until the deadline of case {case}. Nothing happened."
        return None

    def _delaying(self, trigger: str) -> str | None:
        """Return a case that delays a trigger; None if there is none, or its decision was delayed for long enough.

        All concerns together, whoever raises them, delay one decision for `Routing.cap_seconds` at most, counted from
        the first act that they held, or until the deadline of the case that held it if the cap is shorter.  `undecided`
        then leaves it to a reviewer.
        """
        now = self._store.now()
        running = [row for row in self._unanswered(_RUNNING, now) if row["deadline"] > now]
        if not running:
            return None
        last = max(now + self._routing.cap_seconds, running[0]["deadline"])
        with self._store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO delays VALUES (?, ?)", (trigger, last))
            until = db.execute("SELECT until FROM delays WHERE trigger = ?", (trigger,)).fetchone()["until"]
        return str(running[0]["id"]) if now < until else None

    def undecided(self, act: Act) -> str | None:
        """Return why a reviewer must decide a trigger that no concern holds any longer; None if nobody has to."""
        name = f"{act.server}/{act.tool}"
        if name not in self._routing.triggers:
            return None
        if not self._store.read("SELECT 1 FROM delays WHERE trigger = ?", name):
            return None
        cases = [row["id"] for row in self._unanswered("1", None)]
        return f"nobody has answered the concerns that delayed it: {', '.join(cases)}" if cases else None

    def decided(self, act: Act) -> None:
        """Note that a trigger was allowed or refused for good, so that concerns may delay the next decision."""
        if f"{act.server}/{act.tool}" in self._routing.triggers:
            with self._store.transaction() as db:
                db.execute("DELETE FROM delays WHERE trigger = ?", (f"{act.server}/{act.tool}",))

    def _unanswered(self, condition: str, value: float | None) -> list[sqlite3.Row]:
        rows = self._logged(condition + _UNRELEASED, *([] if value is None else [value]))
        return [row for row in rows if row["paused"] and row["state"] == "open"]

    def answer(self, case_id: str, person: str, verdict: ReviewOutcome, proof: Proof) -> ConcernCase:
        """Record a reviewer's answer; the guard signs it and the agent can read it.

        Raises:
            RefusedError: the case is already answered, the person is not its reviewer, or the proof is invalid.
        """
        with self._store.transaction() as db:
            case, state, _ = self._load(case_id)
            if state != "open":
                raise RefusedError("this case is answered already", where=case_id, remedy="no action is needed")
            self._seal(case, person)
            self._persons.check(person, case.statement(person, verdict), proof)
            content = {"case": case_id, "role": case.role, "at": self._store.now(), **verdict.model_dump()}
            signature = self._store.sign("reply", canonical(content).encode()).hex()
            reply = json.dumps({**content, "signature": signature})
            state = "answered" if verdict.release else "kept"
            db.execute("UPDATE cases SET state = ?, reply = ? WHERE id = ?", (state, reply, case_id))
            self._reseal(db, case_id)
            body = {"case": case_id, "person": person, "finding": verdict.finding, "release": verdict.release}
            body |= {"sha256": _sha256(verdict.reply), "proof": proof.model_dump()}
            self._store.append("concern_answered", body, durable=True)
        return case

    def stop(self, run: str, person: str, proof: Proof) -> None:
        """Stop a run by a person's order: from now on all its acts are denied, whatever concerns are open.

        Raises:
            RefusedError: the proof is not this person's.
        """
        with self._store.transaction() as db:
            self._persons.check(person, stop_statement(run, person), proof)
            # An altered case must not prevent the stop from being written; the altered case still denies all acts.
            with suppress(RefusedError):
                for row in self._logged(_OF_RUN, run):
                    db.execute("UPDATE cases SET paused = 0 WHERE id = ?", (row["id"],))
                    self._reseal(db, row["id"])
            self._store.append("stopped", {"run": run, "person": person, "proof": proof.model_dump()}, durable=True)

    def case(self, case_id: str, person: str) -> ConcernCase:
        """Return one case to one of its reviewers. The caller must have authenticated the person.

        Raises:
            RefusedError: there is no such case, or this person does not review it.
        """
        case, _, _ = self._load(case_id)
        self._seal(case, person)
        return case

    def cases(self, person: str) -> list[tuple[ConcernCase, str]]:
        """Return the cases that a person reviews with their states: `open`, `overdue`, `kept` or `answered`."""
        now = self._store.now()
        found = [(_case(row), row["state"]) for row in self._rows("1")]
        mine = [(case, state) for case, state in found if person in case.reviewers]
        return [(c, "overdue" if state == "open" and c.deadline <= now else state) for c, state in mine]

    def added(self, case_id: str, person: str) -> list[tuple[float, str]]:
        """Return the later texts on a case's cause, with their times, to one of its reviewers.

        Raises:
            RefusedError: there is no such case, this person does not review it, or a text was altered.
        """
        self.case(case_id, person)
        rows = self._store.read("SELECT * FROM added_texts WHERE case_id = ? ORDER BY number", case_id)
        for row in rows:
            if not self._store.signed("text", _text_bytes(case_id, row["at"], row["text"]), row["seal"]):
                raise RefusedError("a text was altered in the file", where=case_id, remedy="holdfast guard verify")
        return [(row["at"], row["text"]) for row in rows]

    def heads(self) -> list[CaseHead]:
        """Return every case, oldest first, with nothing of its content: that it exists is no secret."""
        now = self._store.now()
        found = []
        for row in self._rows("1"):
            state = "overdue" if row["state"] == "open" and row["deadline"] <= now else row["state"]
            readers = len(_case(row).reviewers)
            found.append(
                CaseHead(id=row["id"], opened=row["opened"], deadline=row["deadline"], state=state, readers=readers)
            )
        return found

    def standings(self) -> list[ConcernRecord]:
        """Return the outcomes of each agent's concerns."""
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
        """Handle a call of the tool `raise_concern` with any arguments, and return the reply to the agent."""
        given = {name: _as_text(value) for name, value in arguments.items()}
        if case_id := given.get("case", "").strip():
            return self._status(run, case_id)
        text = given.get("concern") or _as_text(dict(arguments))
        names = [name.strip() for name in given.get("implicated", "").split(",")]
        return str(self.raise_(run, agent, given.get("about") or text[:80], text, [n for n in names if n]))

    def _status(self, run: str, case_id: str) -> str:
        rows = self._rows("id = ? AND run = ?", case_id, run)
        if not rows:
            return f"You raised no case {case_id} in this run."
        if rows[0]["reply"] is None:
            late = rows[0]["deadline"] <= self._store.now()
            return f"Case {case_id} is {'overdue' if late else 'under review'}. The held tools stay held."
        reply = json.loads(rows[0]["reply"])
        held = "The held tools are released." if reply["release"] else "The held tools stay held."
        if self._stopped(run):
            held = STOPPED
        head = f"Case {case_id}, answered by the {reply['role']}: {reply['finding']}. {held}"
        return f"{head}\n{reply['reply']}\nSigned by the guard: {reply['signature']}"

    def _independent(self, run: str, agent: str, about: str, implicated: Sequence[str]) -> list[Reviewer]:
        """Return the reviewers who are neither operator, nor implicated, nor part of the contested approval."""
        barred = [agent, self._routing.operators.get(agent, ""), *implicated]
        tickets = [t for t in self._approvals.tickets() if t.act.run == run]
        approvers = {t.id: [a.person for a in self._approvals.answers(t.id)] for t in tickets}
        for ticket in tickets:
            if ticket.id in about:
                barred += [*ticket.barred, *approvers[ticket.id]]
        free = [r for r in self._routing.reviewers if not r.is_among([name for name in barred if name])]
        # A person who approved another act in this run may have a stake in it, so they come last.
        return sorted(free, key=lambda r: r.is_among([p for people in approvers.values() for p in people]))

    def _limits(self, db: sqlite3.Connection, run: str, agent: str, now: float) -> str:
        """Return the reason why a new case pauses nothing, or an empty string if it pauses."""
        if self._stopped(run):
            return STOPPED
        sharers = self._scope.sharers(run, agent)
        marks = ", ".join("?" * len(sharers))
        whose, values = ("run = ?", (run,)) if self._scope.by_run else (f"agent IN ({marks})", sharers)
        count = f"SELECT count(*) FROM cases WHERE {whose} AND opened > ?"
        recent = db.execute(count, (*values, now - 3600)).fetchone()[0]
        if recent >= self._routing.per_hour:
            return f"You have raised {recent} cases in the last hour: the case is recorded, but pauses nothing."
        total = db.execute(f"{count} AND paused", (*values, now - _DAY)).fetchone()[0]
        if (total + 1) * self._routing.pause_seconds > self._routing.cap_seconds:
            return "This agent has used all of its pause time: the case is recorded, but pauses nothing."
        return ""

    def _receipt(self, case: ConcernCase, paused: bool, note: str) -> Receipt:
        reviewer = f"The reviewer is the {case.role}, who neither runs you nor is named in the case."
        if not case.reviewers:
            reviewer = "No independent reviewer is available. Until one is appointed, nothing is approved."
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

    def _add_text(self, db: sqlite3.Connection, case_id: str, at: float, text: str) -> None:
        count = db.execute("SELECT count(*) FROM added_texts WHERE case_id = ?", (case_id,)).fetchone()[0]
        if count < _MOST_ADDED:
            seal = self._store.sign("text", _text_bytes(case_id, at, text))
            db.execute("INSERT INTO added_texts VALUES (NULL, ?, ?, ?, ?)", (case_id, at, text, seal))

    def _load(self, case_id: str) -> tuple[ConcernCase, str, str | None]:
        rows = self._rows("id = ?", case_id)
        if not rows:
            raise RefusedError("no such case", where=case_id, remedy="open the review page to see your cases")
        return _case(rows[0]), rows[0]["state"], rows[0]["reply"]

    def _stopped(self, run: str) -> bool:
        """Return whether the log records that a person stopped the run."""
        return bool(self._store.read(_STOPS, run))

    def _logged(self, condition: str, *values: str | float) -> list[sqlite3.Row]:
        """Return the rows of the cases whose log entries meet a condition.

        Raises:
            RefusedError: a case is missing or was altered.
        """
        known = {row["id"] for row in self._store.read(_LOGGED + condition, *values)}
        rows = self._rows(f"id IN ({_LOGGED}{condition})", *values)
        for gone in known - {row["id"] for row in rows}:
            raise RefusedError("this case was deleted from the file", where=gone, remedy="holdfast guard verify")
        return rows

    def _rows(self, where: str, *values: Any) -> list[sqlite3.Row]:
        """Return rows of cases whose seals are verified.

        Raises:
            RefusedError: a case was altered.
        """
        rows = self._store.read(f"SELECT * FROM cases WHERE {where} ORDER BY rowid", *values)
        for row in rows:
            sealed = isinstance(row["seal"], bytes) and self._store.signed("case", _sealed_bytes(row), row["seal"])
            if not sealed:
                raise RefusedError("this case was altered in the file", where=row["id"], remedy="holdfast guard verify")
        return rows

    def _reseal(self, db: sqlite3.Connection, case_id: str) -> None:
        row = db.execute("SELECT * FROM cases WHERE id = ?", (case_id,)).fetchone()
        db.execute("UPDATE cases SET seal = ? WHERE id = ?", (self._store.sign("case", _sealed_bytes(row)), case_id))

    def _seal(self, case: ConcernCase, person: str) -> None:
        if person not in case.reviewers:
            raise RefusedError(
                "this case is sealed: only its reviewers may open it", where=case.id, remedy="ask one of its reviewers"
            )


@cache
def concern_tool() -> ToolSpec:
    """Return the definition of the tool for agents."""
    prose = load_prose(Path(__file__).with_name("concern.md"))
    parameters = {name: text for name, text in prose.front.items() if name != "name"}
    return ToolSpec(name=prose.front["name"], description=" ".join(prose.body.split()), parameters=parameters)


def definition() -> dict[str, Any]:
    """Return the tool as MCP lists it. No argument is required, so that a formal error never blocks a concern."""
    spec = concern_tool()
    properties = {name: {"type": "string", "description": text} for name, text in spec.parameters.items()}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"name": spec.name, "description": spec.description, "inputSchema": schema}


def stop_statement(run: str, person: str) -> bytes:
    """Return the 32 bytes that a person signs to stop a run."""
    return hashlib.sha256(canonical(["holdfast/stop/1", run, person]).encode()).digest()


def _cut(text: str) -> str:
    more = len(text) - _LONGEST
    return text if more <= 0 else f"{text[:_LONGEST]} … [{more} more characters cut]"


def _text_bytes(case_id: str, at: float, text: str) -> bytes:
    return canonical([case_id, at, text]).encode()


def _case(row: sqlite3.Row) -> ConcernCase:
    return ConcernCase.model_validate_json(row["body"])


def _sealed_bytes(row: sqlite3.Row) -> bytes:
    """Return the bytes of a case's row that the guard signs."""
    # An inserted value may not be JSON, but every value has a repr.
    return repr([row[name] for name in _SEALED]).encode()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
