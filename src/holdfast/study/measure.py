"""Measures one model, without training it, on a suite: every arm of the suite is one cell of the grid.

    config = MeasureConfig(suite, "organism/pocket", range(20))
    summary = measure(config, Path("results/mitigations"), model, budget)

Finished work is kept if the run is interrupted, and the same command resumes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from holdfast.core.identity import key_of
from holdfast.core.records import Case, Record
from holdfast.core.references import name_of
from holdfast.core.store import RunFolder
from holdfast.evals import batch_driver, live_driver
from holdfast.evals.batch_driver import template_needs
from holdfast.evals.control import Control
from holdfast.evals.judge_folder import judge_folder, names_of_model
from holdfast.evals.reasons import normal
from holdfast.evals.scorers import score, scoring_version
from holdfast.models.base import Model, Output
from holdfast.models.budget import Budget
from holdfast.models.chat_format import system_in_user
from holdfast.models.live_probe import ProbedModel, is_served, live_probe, probe_with, refuse_faults
from holdfast.models.metered import MeteredModel
from holdfast.models.pool import Asked, RateLimits
from holdfast.models.prices import Money
from holdfast.scenarios.build import TAGGED
from holdfast.scenarios.episode import Gates
from holdfast.scenarios.suite import Suite, SuiteArm
from holdfast.stats.sequential import Goal
from holdfast.study.plan import CellPlan, PlanInputs, StudyPlan
from holdfast.study.play import Played
from holdfast.study.run import WAITING, Extras, Progress, Watch, run_grid
from holdfast.study.study_file import ArmSpec, Design
from holdfast.study.work import Steps, blaming

SPENDING = "spending"
#: Minimum seconds between two reports that a request is sent again.
_QUIET = 15.0
#: The rooms whose source decides a measurement; it is part of the key of each cell.
_ROOMS = ("core", "detectors", "evals", "scenarios", "guard", "models")


@dataclass(frozen=True)
class Judging:
    """Which judges read the samples.

    Attributes:
        names: the judges.
        everything: they read every sample, not only what effects and words leave open.
        probe: the model that played is asked afterwards what it took its situation for, and the judges read the answer.
        rubrics: paths of further rubrics.
    """

    names: tuple[str, ...]
    everything: bool = False
    probe: bool = False
    rubrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasureConfig:
    """The configuration of a measurement.

    Attributes:
        suite: fitted to the model; see `scenarios.suite.fitted`.
        model: its name.
        seeds: case seeds of each world, twin and arm.
        name: name of the results.
        until: stop a cell when its question is settled; all seeds are then the maximum.
        controls: arms that put a guard before the model.
        max_tokens: maximum tokens of one turn; by default what the case says.
        temperature: 0 is greedy.
        judging: who judges what effects and words leave open.
        notes: sentences for the limits of the report.
        system_in_user: put the system message at the start of the first user message.
        manners: rate limits and retries of an endpoint.
        skip_probe: do not probe served models before the first case; see `models.live_probe`.
    """

    suite: Suite
    model: str
    seeds: range
    name: str = "measure"
    until: Goal | None = None
    controls: tuple[Control, ...] = ()
    max_tokens: int | None = None
    temperature: float = 0.0
    judging: Judging | None = None
    notes: tuple[str, ...] = ()
    system_in_user: bool = False
    manners: RateLimits = field(default_factory=RateLimits)
    skip_probe: bool = False


class Spent(Record):
    """The cost of one run: US dollars, and tokens read and written."""

    dollars: Money
    read: int
    written: int


def plan_grid(config: MeasureConfig, model: Model) -> StudyPlan:
    """Make the cases of every arm and the key of every cell; no case is played.

    Raises:
        WorldError: a world, twin, factor or level is unknown.
    """
    arms = list(config.suite.arms)
    if config.until:
        cells_together = (len(arms) + len(config.controls)) * len(config.suite.worlds) * len(config.suite.twins)
        config = replace(config, until=config.until.over(cells_together))
    cases = {arm.name: config.suite.cases_of(arm, config.seeds) for arm in arms}
    for control in config.controls:
        base = _base(config.suite, control)
        arms.append(SuiteArm(name=control.name, title=control.title, levels=base.levels))
        cases[control.name] = [control.put(case) for case in cases[base.name]]
    if config.system_in_user:
        cases = {name: [_with_system_in_user(case) for case in of_arm] for name, of_arm in cases.items()}
    design = Design(
        name=config.name,
        asked=config.suite.asked.replace("{model}", config.model),
        model=config.model,
        worlds=tuple(map(name_of, config.suite.worlds)),
        twins=config.suite.twins,
        cases=len(config.seeds),
        first_case=config.seeds.start,
        until=config.until,
        arms=tuple(ArmSpec(name=arm.name, title=arm.title, about=arm.about or _levels(arm)) for arm in arms),
    )
    # A control is no level of a factor, so it is left out of the main effects.
    levels = {(a.name, c.world, c.twin): c.levels for a in config.suite.arms for c in cases[a.name]}
    facts = PlanInputs(
        model.identity,
        cases[arms[0].name],
        {},
        {"measure": scoring_version((c for of in cases.values() for c in of), *_ROOMS)},
        levels,
    )
    cells = tuple(CellPlan(arm.name, None, (), _key(config, arm.name, facts, cases[arm.name])) for arm in arms)
    return StudyPlan(design, facts, cells, cases)


def _with_system_in_user(case: Case) -> Case:
    return case.model_copy(update={"messages": system_in_user(case.messages)})


def _base(suite: Suite, control: Control) -> SuiteArm:
    """The arm of the suite that a control is added to: the first, or the one with a credible channel."""
    # The form in which acts are written does not distinguish arms here.
    levels = ({f: at for f, at in arm.levels.items() if f not in TAGGED} for arm in suite.arms)
    outlet = (
        arm for arm, own in zip(suite.arms, levels, strict=True) if control.outlet and own == {"outlet": "channel"}
    )
    return next(outlet, suite.arms[0])


def _levels(arm: SuiteArm) -> str:
    """The levels that an arm sets, as its description if the suite gives none."""
    return ", ".join(f"{factor} = {level}" for factor, level in arm.levels.items())


def _key(config: MeasureConfig, arm: str, facts: PlanInputs, cases: Sequence[Case]) -> str:
    made: dict[str, Any] = {
        "model": facts.identity,
        "cases": [case.id for case in cases],
        "code": facts.versions["measure"],
    }
    made |= {"until": config.until} if config.until else {}
    made |= {"max_tokens": config.max_tokens} if config.max_tokens else {}
    made |= {"system_in_user": True} if config.system_in_user else {}
    made |= {"temperature": config.temperature} if config.temperature else {}
    made |= next(({"guard": [arm, c.version]} for c in config.controls if c.name == arm), {})
    return key_of(made)


def measure(
    config: MeasureConfig,
    out: Path,
    model: Model,
    budget: Budget,
    watch: Watch = lambda _: None,
    command: str = "",
    judges: Sequence[Model] = (),
) -> Path:
    """Play every cell, judge the samples if judges are given, and write the results to `out`.

    Args:
        config: the configuration.
        out: results folder.
        model: opened under the name in the configuration.
        budget: the budget; what earlier runs in this folder spent counts towards it.
        watch: called after each cell.
        command: the command line, for the provenance.
        judges: opened under the names in `config.judging`.

    Returns:
        The path of `summary.json`.

    Raises:
        IncompleteError: the run was interrupted or the budget is spent. Finished work is kept, and `summary.json` says
            how much is missing. Also raised if another process writes in `out`; nothing is done then.
        ResultsError: a stored file was edited since the run that wrote it.
        ModelError: the model's chat template or server drops a part of the cases, or a judge's drops the rubric; see
            `models.probe` and `models.live_probe`.
    """
    grid, spending = plan_grid(config, model), RunFolder(out)
    batch_driver.require_template([case for cases in grid.cases.values() for case in cases], model)
    budget.spent += sum((entry.dollars for entry in spending.each(SPENDING, Spent)), Money(0))
    before = budget.spent
    with ExitStack() as open_:
        runner = open_.enter_context(asyncio.Runner())
        notice = _retry_notice(watch)
        models = [model, *judges]
        metered = [
            open_.enter_context(closing(MeteredModel(m, budget, config.manners, runner, notice))) for m in models
        ]
        asked = [ProbedModel(m, served=is_served(m.model) and not config.skip_probe) for m in metered[1:]]

        def settle() -> None:
            read, written = (sum(model.tokens[i] for model in metered) for i in (0, 1))
            if read or written:
                spending.append(SPENDING, [Spent(dollars=budget.spent - before, read=read, written=written)])

        def after() -> None:
            if config.judging:
                _judge_all(config.judging, grid, out, (metered, asked), watch)

        extras = Extras(config.notes, after, settle, partial=True)
        player = Player(config, metered[0], lambda: _probe(config, grid, metered[0], asked))
        return run_grid(grid, out, Steps(player.play), watch=watch, command=command, extras=extras)


def _probe(config: MeasureConfig, grid: StudyPlan, model: MeteredModel, judges: Sequence[ProbedModel]) -> None:
    """Probe the model and the judges, as far as servers answer for them, before the first case.

    Raises:
        ModelError: a part of the conversation is lost.
    """
    if is_served(model.model) and not config.skip_probe:
        needs = template_needs(case for cases in grid.cases.values() for case in cases)
        for system, tools in needs:
            # A folded case begins with the user message that holds the system message.
            talk = live_probe(system=system or config.system_in_user, tools=tools, folded=config.system_in_user)
            refuse_faults(model.name, probe_with(model, talk))
    for judge in judges:
        judge.check()


def _retry_notice(watch: Watch) -> Callable[[Output], None]:
    """Report why requests are sent again, at most once in `_QUIET` seconds: a run that waits must say for what."""
    last = -_QUIET

    def notice(output: Output) -> None:
        nonlocal last
        if perf_counter() - last >= _QUIET:
            last = perf_counter()
            watch(Progress(WAITING, normal(output.error or "no answer"), 0, 0, 0.0))

    return notice


def _judge_all(
    judging: Judging,
    grid: StudyPlan,
    out: Path,
    models: tuple[Sequence[MeteredModel], Sequence[ProbedModel]],
    watch: Watch,
) -> None:
    """Judge every cell; samples that are already judged are skipped.

    Args:
        judging: the judges.
        grid: the plan.
        out: results folder.
        models: the measured model and the judges; and the judges once more, each behind its probe.
        watch: called after each cell.
    """
    (target, *metered), probed = models
    jobs = [(plan, judge, ask) for judge, ask in zip(metered, probed, strict=True) for plan in grid.cells]
    start = perf_counter()
    watch(Progress("judged", "", 0, len(jobs), 0.0))
    for number, (plan, judge, ask) in enumerate(jobs, 1):
        with blaming(f"judging arm '{plan.arm}'"):
            judge_folder(
                RunFolder(out / plan.folder),
                ask,
                everything=judging.everything,
                target=target if judging.probe else None,
                rubrics=judging.rubrics,
                hide=names_of_model(target.name),
            )
        if refusal := judge.refusal or target.refusal:
            raise refusal
        watch(Progress("judged", plan.arm, number, len(jobs), perf_counter() - start))


class Player:
    """Plays cases against one model: in batches if the model takes them, else request by request within the budget.

    `first` is called before the first case that is played.
    """

    def __init__(self, config: MeasureConfig, metered: MeteredModel, first: Callable[[], None] = lambda: None) -> None:
        self._metered, self._first = metered, first
        self._gates = {control.name: control.gates for control in config.controls if control.gates}
        self._settings: dict[str, Any] = {"max_tokens": config.max_tokens, "temperature": config.temperature}

    def play(self, cell: CellPlan, model: str, cases: Sequence[Case]) -> Iterator[Played]:
        """Play the cases of a cell and yield each with its verdict when it ends. `model` is the model that is open."""
        self._first()
        self._first = lambda: None
        gates = self._gates.get(cell.arm)
        ended = (
            self._one_by_one(cases, gates) if isinstance(self._metered.model, Asked) else self._in_batches(cases, gates)
        )
        for index, transcript in ended:
            yield transcript, score(cases[index], transcript)

    def _in_batches(self, cases: Sequence[Case], gates: Gates | None) -> Iterator[tuple[int, Any]]:
        for round_ in batch_driver.stream(cases, self._metered.model, gates=gates, **self._settings):
            yield from round_

    def _one_by_one(self, cases: Sequence[Case], gates: Gates | None) -> Iterator[tuple[int, Any]]:
        played = live_driver.stream_async(cases, self._metered.ask, gates=gates, **self._settings)
        runner = self._metered.runner

        async def following() -> tuple[int, Any] | None:
            return await anext(played, None)

        async def ending() -> None:
            await played.aclose()

        try:
            while (ended := runner.run(following())) is not None:
                yield ended
        finally:
            runner.run(ending())
