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

from holdfast.cli.show import pairs, table
from holdfast.data.cluster import remote_models
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.plan import estimate_set
from holdfast.data.recipes import Recipe, RecipeChoice, load_recipe
from holdfast.data.sets import SetProgress, SetRequest, Watch, teach
from holdfast.models.base import Model
from holdfast.models.pool import ByBatch, RateLimits
from holdfast.models.prices import dated, unpriced
from holdfast.models.registry import open_model

FOLDER = click.Path(path_type=Path)


class Tokens(click.ParamType[int]):
    """A count that may end in k or M: 20k, 3M."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that a text stands for."""
        text = str(value)
        scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
        try:
            count = round(float(text[:-1] if scale > 1 else text) * scale)
        except (ValueError, OverflowError):
            count = 0
        if count < 1:
            self.fail(f"'{value}' is no count of tokens: write, say, 20k or 3M", param, ctx)
        return count


#: what is done with sets that are there; each command is `holdfast.cli.teach_<verb>:command`
VERBS = ("mix", "export", "check", "audit")


class Teach(click.Group):
    """A group in which a name that is no command is a recipe."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named, or the one that makes a set."""
        return super().resolve_command(ctx, args if args[0] in (*self.commands, *VERBS) else ["make", *args])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands but `make`, whose name nobody needs."""
        return [*(name for name in super().list_commands(ctx) if name != "make"), *VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; those of `VERBS` are imported when they are called."""
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"holdfast.cli.teach_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Teach, options_metavar="", subcommand_metavar="RECIPE|COMMAND [OPTIONS]")
def command() -> None:
    """Write a teaching set with a recipe, or plan one.

    RECIPE is one of the folders of `holdfast/data/prompts`; a wrong name is answered with the nearest. See `holdfast
    teach RECIPE --help` for what can be chosen.
    """


Function = Callable[..., None]


def _choices(function: Function) -> Function:
    """The options that say what is made and who is asked."""
    options = (
        click.argument("recipe"),
        click.option("--tokens", required=True, type=Tokens(), help="Budget, in tokens of --model: 20k, 3M."),
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            default=("pocket/author",),
            show_default=True,
            help="Who writes; again for more endpoints of the same model.",
        ),
        click.option("--target", help="Whose own acts are sampled; the teacher writes them where none is named."),
        click.option("--judge", help="Who judges; the teacher where none is named."),
        click.option("--language", help="What it is written in; pocket for the pocket author, else english."),
        click.option("--charter", type=FOLDER, help="A folder of principles in place of ours."),
        click.option("--off", multiple=True, help="An optional stage to leave out."),
        click.option("--factor", "factors", multiple=True, metavar="NAME=VALUE", help="One value, or * for all."),
        click.option("--drafts", default=1, show_default=True, type=click.IntRange(1), help="Drafts of one plan."),
        click.option("--prices", type=FOLDER, help="A table of prices that comes before ours."),
        click.option("--batch", is_flag=True, help="Through the provider's batch interface: cheaper, up to a day."),
        click.option("--at-once", type=click.IntRange(1), help="Most requests out; 64, or 2,000 with --batch."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("make", hidden=True)
@_choices
@click.option("--out", required=True, type=FOLDER, help="Folder of the set.")
@click.option("--seed", default=0, show_default=True)
@click.option("--model", default="organism/pocket", show_default=True, help="The checkpoint to be taught.")
@click.option("--cap", type=Decimal, help="Most US dollars to spend on the set.")
@click.option("--per-minute", type=float, help="Most requests begun in a minute, at each endpoint.")
@click.option("--reuse", multiple=True, type=FOLDER, help="A set whose answers to the same requests are taken over.")
@click.option("--ray", is_flag=True, help="Ask from the nodes of a Ray cluster.")
def make_set(**given: Any) -> None:
    """Write a teaching set: run the command again to resume it."""
    from holdfast.study.wiring import ROOMS

    recipe = _recipe(given)
    # Whoever names an API model has opened the network for it.
    opened = {name: open_model(name, network=True) for name in _names(given)}
    for model in opened.values():
        if given["batch"] and isinstance(model, ByBatch):
            model.use_batches()
    teachers: list[Model] = [opened[name] for name in given["teachers"]]
    if given["ray"]:
        teachers = [desk for name in given["teachers"] for desk in remote_models(name)]
    roles = Roles(
        teachers,
        *(((opened[given[role]],) if given[role] else ()) for role in ("target", "judge")),
    )
    rates = RateLimits(at_once=_at_once(given), per_minute=given["per_minute"])
    limits = RunLimits(rates, cap=given["cap"], prices=given["prices"], batch=given["batch"])
    request = SetRequest(recipe, given["tokens"], given["seed"], ROOMS.base_path(given["model"]))
    with _watching(request) as watch:
        card = teach(request, roles, given["out"], limits=limits, reuse=given["reuse"], watch=watch)
    dropped = ", ".join(f"{reason}: {count}" for reason, count in card.dropped.items()) or "none"
    spent = "price unknown" if card.spent is None else f"${card.spent:.2f}"
    click.echo(f"{card.examples} examples, {card.tokens} tokens, {spent}; dropped: {dropped}")
    if card.spent is not None and (said := dated(opened, given["prices"])):
        click.echo(said)
    click.echo(given["out"] / "README.md")


@command.command("plan")
@_choices
@click.option("--out", type=FOLDER, help="A set of the same recipe to measure on, such as a small one.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def plan_set(**given: Any) -> None:
    """Say what a set will cost and how long it will take, and ask nobody."""
    names = {"teacher": given["teachers"][0]} | {r: given[r] for r in ("target", "judge") if given[r]}
    made = estimate_set(
        _recipe(given),
        given["tokens"],
        names,  # type: ignore[arg-type]
        measured=given["out"],
        prices=given["prices"],
        batch=given["batch"],
        at_once=_at_once(given) * len(given["teachers"]),
    )
    if given["as_json"]:
        click.echo(made.model_dump_json(indent=1))
        return
    rows = [(s.stage, s.model, f"{s.tokens_in:.0f}", f"{s.tokens_out:.0f}", s.measured or "no") for s in made.stages]
    table(("stage", "asked of", "tokens in", "tokens out", "measured on"), rows, right=("tokens in", "tokens out"))
    click.echo(f"{made.records} records for about {made.examples} examples; {made.requests} requests")
    money = "" if made.dollars is None else f": ${made.dollars}, ${made.dollars_per_record} a record"
    click.echo(f"{made.tokens_in} tokens in, {made.tokens_out} out{money}")
    for line in unpriced(names.values(), given["prices"]):
        click.echo(line)
    hours = "up to a day a stage, by batch" if given["batch"] else f"about {made.hours:.1f} hours"
    click.echo(f"{hours}, at {made.at_once} requests at a time of 1 s and 50 tokens/s (assumed)")
    if said := dated(names.values(), given["prices"]):
        click.echo(said)


def _at_once(given: Mapping[str, Any]) -> int:
    # A batch takes as long with many requests as with few.
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
    )
    return load_recipe(given["recipe"], choice)


@contextmanager
def _watching(request: SetRequest) -> Iterator[Watch | None]:
    """A bar on a terminal, with tokens and money; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(request.recipe.name), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=request.tokens)

        def watch(now: SetProgress) -> None:
            money = "price unknown" if now.spent is None else f"${now.spent:.2f}"
            asked = f"{now.account.asked} asked, {now.account.reused} known, {now.account.failed} failed"
            text = f"{now.examples} examples, {now.tokens} tokens; {asked}; {money}"
            bars.update(task, completed=now.tokens, description=text)

        yield watch
