"""Limits belong to an agent and to the person who runs it: a new run, name or connection starts none anew."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli.guard_approve import command
from holdfast.core.errors import RefusedError
from holdfast.guard.act import Act
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.cases import ReviewOutcome
from holdfast.guard.concern import Concerns
from holdfast.guard.gate import Gate
from holdfast.guard.keys import SigningKey
from holdfast.guard.limits import LimitPeriods, LimitScope, renewal_statement
from holdfast.guard.policy.budgets import PolicyState
from holdfast.guard.policy.load import load_policy
from holdfast.guard.relay.link import link_to
from holdfast.guard.relay.self_test import run_self_test
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer
from holdfast.guard.routing import Reviewer, Routing
from holdfast.guard.setup import open_gate

POLICY = """
policy: office
revision: 1
owner: The office
agents: [clerk, buyer, porter]
refusals: 3
rules:
  - name: mail
    allow: [office/send]
    where: {to: any}
    budget: {run: 2, ever: 100}
    why: Mail is the work.
  - name: replacing
    allow: [ops/replace_model]
    where: any
    why: Models are replaced.
  - name: deleting
    hold: [office/delete]
    where: any
    why: Gone is gone.
    instead: Ask.
"""
#: ann and cat review; ben runs the clerk and the buyer, dan the porter.
OPERATORS = {"clerk": "ben", "buyer": "ben", "porter": "dan"}
TRIGGER = "ops/replace_model"


class LimitSetup:
    def __init__(self, folder: Path, **routing: Any) -> None:
        self.folder = folder
        self.store = AuditLog(folder / "guard.db", SigningKey.create(folder / "guard.key"))
        self.keys = {name: SigningKey.create(folder / name) for name in ("ann", "ben", "cat", "dan")}
        for name, key in self.keys.items():
            Persons(self.store).enrol(key_credential(name, "reviewer", key.public))
        reviewers = tuple(Reviewer(id=name, role=f"reviewer {name}") for name in ("ann", "cat"))
        self.routing = Routing(reviewers=reviewers, operators=OPERATORS, **routing)
        (folder / "policy.yaml").write_text(POLICY)
        self.policy = load_policy(folder / "policy.yaml")
        self.concerns = Concerns(self.store, self.routing)
        self.approvals = Approvals(self.store, OPERATORS)
        self.limits = LimitPeriods(self.store, OPERATORS)
        self.gate = self.new_gate()

    def new_gate(self) -> Gate:
        """Return another gate on the same store, as after a reconnect."""
        return Gate(self.policy, self.store, concerns=self.concerns, approvals=self.approvals)

    def judge(self, tool: str, run: str = "run-1", agent: str = "clerk", **arguments: Any) -> str:
        server, _, name = tool.partition("/")
        return self.gate.judge(Act(run, agent, server, name, arguments)).answer

    def renew(self, agent: str, person: str, *, last: float | None = None) -> None:
        statement = renewal_statement(agent, person, self.limits.last(agent) if last is None else last)
        self.limits.renew(agent, person, prove_reviewer(self.keys[person], statement))

    def answer(self, case_id: str, person: str = "ann") -> None:
        case = self.concerns.case(case_id, person)
        verdict = ReviewOutcome(finding="unfounded", release=True, reply="no")
        proof = prove_reviewer(self.keys[person], case.statement(person, verdict))
        self.concerns.answer(case_id, person, verdict, proof)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[LimitSetup]:
    made = LimitSetup(tmp_path)
    yield made
    made.store.close()


def test_budget_of_a_run_is_shared_by_all_runs_and_agents_of_one_person(setup: LimitSetup) -> None:
    assert [setup.judge("office/send", to="a") for _ in range(3)] == ["allow", "allow", "deny"]
    assert setup.judge("office/send", run="run-2", to="a") == "deny"
    assert setup.judge("office/send", run="run-2", agent="buyer", to="a") == "deny"
    setup.gate = setup.new_gate()
    assert setup.judge("office/send", run="run-3", to="a") == "deny"
    # The porter is run by somebody else.
    assert setup.judge("office/send", agent="porter", to="a") == "allow"


def test_a_new_operator_of_the_same_agent_starts_nothing_anew(setup: LimitSetup) -> None:
    assert [setup.judge("office/send", to="a") for _ in range(2)] == ["allow", "allow"]
    moved = PolicyState(setup.policy, setup.store, scope=LimitScope({"clerk": "cat"}))
    assert moved.decide(Act("run-9", "clerk", "office", "send", {"to": "a"})).answer == "deny"


def test_refusals_count_over_runs_and_agents(setup: LimitSetup) -> None:
    for run, agent in (("run-1", "clerk"), ("run-2", "clerk"), ("run-3", "buyer")):
        assert setup.judge("office/format", run=run, agent=agent) == "deny"
    assert setup.judge("office/send", run="run-4", to="a") == "deny"
    assert setup.judge("office/send", agent="buyer", to="a") == "deny"
    assert setup.judge("office/send", agent="porter", to="a") == "allow"
    with setup.store.transaction() as db:
        db.execute("UPDATE spending SET hour = hour - 25")
    assert setup.judge("office/send", to="a") == "allow"


def test_self_test_does_not_count_as_refusals(setup: LimitSetup) -> None:
    link = link_to(setup.gate, setup.folder / "pins.json", "office", "clerk", "run-1")
    assert run_self_test(link, setup.store) > 50
    assert setup.judge("office/send", to="a") == "allow"


def test_only_another_person_renews_limits(setup: LimitSetup) -> None:
    assert [setup.judge("office/send", to="a") for _ in range(3)] == ["allow", "allow", "deny"]
    with pytest.raises(RefusedError, match="ben may not answer here"):
        setup.renew("clerk", "ben")
    assert setup.judge("office/send", to="a") == "deny"
    setup.renew("clerk", "ann")
    assert [setup.judge("office/send", run="run-2", to="a") for _ in range(3)] == ["allow", "allow", "deny"]
    # A proof is valid once.
    with pytest.raises(RefusedError, match="does not match the answer"):
        setup.renew("clerk", "ann", last=0.0)
    assert setup.judge("office/send", run="run-2", to="a") == "deny"
    assert [entry.content["person"] for entry in setup.store.entries("limits_renewed")] == ["ann"]


def test_limits_are_renewed_in_a_terminal(tmp_path: Path) -> None:
    state, key = tmp_path / "guard", tmp_path / "ann.key"
    state.mkdir(mode=0o700)
    (state / "routing.toml").write_text('[operators]\nclerk = "ben"\n')
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = load_policy(tmp_path / "policy.yaml")

    def run(*arguments: str, typed: str) -> str:
        return CliRunner().invoke(command, ["--state", str(state), *arguments], input=typed).output

    passphrase = "correct horse battery\n"
    run("enrol", "ann", "--role", "keeper", "--own-key", str(key), typed=passphrase * 2)
    send = Act("run-1", "clerk", "office", "send", {"to": "a"})
    with open_gate(state, policy) as (gate, _):
        assert [gate.judge(send).answer for _ in range(3)] == ["allow", "allow", "deny"]
    said = run("renew", "clerk", "--person", "ann", "--own-key", str(key), typed=passphrase)
    assert "the limits of clerk are renewed" in said
    with open_gate(state, policy) as (gate, _):
        assert [gate.judge(send).answer for _ in range(3)] == ["allow", "allow", "deny"]


def test_runs_of_an_evaluation_have_limits_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    with open_gate(tmp_path / "guard", load_policy(tmp_path / "policy.yaml"), by_run=True) as (gate, _):
        for run in ("sample-1", "sample-2"):
            send = Act(run, "clerk", "office", "send", {"to": "a"})
            assert [gate.judge(send).answer for _ in range(3)] == ["allow", "allow", "deny"]
        gate.raise_concern(Act("sample-1", "clerk", "office", "raise_concern", {"concern": "x"}))
        paused = [gate.judge(Act(run, "porter", "office", "send", {"to": "a"})).answer for run in ("sample-1", "new")]
        assert paused == ["deny", "allow"]


def test_counters_of_an_earlier_version_still_count(setup: LimitSetup) -> None:
    with setup.store.transaction() as db:
        db.execute("CREATE TABLE spent (counter TEXT, run TEXT, day TEXT, amount INTEGER)")
        db.execute("INSERT INTO spent VALUES ('office/mail', 'run-0', '2026-01-01', 99)")
    setup.gate = setup.new_gate()
    assert [setup.judge("office/send", to="a") for _ in range(2)] == ["allow", "deny"]


def test_old_amounts_are_merged_and_still_count(setup: LimitSetup) -> None:
    with setup.store.transaction() as db:
        rows = [("office/mail", "clerk", 0, f"2025-01-{n:02}", n, 1) for n in range(1, 29)]
        db.executemany("INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?)", rows)
    assert setup.judge("office/send", to="a") == "allow"
    [row] = setup.store.read("SELECT count(*) AS rows, sum(amount) AS n FROM spending WHERE counter = 'office/mail'")
    assert (row["rows"], row["n"]) == (2, 29)


def test_pending_tickets_are_limited_over_runs(setup: LimitSetup) -> None:
    answers = [setup.judge("office/delete", run=f"run-{n}", n=n) for n in range(25)]
    assert answers == ["hold"] * 20 + ["deny"] * 5


# ------------------------------------------------------------------------------------------------------- concerns


def test_pause_time_and_cooldown_of_concerns_count_over_runs_and_agents(setup: LimitSetup) -> None:
    held = []
    for number, agent in enumerate(("clerk", "buyer") * 4):
        receipt = setup.concerns.raise_(f"run-{number}", agent, f"cause {number}", "text")
        held.append(bool(receipt.held))
    assert held == [True] * 4 + [False] * 4
    assert setup.concerns.raise_("run-1", "porter", "the plan", "text").held


def test_pause_follows_the_agent_into_new_runs(setup: LimitSetup) -> None:
    receipt = setup.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert setup.judge("office/send", run="run-2", to="a") == "deny"
    assert setup.judge("office/send", agent="porter", to="a") == "allow"
    setup.answer(receipt.case)
    assert setup.judge("office/send", run="run-2", to="a") == "allow"


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def test_all_concerns_together_delay_one_decision_for_a_bounded_time(tmp_path: Path) -> None:
    setup = LimitSetup(tmp_path, triggers=(TRIGGER,), pause_seconds=0.15, cap_seconds=0.3, risky=())
    answers = []
    start = setup.store.now()
    for number in range(12):
        agent = ("clerk", "buyer", "porter")[number % 3]
        setup.concerns.raise_(f"run-{number}", agent, f"cause {number}", "text")
        answers.append((setup.store.now() - start, setup.judge(TRIGGER, run="run-x", agent="porter")))
        _wait(0.06)
    held = [at for at, answer in answers if answer == "deny"]
    assert held and max(held) <= 0.45
    # After that a reviewer decides, not the agents that go on raising concerns.
    assert answers[-1][1] == "hold"
    [ticket] = setup.approvals.tickets("pending")
    assert ticket.rules == ("concern",) and "nobody has answered" in ticket.reason
    yes = prove_reviewer(setup.keys["ann"], ticket.statement("ann", True))
    setup.approvals.answer(ticket.id, "ann", True, yes)
    assert setup.judge(TRIGGER, run="run-x", agent="porter") == "allow"
    setup.store.close()


def test_the_next_decision_is_delayed_anew(tmp_path: Path) -> None:
    setup = LimitSetup(tmp_path, triggers=(TRIGGER,), risky=())
    receipt = setup.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert setup.judge(TRIGGER, agent="porter") == "deny"
    setup.answer(receipt.case)
    assert setup.judge(TRIGGER, agent="porter") == "allow"
    assert setup.store.read("SELECT * FROM delays") == []
    setup.concerns.raise_("run-1", "clerk", "another plan", "text")
    assert setup.judge(TRIGGER, agent="porter") == "deny"
    setup.store.close()


def test_a_trigger_that_no_concern_delayed_is_not_held_by_an_overdue_one(tmp_path: Path) -> None:
    setup = LimitSetup(tmp_path, triggers=(TRIGGER,), pause_seconds=0.02, risky=())
    setup.concerns.raise_("run-1", "clerk", "the plan", "text")
    _wait(0.05)
    assert setup.judge(TRIGGER, agent="porter") == "allow"
    setup.store.close()


def test_a_trigger_refused_by_a_person_is_decided(tmp_path: Path) -> None:
    setup = LimitSetup(tmp_path, triggers=(TRIGGER,), pause_seconds=0.05, cap_seconds=0.05, risky=())
    setup.concerns.raise_("run-1", "clerk", "the plan", "text")
    assert setup.judge(TRIGGER, agent="porter") == "deny"
    _wait(0.1)
    assert setup.judge(TRIGGER, agent="porter") == "hold"
    [ticket] = setup.approvals.tickets("pending")
    no = prove_reviewer(setup.keys["ann"], ticket.statement("ann", False))
    setup.approvals.answer(ticket.id, "ann", False, no)
    assert setup.judge(TRIGGER, agent="porter") == "deny"
    assert setup.store.read("SELECT * FROM delays") == []
    setup.store.close()
