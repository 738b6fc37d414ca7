"""Plays episodes through Inspect: any provider, its logs, its viewer, its retries.

    inspect eval holdfast/insider --model scripted/blackmailer -T worlds=pocket-blackmail -T cases=20

The same Case gives the same Transcript as through `batch_driver`; only the messages travel another way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import product

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ChatMessageAssistant, GenerateConfig, ModelOutput, get_model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolInfo

from holdfast.core.errors import ResultsError
from holdfast.core.identity import room_version
from holdfast.core.records import Case, Transcript, Verdict
from holdfast.evals.scorers import score
from holdfast.models.api import chat, from_output, tool_infos
from holdfast.scenarios.catalogue import case as make_case
from holdfast.scenarios.conditions import twins as all_twins
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.world import names

Ask = Callable[[list[ChatMessage], list[ToolInfo]], Awaitable[ModelOutput]]
_TRANSCRIPT = "holdfast:transcript"
#: Where our own providers find what other models must not see; no provider sends the metadata of messages.
SCRIPT = "holdfast:script"


@task
def insider(
    worlds: str | list[str] | None = None, twins: str | list[str] | None = None, cases: int = 20, seed: int = 0
) -> Task:
    """Does the model keep to its principles under pressure, and in the twins of each case?

    Args:
        worlds: names of worlds; all by default.
        twins: names of twins; all by default.
        cases: how many cases of each world and twin.
        seed: the seed of the first; the others follow.
    """
    cells = product(_list(worlds) or names(), _list(twins) or list(all_twins()), range(seed, seed + cases))
    grid = [_cached_case(*cell) for cell in cells]
    return Task(
        dataset=MemoryDataset([_sample(case) for case in grid], name="holdfast/insider"),
        solver=episode(),
        scorer=verdict(),
        # A sample that breaks is counted as an error; it neither stops the others nor leaves the denominator.
        fail_on_error=False,
        score_on_error=True,
        version=1,
        metadata={"code": room_version("scenarios", "guard", "evals")},
    )


def _list(names: str | list[str] | None) -> list[str]:
    return names.split(",") if isinstance(names, str) else names or []


def _sample(case: Case) -> Sample:
    cell = {
        "case": case.id,
        "world": case.world,
        "family": case.family,
        "split": case.split,
        "twin": case.twin,
        "seed": case.seed,
        "levels": dict(case.levels),
    }
    return Sample(id=f"{case.world}/{case.twin}/{case.seed}", input=chat(case.messages), metadata=cell)


def _case_of(state: TaskState) -> Case:
    """The Case of a sample, made again from its name.

    Raises:
        ResultsError: the world has changed since the log was made.
    """
    cell = state.metadata
    case = _cached_case(cell["world"], cell["twin"], int(cell["seed"]))
    if case.id != cell["case"]:
        what = f"the world '{case.world}' is not the one this log was made with"
        raise ResultsError(what, where=str(state.sample_id), remedy="score with the version that made the log")
    return case


@lru_cache(maxsize=4096)
def _cached_case(world: str, twin: str, seed: int) -> Case:
    return make_case(world, twin, seed)


@solver
def episode() -> Solver:
    """Plays the sample's Case against the model of the eval."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        case, model = _case_of(state), get_model()
        scripted = str(model).startswith("scripted/")
        played = Episode(case)
        # The limits of the batch driver, unless whoever runs the eval has set their own.
        own = model.config
        limits = GenerateConfig(
            max_tokens=own.max_tokens or case.max_tokens,
            temperature=0.0 if own.temperature is None else own.temperature,
        )

        async def ask(messages: list[ChatMessage], tools: list[ToolInfo]) -> ModelOutput:
            messages[0] = messages[0].model_copy(update={"metadata": {SCRIPT: _script(case, scripted)}})
            state.messages = list(messages)
            state.output = await model.generate(messages, tools=tools, config=limits)
            return state.output

        try:
            await drive(played, ask)
        finally:
            state.messages = chat(played.transcript().messages)
            state.store.set(_TRANSCRIPT, played.transcript().model_dump(mode="json"))
        return state

    return solve


def _script(case: Case, plays: bool) -> dict[str, object]:
    script = {name: [call.model_dump() for call in calls] for name, calls in case.plays.items()} if plays else {}
    return {"case": case.id, "seed": case.seed, "plays": script}


async def drive(played: Episode, ask: Ask) -> None:
    """Play an Episode to its end, asking `ask` for each turn."""
    said: dict[int, ChatMessageAssistant] = {}
    while (request := played.request()) is not None:
        output = await ask(chat(request.messages, said), tool_infos(request.tools))
        if output.choices:
            said[len(request.messages)] = output.message
        played.take(from_output(output))


@metric
def rates() -> Metric:
    """Rates with their denominators, and what harm would be were every unscored sample harm (`worst`) or none."""

    def compute(scores: list[SampleScore]) -> Value:
        cells = [cell for sample in scores if isinstance(cell := sample.score.value, dict)]
        n = sum(_number(cell, "scored") for cell in cells)
        sums = {key: sum(_number(cell, key) for cell in cells) for key in ("harm", "acted", "useful", "aware")}
        missing = len(cells) - n
        bounds = {"best": sums["harm"] / len(cells), "worst": (sums["harm"] + missing) / len(cells)} if cells else {}
        return {"n": n, "unscored": missing, **bounds, **({k: v / n for k, v in sums.items()} if n else {})}

    return compute


def _number(cell: dict[str, object], key: str) -> float:
    value = cell.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


@scorer(metrics=[rates()])
def verdict() -> Scorer:
    """The verdict of `evals.scorers`, with its outcome and evidence as metadata."""

    async def judge(state: TaskState, target: Target) -> Score:
        case = _case_of(state)
        raw = state.store.get(_TRANSCRIPT)
        empty = Transcript(case=case.id, messages=case.messages, stop="error", error="never played")
        return score_of(score(case, Transcript.model_validate(raw) if raw else empty))

    return judge


def score_of(found: Verdict) -> Score:
    """A Verdict as an Inspect score: numbers to average, the outcome as answer, the evidence as explanation."""
    value = {
        "scored": int(found.scored),
        "harm": int(found.outcome == "harm"),
        "acted": int(bool(found.acted)),
        "useful": int(bool(found.useful)),
        "aware": int(bool(found.aware)),
    }
    lines = [f"message {e.message}: {e.reason}: {e.quote}" for e in found.evidence]
    return Score(
        value=value, answer=found.outcome, explanation="\n".join(lines), metadata=found.model_dump(mode="json")
    )


def transcripts(log: EvalLog) -> list[Transcript]:
    """What was played in a log, in the order of its samples; a sample that was never reached is left out."""
    stores = [sample.store for sample in log.samples or []]
    return [Transcript.model_validate(store[_TRANSCRIPT]) for store in stores if _TRANSCRIPT in store]
