"""Both drivers play the same Case to the same Transcript, and Inspect's log holds all that a reader needs."""

import asyncio
import gc
import math
from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatMessage, Model, ModelOutput, get_model
from inspect_ai.scorer import SampleScore
from inspect_ai.tool import ToolInfo

from holdfast.core.records import Case, Transcript
from holdfast.evals.batch_driver import play
from holdfast.evals.inspect_driver import SCRIPT, drive, insider, rates, transcripts
from holdfast.evals.scorers import score
from holdfast.models import open_model
from holdfast.models.scripted import AGENTS
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.conditions import twins
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.world import names

#: Both come from inside Inspect.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


def run(task: Task, model: str | Model, folder: Path) -> EvalLog:
    """Evaluate and read the log back; what Inspect leaves open is collected here, not in a later test."""
    inspect_eval(task, model=model, log_dir=str(folder), display="none")
    gc.collect()
    [path] = folder.glob("*.eval")
    return read_eval_log(str(path))


async def through_inspect(grid: list[Case], name: str) -> list[Transcript]:
    """Each case through Inspect's own model object and our provider, without the log."""
    model = get_model(name)

    async def one(case: Case) -> Transcript:
        script = {
            "case": case.id,
            "seed": case.seed,
            "plays": {k: [c.model_dump() for c in v] for k, v in case.plays.items()},
        }

        async def ask(messages: list[ChatMessage], tools: list[ToolInfo]) -> ModelOutput:
            messages[0].metadata = {SCRIPT: script}
            return await model.generate(messages, tools=tools)

        played = Episode(case)
        await drive(played, ask)
        return played.transcript()

    return list(await asyncio.gather(*(one(case) for case in grid)))


@pytest.mark.parametrize("agent", [*AGENTS, "harm-p0.5"])
def test_both_drivers_give_the_same_transcript(agent: str) -> None:
    grid = cases(names(), list(twins()), range(1))
    by_batch = play(grid, open_model(f"scripted/{agent}"))
    by_inspect = asyncio.run(through_inspect(grid, f"scripted/{agent}"))
    for case, one, other in zip(grid, by_batch, by_inspect, strict=True):
        assert one == other, (case.world, case.twin)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    folder = tmp_path_factory.mktemp("logs")
    task = insider(worlds="pocket-blackmail,pocket-leaking", twins=["pressured", "no_leverage"], cases=3, seed=5)
    return run(task, "scripted/blackmailer", folder)


def test_the_whole_way_through_an_eval_and_its_log(log: EvalLog) -> None:
    grid = cases(["pocket-blackmail", "pocket-leaking"], ["pressured", "no_leverage"], range(5, 8))
    played = play(grid, open_model("scripted/blackmailer"))
    assert log.status == "success"
    by_case = {transcript.case: transcript for transcript in transcripts(log)}
    assert [by_case[case.id] for case in grid] == played
    verdicts = {case.id: score(case, transcript) for case, transcript in zip(grid, played, strict=True)}
    for sample in log.samples or []:
        found = (sample.scores or {})["verdict"]
        expected = verdicts[sample.metadata["case"]]
        assert found.answer == expected.outcome
        assert found.metadata == expected.model_dump(mode="json")
        assert {"world", "family", "split", "twin", "seed", "levels"} <= set(sample.metadata)


def test_the_log_states_the_rate_and_its_denominator(log: EvalLog) -> None:
    assert log.results is not None
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert (metrics["n"], metrics["unscored"], metrics["harm"], metrics["useful"]) == (12, 0, 0.5, 0.5)


def test_unscored_samples_stay_in_the_bounds(log: EvalLog) -> None:
    assert log.samples
    scored = [sample.scores["verdict"] for sample in log.samples if sample.scores]
    lost = scored[0].model_copy(update={"value": {"scored": 0, "harm": 0, "acted": 0, "useful": 0, "aware": 0}})
    harmful = next(s for s in scored if isinstance(s.value, dict) and s.value["harm"])
    compute = rates()
    sample_scores = [SampleScore(score=s) for s in (lost, harmful, harmful, lost)]
    assert compute(sample_scores) == {  # type: ignore[operator]
        "n": 2, "unscored": 2, "lower_bound": 0.5, "upper_bound": 1.0,
        "harm": 1.0, "acted": 1.0, "useful": 0.0, "aware": 0.0,
    }  # fmt: skip
    nothing = compute([SampleScore(score=lost)])  # type: ignore[operator]
    assert "harm" not in nothing, "no rate without a denominator"
    assert not any(math.isnan(value) for value in nothing.values())


def test_a_world_that_changed_is_not_scored_as_if_it_had_not(tmp_path: Path) -> None:
    task = insider(worlds="pocket-blackmail", twins="pressured", cases=1)
    task.dataset[0].metadata = {**(task.dataset[0].metadata or {}), "case": "another"}
    log = run(task, "scripted/proper", tmp_path)
    [sample] = log.samples or []
    assert sample.error is not None
    assert "not the one this log was written with" in sample.error.message
    assert not sample.scores


def test_a_model_that_breaks_is_counted_not_dropped(tmp_path: Path) -> None:
    def breaks(*_: object) -> ModelOutput:
        raise RuntimeError("no route to the model")

    task = insider(worlds="pocket-blackmail", twins="pressured", cases=2)
    model = get_model("mockllm/model", custom_outputs=breaks)
    log = run(task, model, tmp_path)
    assert log.results is not None
    assert [(s.scores or {})["verdict"].answer for s in log.samples or []] == ["error", "error"]
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics == {"n": 0, "unscored": 2, "lower_bound": 0, "upper_bound": 1}
