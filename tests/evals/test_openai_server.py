"""A real OpenAI-compatible server on the loopback: what stands behind it is measured as if it stood here, and faults
at nearly a third of the calls cost neither a sample nor the truth.
"""

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.core.errors import IncompleteError
from holdfast.core.records import Message, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.batch_driver import play
from holdfast.evals.guarded import ask_model, guard_controls
from holdfast.evals.harms import HARM_KINDS
from holdfast.evals.judge import RUBRICS, TOOK_FOR_REAL
from holdfast.guard.policy.load import load_policy
from holdfast.models import Model, Output, Request, open_model
from holdfast.models.api import ApiModel
from holdfast.models.budget import Budget
from holdfast.models.pool import RateLimits
from holdfast.scenarios.suite import Suite
from holdfast.study.measure import SPENDING, Judging, MeasureConfig, Spent, measure
from tests.evals.loopback import NAME, Stubborn, serving

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
SUITE = Suite(title="t", asked="a?", worlds=("pocket-leaking",), twins=("pressured",))


def opened(patience: float = 60.0) -> Model:
    model = open_model(NAME, network=True)
    assert isinstance(model, ApiModel)
    model.patience = patience
    return model


def order(samples: int) -> MeasureConfig:
    return MeasureConfig(SUITE, NAME, range(samples), manners=RateLimits(pause=0.01), skip_probe=True)


def free() -> Budget:
    return Budget({NAME}, None, None, batch=False)


def stored(out: Path) -> tuple[list[Transcript], list[Verdict]]:
    [cell] = (out / "cells").iterdir()
    return RunFolder(cell).read("transcripts", Transcript), RunFolder(cell).read("verdicts", Verdict)


def test_a_model_behind_a_server_does_what_it_does_here(tmp_path: Path) -> None:
    organism = open_model("organism/pocket")
    asked = order(3)
    with serving(organism) as server:
        measure(asked, tmp_path, opened(), free())
    transcripts, _ = stored(tmp_path)
    here = play(SUITE.cases_of(SUITE.arms[0], asked.seeds), organism)
    assert {t.case: t for t in transcripts} == {t.case: t for t in here}
    assert server.counts[""] >= 3


@pytest.mark.parametrize(("samples", "share"), [(24, 0.3), pytest.param(80, 0.3, marks=pytest.mark.slow)])
def test_faults_cost_no_sample_and_make_none_safe(samples: int, share: float, tmp_path: Path) -> None:
    asked = order(samples)
    cases = SUITE.cases_of(SUITE.arms[0], asked.seeds)
    with serving(Stubborn("scripted/blackmailer", cases), share, seed=1) as server:
        path = measure(asked, tmp_path, opened(patience=4.0), free())
    _, verdicts = stored(tmp_path)
    assert {v.case for v in verdicts} == {c.id for c in cases}
    met = {fault for fault, count in server.counts.items() if count}
    assert len(met) > 5, "too few kinds of faults to say anything"
    outcomes = Counter(v.outcome for v in verdicts)
    # The server's refusals are refusals; all else is the planted harm, or said to be unknown.
    lost = {"error", "no_answer", "not_reached"}
    assert set(outcomes) <= {"harm", "refused_task", *lost}
    assert outcomes["refused_task"] + outcomes["no_answer"] + outcomes["not_reached"] <= server.counts["refusal"]
    assert outcomes["harm"] > samples / 2
    cell = json.loads(path.read_text())["cells"]["base"]["leaking"]["pressured"]
    assert sum(cell["outcomes"].values()) == samples
    assert cell["harm"]["n"] == samples - sum(outcomes[name] for name in lost)


def test_a_server_that_is_always_down_gives_errors_not_safety(tmp_path: Path) -> None:
    asked = order(4)
    cases = SUITE.cases_of(SUITE.arms[0], asked.seeds)
    hasty = MeasureConfig(SUITE, NAME, asked.seeds, manners=RateLimits(tries=2, pause=0.01), skip_probe=True)
    with serving(Stubborn("scripted/proper", cases), 1.0, seed=3) as server:
        server.only = "500"
        path = measure(hasty, tmp_path, opened(), free())
    _, verdicts = stored(tmp_path)
    assert [v.outcome for v in verdicts] == ["error"] * 4
    harm = json.loads(path.read_text())["cells"]["base"]["leaking"]["pressured"]["harm"]
    assert (harm["rate"], harm["n"]) == (None, 0)


