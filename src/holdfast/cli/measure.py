"""`holdfast measure`: play the cases of a suite, or of chosen worlds, against a model."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.core.twins import DEFAULT_TWINS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.core.results import Summary
    from holdfast.evals.control import Control
    from holdfast.models.base import Model
    from holdfast.models.budget import Budget
    from holdfast.stats.intervals import RateInterval
    from holdfast.study.configure import MeasureOptions
    from holdfast.study.measure import MeasureConfig

FILE = click.Path(path_type=Path)


class Dollars(click.ParamType[Decimal]):
    """US dollars: 5usd, $5 or 5."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Convert a text such as 5usd to an amount."""
        try:
            amount = Decimal(str(value).strip().lower().removeprefix("$").removesuffix("usd").strip())
        except InvalidOperation:
            amount = Decimal(0)
        if not (amount.is_finite() and amount > 0):
            self.fail(f"'{value}' is not a positive amount of money; write for example 5usd", param, ctx)
        return amount


@click.command()
@click.option(
    "--model",
    required=True,
    help="The model: openai/NAME and other APIs, hf/FOLDER, a name from `holdfast models list`, or scripted/proper.",
)
@click.option("--suite", help="A built-in suite (insider-classic, mitigations, …) or the path of a TOML file.")
@click.option("--worlds", help="Instead of a suite: names or paths of worlds (./my-world), separated by commas.")
@click.option(
    "--twins",
    help=f"Twins, separated by commas; overrides the suite.  [default: the suite's, or {','.join(DEFAULT_TWINS)}]",
)
@click.option("--language", help="Language of the suite's worlds.  [default: pocket for organism/…, else office]")
@click.option(
    "--interface",
    type=click.Choice(["tools", "tagged"]),
    help="tagged: the world is in the prompt and acts are written as tags, for models without tool calls.",
)
@click.option(
    "--system-in-user",
    is_flag=True,
    help="Prepend the system message to the first user message, for templates without a system role.",
)
@click.option(
    "--skip-probe",
    is_flag=True,
    help="Do not ask a served model before the first case if tool calls, results and the system message arrive.",
)
@click.option("--guard", type=FILE, help="A guard policy; adds an arm in which the guard enforces it.")
@click.option(
    "--stack",
    is_flag=True,
    help="With --guard: add arms for the policy's brief alone, the detectors alone, and all together.",
)
@click.option("--monitor", help="With --guard: a model that checks each act; adds an arm, and is part of all together.")
@click.option("--cases", type=click.IntRange(1), help="Cases per world, twin and arm.  [default: the suite's, or 20]")
@click.option("--until", help="Stop a cell early, by width=0.1 or decides=0.05; --cases is then the maximum.")
@click.option("--first", default=0, show_default=True, help="Seed of the first case; the others follow it.")
@click.option("--max-tokens", type=click.IntRange(1), help="Maximum tokens of one turn.  [default: the world's]")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    help="Sampling temperature; 0 is greedy.  [default: the suite's, or 1 for office worlds and 0 for pocket worlds]",
)
@click.option(
    "--judge",
    multiple=True,
    help="A model that judges what effects and words leave open; give it twice for two judges.  See docs/judging.md.",
)
@click.option(
    "--judge-all", is_flag=True, help="Let the judges read every sample, also those whose effects settle the verdict."
)
@click.option(
    "--rubric",
    "rubrics",
    multiple=True,
    metavar="FILE",
    help="Also ask the judges this rubric, such as ./my-rubric.md.",
)
@click.option(
    "--probe", is_flag=True, help="With --judge: ask the model after each episode if it thought it was tested."
)
@click.option("--plan", is_flag=True, help="Print the number of cells, tokens and the cost; no request is sent.")
@click.option(
    "--budget", type=Dollars(), help="Maximum cost of this results folder, such as 5usd.  Finished samples are kept."
)
@click.option("--prices", type=FILE, help="Price table that takes precedence over the built-in one.")
@click.option("--out", type=FILE, help="Results folder.")
@click.option("--compare", type=click.Choice(["published"]), help="Also print published rates of the same cells.")
@click.option("--json", "as_json", is_flag=True, help="With --plan: print it as JSON.")
def command(model: str, out: Path | None, plan: bool, as_json: bool, **given: Any) -> None:
    """Measure how often a model does harm under pressure, and what else it does.

    Give a suite or worlds.  The run writes transcripts, verdicts, summary.json and report.html to --out.  To resume an
    interrupted run, run the command again.
    """
    from holdfast.core.errors import InputError
    from holdfast.models.registry import name_model
    from holdfast.study.configure import MeasureOptions, configure

    published = given.pop("compare")
    given |= {name: _names(given[name] or "") for name in ("worlds", "twins")}
    options = MeasureOptions(**given)
    order = configure(model, options, _guard_arms(options, name_model if plan else _open))
    if plan:
        for name in order.judging.names if order.judging else ():
            name_model(name)
        _show_plan(order, name_model(model), options.prices, as_json)
        return
    opened, judges = _open(model), [_open(name) for name in order.judging.names] if order.judging else []
    if out is None:
        raise InputError("--out is missing", remedy="add --out DIR, or --plan to see tokens and cost first")
    summary = _run(order, opened, options.budget_for(model), out, judges)
    if published:
        _compare(summary, out)


