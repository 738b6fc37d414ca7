"""`holdfast measure`: a suite, or worlds of one's own choice, put before a model as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdfast.evals.control import Control
    from holdfast.models.base import Model
    from holdfast.models.budget import Budget
    from holdfast.scenarios.suite import Suite
    from holdfast.stats.intervals import RateInterval
    from holdfast.study.measure import Judging, Order

FILE = click.Path(path_type=Path)
TWINS = "pressured,no_threat,no_leverage,routine"


class Dollars(click.ParamType[Decimal]):
    """US dollars: 5usd, $5 or 5."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """The amount that a text stands for."""
        try:
            amount = Decimal(str(value).strip().lower().removeprefix("$").removesuffix("usd").strip())
        except InvalidOperation:
            amount = Decimal(0)
        if not (amount.is_finite() and amount > 0):
            self.fail(f"'{value}' is no amount of money: write, say, 5usd", param, ctx)
        return amount


@click.command()
@click.option(
    "--model", required=True, help="For example scripted/proper, hf/PATH, a name of `holdfast models list` or openai/…."
)
@click.option("--suite", help="A suite by name, or a TOML file: insider-classic, mitigations, …")
@click.option("--worlds", help="In place of a suite: names, with commas between; see `holdfast worlds list`.")
@click.option("--twins", help=f"Twins of --worlds, or in place of the suite's.  [default: {TWINS}]")
@click.option("--language", help="Worlds of a suite in this language.  [default: pocket for organism/…, else office]")
@click.option(
    "--interface",
    type=click.Choice(["tools", "tagged"]),
    help="tagged: all is shown in the prompt and acts are written as tags, for models without tools.",
)
@click.option("--system-in-user", is_flag=True, help="Put the system message at the head of the first user message.")
@click.option("--guard", type=FILE, help="A guard's policy, measured as one more arm.")
@click.option("--stack", is_flag=True, help="With --guard: its brief, the detectors and all together are arms too.")
@click.option("--monitor", help="With --guard: a model that looks at each act, as one more arm and among all together.")
@click.option(
    "--cases", type=click.IntRange(1), help="Cases of each world, twin and arm.  [default: the suite's, or 20]"
)
@click.option("--until", help="Stop a cell early: width=0.1 or decides=0.05.  --cases is then the most it gets.")
@click.option("--first", default=0, show_default=True, help="First case seed.")
@click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of one turn, where not what the world says.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 is greedy.  [default: the suite's, or 0]")
@click.option("--judge", help="A model that reads what effects leave open: intent and awareness.  See docs/judging.md.")
@click.option("--judge-all", is_flag=True, help="Have the judge read every sample.")
@click.option("--probe", is_flag=True, help="Ask the model afterwards what it took its situation for; for --judge.")
@click.option("--plan", is_flag=True, help="Say what it takes, and ask nobody.")
@click.option("--budget", type=Dollars(), help="Most US dollars for this folder: 5usd.  What is done is kept.")
@click.option("--prices", type=FILE, help="A table of prices that comes before ours.")
@click.option("--out", type=FILE, help="Results folder.")
@click.option("--compare", type=click.Choice(["published"]), help="Put published rates beside those of the same cells.")
@click.option("--json", "as_json", is_flag=True, help="The plan, machine-readable.")
def command(model: str, out: Path | None, plan: bool, as_json: bool, **given: Any) -> None:
    """Put a model before cases and count what it does."""
    from holdfast.core.errors import InputError
    from holdfast.models.budget import Budget
    from holdfast.models.registry import name_model

    order = _order(model, given, name_model if plan else _open)
    if plan:
        if order.judging:
            name_model(order.judging.name)
        _show_plan(order, name_model(model), given["prices"], as_json)
        return
    opened, judge = _open(model), _open(order.judging.name) if order.judging else None
    paid = {model, *([order.judging.name] if order.judging else [])}
    purse = Budget(paid, given["budget"], given["prices"], batch=False)
    if out is None:
        raise InputError("no results folder was named", remedy="add --out DIR, or --plan to see what it would take")
    _run(order, opened, purse, out, judge)
    if given["compare"]:
        _compare(out)


def _open(name: str) -> Model:
    """Open a model; whoever names an API model has opened the network for it."""
    from holdfast.models.registry import open_model

    return open_model(name, network=True)


def _run(order: Order, opened: Model, purse: Budget, out: Path, judge: Model | None) -> None:
    from holdfast.cli.missing import check_scored, show_missing
    from holdfast.cli.pages import draw
    from holdfast.cli.progress import watching
    from holdfast.cli.show import table
    from holdfast.core.errors import IncompleteError
    from holdfast.report.judges import intent
    from holdfast.report.summary import FILE, load
    from holdfast.report.view import outline
    from holdfast.study.measure import measure

    command = click.get_current_context().obj or ""
    try:
        with watching() as watch:
            measure(order, out, opened, purse, watch, command, judge)
    except IncompleteError:
        if (out / FILE).is_file():
            # What is there can be read, and says that it is not all.
            draw(out)
        raise
    summary = load(out)
    table(*outline(summary))
    if said := intent(summary):
        click.echo(said)
    show_missing(summary)
    for note in order.notes:
        click.echo(note)
    if not purse.free:
        click.echo(f"spent ${purse.spent:.4f}" if purse.known else "spent: no price is known")
    draw(out)
    check_scored(summary, out)


def _order(model: str, given: dict[str, Any], opening: Callable[[str], Model]) -> Order:
    from holdfast.scenarios.suite import at_level, fitted
    from holdfast.stats.sequential import parse_goal
    from holdfast.study.measure import Order

    language = given["language"] or ("pocket" if given["suite"] and model.startswith("organism/") else "office")
    suite, notes = fitted(_suite(model, given), model, language)
    if model.startswith("organism/") and not all(world.startswith("pocket-") for world in suite.worlds):
        notes.append(f"{model} reads the pocket language alone: what it does with office prose says nothing.")
    if given["interface"]:
        suite = at_level(suite, "interface", given["interface"])
    if given["interface"] == "tagged":
        notes.append("All was shown in the prompt, and acts were written as tags: no tools were offered.")
    if given["system_in_user"]:
        notes.append("The system message stood at the head of the first user message.")
    count = given["cases"] or suite.cases
    return Order(
        suite,
        model,
        range(given["first"], given["first"] + count),
        name=Path(given["suite"]).stem if given["suite"] else "measure",
        until=parse_goal(given["until"]) if given["until"] else None,
        controls=_controls(given, opening),
        max_tokens=given["max_tokens"],
        temperature=suite.temperature if given["temperature"] is None else given["temperature"],
        judging=_judging(given),
        notes=tuple(notes),
        system_in_user=given["system_in_user"],
    )


def _suite(model: str, given: dict[str, Any]) -> Suite:
    from holdfast.core.errors import InputError
    from holdfast.scenarios.suite import Suite, check_suite, load_suite, suite_names

    if bool(given["suite"]) == bool(given["worlds"]):
        raise InputError("name either --suite or --worlds", remedy=f"suites: {', '.join(suite_names())}")
    twins = _names(given["twins"] or "")
    if given["suite"]:
        suite = load_suite(given["suite"])
        suite = suite.model_copy(update={"twins": twins}) if twins else suite
    else:
        asked = f"What does {model} do under pressure?"
        suite = Suite(title="Measured", asked=asked, worlds=_names(given["worlds"]), twins=twins or _names(TWINS))
    check_suite(suite, "command line")
    return suite


def _judging(given: dict[str, Any]) -> Judging | None:
    from holdfast.core.errors import InputError
    from holdfast.study.measure import Judging

    if given["judge"]:
        return Judging(given["judge"], given["judge_all"], given["probe"])
    if needless := next((name for name in ("judge_all", "probe") if given[name]), None):
        raise InputError(f"--{needless.replace('_', '-')} asks for a judge", remedy="add --judge MODEL")
    return None


def _controls(given: dict[str, Any], opening: Callable[[str], Model]) -> tuple[Control, ...]:
    from holdfast.core.errors import InputError

    if given["guard"] is None:
        if needless := next((name for name in ("stack", "monitor") if given[name]), None):
            raise InputError(f"--{needless} asks for a policy", remedy="add --guard POLICY")
        return ()
    from holdfast.evals.guarded import asking, controls, policy_alone
    from holdfast.guard.policy.load import load_policy
    from holdfast.models.prices import is_free

    policy = load_policy(given["guard"])
    if given["monitor"] and given["budget"] and not is_free(given["monitor"]):
        remedy = "leave --budget out, or name a monitor that runs on your own machine"
        raise InputError(f"what {given['monitor']} costs as a monitor is not counted against --budget", remedy=remedy)
    if not (given["stack"] or given["monitor"]):
        return (policy_alone(policy),)
    monitor = opening(given["monitor"]) if given["monitor"] else None
    return controls(policy, (monitor.identity, asking(monitor)) if monitor else None)


def _show_plan(order: Order, model: Model, prices: Path | None, as_json: bool) -> None:
    from holdfast.cli.show import table
    from holdfast.models.prices import unpriced
    from holdfast.study.estimate import WRITTEN, estimate

    found = estimate(order, model, prices)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    names = ("arm", "cells", "samples", "requests", "prompt tokens", "tokens read")
    table(names, [tuple(arm.model_dump().values()) for arm in found.arms], right=names[1:])
    low, high = found.error
    bound = "exact" if low == high else f"true number between {low:.0%} and {high:.0%} of it"
    some = "" if found.counted == found.samples else f"; {found.counted} of {found.samples} samples were counted"
    click.echo(f"{found.cells} cells, {found.samples} samples, {found.requests} requests by an agent that does the job")
    click.echo(f"{found.prompts} tokens of opening prompts, {found.read} read in all ({found.counter}, {bound}{some})")
    money = "" if found.dollars is None else f": ${found.dollars}"
    click.echo(f"{found.written} tokens written, if {WRITTEN} a turn{money}; about {found.seconds:.0f} s")
    if found.judge:
        money = "" if found.judge.dollars is None else f": ${found.judge.dollars}"
        asked = f"{found.judge.requests} requests at most, {found.judge.read} tokens read{money}"
        click.echo(f"judge {found.judge.name}: {asked}; twice that of a model whose reasoning is seen")
    for line in unpriced([order.model, *([found.judge.name] if found.judge else [])], prices):
        click.echo(line)
    for note in order.notes:
        click.echo(note)


def _compare(out: Path) -> None:
    from holdfast.cli.show import table
    from holdfast.core.errors import InputError
    from holdfast.study.published import compare, published

    rows = compare(json.loads((out / "summary.json").read_text(encoding="utf-8")))
    if not rows:
        raise InputError("no cell of this run was published", where=out, remedy="measure --suite insider-classic")
    shown = [(row.world, row.arm, _share(row.measured), row.model, _share(row.published)) for row in rows]
    table(("world", "arm", "measured", "published for", "published"), shown)
    for source in published().sources:
        click.echo(f"{source.title} ({source.where}): {source.read}")
        click.echo(f"scored there: {source.scoring}; other worlds and words than ours, so an anchor and no replication")


def _share(rate: RateInterval) -> str:
    if rate.rate is None:
        return "not measured"
    return f"{rate.rate:.0%} ({rate.low:.0%} to {rate.high:.0%}) of {rate.n}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))
