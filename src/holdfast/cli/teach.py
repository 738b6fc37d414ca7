"""`holdfast teach RECIPE` and `holdfast teach plan RECIPE`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.cli.show import pairs, print_table
from holdfast.data.cluster import remote_models
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.lesson_book import is_lesson, save_lesson
from holdfast.data.plan import estimate_set, sent_tokens
from holdfast.data.recipes import Recipe, RecipeChoice, load_recipe
from holdfast.data.sets import SetProgress, SetRequest, Watch, teach
from holdfast.models.base import Model
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.pool import ByBatch, RateLimits
from holdfast.models.prices import dated, unpriced
from holdfast.models.registry import open_model
from holdfast.report.words import clean

FOLDER = FILE = click.Path(path_type=Path)


class Tokens(click.ParamType[int]):
    """A count that may end in k or M: 20k, 3M."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert a text such as 20k to a number."""
        text = str(value)
        scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
        try:
            count = round(float(text[:-1] if scale > 1 else text) * scale)
        except (ValueError, OverflowError):
            count = 0
        if count < 1:
            self.fail(f"'{value}' is not a number of tokens; write for example 20k or 3M", param, ctx)
        return count


#: Commands on finished sets; each is `holdfast.cli.teach_<verb>:command`.
VERBS = ("list", "mix", "export", "check", "audit")


