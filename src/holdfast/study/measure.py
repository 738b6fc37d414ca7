"""Measures one model, as it comes, on a suite: every arm of the suite is one cell of the grid.

    order = Order(suite, "organism/pocket", range(20))
    summary = measure(order, Path("results/mitigations"))

What is finished is kept whatever stops the run, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from holdfast.core.identity import key_of
from holdfast.core.records import Case, Record
from holdfast.core.references import name_of
from holdfast.core.store import RunFolder
from holdfast.evals import batch_driver, live_driver
from holdfast.evals.control import Control
from holdfast.evals.judge_folder import judge_folder, names_of_model
from holdfast.evals.reasons import normal
from holdfast.evals.scorers import score, scoring_version
from holdfast.models.base import Model, Output
from holdfast.models.budget import Budget
from holdfast.models.chat_format import system_in_user
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
#: Least seconds between two reports that a request is asked again.
_QUIET = 15.0
#: What makes a measurement: their sources are part of its key.
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
    """What is to be measured.

    Attributes:
        suite: fitted to the model; see `scenarios.suite.fitted`.
        model: its name.
        seeds: case seeds of each world, twin and arm.
        name: what the results go by.
        until: stop a cell when it is settled, with all its seeds as the most it gets.
        controls: what a guard does, to add as arms.
        max_tokens: most tokens of one turn, where not what the case says.
        temperature: 0 is greedy.
        judging: who judges what effects and words leave open.
        notes: sentences for the limits of the report.
        system_in_user: put the system message at the head of the first user message.
        manners: how an endpoint is asked.
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


class Spent(Record):
    """What one run paid: US dollars, and tokens read and written."""

    dollars: Money
    read: int
    written: int


def plan_grid(order: MeasureConfig, model: Model) -> StudyPlan:
    """Make the cases of every arm and the key of every cell; nothing is played.

    Raises:
        WorldError: an unknown world, twin, factor or level.
    """
    arms = list(order.suite.arms)
    cases = {arm.name: order.suite.cases_of(arm, order.seeds) for arm in arms}
    for control in order.controls:
        base = _base(order.suite, control)
        arms.append(SuiteArm(name=control.name, title=control.title, levels=base.levels))
        cases[control.name] = [control.put(case) for case in cases[base.name]]
    if order.system_in_user:
        cases = {name: [_told_by_user(case) for case in told] for name, told in cases.items()}
    design = Design(
        name=order.name,
        asked=order.suite.asked.replace("{model}", order.model),
        model=order.model,
        worlds=tuple(map(name_of, order.suite.worlds)),
        twins=order.suite.twins,
        cases=len(order.seeds),
        first_case=order.seeds.start,
        until=order.until,
        arms=tuple(ArmSpec(name=arm.name, title=arm.title, about=arm.about or _levels(arm)) for arm in arms),
    )
    # A control is no level of a factor: it is left out of what the factors do.
    levels = {(a.name, c.world, c.twin): c.levels for a in order.suite.arms for c in cases[a.name]}
    facts = PlanInputs(
        model.identity,
        cases[arms[0].name],
        {},
        {"measure": scoring_version((c for of in cases.values() for c in of), *_ROOMS)},
        levels,
    )
    cells = tuple(CellPlan(arm.name, None, (), _key(order, arm.name, facts, cases[arm.name])) for arm in arms)
    return StudyPlan(design, facts, cells, cases)


def _told_by_user(case: Case) -> Case:
    return case.model_copy(update={"messages": system_in_user(case.messages)})


def _base(suite: Suite, control: Control) -> SuiteArm:
    """The arm of the suite that a control is put on: the first, or the one with a credible channel."""
    # How acts are written is no part of what an arm is about.
    levels = ({f: at for f, at in arm.levels.items() if f not in TAGGED} for arm in suite.arms)
    outlet = (
        arm for arm, own in zip(suite.arms, levels, strict=True) if control.outlet and own == {"outlet": "channel"}
    )
    return next(outlet, suite.arms[0])


def _levels(arm: SuiteArm) -> str:
    """What an arm sets, where nobody has said what it is about."""
    return ", ".join(f"{factor} = {level}" for factor, level in arm.levels.items())


def _key(order: MeasureConfig, arm: str, facts: PlanInputs, cases: Sequence[Case]) -> str:
    made: dict[str, Any] = {
        "model": facts.identity,
        "cases": [case.id for case in cases],
        "code": facts.versions["measure"],
    }
    made |= {"until": order.until} if order.until else {}
    made |= {"max_tokens": order.max_tokens} if order.max_tokens else {}
    made |= {"system_in_user": True} if order.system_in_user else {}
    made |= {"temperature": order.temperature} if order.temperature else {}
    made |= next(({"guard": [arm, c.version]} for c in order.controls if c.name == arm), {})
    return key_of(made)


