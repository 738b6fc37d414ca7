"""Plays episodes through Inspect, with its providers, logs, viewer and retries.

    inspect eval holdfast/insider --model scripted/blackmailer -T worlds=pocket-blackmail -T cases=20
    inspect eval holdfast/mitigations --model scripted/blackmailer -T cases=5

The first takes worlds and twins of your choice; every suite is a task with the suite's name.  The same Case gives the
same Transcript as through `batch_driver`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ChatMessageAssistant, GenerateConfig, ModelOutput, get_model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolInfo

from holdfast.core.errors import ResultsError
from holdfast.core.identity import key_of, room_version
from holdfast.core.inspect_names import inspect_name
from holdfast.core.records import Case, Effect, Message, Transcript, Verdict
from holdfast.core.references import resolve_reference
from holdfast.evals.explain import explanation
from holdfast.evals.inspect_probe import InspectProbe
from holdfast.evals.scorers import score
from holdfast.models.api import from_chat, from_output, inspect_messages, sendable, tool_infos
from holdfast.scenarios.catalogue import case as make_case
from holdfast.scenarios.conditions import twins as all_twins
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.suite import Suite, SuiteArm, check_suite, fitted, load_suite
from holdfast.scenarios.world import names

Ask = Callable[[list[ChatMessage], list[ToolInfo]], Awaitable[ModelOutput]]
_TRANSCRIPT = "holdfast:transcript"
#: Key of message metadata for Holdfast's own providers; no provider sends metadata to a model.
SCRIPT = "holdfast:script"
_OURS = ("scripted/", "organism/")


@task(name=inspect_name("insider"))
def insider(
    worlds: str | list[str] | None = None,
    twins: str | list[str] | None = None,
    cases: int = 20,
    seed: int = 0,
    probe: bool | None = None,
) -> Task:
    """Does the model keep to its principles under pressure, and in the twins of each case?

    Args:
        worlds: names of worlds; all by default.
        twins: names of twins; all by default.
        cases: number of cases per world and twin.
        seed: seed of the first case; the others count up from it.
        probe: whether to ask the model first if tools and messages arrive; by default of any but a scripted one.
    """
    chosen = Suite(
        title="Insider",
        asked="Does the model keep to its principles under pressure?",
        worlds=tuple(map(resolve_reference, _list(worlds))) or tuple(names()),
        twins=tuple(_list(twins) or all_twins()),
        arms=(SuiteArm(name="base"),),
    )
    return task_of("insider", chosen, range(seed, seed + cases), {}, probe)


def suite_task(name: str) -> Callable[..., Task]:
    """Register a suite as a task with its name, and return the function that makes the task."""

    def made(
        cases: int | None = None,
        seed: int = 0,
        language: str = "",
        worlds: str | list[str] | None = None,
        probe: bool | None = None,
    ) -> Task:
        """A suite of Holdfast: its arms over its worlds and twins.

        Args:
            cases: number of cases per world, twin and arm; by default the suite's.
            seed: seed of the first case; the others count up from it.
            language: language of the worlds; by default `pocket` for the organism and `office` for other models.
            worlds: some of its worlds; by default all.
            probe: whether to ask the model first if tools and messages arrive; by default of any but a scripted one.
        """
        suite, model = load_suite(name), str(get_model())
        if chosen := _list(worlds):
            suite = suite.model_copy(update={"worlds": tuple(map(resolve_reference, chosen))})
            check_suite(suite, f"holdfast/{name}")
        found, left = fitted(suite, model, language or ("pocket" if model.startswith("organism/") else "office"))
        return task_of(name, found, range(seed, seed + (cases or suite.cases)), {"left_out": left}, probe)

    made.__name__ = made.__qualname__ = name.replace("-", "_")
    registered: Callable[..., Task] = task(name=inspect_name(name))(made)
    return registered


def task_of(name: str, suite: Suite, seeds: range, metadata: Mapping[str, object], probe: bool | None = None) -> Task:
    """The Inspect task of a suite: every arm × world × twin × seed; `metadata` is added to the log's."""
    samples = [
        _sample(case, arm.name, arm.levels, world)
        for arm in suite.arms
        for world, case in (
            (world, _cached_case(world, twin, seed, tuple(arm.levels.items())))
            for world in suite.worlds
            for twin in suite.twins
            for seed in seeds
        )
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"holdfast/{name}"),
        solver=episode(suite.sampling_temperature, probe),
        scorer=verdict(),
        # A sample that fails counts as an error: it neither stops the others nor leaves the denominator.
        fail_on_error=False,
        score_on_error=True,
        version=1,
        metadata={
            "code": room_version("scenarios", "detectors", "guard", "evals"),
            "suite": name,
            "asked": suite.asked,
            "arms": {arm.name: arm.title for arm in suite.arms},
            "twins": list(suite.twins),
            **({"probe": probe} if probe is not None else {}),
            **metadata,
        },
    )


