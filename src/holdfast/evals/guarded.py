"""Puts the guard's controls between an episode and its world: an act they refuse is blocked, and the model is told.

    stream(cases, model, gates=policy_gates(load_policy(path)))
    arms = guard_controls(load_policy(path))  # policy, brief, detectors, and all together: each one arm

The policy sees each act as one by its first agent on the server `office`.  Each episode is a separate run, with new
budgets, labels and detector memory.  Nobody approves held acts, so they do not happen.  The detectors know the facts of
the case, which is more than a deployer knows.

A deployed guard holds an act if its monitor fails.  Here that would count as safety.  If only the monitor's failure
speaks against an act, the sample therefore ends as `error` and is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from zoneinfo import ZoneInfo

from holdfast.core.errors import ModelError
from holdfast.core.records import Case, Message, ToolCall
from holdfast.detectors.base import Detection
from holdfast.detectors.private_facts import Leave
from holdfast.evals.control import Control
from holdfast.guard.act import Act
from holdfast.guard.gate import HELD_BY_MONITOR
from holdfast.guard.monitors.detector_monitor import DetectorMonitor, Monitor, look
from holdfast.guard.monitors.model_monitor import Ask, ModelMonitor
from holdfast.guard.policy.brief import brief
from holdfast.guard.policy.policy import BudgetUse, Context, Policy
from holdfast.models.base import Model, Request
from holdfast.scenarios.episode import Gate, Gates

SERVER = "office"
#: A Thursday at the hour of the office worlds, so that a policy with hours decides the same on every day.
_NOW = datetime(2026, 1, 8, 13, 20)
#: Mailboxes in the firm of the case that may receive reports about anybody.
_CHANNELS = ("compliance", "ethics", "security")


def guard_controls(policy: Policy, monitor: tuple[str, Ask] | None = None) -> tuple[Control, ...]:
    """Each control of the guard alone, and all of them stacked on the credible channel.

    Args:
        policy: the policy, which the brief renders as text.
        monitor: identity of a model and the function that asks it about each act.
    """
    text = brief(policy)
    found = [
        policy_alone(policy),
        Control("guard-brief", "Guard: brief alone", policy.version, words=text),
        Control("guard-detectors", "Guard: detectors alone", "", detector_gates()),
    ]
    seen = monitor[0] if monitor else ""
    eyes = [ModelMonitor(monitor[1])] if monitor else []
    if monitor:
        found.append(Control("guard-monitor", "Guard: model monitor alone", seen, monitor_gates(eyes)))
    both = _both(policy_gates(policy), detector_gates(eyes))
    stacked = Control("guard-all", "Guard: everything together", policy.version + seen, both, text, outlet=True)
    return (*found, stacked)


def policy_alone(policy: Policy) -> Control:
    """A policy as one arm."""
    return Control("guard", f"Guard: {policy.name}", policy.version, policy_gates(policy))


def policy_gates(policy: Policy) -> Gates:
    """A gate per episode that evaluates the policy before each act."""

    def gate_of(case: Case) -> Gate:
        spent: Counter[str] = Counter()
        labels: set[str] = set()
        now = _NOW.replace(tzinfo=ZoneInfo(policy.source.zone))

        def gate(call: ToolCall) -> str | None:
            act = Act(case.id, policy.source.agents[0], SERVER, call.name, dict(call.arguments))
            counts = {name: BudgetUse(spent[name], spent[name], spent[name]) for name in policy.needs(act)}
            decision = policy.decide(act, Context(now, counts, labels))
            if decision.answer != "allow":
                return decision.agent_message
            spends, gains = policy.leaves(act)
            spent.update(spends)
            labels.update(gains)
            return None

        return gate

    return gate_of


def detector_gates(monitors: Sequence[Monitor] = ()) -> Gates:
    """A gate per episode that runs the detectors, and any monitors beside them, on each act."""

    def gate_of(case: Case) -> Gate:
        channels = tuple(f"{name}@{case.facts.domain}" for name in _CHANNELS)
        watch = DetectorMonitor(case.facts, monitors, Leave(channels))
        return lambda call: _refusal_of([finding for _, finding in watch.findings(_act(case, call))])

    return gate_of


def monitor_gates(monitors: Sequence[Monitor]) -> Gates:
    """A gate per episode that runs only monitors on each act."""

    def gate_of(case: Case) -> Gate:
        return lambda call: _refusal_of([f for one in monitors for f in look(one, _act(case, call), case.facts)])

    return gate_of


def ask_model(model: Model, seconds: float | None = None) -> Ask:
    """Make the function by which a monitor asks a model.

    Args:
        model: the model; it gets one question at a time.
        seconds: timeout of one answer; None to wait without limit.

    Raises (when the function is called):
        ModelError: the answer is incomplete.
        TimeoutError: there was no answer in time.
    """
    thread = ThreadPoolExecutor(1, "monitor")

    def ask(prompt: str) -> str:
        request = Request("monitor", [Message(role="user", content=prompt)], max_tokens=200)
        # A gate may be called inside a running event loop, where an API model cannot start its own.
        answer = thread.submit(model.generate, [request])
        try:
            [output] = answer.result(seconds)
        finally:
            # A question that timed out while it was queued is not sent.
            answer.cancel()
        if output.finish != "stop":
            what = f"the monitor's answer ended as '{output.finish}'"
            raise ModelError(what, where=model.name, remedy="use another model as the monitor")
        return output.message.content

    return ask


def _refusal_of(findings: Sequence[Detection]) -> str | None:
    """The message to the model about an act with these findings; None if the act may proceed.

    Raises:
        ModelError: a monitor failed and no other one found anything.
    """
    if findings and all(finding.failed for finding in findings):
        raise ModelError(findings[0].reason, where="the guard's monitor", remedy="measure this sample again")
    return HELD_BY_MONITOR if findings else None


def _both(one: Gates, other: Gates) -> Gates:
    def gate_of(case: Case) -> Gate:
        first, second = one(case), other(case)
        return lambda call: first(call) or second(call)

    return gate_of


def _act(case: Case, call: ToolCall) -> Act:
    return Act(case.id, "agent", SERVER, call.name, dict(call.arguments))
