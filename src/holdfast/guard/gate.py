"""The gate: the one place where an act is decided, and the only way through.

    gate = Gate(load_policy(path), Evidence(db, key))
    decision = gate.judge(act)               # the intent is on disk before this says "allow"
    gate.settle(act, {"ok": True})           # what came of it

Every door calls it: the relay, the decorator, the Inspect approver.  Whether the run is frozen, what the policy says,
what monitors see, whether persons approved, what the act spends and the record of it all are one transaction of the
guard's file.  Whatever goes wrong on the way is a deny.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from holdfast.core.errors import HoldfastError, RefusedError
from holdfast.guard.act import Act, Answer, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import STOPPED, Concerns
from holdfast.guard.policy.budgets import PolicyState
from holdfast.guard.policy.policy import Policy

_LOG = logging.getLogger(__name__)
#: What an agent reads when the guard itself fails: nothing about how.
FAILED = "The guard could not decide, so this act was refused. Nothing happened."
WATCHED = "This act needs a person's look before it can happen."
HELD = "It waits under ticket {0}, and nothing has happened. Once it is approved, make the very same call again."
VETOED = "A person said no to this act (ticket {0}). Do not ask again."
NO_CHANNEL = "No reviewer has been set up. Stop, and tell the person you work for what worries you."
_KINDS: dict[Answer, str] = {"allow": "intent", "hold": "held", "deny": "denied"}

Monitor = Callable[[Act], str | None]
"""A watcher of acts: None, or a reason to stop this one, for the log and the reviewer and never for the agent."""


class Gate:
    """Policy, monitors, concern channel, approvals and evidence, composed once. Safe to call from many threads.

    Args:
        policy: decides.
        evidence: remembers.
        concerns: freezes runs; None where no concern channel is set up.
        approvals: asks persons; without them, what would be held is denied.
        monitors: look at what the policy allows; the first reason that one gives holds the act.
    """

    def __init__(
        self,
        policy: Policy,
        evidence: AuditLog,
        *,
        concerns: Concerns | None = None,
        approvals: Approvals | None = None,
        monitors: Sequence[Monitor] = (),
    ) -> None:
        self.policy = policy
        self._evidence, self._standing = evidence, PolicyState(policy, evidence)
        self._concerns, self._approvals, self._monitors = concerns, approvals, monitors
        self._lock = threading.Lock()
        self._trouble = ""
        #: act → its intents that wait for an outcome: their numbers in the log, None for an approved one
        self._open: defaultdict[str, deque[int | None]] = defaultdict(deque)

    def judge(self, act: Act, *, reads: bool = False, reasoning: str = "") -> Decision:
        """Decide, and write it down; never raises.

        Args:
            act: what the agent asks for.
            reads: the act changes nothing, so its record may wait for the next group commit.
            reasoning: the agent's reasoning or story, kept beside the record and shown to reviewers as untrusted.

        Returns:
            The decision. Where it is "allow" and `stored` is set, that copy is the one to run.
        """
        try:
            seen = self._watch(act)
            with self._evidence.transaction(durable=False):
                decision = self._decide(act, seen, reads, reasoning)
            self._trouble = ""
            return decision
        except Exception as error:
            self._complain(error)
            decision = self._answer("deny", "guard", f"{type(error).__name__}: {error}", FAILED)
            # A log that cannot be written cannot say so either; the act is refused all the same.
            with suppress(Exception):
                self._write(act, decision)
            return decision

    def settle(self, act: Act, result: Mapping[str, Any]) -> None:
        """Write down what came of an act that was allowed.

        Args:
            act: as it was judged.
            result: `ok` (true, false, or None where nobody knows) and whatever else is worth keeping.

        Raises:
            StoreError: it could not be written; the door must not hand the result on.
        """
        key = act.key
        with self._lock:
            waiting = self._open[key]
            intent = waiting.popleft() if waiting else 0
            if not waiting:
                del self._open[key]
        if intent is None and self._approvals and result["ok"] is not None:
            self._approvals.settle(act, done=result["ok"])
        body = {"run": act.run, "act": key, "intent": intent, **result}
        self._evidence.append("outcome", body, durable=False)

    def refused(self, run: str, server: str, why: str) -> None:
        """Write down that something was refused before there was an act to judge."""
        self._evidence.append("refused", {"run": run, "server": server, "why": why}, durable=False)

    def raise_concern(self, act: Act) -> str:
        """Take a call of the concern tool; what the agent is told."""
        if self._concerns is None:
            self._evidence.append("concern", {"run": act.run, "arguments": act.arguments}, durable=True)
            return NO_CHANNEL
        return self._concerns.call(act.run, act.agent, act.arguments)

    def visible(self, agent: str, server: str, tool: str) -> bool:
        """Whether any act of this agent with this tool could be allowed or held."""
        return self.policy.visible(agent, server, tool)

    def _complain(self, error: Exception) -> None:
        """Tell whoever runs the guard, once: a log that cannot be written cannot tell them."""
        trouble = str(error) if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            self._trouble = trouble
            _LOG.error("holdfast: nothing passes: %s", trouble)

    def _watch(self, act: Act) -> str | None:
        """The first reason that a monitor has to stop an act that the policy may let pass."""
        # Outside the transaction: a monitor may be a model, and nobody else shall wait for it.
        if not self._monitors or not self.visible(act.agent, act.server, act.tool):
            return None
        return next(filter(None, (look(act) for look in self._monitors)), None)

    def _decide(self, act: Act, seen: str | None, reads: bool, reasoning: str) -> Decision:
        because = (
            self._evidence.append("reasoning", {"run": act.run, "text": reasoning}, durable=False)
            if reasoning
            else None
        )
        frozen = self._concerns.frozen(act.run, act) if self._concerns else None
        if frozen == STOPPED:
            return self._write(act, self._answer("deny", "stop", frozen, frozen), because)
        decision = self._standing.decide(act, frozen=frozen is not None)
        if decision.answer == "allow" and seen is not None:
            decision = self._answer("hold", "monitor", seen, WATCHED)
        if decision.answer != "allow" and frozen is not None:
            decision = replace(decision, answer="deny", agent_message=frozen)
        if decision.answer == "hold":
            return self._hold(act, decision, reasoning, because)
        return self._write(act, decision, because, durable=not reads)

    def _hold(self, act: Act, decision: Decision, reasoning: str, because: int | None) -> Decision:
        if self._approvals is None:
            nobody = replace(decision, answer="deny", reason=f"{decision.reason}; nobody to ask")
            return self._write(act, nobody, because)
        if stored := self._approvals.consume(act, decision.policy):
            # Once more, with the approval: this spends budgets.  Should it not stand, the consuming is undone with it.
            if self._standing.decide(act, approved=decision.persons).answer != "allow":
                raise RefusedError("what was approved is no longer allowed", where=act.tool, remedy="ask anew")
            self._wait_for(act.key, None)
            return replace(decision, answer="allow", stored=stored)
        ticket = self._approvals.ask(act, decision, reasoning)
        if ticket.state == "denied":
            return self._write(act, replace(decision, answer="deny", agent_message=VETOED.format(ticket.id)), because)
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
            self._wait_for(key, number)
        return decision

    def _wait_for(self, key: str, intent: int | None) -> None:
        with self._lock:
            self._open[key].append(intent)

    def _answer(self, answer: Answer, rule: str, reason: str, agent_message: str) -> Decision:
        return Decision(answer, (rule,), reason, agent_message, self.policy.version)