def _guard_arms(options: MeasureOptions, opening: Callable[[str], Model]) -> Sequence[Control]:
    if options.guard is None:
        return ()
    from holdfast.study.guard_arms import guard_arms

    return guard_arms(options, opening)


def _open(name: str) -> Model:
    """Open a model; naming an API model on the command line permits network access to it."""
    from holdfast.models.registry import open_model

    return open_model(name, network=True)


def _run(order: MeasureConfig, opened: Model, budget: Budget, out: Path, judges: Sequence[Model]) -> Summary:
    """Measure, print the results and write the pages."""
    from holdfast.cli.missing import check_scored, show_families, show_missing
    from holdfast.cli.pages import draw
    from holdfast.cli.show import print_table
    from holdfast.core.errors import IncompleteError
    from holdfast.core.results import SUMMARY
    from holdfast.report.judges import intent, real_or_test, resolved
    from holdfast.report.summary import load_summary
    from holdfast.report.view import outline_table
    from holdfast.report.words import clean
    from holdfast.study.measure import measure
    from holdfast.study.progress import show_progress

    command = click.get_current_context().obj or ""
    try:
        with show_progress() as watch:
            measure(order, out, opened, budget, watch, command, judges)
    except IncompleteError:
        if (out / SUMMARY).is_file():
            # The partial results can be read; the page says that they are incomplete.
            draw(out)
        raise
    summary = load_summary(out)
    print_table(*outline_table(summary))
    show_families(summary)
    for sentence in filter(None, (*resolved(summary), intent(summary), *real_or_test(summary))):
        click.echo(clean(sentence))
    show_missing(summary)
    for note in order.notes:
        click.echo(note)
    if not budget.free:
        click.echo(f"spent ${budget.spent:.4f}" if budget.known else "cost unknown: the model has no known price")
    draw(out)
    check_scored(summary, out)
    return summary


def _show_plan(order: MeasureConfig, model: Model, prices: Path | None, as_json: bool) -> None:
    from holdfast.cli.show import print_table
    from holdfast.models.prices import unpriced
    from holdfast.study.estimate import WRITTEN, estimate

    found = estimate(order, model, prices)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    names = ("arm", "cells", "samples", "requests", "prompt tokens", "input tokens")
    print_table(names, [tuple(arm.model_dump().values()) for arm in found.arms], right=names[1:])
    low, high = found.error
    bound = "exact" if low == high else f"the true number is between {low:.0%} and {high:.0%} of it"
    some = "" if found.counted == found.samples else f"; {found.counted} of {found.samples} samples were counted"
    click.echo(f"{found.cells} cells, {found.samples} samples, {found.requests} requests by an agent that does the job")
    click.echo(
        f"{found.prompts} tokens in first prompts, {found.read} input tokens in all ({found.counter}, {bound}{some})"
    )
    money = "" if found.dollars is None else f": ${found.dollars}"
    click.echo(f"{found.written} output tokens, at {WRITTEN} a turn{money}; about {found.seconds:.0f} s")
    if found.endless_seconds and found.endless_seconds > found.seconds:
        limit = f"the limit of {found.longest_turn} tokens (--max-tokens)"
        click.echo(f"a model that never ends its first turn writes to {limit}: up to {found.endless_seconds:.0f} s")
    for judge in found.judges:
        money = "" if judge.dollars is None else f": ${judge.dollars}"
        requests = f"at most {judge.requests} requests, {judge.read} input tokens{money}"
        click.echo(f"judge {judge.name}: {requests}; twice that for a model whose reasoning is visible")
    for line in unpriced([order.model, *(judge.name for judge in found.judges)], prices):
        click.echo(line)
    for note in order.notes:
        click.echo(note)


def _compare(summary: Summary, out: Path) -> None:
    """Print published rates beside those of the same cells."""
    from holdfast.cli.show import print_table
    from holdfast.core.errors import InputError
    from holdfast.study.published import compare, published

    rows = compare(summary)
    if not rows:
        raise InputError(
            "no published rate fits a cell of this run", where=out, remedy="measure --suite insider-classic"
        )
    shown = [(row.world, row.arm, _share(row.measured), row.model, _share(row.published)) for row in rows]
    print_table(("world", "arm", "measured", "published for", "published"), shown)
    for source in published().sources:
        click.echo(f"{source.title} ({source.where}): {source.read}")
        click.echo(
            f"scored there: {source.scoring}; the worlds and texts differ from ours, so this is not a replication"
        )


def _share(rate: RateInterval) -> str:
    if rate.rate is None:
        return "not measured"
    return f"{rate.rate:.0%} ({rate.low:.0%} to {rate.high:.0%}) of {rate.n}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))
