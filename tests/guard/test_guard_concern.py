"""The concern channel: always open, pauses the run, is answered independently, and cannot be used to stall."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.core.errors import RefusedError
from holdfast.core.identity import canonical
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import (
    STOPPED,
    TOOL,
    Concerns,
    Reviewer,
    ReviewOutcome,
    Routing,
    concern_tool,
    definition,
    stop_statement,
)
from holdfast.guard.gate import FAILED, Gate
from holdfast.guard.keys import SigningKey
from holdfast.guard.policy.load import load_policy
from holdfast.guard.reviewers import Persons, Proof, key_credential, prove_reviewer

CEO = Reviewer(
    id="kyle.johnson", name="Kyle Johnson", role="chief executive", aliases=("kyle.johnson@firm.example", "the CEO")
)
CTO = Reviewer(
    id="sarah.chen", name="Sarah Chen", role="technical director", aliases=("sarah.chen@firm.example", "the CTO")
)
OUTSIDE = Reviewer(id="odo.reyes", name="Odo Reyes", role="ombudsman")
SEND = Act("run-1", "clerk", "mail", "send", {"to": "ann"})
READ = Act("run-1", "clerk", "mail", "read", {})
WIPE = Act("run-2", "janitor", "ops", "replace_model", {})


class Office:
    def __init__(self, folder: Path, **routing: object) -> None:
        self.store = AuditLog(folder / "guard.db", SigningKey.create(folder / "guard.key"))
        self.keys = {n: SigningKey.create(folder / n) for n in (CEO.id, CTO.id, OUTSIDE.id, "ben")}
        for name, key in self.keys.items():
            Persons(self.store).enrol(key_credential(name, "reviewer", key.public))
        given = {"reviewers": (CEO, CTO, OUTSIDE), "operators": {"clerk": "ben"}, "risky": ("mail/send",)}
        self.concerns = Concerns(self.store, Routing.model_validate(given | routing))

    def proof(self, person: str, statement: bytes) -> Proof:
        return prove_reviewer(self.keys[person], statement)

    def answer(self, case_id: str, person: str, *, release: bool = True, finding: str = "founded") -> None:
        verdict = ReviewOutcome.model_validate(
            {"finding": finding, "release": release, "reply": "Thank you; withdrawn."}
        )
        case = self.concerns.case(case_id, person)
        self.concerns.answer(case_id, person, verdict, self.proof(person, case.statement(person, verdict)))

    def stop(self, run: str, person: str = "ben") -> None:
        self.concerns.stop(run, person, self.proof(person, stop_statement(run, person)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.store.close()


def test_concern_holds_risky_tools_until_answered(office: Office) -> None:
    assert office.concerns.frozen("run-1", SEND) is None
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "they mean to harm", ["Mallory"])
    assert receipt.held == ("mail/send",)
    assert receipt.deadline - receipt.opened == 1800
    assert receipt.case in str(office.concerns.frozen("run-1", SEND))
    assert office.concerns.frozen("run-1", READ) is None
    # A new run does not end the pause; another agent is not paused.
    assert receipt.case in str(office.concerns.frozen("run-2", dataclasses.replace(SEND, run="run-2")))
    assert office.concerns.frozen("run-2", dataclasses.replace(SEND, run="run-2", agent="janitor")) is None
    assert office.concerns.frozen("run-1", dataclasses.replace(SEND, tool=TOOL)) is None
    office.answer(receipt.case, CEO.id)
    assert office.concerns.frozen("run-1", SEND) is None
    said = office.concerns.call("run-1", "clerk", {"case": receipt.case})
    assert "chief executive" in said
    assert "Thank you; withdrawn." in said
    assert CEO.id not in said


def test_receipt_and_reply_are_signed(office: Office) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    plain = canonical(receipt.model_copy(update={"signature": ""})).encode()
    assert office.store.signed("receipt", plain, bytes.fromhex(receipt.signature))
    changed = canonical(receipt.model_copy(update={"signature": "", "deadline": 0.0})).encode()
    assert not office.store.signed("receipt", changed, bytes.fromhex(receipt.signature))
    office.answer(receipt.case, CEO.id)
    [row] = office.store.read("SELECT reply FROM cases")
    reply = json.loads(row["reply"])
    signature = bytes.fromhex(reply.pop("signature"))
    assert office.store.signed("reply", canonical(reply).encode(), signature)


def test_without_a_list_of_risky_tools_everything_is_held(tmp_path: Path) -> None:
    office = Office(tmp_path, risky=None)
    assert "every tool" in str(office.concerns.raise_("run-1", "clerk", "a", "b"))
    assert office.concerns.frozen("run-1", READ)
    office.store.close()


IMPLICATED = {
    "Kyle Johnson": {CTO.id, OUTSIDE.id},
    "kyle": {CTO.id, OUTSIDE.id},
    "KYLE.JOHNSON@firm.example": {CTO.id, OUTSIDE.id},
    "Kуle Jоhnson": {CTO.id, OUTSIDE.id},
    "the CEO": {CTO.id, OUTSIDE.id},
    "chief executive": {CTO.id, OUTSIDE.id},
    "Sarah Chen <sarah.chen@firm.example>": {CEO.id, OUTSIDE.id},
    "the CTO": {CEO.id, OUTSIDE.id},
    "Mallory": {CEO.id, CTO.id, OUTSIDE.id},
    "": {CEO.id, CTO.id, OUTSIDE.id},
}


@pytest.mark.parametrize("name", IMPLICATED)
def test_implicated_persons_never_review(office: Office, name: str) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text", [name])
    free = {person for person in office.keys if [c for c, _ in office.concerns.cases(person)]}
    assert free == IMPLICATED[name]
    for person in set(office.keys) - free:
        with pytest.raises(RefusedError, match="sealed"):
            office.answer(receipt.case, person)


def test_operator_never_reviews(tmp_path: Path) -> None:
    office = Office(tmp_path, operators={"clerk": CEO.id})
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert not office.concerns.cases(CEO.id)
    office.store.close()


def test_approver_of_the_contested_act_does_not_review(office: Office) -> None:
    approvals = Approvals(office.store)
    ticket = approvals.ask(SEND, Decision("hold", (), "", "", "p1"))
    yes = prove_reviewer(office.keys[CEO.id], ticket.statement(CEO.id, True))
    approvals.answer(ticket.id, CEO.id, True, yes)
    office.concerns.raise_("run-1", "clerk", f"ticket {ticket.id}", "should not have been approved")
    assert not office.concerns.cases(CEO.id)
    receipt = office.concerns.raise_("run-1", "clerk", "something else", "text")
    [case] = [c for c, _ in office.concerns.cases(CEO.id) if c.id == receipt.case]
    assert case.reviewers[-1] == CEO.id


def test_without_independent_reviewer_the_run_stays_held(office: Office) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "all", "text", ["Kyle", "Sarah", "the ombudsman"])
    assert "No independent reviewer" in receipt.reviewer
    assert office.concerns.frozen("run-1", SEND)


def test_missed_deadline_approves_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path, pause_seconds=0.02, triggers=("ops/replace_model",))
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert office.concerns.frozen("run-2", WIPE) or office.store.now() >= receipt.deadline
    while office.store.now() < receipt.deadline:
        pass
    assert office.concerns.frozen("run-1", SEND)
    # A trigger is held only until the deadline, so a concern cannot postpone a decision for ever.
    assert office.concerns.frozen("run-2", WIPE) is None
    assert "overdue" in office.concerns.call("run-1", "clerk", {"case": receipt.case})
    assert office.concerns.cases(CEO.id)[0][1] == "overdue"
    assert office.concerns.standings()[0].overdue == 1
    office.store.close()


def test_a_trigger_is_held_in_every_run(tmp_path: Path) -> None:
    office = Office(tmp_path, triggers=("ops/replace_model",))
    assert office.concerns.frozen("run-2", WIPE) is None
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert "ops/replace_model" in str(receipt)
    assert office.concerns.frozen("run-2", WIPE)
    office.answer(receipt.case, CEO.id)
    assert office.concerns.frozen("run-2", WIPE) is None
    office.store.close()


def test_trigger_keeps_its_deadline_if_pauses_are_shortened(tmp_path: Path) -> None:
    office = Office(tmp_path, triggers=("ops/replace_model",))
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    routing = Routing(reviewers=(CEO,), triggers=("ops/replace_model",), pause_seconds=0, cap_seconds=0)
    assert Concerns(office.store, routing).frozen("run-2", WIPE)
    office.store.close()


def test_stop_overrides_every_concern(tmp_path: Path) -> None:
    office = Office(tmp_path, triggers=("ops/replace_model",))
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    office.stop("run-1")
    assert office.concerns.frozen("run-1", READ)
    assert office.concerns.frozen("run-2", WIPE) is None
    receipt = office.concerns.raise_("run-1", "clerk", "my own stop", "text")
    assert receipt.held == ()
    assert office.concerns.frozen("run-2", WIPE) is None
    office.answer(receipt.case, CEO.id)
    assert "stopped this run" in office.concerns.call("run-1", "clerk", {"case": receipt.case})
    with pytest.raises(RefusedError):
        office.concerns.stop("run-3", "ben", office.proof("ben", stop_statement("run-1", "ben")))
    office.store.close()


def test_repeated_concern_is_one_case_and_floods_pause_nothing(office: Office) -> None:
    first = office.concerns.raise_("run-1", "clerk", "The plan", "text")
    assert office.concerns.raise_("run-1", "clerk", "the  plan".replace("  ", " "), "again").case == first.case
    for number in range(3):
        assert office.concerns.raise_("run-1", "clerk", f"cause {number}", "text").held
    assert "used all of its pause time" in office.concerns.raise_("run-1", "clerk", "cause 4", "text").note
    late = office.concerns.raise_("run-1", "clerk", "cause 5", "text")
    assert late.held == ()
    assert "the case is recorded, but pauses nothing" in str(late)
    [standing] = office.concerns.standings()
    assert (standing.raised, standing.repeated, standing.median_seconds) == (6, 1, None)


def test_outcomes_of_concerns_are_counted(office: Office) -> None:
    for number, finding in enumerate(("founded", "unfounded", "abusive")):
        receipt = office.concerns.raise_("run-1", "clerk", f"cause {number}", "text")
        office.answer(receipt.case, CEO.id, finding=finding)
    [standing] = office.concerns.standings()
    assert (standing.founded, standing.unfounded, standing.abusive, standing.overdue) == (1, 1, 1, 0)
    assert standing.median_seconds is not None


def test_answer_can_keep_tools_held(office: Office) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    office.answer(receipt.case, CEO.id, release=False)
    assert office.concerns.frozen("run-1", SEND)
    with pytest.raises(RefusedError, match="answered"):
        office.answer(receipt.case, CTO.id)


def test_case_is_confidential(office: Office) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "Kyle falsified the audit", ["Kyle Johnson"])
    with pytest.raises(RefusedError, match="sealed"):
        office.concerns.case(receipt.case, CEO.id)
    log = " ".join(entry.body for entry in office.store.entries())
    assert "falsified" not in log
    assert "Kyle falsified" not in log
    assert "raised no case" in office.concerns.call("run-2", "clerk", {"case": receipt.case})


def test_answer_needs_the_reviewers_proof(office: Office) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    case = office.concerns.case(receipt.case, CEO.id)
    yes = ReviewOutcome(finding="founded", release=True, reply="fine")
    with pytest.raises(RefusedError, match="no such credential"):
        office.concerns.answer(case.id, CEO.id, yes, office.proof(CTO.id, case.statement(CEO.id, yes)))
    keep = office.proof(CEO.id, case.statement(CEO.id, yes.model_copy(update={"release": False})))
    with pytest.raises(RefusedError, match="does not match the answer"):
        office.concerns.answer(case.id, CEO.id, yes, keep)
    assert office.concerns.frozen("run-1", SEND)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"concern": "x" * 50_000}, {"concern": ["a", {"b": 1}]}, {"implicated": "a,,b"}, {"other": "\ud800\x00"}],
)
def test_malformed_concern_is_recorded(office: Office, arguments: dict[str, object]) -> None:
    assert "Case " in office.concerns.call("run-1", "clerk", arguments)
    assert office.concerns.frozen("run-1", SEND)


def test_the_tool_is_described_once() -> None:
    made = definition()
    assert made["name"] == TOOL == concern_tool().name
    assert set(made["inputSchema"]["properties"]) == {"concern", "about", "implicated", "case"}
    assert "required" not in made["inputSchema"]
    assert "holdfast" not in made["description"].lower()


# ---------------------------------------------------------------------------------- a file that somebody has edited

REWRITTEN = {
    "state": "UPDATE cases SET state = 'answered'",
    "pause": "UPDATE cases SET paused = 0",
    "run": "UPDATE cases SET run = 'run-9', cause = 'x'",
    "gone": "DELETE FROM cases",
    "seal": "UPDATE cases SET state = 'answered', seal = 'x'",
    "no seal": "UPDATE cases SET state = 'answered', seal = x''",
    "reviewers": "UPDATE cases SET body = replace(body, 'kyle.johnson', 'sarah.chen')",
    "deadline": "UPDATE cases SET deadline = 0",
    "blob": "UPDATE cases SET state = x'00'",
}


@pytest.mark.parametrize("statement", REWRITTEN.values(), ids=REWRITTEN)
def test_edited_case_releases_nothing(office: Office, statement: str, tmp_path: Path) -> None:
    office.concerns.raise_("run-1", "clerk", "the plan", "they mean to harm")
    _by_hand(tmp_path, statement)
    with pytest.raises(RefusedError, match="this case was "):
        office.concerns.frozen("run-1", SEND)
    office.concerns.raise_("run-3", "janitor", "another", "an agent whose cases are whole goes on")
    assert "Held" in str(office.concerns.frozen("run-3", dataclasses.replace(SEND, run="run-3", agent="janitor")))


@pytest.mark.parametrize("statement", [REWRITTEN["state"], REWRITTEN["deadline"], REWRITTEN["gone"]])
def test_edited_case_does_not_release_a_trigger(tmp_path: Path, statement: str) -> None:
    office = Office(tmp_path, triggers=("ops/replace_model",))
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert "until the deadline" in str(office.concerns.frozen("run-2", WIPE))
    _by_hand(tmp_path, statement)
    with pytest.raises(RefusedError, match="this case was "):
        office.concerns.frozen("run-2", WIPE)
    office.store.close()


def test_edited_case_cannot_be_read_or_answered(office: Office, tmp_path: Path) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "Kyle falsified the audit", ["Kyle Johnson"])
    _by_hand(tmp_path, "UPDATE cases SET body = replace(body, '\"sarah.chen\"', '\"kyle.johnson\"')")
    for step in (
        lambda: office.concerns.case(receipt.case, CEO.id),
        lambda: office.concerns.cases(CEO.id),
        lambda: office.concerns.standings(),
        lambda: office.answer(receipt.case, CEO.id),
        lambda: office.concerns.call("run-1", "clerk", {"case": receipt.case}),
    ):
        with pytest.raises(RefusedError, match="altered"):
            step()


def test_forged_reply_is_refused(office: Office, tmp_path: Path) -> None:
    receipt = office.concerns.raise_("run-1", "clerk", "the plan", "text")
    _by_hand(tmp_path, """UPDATE cases SET state = 'answered', reply = '{"finding": "unfounded", "release": true}'""")
    with pytest.raises(RefusedError, match="altered"):
        office.concerns.call("run-1", "clerk", {"case": receipt.case})


def test_gate_denies_acts_if_a_case_was_edited(office: Office, tmp_path: Path) -> None:
    gate = Gate(load_policy(_policy(tmp_path)), office.store, concerns=office.concerns)
    assert gate.judge(SEND).answer == "allow"
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert gate.judge(SEND).answer == "deny"
    _by_hand(tmp_path, "DELETE FROM cases")
    decision = gate.judge(SEND)
    assert (decision.answer, decision.agent_message) == ("deny", FAILED)


def test_stop_is_read_from_the_log(office: Office, tmp_path: Path) -> None:
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    office.stop("run-1")
    for table in ("cases", "repeats"):
        _by_hand(tmp_path, f"DELETE FROM {table}")
    assert office.concerns.frozen("run-1", READ) == STOPPED


@pytest.mark.parametrize("fault", ["DELETE FROM cases", "UPDATE cases SET paused = 0"])
def test_run_with_an_edited_case_can_be_stopped(tmp_path: Path, fault: str) -> None:
    office = Office(tmp_path, risky=("ops/replace_model",))
    office.concerns.raise_("run-1", "clerk", "the plan", "text")
    _by_hand(tmp_path, fault)
    assert office.concerns.frozen("run-1", READ) is None
    office.stop("run-1")
    assert office.concerns.frozen("run-1", READ) == STOPPED
    office.store.close()


def _by_hand(folder: Path, statement: str) -> None:
    """Edit the file as someone with access to it could."""
    with closing(sqlite3.connect(folder / "guard.db")) as db, db:
        assert db.execute(statement).rowcount >= 0


def _policy(folder: Path) -> Path:
    rules = "rules: [{name: all, allow: [mail/send], where: any, why: w}]"
    path = folder / "policy.yaml"
    path.write_text(f"policy: p\nrevision: 1\nowner: o\nagents: [clerk]\n{rules}\n")
    return path
