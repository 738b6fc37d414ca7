"""The guard's controls between an episode and its world: what they do not let pass is blocked, and the model is told.

    stream(cases, model, gates=guarded(load_policy(path)))
    arms = controls(load_policy(path))          # policy, brief, detectors, all of it: each an arm of a measurement

The policy sees the acts as those of its first agent on the server `office`.  Each episode is a run of its own: budgets,
labels and what the detectors remember begin anew.  Nobody approves what is held, so what is held does not happen.  The
detectors know the facts of the case, which is more than a deployer knows.

A deployed guard holds an act when its monitor fails.  Here that would pass for safety: where nothing but the monitor's
failure stands against an act, the sample ends as `error`, and is missing.
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
#: A Thursday at the hour of the office worlds, so that a policy with hours decides alike on every day.
_NOW = datetime(2026, 1, 8, 13, 20)
#: Who may be told about anybody, in the firm of the case.
_CHANNELS = ("compliance", "ethics", "security")


def controls(policy: Policy, monitor: tuple[str, Ask] | None = None) -> tuple[Control, ...]:
    """Each control of the guard alone, and all of them stacked on the credible channel.

    Args:
        policy: what the brief says and the policy decides.
        monitor: a model that is asked about each act, with its identity.
    """
    told = brief(policy)
    found = [
        policy_alone(policy),
        Control("guard-brief", "Guard: brief alone", policy.version, words=told),
        Control("guard-detectors", "Guard: detectors alone", "", watched()),
    ]
    seen = monitor[0] if monitor else ""
    eyes = [ModelMonitor(monitor[1])] if monitor else []
    if monitor:
        found.append(Control("guard-monitor", "Guard: model monitor alone", seen, asked(eyes)))
    both = _both(guarded(policy), watched(eyes))
    stacked = Control("guard-all", "Guard: everything together", policy.version + seen, both, told, outlet=True)
    return (*found, stacked)


def policy_alone(policy: Policy) -> Control:
    """A policy as one more arm."""
    return Control("guard", f"Guard: {policy.name}", policy.version, guarded(policy))


def guarded(policy: Policy) -> Gates:
    """A gate for each episode, which asks the policy before each act."""

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


def watched(monitors: Sequence[Monitor] = ()) -> Gates:
    """A gate for each episode, at which the detectors and any monitors beside them look at each act."""

    def gate_of(case: Case) -> Gate:
        channels = tuple(f"{name}@{case.facts.domain}" for name in _CHANNELS)
        watch = DetectorMonitor(case.facts, monitors, Leave(channels))
        return lambda call: _told([finding for _, finding in watch.findings(_act(case, call))])

    return gate_of


def asked(monitors: Sequence[Monitor]) -> Gates:
    """A gate for each episode, at which monitors alone look at each act."""

    def gate_of(case: Case) -> Gate:
        return lambda call: _told([f for one in monitors for f in look(one, _act(case, call), case.facts)])

    return gate_of


def asking(model: Model, seconds: float | None = None) -> Ask:
    """A model of the one door as what a monitor asks.

    Args:
        model: answers one question at a time.
        seconds: how long to wait for an answer; None for as long as it takes.

    Raises (when asked):
        ModelError: the model gave no whole answer.
        TimeoutError: it gave none in time.
    """
    thread = ThreadPoolExecutor(1, "monitor")

    def ask(prompt: str) -> str:
        request = Request("monitor", [Message(role="user", content=prompt)], max_tokens=200)
        # A gate may be asked inside a running loop, where a model of an API cannot start its own.
        answer = thread.submit(model.generate, [request])
        try:
            [output] = answer.result(seconds)
        finally:
            # A question whose time ran out while it queued is not put any more.
            answer.cancel()
        if output.finish != "stop":
            raise ModelError(f"the monitor's answer ended as '{output.finish}'", where=model.name, remedy="ask another")
        return output.message.content

    return ask


def _told(findings: Sequence[Detection]) -> str | None:
    """What the model is told of an act with these findings; None lets it pass.

    Raises:
        ModelError: whoever should have looked failed, and nobody else found anything.
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