class Teach(click.Group):
    """A command group in which any other name is a recipe."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the named command, or `make` if the name is not a command."""
        return super().resolve_command(ctx, args if args[0] in (*self.commands, *VERBS) else ["make", *args])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands without `make`, which is implied by a recipe's name."""
        return [*(name for name in super().list_commands(ctx) if name != "make"), *VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; those in `VERBS` are imported on demand."""
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"holdfast.cli.teach_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Teach, options_metavar="", subcommand_metavar="RECIPE|COMMAND [OPTIONS]")
def command() -> None:
    """Build a training set with a recipe, or estimate its cost.

    RECIPE is the name of a built-in or installed recipe, the path of a folder, such as ./my-recipe, or the name of a
    written set, such as lesson-stories (`holdfast teach list`).
    See `holdfast teach RECIPE --help` for the options.
    """


Function = Callable[..., None]


def _choices(function: Function) -> Function:
    """Add the options that select the recipe and the models."""
    options = (
        click.argument("recipe"),
        click.option("--tokens", required=True, type=Tokens(), help="Token budget, for example 20k or 3M."),
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            default=("pocket/author",),
            show_default=True,
            help="Model that writes; repeat the option for more endpoints of the same model.",
        ),
        click.option("--target", help="Model whose acts are sampled.  [default: the teacher writes them]"),
        click.option("--judge", help="Model that judges.  [default: the teacher]"),
        click.option("--language", help="Language of the set.  [default: pocket for the pocket author, else english]"),
        click.option("--charter", type=FOLDER, help="Folder of principles that replaces the built-in charter."),
        click.option("--plan", "plan_file", type=FILE, help="File with a plan of cells, in place of the recipe's."),
        click.option("--rubric", type=FILE, help="File with a rubric, in place of the recipe's."),
        click.option("--off", multiple=True, help="Optional stage to switch off; repeatable."),
        click.option("--factor", "factors", multiple=True, metavar="NAME=VALUE", help="Value of a factor; * for all."),
        click.option("--drafts", default=1, show_default=True, type=click.IntRange(1), help="Drafts per plan."),
        click.option("--prices", type=FOLDER, help="Price table that takes precedence over the built-in one."),
        click.option("--batch", is_flag=True, help="Use the provider's batch API: cheaper, takes up to a day."),
        click.option("--at-once", type=click.IntRange(1), help="Concurrent requests.  [default: 64; --batch: 2,000]"),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("make", hidden=True)
@_choices
@click.option("--out", required=True, type=FOLDER, help="Folder of the set.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--model", default="organism/pocket", show_default=True, help="Checkpoint to be trained; its tokenizer counts."
)
@click.option("--cap", type=Decimal, help="Maximum cost of the set in US dollars.")
@click.option("--per-minute", type=float, help="Maximum requests per minute and endpoint.")
@click.option(
    "--twin-of", type=FOLDER, help="Set whose situations are used, so that both differ in their answers only."
)
@click.option("--reuse", multiple=True, type=FOLDER, help="Set whose answers to the same requests are reused.")
@click.option("--ray", is_flag=True, help="Send requests from the nodes of a Ray cluster.")
@click.option(
    "--skip-probe",
    is_flag=True,
    help="Do not ask served models first if the system message, tools and the user's message arrive.",
)
def make_set(**given: Any) -> None:
    """Build a training set.  To resume it, run the command again."""
    if is_lesson(given["recipe"]):
        base = checkpoint_path(given["model"])
        saved = save_lesson(given["recipe"], given["tokens"], given["seed"], base, given["out"])
        click.echo(f"{saved.examples} examples, {saved.tokens} tokens, drawn from the written set")
        click.echo(given["out"] / "README.md")
        return
    recipe = _recipe(given)
    # Naming an API model on the command line permits network access to it.
    opened = {name: open_model(name, network=True) for name in _names(given)}
    for model in opened.values():
        if given["batch"] and isinstance(model, ByBatch):
            model.use_batches()
    teachers: list[Model] = [opened[name] for name in given["teachers"]]
    if given["ray"]:
        teachers = [remote for name in given["teachers"] for remote in remote_models(name)]
    roles = Roles(
        teachers,
        *(((opened[given[role]],) if given[role] else ()) for role in ("target", "judge")),
    )
    rates = RateLimits(at_once=_at_once(given), per_minute=given["per_minute"])
    limits = RunLimits(
        rates, cap=given["cap"], prices=given["prices"], batch=given["batch"], skip_probe=given["skip_probe"]
    )
    request = SetRequest(recipe, given["tokens"], given["seed"], checkpoint_path(given["model"]), given["twin_of"])
    click.echo(_expected_cost(recipe, given))
    with _progress_bar(request) as watch:
        card = teach(request, roles, given["out"], limits=limits, reuse=given["reuse"], watch=watch)
    dropped = ", ".join(f"{reason}: {count}" for reason, count in card.dropped.items()) or "none"
    spent = "price unknown" if card.spent is None else f"${card.spent:.2f}"
    click.echo(f"{card.examples} examples, {card.tokens} tokens, {spent}; dropped: {clean(dropped)}")
    rows = sent_tokens(recipe, given["out"])
    click.echo(f"cost: {rows.requests} requests, {rows.tokens_in} tokens in, {rows.tokens_out} out, {spent}")
    for count in card.cells:
        if count.closed and count.examples < count.target:
            cell = ", ".join(count.cell.values())
            line = f"{cell}: {count.examples} of {count.target:g} examples; closed: {count.closed}"
            click.echo(clean(line), err=True)
    if card.spent is not None and (note := dated(opened, given["prices"])):
        click.echo(note)
    click.echo(given["out"] / "README.md")


def _expected_cost(recipe: Recipe, given: Mapping[str, Any]) -> str:
    """One line with the estimated cost; measured where the folder holds answers of an earlier run."""
    names = {"teacher": given["teachers"][0]} | {r: given[r] for r in ("target", "judge") if given[r]}
    plan = estimate_set(
        recipe,
        given["tokens"],
        names,  # type: ignore[arg-type]
        measured=given["out"],
        prices=given["prices"],
        batch=given["batch"],
    )
    money = "price unknown" if plan.dollars is None else f"${plan.dollars:.2f}"
    cost = f"{plan.requests} requests, {plan.tokens_in} tokens in, {plan.tokens_out} out, {money}"
    return f"estimate: {plan.records} items, {cost}"


@command.command("plan")
@_choices
@click.option("--out", type=FOLDER, help="Folder of a (small) set of the same recipe, for measured values.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def plan_set(**given: Any) -> None:
    """Estimate the cost and the duration of a set, without sending a request."""
    names = {"teacher": given["teachers"][0]} | {r: given[r] for r in ("target", "judge") if given[r]}
    estimate = estimate_set(
        _recipe(given),
        given["tokens"],
        names,  # type: ignore[arg-type]
        measured=given["out"],
        prices=given["prices"],
        batch=given["batch"],
        at_once=_at_once(given) * len(given["teachers"]),
    )
    if given["as_json"]:
        click.echo(estimate.model_dump_json(indent=1))
        return
    rows = [
        (s.stage, s.model, f"{s.tokens_in:.0f}", f"{s.tokens_out:.0f}", s.measured or "no") for s in estimate.stages
    ]
    print_table(("stage", "model", "tokens in", "tokens out", "measured on"), rows, right=("tokens in", "tokens out"))
    click.echo(f"{estimate.records} items for about {estimate.examples} examples; {estimate.requests} requests")
    money = "" if estimate.dollars is None else f": ${estimate.dollars}, ${estimate.dollars_per_record} per item"
    click.echo(f"{estimate.tokens_in} tokens in, {estimate.tokens_out} out{money}")
    for line in unpriced(names.values(), given["prices"]):
        click.echo(line)
    hours = "up to one day per stage with --batch" if given["batch"] else f"about {estimate.hours:.1f} hours"
    click.echo(f"{hours}, assuming {estimate.at_once} concurrent requests of 1 s plus 50 tokens/s")
    if note := dated(names.values(), given["prices"]):
        click.echo(note)


def _at_once(given: Mapping[str, Any]) -> int:
    # A batch of many requests takes as long as a batch of few.
    return given["at_once"] or (2_000 if given["batch"] else 64)


def _names(given: Mapping[str, Any]) -> list[str]:
    return [*given["teachers"], *(given[role] for role in ("target", "judge") if given[role])]


def _recipe(given: Mapping[str, Any]) -> Recipe:
    pocket = given["teachers"][0].startswith("pocket/")
    choice = RecipeChoice(
        charter=given["charter"],
        language=given["language"] or ("pocket" if pocket else "english"),
        off=given["off"],
        factors=pairs(given["factors"]),
        drafts=given["drafts"],
        plan=given["plan_file"],
        rubric=given["rubric"],
    )
    return load_recipe(given["recipe"], choice)


@contextmanager
def _progress_bar(request: SetRequest) -> Iterator[Watch | None]:
    """Show a progress bar with tokens and cost, if standard error is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(request.recipe.name), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=request.tokens)

        def watch(now: SetProgress) -> None:
            money = "price unknown" if now.spent is None else f"${now.spent:.2f}"
            requests = f"{now.account.asked} sent, {now.account.reused} cached, {now.account.failed} failed"
            text = f"{now.examples} examples, {now.tokens} tokens; {requests}; {money}"
            bars.update(task, completed=now.tokens, description=text)

        yield watch