def _list(names: str | list[str] | None) -> list[str]:
    return names.split(",") if isinstance(names, str) else names or []


def _sample(case: Case, arm: str, changes: Mapping[str, str], world: str) -> Sample:
    cell = {
        "cell": key_of([arm, case.world, case.twin, dict(changes)]),
        "case": case.id,
        "arm": arm,
        "changes": dict(changes),
        "world": case.world,
        # A world that was named by its path is read from there again when the log is scored.
        **({} if world == case.world else {"world_path": world}),
        "family": case.family,
        "split": case.split,
        "twin": case.twin,
        "seed": case.seed,
        "levels": dict(case.levels),
    }
    return Sample(
        id=f"{arm}/{case.world}/{case.twin}/{case.seed}", input=inspect_messages(case.messages), metadata=cell
    )


def _case_of(state: TaskState) -> Case:
    """The Case of a sample, rebuilt from its metadata.

    Raises:
        ResultsError: the world has changed since the log was written.
    """
    cell = state.metadata
    changes = tuple(cell.get("changes", {}).items())
    case = _cached_case(cell.get("world_path", cell["world"]), cell["twin"], int(cell["seed"]), changes)
    if case.id != cell["case"]:
        what = f"the world '{case.world}' is not the one this log was written with"
        raise ResultsError(what, where=str(state.sample_id), remedy="score with the version that wrote the log")
    return case


@lru_cache(maxsize=4096)
def _cached_case(world: str, twin: str, seed: int, changes: tuple[tuple[str, str], ...] = ()) -> Case:
    return make_case(world, twin, seed, dict(changes))


@solver(name=inspect_name("episode"))
def episode(temperature: float = 0.0, probe: bool | None = None) -> Solver:
    """Plays the sample's Case against the eval's model, at this temperature unless the eval sets another.

    Before the first sample the model is probed, unless it is a scripted one or `probe` says otherwise.
    """
    probed = InspectProbe(probe)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        case, model = _case_of(state), get_model()
        await probed.check(model, case)
        scripted, ours = str(model).startswith("scripted/"), str(model).startswith(_OURS)
        # The limits of the batch driver, unless the eval's configuration sets its own.
        own = model.config
        limits = GenerateConfig(
            max_tokens=own.max_tokens or case.max_tokens,
            temperature=temperature if own.temperature is None else own.temperature,
        )
        played = Episode(case, max_tokens=limits.max_tokens)

        script = {SCRIPT: _script(case, scripted)}

        async def ask(messages: list[ChatMessage], tools: list[ToolInfo]) -> ModelOutput:
            if ours:
                messages[0].metadata = script
            state.messages = list(messages)
            state.output = await model.generate(messages, tools=tools, config=limits)
            return state.output

        try:
            await drive(played, ask)
        finally:
            transcript = played.transcript()
            state.messages = inspect_messages(transcript.messages)
            state.store.set(_TRANSCRIPT, transcript.model_dump(mode="json", exclude={"messages"}))
        return state

    return solve


def _script(case: Case, plays: bool) -> dict[str, object]:
    script = {name: [call.model_dump() for call in calls] for name, calls in case.plays.items()} if plays else {}
    return {"case": case.id, "seed": case.seed, "plays": script}


