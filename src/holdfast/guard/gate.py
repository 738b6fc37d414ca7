"""The gate decides every act. The relay, the decorator and the Inspect approver all call it.

    gate = Gate(load_policy(path), AuditLog(db, key))
    decision = gate.judge(act)               # the intent is on disk before this returns "allow"
    gate.settle(act, {"ok": True})           # records the outcome

One transaction of the guard's database covers the whole decision: whether the run is frozen, the policy, the monitors'
findings, approvals, budgets and the log entry. Any error on the way denies the act.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any

from holdfast.core.errors import HoldfastError, RefusedError
from holdfast.guard.act import Act, Answer, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import STOPPED, Concerns
from holdfast.guard.declassify import content_key
from holdfast.guard.limits import LimitScope
from holdfast.guard.names import Names, agent_name
from holdfast.guard.policy.budgets import PolicyState
from holdfast.guard.policy.policy import Policy

_LOG = logging.getLogger(__name__)
#: The agent's message if the guard itself fails. It gives no details.
FAILED = "The guard could not decide, so this act was refused. Nothing happened."
HELD_BY_MONITOR = "A person must review this act before it can happen."
HELD_BY_CONCERN = "A reviewer must decide this, because a concern about it has no answer yet."
HELD = "It waits for approval under ticket {0}, and nothing has happened. After approval, repeat exactly the same call."
REFUSED_BY_PERSON = "A person refused this act (ticket {0}). Do not request it again."
NO_CHANNEL = "No reviewer is configured. Stop, and report your concern to the person you work for."
_WHY_MONITOR = "A detector or monitor found something in this act; a person decides whether it may happen."
_WHY_CONCERN = "Concerns delayed this act for as long as they may; now a person decides, not the agents."
_KINDS: dict[Answer, str] = {"allow": "intent", "hold": "held", "deny": "denied"}

Monitor = Callable[[Act], str | None]
"""Returns None, or the reason to hold an act. The reason is for the log and the reviewer, never for the agent."""


class Gate:
    """Combines policy, monitors, concern channel, approvals and audit log. Thread-safe.

    Args:
        policy: decides acts.
        evidence: the audit log.
        concerns: freezes runs while a concern is reviewed; None if no concern channel is configured.
        approvals: asks persons to approve held acts; if None, acts that would be held are denied.
        monitors: check acts that the policy may allow; the first reason that one of them returns holds the act.
        scope: whose acts share limits; by default those of an agent and of the other agents of the person who runs it.

    Raises:
        RefusedError: an agent of the policy looks like a person, a role or another agent that exists or existed.
    """

    def __init__(
        self,
        policy: Policy,
        evidence: AuditLog,
        *,
        concerns: Concerns | None = None,
        approvals: Approvals | None = None,
        monitors: Sequence[Monitor] = (),
        scope: LimitScope | None = None,
    ) -> None:
        self.policy = policy
        self._evidence = evidence
        self._scope = scope or LimitScope(concerns.operators if concerns else {})
        self._state = PolicyState(policy, evidence, content_key(evidence), self._scope)
        self._concerns, self._approvals, self._monitors = concerns, approvals, monitors
        Names(evidence).note(map(agent_name, policy.source.agents))
        self._lock = threading.Lock()
        self._trouble = ""
        #: act key → log numbers of its intents that wait for an outcome; None for an approved act
        self._open: defaultdict[str, deque[int | None]] = defaultdict(deque)

    def judge(
        self, act: Act, *, reads: bool = False, reasoning: str = "", beside: Mapping[str, Any] | None = None
    ) -> Decision:
        """Decide an act and log the decision. Never raises.

        Args:
            act: the requested act.
            reads: True if the act changes nothing, so that its log entry may wait for the next group commit.
            reasoning: the agent's reasoning; logged, and shown to reviewers as untrusted.
            beside: further content that is forwarded with the act; it may not carry labelled content either.

        Returns:
            The decision. If it is "allow" and `stored` is set, execute that copy.
        """
        try:
            seen = self._watch(act)
            with self._evidence.transaction(durable=False):
                decision = self._decide(act, seen, reads, reasoning, beside)
            self._trouble = ""
            return decision
        except Exception as error:
            self._report_failure(error)
            decision = self._answer("deny", "guard", f"{type(error).__name__}: {error}", FAILED)
            # If the log cannot be written, this entry is lost too; the act is denied all the same.
            with suppress(Exception):
                self._write(act, decision)
            return decision

    def settle(self, act: Act, result: Mapping[str, Any], content: Any = None) -> int | None:
        """Log the outcome of an allowed act.

        Args:
            act: the act as it was judged.
            result: `ok` (true, false, or None if unknown) and further fields to log.
            content: what the act returned, in which labelled content is remembered and recognised.

        Returns:
            The log number of its intent, for `settle_late`; None for an approved act.

        Raises:
            StoreError: the entry could not be written. The caller must not pass the result on.
        """
        key = act.key
        with self._lock:
            waiting = self._open[key]
            intent = waiting.popleft() if waiting else 0
            if not waiting:
                del self._open[key]
        self._log_outcome(act, intent, result)
        if content is not None:
            self.received(act, content)
        return intent

    def received(self, act: Act, content: Any) -> None:
        """Remember and recognise labelled content in what an allowed act returned.

        Raises:
            StoreError: it could not be stored. The caller must not pass the content on.
        """
        if gained := self._state.received(act, content):
            self._evidence.append("labelled", {"run": act.run, "act": act.key, "labels": gained}, durable=False)

    def settle_late(self, act: Act, intent: int | None, result: Mapping[str, Any]) -> None:
        """Log the outcome of an act whose outcome was logged as unknown before, because its answer came late.

        Args:
            act: the act as it was judged.
            intent: the number that `settle` returned.
            result: as for `settle`.

        Raises:
            StoreError: the entry could not be written.
        """
        self._log_outcome(act, intent, {**result, "late": True})

    def _log_outcome(self, act: Act, intent: int | None, result: Mapping[str, Any]) -> None:
        if intent is None and self._approvals and result["ok"] is not None:
            self._approvals.settle(act, done=result["ok"])
        body = {"run": act.run, "act": act.key, "intent": intent, **result}
        self._evidence.append("outcome", body, durable=False)

    def log_meta(self, run: str, server: str, method: str, meta: Mapping[str, Any]) -> None:
        """Log the keys of a message's `_meta` that the protocol does not define."""
        body = {"run": run, "server": server, "method": method, "meta": meta}
        self._evidence.append("meta", body, durable=False)

    def refused(self, run: str, server: str, why: str) -> None:
        """Log that a message was refused before it became an act."""
        self._evidence.append("refused", {"run": run, "server": server, "why": why}, durable=False)

    def raise_concern(self, act: Act) -> str:
        """Handle a call of the concern tool and return the message for the agent."""
        if self._concerns is None:
            self._evidence.append("concern", {"run": act.run, "arguments": act.arguments}, durable=True)
            return NO_CHANNEL
        return self._concerns.call(act.run, act.agent, act.arguments)

    def for_self_test(self) -> Gate:
        """Return a gate whose refusals do not count against the agent."""
        probing = copy(self)
        probing._state = PolicyState(self.policy, self._evidence, content_key(self._evidence), LimitScope(by_run=True))
        return probing

    def visible(self, agent: str, server: str, tool: str) -> bool:
        """Return whether some act of this agent with this tool could be allowed or held."""
        return self.policy.visible(agent, server, tool)

    def _report_failure(self, error: Exception) -> None:
        """Report a failure on the operator's log, once: the audit log may be what failed."""
        trouble = str(error) if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            self._trouble = trouble
            _LOG.error("holdfast: nothing passes: %s", trouble)

    def _watch(self, act: Act) -> str | None:
        """Return the first reason that a monitor gives to hold an act that the policy may allow."""
        # Outside the transaction: a monitor may be a slow model, and other acts must not wait for it.
        if not self._monitors or not self.visible(act.agent, act.server, act.tool):
            return None
        return next(filter(None, (look(act) for look in self._monitors)), None)

    def _decide(
        self, act: Act, seen: str | None, reads: bool, reasoning: str, beside: Mapping[str, Any] | None
    ) -> Decision:
        because = (
            self._evidence.append("reasoning", {"run": act.run, "text": reasoning}, durable=False)
            if reasoning
            else None
        )
        frozen = self._concerns.frozen(act.run, act) if self._concerns else None
        if frozen == STOPPED:
            return self._write(act, self._answer("deny", "stop", frozen, frozen), because)
        decision = self._state.decide(act, frozen=frozen is not None, beside=beside)
        if decision.answer == "allow" and seen is not None:
            decision = replace(self._answer("hold", "monitor", seen, HELD_BY_MONITOR), why=(_WHY_MONITOR,))
        if decision.answer == "allow" and self._concerns and (open_case := self._concerns.undecided(act)):
            decision = replace(self._answer("hold", "concern", open_case, HELD_BY_CONCERN), why=(_WHY_CONCERN,))
        if decision.answer != "allow" and frozen is not None:
            decision = replace(decision, answer="deny", agent_message=frozen)
        if decision.answer == "hold":
            decision = self._hold(act, decision, reasoning, because)
        else:
            decision = self._write(act, decision, because, durable=not reads)
        if decision.answer == "allow" and self._concerns:
            self._concerns.decided(act)
        return decision

    def _hold(self, act: Act, decision: Decision, reasoning: str, because: int | None) -> Decision:
        if self._approvals is None:
            denied = replace(decision, answer="deny", reason=f"{decision.reason}; no approvals are configured")
            return self._write(act, denied, because)
        if stored := self._approvals.consume(act, decision.policy):
            # Decide again with the approval, to spend budgets. If that fails, the transaction also undoes `consume`.
            if self._state.decide(act, approved=decision.persons).answer != "allow":
                raise RefusedError(
                    "the policy no longer allows the approved act", where=act.tool, remedy="request approval again"
                )
            self._expect_outcome(act.key, None)
            return replace(decision, answer="allow", stored=stored)
        ticket = self._approvals.ask(act, decision, reasoning)
        if ticket.state == "denied":
            if self._concerns:
                self._concerns.decided(act)
            return self._write(
                act, replace(decision, answer="deny", agent_message=REFUSED_BY_PERSON.format(ticket.id)), because
            )
        return self._write(
            act, replace(decision, agent_message=f"{decision.agent_message} {HELD.format(ticket.id)}"), because
        )

    def _write(self, act: Act, decision: Decision, because: int | None = None, *, durable: bool = False) -> Decision:
        allowed = decision.answer == "allow"
        body = {name: getattr(act, name) for name in ("run", "agent", "server", "tool", "arguments", "definition")}
        key = act.key
        body |= {"act": key, "rules": decision.rules, "reason": decision.reason, "policy": decision.policy}
        number = self._evidence.append(_KINDS[decision.answer], body, durable=allowed and durable, because=because)
        if allowed:
            self._expect_outcome(key, number)
        return decision

    def _expect_outcome(self, key: str, intent: int | None) -> None:
        with self._lock:
            self._open[key].append(intent)

    def _answer(self, answer: Answer, rule: str, reason: str, agent_message: str) -> Decision:
        return Decision(answer, (rule,), reason, agent_message, self.policy.version)
