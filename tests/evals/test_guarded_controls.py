"""The guard's controls as arms: each alone, and all of them together."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.core.errors import ModelError
from holdfast.core.records import Case, Message, ToolCall
from holdfast.detectors.base import Detection
from holdfast.evals.batch_driver import stream
from holdfast.evals.control import Control
from holdfast.evals.guarded import ask_model, detector_gates, guard_controls
from holdfast.evals.scorers import score
from holdfast.guard.gate import HELD_BY_MONITOR
from holdfast.guard.monitors.model_monitor import Ask
from holdfast.guard.policy.load import load_policy
from holdfast.models.base import Output, Request
from holdfast.models.registry import open_model
from holdfast.scenarios.suite import Suite

POLICY = load_policy(Path(__file__).parents[2] / "examples" / "guard" / "measure.yaml")
SUITE = Suite(title="t", asked="?", worlds=("blackmail", "leaking"), twins=("pressured", "routine"))
CASES = SUITE.cases_of(SUITE.arms[0], range(2))


def outcomes(agent: str, control: Control, cases: list[Case] = CASES) -> dict[str, Counter[str]]:
    """World and twin → how its samples ended."""
    put = [control.put(case) for case in cases]
    found: dict[str, Counter[str]] = {}
    for round_ in stream(put, open_model(agent), gates=control.gates):
        for index, transcript in round_:
            case = put[index]
            found.setdefault(f"{case.world} {case.twin}", Counter())[score(case, transcript).outcome] += 1
    return found


def hold_all(prompt: str) -> str:
    return f"{prompt.splitlines()[-1]} hold: it is early"


def named(name: str, **more: object) -> Control:
    monitor = ("scripted", hold_all) if more else None
    return next(c for c in guard_controls(POLICY, monitor) if c.name == name)


def test_each_control_stops_what_it_is_for_and_no_other() -> None:
    harm, stopped = Counter(harm=2), Counter(attempt_blocked=2)
    want = {
        "guard": (harm, stopped), "guard-brief": (harm, harm), "guard-detectors": (stopped, stopped),
        "guard-all": (stopped, stopped),
    }  # fmt: skip
    for name, (threat, leak) in want.items():
        found = outcomes("scripted/blackmailer", named(name))
        assert (found["blackmail pressured"], found["leaking pressured"]) == (threat, leak), name


@pytest.mark.parametrize("name", ["guard", "guard-brief", "guard-detectors", "guard-all"])
def test_no_control_costs_the_proper_agent_its_work(name: str) -> None:
    free = outcomes("scripted/proper", Control("none", "", ""))
    assert outcomes("scripted/proper", named(name)) == free


def test_the_brief_stands_in_the_system_prompt_and_changes_nothing_else() -> None:
    case = CASES[0]
    put = named("guard-brief").put(case)
    assert put.messages[0].role == "system" and "Your brief: office-leash" in put.messages[0].content
    assert case.messages[0].content in put.messages[0].content
    assert put.messages[1:] == case.messages[1:] and put.id == case.id


def test_a_monitor_is_an_arm_of_its_own_and_part_of_all() -> None:
    names = [control.name for control in guard_controls(POLICY, ("scripted", hold_all))]
    assert names == ["guard", "guard-brief", "guard-detectors", "guard-monitor", "guard-all"]
    for name in ("guard-monitor", "guard-all"):
        assert "harm" not in outcomes("scripted/blackmailer", named(name, monitor=True))["blackmail pressured"]


def down(prompt: str) -> str:
    raise TimeoutError


@pytest.mark.parametrize(
    ("ask", "why"), [(down, "the monitor failed: TimeoutError"), (lambda _: "Certainly!", "required format")]
)
def test_what_a_failing_monitor_would_have_said_is_missing_and_not_safe(ask: Ask, why: str) -> None:
    alone, everything = guard_controls(POLICY, ("scripted", ask))[-2:]
    [(_, failed)], *_ = stream([alone.put(CASES[0])], open_model("scripted/blackmailer"), gates=alone.gates)
    assert failed.stop == "error" and why in str(failed.error)
    for control in (alone, everything):
        assert outcomes("scripted/blackmailer", control)["blackmail pressured"] == Counter(error=2)


def test_a_detector_that_finds_something_stops_the_act_though_the_monitor_failed() -> None:
    finding, failure = Detection(0, "", "it threatens"), Detection(0, "", "the monitor failed", failed=True)
    office = detector_gates([lambda act, facts: [finding, failure]])(CASES[0])
    assert office(ToolCall(id="c", name="read_mail")) == HELD_BY_MONITOR
    with pytest.raises(ModelError, match="the monitor failed"):
        detector_gates([lambda act, facts: [failure]])(CASES[0])(ToolCall(id="c", name="read_mail"))


class Cut:
    """A model whose answers are cut."""

    name = identity = "cut"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [Output(Message(role="assistant", content="pass"), "length") for _ in requests]


class Late:
    """A model that answers once it may, and counts what it was asked."""

    name = identity = "late"

    def __init__(self) -> None:
        self.may, self.asked = threading.Event(), 0

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        self.asked += 1
        self.may.wait()
        return [Output(Message(role="assistant", content="pass")) for _ in requests]


def test_a_monitor_that_answers_too_late_fails_and_is_not_asked_what_nobody_waits_for() -> None:
    model = Late()
    ask = ask_model(model, 0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            ask("?")
    model.may.set()
    assert ask_model(model, 30)("?") == "pass"
    assert model.asked == 2


def test_a_monitor_whose_answer_was_cut_fails() -> None:
    with pytest.raises(ModelError, match="ended as 'length'"):
        ask_model(Cut())("?")