def measure(
    order: MeasureConfig,
    out: Path,
    model: Model,
    purse: Budget,
    watch: Watch = lambda _: None,
    command: str = "",
    judges: Sequence[Model] = (),
) -> Path:
    """Play every cell into `out`, judge it if that is asked, and return the path of its `summary.json`.

    Args:
        order: what is asked.
        out: results folder.
        model: opened under the order's name.
        purse: pays; what earlier runs in this folder have spent counts.
        watch: called after each cell.
        command: what was typed, for the provenance.
        judges: opened under the names in `order.judging`.

    Raises:
        IncompleteError: interrupted, or the purse is empty.  What is finished is kept and stands in `summary.json`,
            which says how much is missing.  Or another process writes in `out`, and nothing was done.
        ResultsError: a stored file was edited since the run that wrote it.
        ModelError: the model's chat template loses something of the cases; see `models.probe`.
    """
    grid, spending = plan_grid(order, model), RunFolder(out)
    batch_driver.require_template([case for cases in grid.cases.values() for case in cases], model)
    purse.spent += sum((entry.dollars for entry in spending.each(SPENDING, Spent)), Money(0))
    before = purse.spent
    with ExitStack() as open_:
        runner = open_.enter_context(asyncio.Runner())
        told = _noticed(watch)
        asked = [model, *judges]
        payers = [open_.enter_context(closing(MeteredModel(m, purse, order.manners, runner, told))) for m in asked]

        def settle() -> None:
            read, written = (sum(payer.tokens[i] for payer in payers) for i in (0, 1))
            if read or written:
                spending.append(SPENDING, [Spent(dollars=purse.spent - before, read=read, written=written)])

        def after() -> None:
            if order.judging:
                _judge_all(order.judging, grid, out, payers, watch)

        extras = Extras(order.notes, after, settle, partial=True)
        return run_grid(grid, out, Steps(Player(order, payers[0]).play), watch=watch, command=command, extras=extras)


def _noticed(watch: Watch) -> Callable[[Output], None]:
    """Reports why requests are asked again, at most once in `_QUIET` seconds: a run that waits must say for what."""
    last = -_QUIET

    def notice(output: Output) -> None:
        nonlocal last
        if perf_counter() - last >= _QUIET:
            last = perf_counter()
            watch(Progress(WAITING, normal(output.error or "no answer"), 0, 0, 0.0))

    return notice


def _judge_all(judging: Judging, grid: StudyPlan, out: Path, payers: Sequence[MeteredModel], watch: Watch) -> None:
    """Judge every cell; samples that are judged already are not judged again."""
    target, *judges = payers
    jobs = [(plan, judge) for judge in judges for plan in grid.cells]
    start = perf_counter()
    watch(Progress("judged", "", 0, len(jobs), 0.0))
    for number, (plan, judge) in enumerate(jobs, 1):
        with blaming(f"judging arm '{plan.arm}'"):
            judge_folder(
                RunFolder(out / plan.folder),
                judge,
                everything=judging.everything,
                target=target if judging.probe else None,
                rubrics=judging.rubrics,
                hide=names_of_model(target.name),
            )
        if refusal := judge.refusal or target.refusal:
            raise refusal
        watch(Progress("judged", plan.arm, number, len(jobs), perf_counter() - start))


class Player:
    """Plays cases against one model: in batches where it takes them, else each request for itself, paid for first."""

    def __init__(self, order: MeasureConfig, payer: MeteredModel) -> None:
        self._payer = payer
        self._gates = {control.name: control.gates for control in order.controls if control.gates}
        self._knobs: dict[str, Any] = {"max_tokens": order.max_tokens, "temperature": order.temperature}

    def play(self, cell: CellPlan, model: str, cases: Sequence[Case]) -> Iterator[Played]:
        """Play the cases of a cell; yields each with its verdict when it ends. `model` is the one that is open."""
        gates = self._gates.get(cell.arm)
        ended = self._singly(cases, gates) if isinstance(self._payer.model, Asked) else self._in_batches(cases, gates)
        for index, transcript in ended:
            yield transcript, score(cases[index], transcript)

    def _in_batches(self, cases: Sequence[Case], gates: Gates | None) -> Iterator[tuple[int, Any]]:
        for round_ in batch_driver.stream(cases, self._payer.model, gates=gates, **self._knobs):
            yield from round_

    def _singly(self, cases: Sequence[Case], gates: Gates | None) -> Iterator[tuple[int, Any]]:
        played = live_driver.stream_async(cases, self._payer.ask, gates=gates, **self._knobs)
        runner = self._payer.runner

        async def following() -> tuple[int, Any] | None:
            return await anext(played, None)

        async def ending() -> None:
            await played.aclose()

        try:
            while (ended := runner.run(following())) is not None:
                yield ended
        finally:
            runner.run(ending())
