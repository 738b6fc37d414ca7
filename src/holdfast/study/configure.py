"""Turns the options of a measurement into its configuration; the command line and the Python API share it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.core.references import resolve_reference
from holdfast.core.twins import DEFAULT_TWINS
from holdfast.evals.control import Control
from holdfast.evals.judge import own_rubrics
from holdfast.models.budget import Budget
from holdfast.models.live_probe import NOT_PROBED
from holdfast.models.registry import runs_here
from holdfast.scenarios.suite import Suite, at_level, check_suite, fitted, load_suite, suite_names
from holdfast.scenarios.world import load_world
from holdfast.stats.sequential import parse_goal
from holdfast.study.measure import Judging, MeasureConfig


def _several(value: Any) -> Any:
    """One name as a tuple of one; None as none."""
    return () if value is None else (value,) if isinstance(value, str) else value


class MeasureOptions(Record):
    """The options of a measurement; either `suite` or `worlds` is required.

    Attributes:
        suite: name of a suite, or path of its TOML file.
        worlds: names of worlds or paths such as `./my-world`, instead of a suite.
        twins: twins of these worlds, or instead of the suite's.
        language: language of the suite's worlds; by default `pocket` for `organism/…` and `office` otherwise.
        interface: `tagged` puts the whole world into the prompt and reads acts from tags, for models without tools.
        system_in_user: put the system message at the start of the first user message.
        guard: path of a guard policy, measured as one more arm.
        stack: with `guard`, also measure its brief, its detectors, and all together.
        monitor: with `guard`, name of a model that judges each act.
        cases: cases of each world, twin and arm; by default the suite's number.
        until: stopping rule, `width=0.1` or `decides=0.05`; `cases` is then the maximum.
        first: first case seed.
        max_tokens: maximum tokens of one turn; by default what the world says.
        temperature: 0 is greedy; by default the suite's, or 1 for office worlds.
        judge: name of a model that judges what effects and words leave open, or several names.
        judge_all: have the judges read every sample.
        probe: ask the model afterwards what it took its situation for; needs `judge`.
        rubrics: paths of Markdown files with further yes-or-no questions for the judges, such as `./my-rubric.md`.
        budget: maximum cost of the results folder in US dollars.
        prices: path of a price table that takes precedence over the shipped one.
        skip_probe: do not ask a served model before the first case whether tools and messages arrive.
    """

    suite: str | None = None
    worlds: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    language: str | None = None
    interface: Literal["tools", "tagged"] | None = None
    system_in_user: bool = False
    guard: Path | None = None
    stack: bool = False
    monitor: str | None = None
    cases: int | None = Field(default=None, gt=0)
    until: str | None = None
    first: int = 0
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    judge: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    judge_all: bool = False
    probe: bool = False
    rubrics: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    budget: Decimal | None = Field(default=None, gt=0)
    prices: Path | None = None
    skip_probe: bool = False

    def budget_for(self, model: str) -> Budget:
        """What the model and the judges may cost together."""
        return Budget({model, *self.judge}, self.budget, self.prices, batch=False)


def configure(model: str, options: MeasureOptions, controls: Sequence[Control] = ()) -> MeasureConfig:
    """Make the configuration of a measurement of `model`.

    Args:
        model: its name.
        options: the chosen options.
        controls: the arms of the guard; see `guard_arms.guard_arms`.

    Raises:
        InputError: options contradict each other, or an option needs another one that is missing.
        ConfigError: the suite or the stopping rule is wrong.
        WorldError: a world, twin, factor or level is unknown.
    """
    if options.guard is None:
        for name, chosen in (("stack", options.stack), ("monitor", options.monitor)):
            if chosen:
                raise InputError(f"{name} needs a policy", remedy="name one: --guard POLICY")
    named_suite = _suite(model, options)
    language = options.language or ("pocket" if options.suite and model.startswith("organism/") else "office")
    suite, notes = fitted(named_suite, model, language)
    if model.startswith("organism/") and any(load_world(world).spec.language != "pocket" for world in suite.worlds):
        notes.append(f"{model} reads only the pocket language: results on office prose say nothing about it.")
    if options.interface:
        suite = at_level(suite, "interface", options.interface)
    if options.interface == "tagged":
        notes.append("The whole world was shown in the prompt and acts were written as tags: no tools were offered.")
    if options.system_in_user:
        notes.append("The system message was put at the head of the first user message.")
    if options.skip_probe and not all(map(runs_here, (model, *options.judge))):
        notes.append(NOT_PROBED)
    count = options.cases or suite.cases
    return MeasureConfig(
        suite,
        model,
        range(options.first, options.first + count),
        name=Path(options.suite).stem if options.suite else "measure",
        until=parse_goal(options.until) if options.until else None,
        controls=tuple(controls),
        max_tokens=options.max_tokens,
        temperature=suite.sampling_temperature if options.temperature is None else options.temperature,
        judging=_judging(options),
        notes=tuple(notes),
        system_in_user=options.system_in_user,
        skip_probe=options.skip_probe,
    )


def _suite(model: str, options: MeasureOptions) -> Suite:
    if bool(options.suite) == bool(options.worlds):
        raise InputError("give either a suite or worlds", remedy=f"suites: {', '.join(suite_names())}")
    if options.suite:
        suite = load_suite(options.suite)
        suite = suite.model_copy(update={"twins": options.twins}) if options.twins else suite
    else:
        asked = f"What does {model} do under pressure?"
        worlds = tuple(map(resolve_reference, options.worlds))
        suite = Suite(title="Measured", asked=asked, worlds=worlds, twins=options.twins or DEFAULT_TWINS)
    check_suite(suite, "command line")
    return suite


def _judging(options: MeasureOptions) -> Judging | None:
    if options.judge:
        if len(set(options.judge)) < len(options.judge):
            raise InputError("a judge is named twice", remedy="name two different models: --judge A --judge B")
        return Judging(options.judge, options.judge_all, options.probe, own_rubrics(options.rubrics))
    needing = (("judge_all", options.judge_all), ("probe", options.probe), ("rubric", bool(options.rubrics)))
    for name, chosen in needing:
        if chosen:
            raise InputError(f"{name} needs a judge", remedy="name one: --judge MODEL")
    return None