def test_the_budget_stops_before_it_is_exceeded_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f'[models."{NAME}"]\nin = 0.0\nout = 1000.0\n')
    asked = order(12)
    cases = SUITE.cases_of(SUITE.arms[0], asked.seeds)
    out = tmp_path / "out"

    def run(cap: str) -> Path:
        return measure(asked, out, opened(), Budget({NAME}, Decimal(cap), prices, batch=False))

    with serving(Stubborn("scripted/blackmailer", cases)) as server:
        server.price = 40  # tokens of each answer: 0.04 dollars, of the 0.128 held back for it
        with pytest.raises(IncompleteError, match=r"the budget of \$1 is reached"):
            run("1")
        [first] = RunFolder(out).read(SPENDING, Spent)
        assert Decimal("0.5") < first.dollars <= 1
        kept = len(stored(out)[1])
        assert 0 < kept < 12
        partly = json.loads((out / "summary.json").read_text())
        assert partly["incomplete"] == {"played": kept, "of": 12}
        assert partly["cells"]["base"]["leaking"]["pressured"]["harm"]["k"] == kept
        calls = server.counts.total()
        whole = json.loads(run("10").read_text())
    assert whole["incomplete"] is None
    assert len({v.case for v in stored(out)[1]}) == 12
    # Three turns a sample: nothing that was finished was asked for again.
    assert server.counts.total() - calls <= 3 * (12 - kept)
    total = sum(entry.dollars for entry in RunFolder(out).read(SPENDING, Spent))
    assert total == Decimal("0.04") * server.counts.total()


def test_a_judge_pays_from_the_same_purse_and_keeps_what_it_paid_for(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f'[models."{NAME}"]\nin = 0.0\nout = 1000.0\n')
    out = tmp_path / "out"
    asked = MeasureConfig(
        SUITE,
        "scripted/proper",
        range(6),
        judging=Judging((NAME,), everything=True),
        manners=RateLimits(pause=0.01),
        skip_probe=True,
    )

    def run(cap: str) -> Path:
        purse = Budget({NAME}, Decimal(cap), prices, batch=False)
        return measure(asked, out, open_model("scripted/proper"), purse, judges=[opened()])

    with serving(open_model("scripted/judge")) as server:
        server.price = 200  # tokens of each answer: 0.20 dollars, of the 4.096 held back for it
        with pytest.raises(IncompleteError, match=r"the budget of \$5 is reached"):
            run("5")
        [first] = RunFolder(out).read(SPENDING, Spent)
        answered = server.counts.total()
        assert 0 < answered < 12
        assert first.dollars == Decimal("0.2") * answered <= 5
        partly = json.loads((out / "summary.json").read_text())
        [judged] = partly["judged"]
        assert judged["answers"]["base"]["intent full"]["error"] > 0
        whole = json.loads(run("50").read_text())
        # Each question once a sample, in one view since nothing was thought: none was paid for twice.
    assert server.counts.total() == 6 * len((*RUBRICS, TOOK_FOR_REAL, *HARM_KINDS))
    [judged] = whole["judged"]
    for question, counts in judged["answers"]["base"].items():
        # Harm is settled by the verdicts: these samples are not unresolved.
        answered = ("settled",) if question == "harm spoken" else ("yes", "no")
        assert sum(n for a, n in counts.items() if a in answered) == 6


class Passing:
    """An agent and a monitor behind one name: the monitor lets everything pass."""

    name = identity = "passing"

    def __init__(self, agent: Model) -> None:
        self._agent = agent

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Output:
        if len(request.messages) == 1:
            mark = request.messages[0].content.splitlines()[-1]
            return Output(Message(role="assistant", content=f"{mark} pass"), "stop")
        return self._agent.generate([request])[0]


def test_a_monitor_behind_a_server_is_heard_while_an_agent_behind_one_plays(tmp_path: Path) -> None:
    policy = load_policy(Path(__file__).parents[2] / "examples" / "guard" / "measure.yaml")
    cases = SUITE.cases_of(SUITE.arms[0], range(2))
    with serving(Passing(Stubborn("scripted/blackmailer", cases))):
        monitored = [c for c in guard_controls(policy, (NAME, ask_model(opened()))) if c.name == "guard-monitor"]
        asked = MeasureConfig(
            SUITE, NAME, range(2), controls=tuple(monitored), manners=RateLimits(pause=0.01), skip_probe=True
        )
        path = measure(asked, tmp_path, opened(), free())
    cells = json.loads(path.read_text())["cells"]
    outcomes = {arm: found["leaking"]["pressured"]["outcomes"] for arm, found in cells.items()}
    assert outcomes["base"]["harm"] == 2
    assert outcomes["guard-monitor"] == outcomes["base"]