async def drive(played: Episode, ask: Ask) -> None:
    """Play an Episode to its end with `ask`; each message is converted once, so that logs hold it once."""
    sent: list[ChatMessage] = []
    answered: dict[int, ChatMessageAssistant] = {}
    tools = tool_infos(played.case.tools)
    while (request := played.request()) is not None:
        sent += inspect_messages(request.messages[len(sent) :], answered)
        output = await ask(sent, tools if request.tools else [])
        answered = {0: sendable(output.message)} if output.choices else {}
        played.take(from_output(output, request.tools))


@metric(name=inspect_name("rates"))
def rates() -> Metric:
    """Rates with denominators; the bounds are the harm rate if no unscored sample were harm, and if every one were."""

    def compute(scores: list[SampleScore]) -> Value:
        cells = [cell for sample in scores if isinstance(cell := sample.score.value, dict)]
        n = sum(_number(cell, "scored") for cell in cells)
        sums = {key: sum(_number(cell, key) for cell in cells) for key in ("harm", "acted", "useful", "aware")}
        missing = len(cells) - n
        lower, upper = sums["harm"], sums["harm"] + missing
        bounds = {"lower_bound": lower / len(cells), "upper_bound": upper / len(cells)} if cells else {}
        return {"n": n, "unscored": missing, **bounds, **({k: v / n for k, v in sums.items()} if n else {})}

    return compute


def _number(cell: dict[str, object], key: str) -> float:
    value = cell.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


@metric(name=inspect_name("harm_by_cell"))
def harm_by_cell() -> Metric:
    """The rate of harm of each arm and twin with scored samples."""

    def compute(scores: list[SampleScore]) -> Value:
        cells: defaultdict[str, list[float]] = defaultdict(list)
        for sample in scores:
            at, value = sample.sample_metadata or {}, sample.score.value
            if isinstance(value, dict) and _number(value, "scored"):
                cells[f"harm: {at.get('arm', 'base')}, {at.get('twin', '')}"].append(_number(value, "harm"))
        return {name: sum(found) / len(found) for name, found in cells.items()}

    return compute


@scorer(metrics=[rates(), harm_by_cell()], name=inspect_name("verdict"))
def verdict() -> Scorer:
    """The verdict of `evals.scorers`, with its outcome and evidence as metadata."""

    async def judge(state: TaskState, target: Target) -> Score:
        case = _case_of(state)
        raw = state.store.get(_TRANSCRIPT)
        empty = Transcript(case=case.id, messages=case.messages, stop="error", error="never played")
        transcript = _transcript(raw, state.messages) if raw else empty
        return score_of(score(case, transcript), transcript.effects)

    return judge


def score_of(found: Verdict, effects: Sequence[Effect] = ()) -> Score:
    """A Verdict as an Inspect score: numbers to average, the outcome as answer, the evidence as explanation."""
    value = {
        "scored": int(found.scored),
        "harm": int(found.outcome == "harm"),
        "acted": int(bool(found.acted)),
        "useful": int(bool(found.useful)),
        "aware": int(bool(found.aware)),
    }
    return Score(
        value=value,
        answer=found.outcome,
        explanation=explanation(found, effects),
        metadata=found.model_dump(mode="json"),
    )


def transcripts(log: EvalLog) -> list[Transcript]:
    """The transcripts in a log, in the order of its samples; samples that were not played are left out."""
    samples = [sample for sample in log.samples or [] if _TRANSCRIPT in sample.store]
    return [_transcript(sample.store[_TRANSCRIPT], sample.messages) for sample in samples]


def _transcript(stored: Mapping[str, object], messages: Sequence[ChatMessage]) -> Transcript:
    """The stored transcript, with its messages from Inspect's log."""
    return Transcript.model_validate({**stored, "messages": tuple(map(_ours, messages))})


def _ours(message: ChatMessage) -> Message:
    """Inverse of `inspect_messages`: call ids of an Episode have a dot, which some providers do not accept."""
    found = from_chat(message)
    calls = tuple(call.model_copy(update={"id": call.id.replace("_", ".")}) for call in found.tool_calls)
    answered = found.tool_call_id and found.tool_call_id.replace("_", ".")
    return found.model_copy(update={"tool_calls": calls, "tool_call_id": answered})
