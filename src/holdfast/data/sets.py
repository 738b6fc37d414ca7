"""Data sets: a recipe, who writes it and a seed, cut to a token budget.

    examples = build("difficult-advice", tokens=50_000, seed=0, tokenizer_path=checkpoint)
    card = teach(SetRequest(load_recipe("stories"), 3_000_000, 0, checkpoint), Roles((teacher,)), folder)

`build_set` and `make` keep everything in memory and leave nothing behind; `teach` writes a folder, keeps every answer
in its response cache, and can be killed at any moment and run again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import holdfast
from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Example, Provenance, RunCard
from holdfast.core.store import RunFolder, write_json, write_text, writing
from holdfast.data.assemble import made_of
from holdfast.data.card import EXAMPLES, Card, card_markdown, card_of
from holdfast.data.engine import Account, Engine, Roles, RunLimits
from holdfast.data.heldout_filter import heldout_in
from holdfast.data.office import BadEpisode
from holdfast.data.plan import estimate_set, expected
from holdfast.data.recipes import Recipe, RecipeChoice, load_recipe
from holdfast.data.response_cache import Ledger, alone
from holdfast.data.set_builder import SetBuilder
from holdfast.data.stages import Draft
from holdfast.data.token_count import Counter
from holdfast.models.base import Model
from holdfast.models.prices import Money, price_of
from holdfast.models.registry import open_model

#: the offline teacher; any other must be named by the caller
TEACHER = "pocket/author"
#: items whose tokens are counted together
GROUP = 8
#: items in a row without a single usable example after which a teacher is given up on
PATIENCE = 192
#: items for which the recipe's own guess of their yield counts
_GUESSED = 2 * GROUP
Sink = Callable[[Example], None]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Examples and their card."""

    examples: list[Example]
    card: Card


@dataclass(frozen=True, slots=True)
class SetRequest:
    """What is to be made: a recipe, a budget in tokens of the tokenizer of a checkpoint, and a seed."""

    recipe: Recipe
    tokens: int
    seed: int
    tokenizer: Path


@dataclass(frozen=True, slots=True)
class SetProgress:
    """How far a set is; `spent` is None where a price is not known."""

    examples: int
    tokens: int
    account: Account
    spent: Money | None


Watch = Callable[[SetProgress], None]


def build_set(
    name: str,
    tokens: int,
    seed: int,
    tokenizer_path: Path,
    teacher: Model | None = None,
    charter: Path | None = None,
) -> list[Example]:
    """The examples of a set in pocket English; see `make` for the rest.

    Raises:
        ConfigError: no set of that name.
        ModelError: no tokenizer at `tokenizer_path`.
        IncompleteError: the teacher gives nothing that can be used.
    """
    return make(load_recipe(name, RecipeChoice(charter=charter)), tokens, seed, tokenizer_path, teacher).examples


def make(recipe: Recipe, tokens: int, seed: int, tokenizer_path: Path, teacher: Model | None = None) -> DataSet:
    """Run a recipe until its examples fill the budget; the same for the same recipe, seed, tokenizer and teacher.

    Args:
        recipe: see `recipes.load_recipe`, which also takes the language, the charter and the stages to switch off.
        tokens: at most so many tokens, and fewer by less than the shortest of the last examples.
        seed: of the draws and of the teacher's sampling.
        tokenizer_path: of the checkpoint to be trained; tokens are counted with it.
        teacher: who writes; the pocket author where none is named.

    Raises:
        InputError: the budget is not positive.
        ModelError: no tokenizer at `tokenizer_path`.
        IncompleteError: the teacher gives nothing that can be used; the reasons are counted in the message.
    """
    examples: list[Example] = []
    order = SetRequest(recipe, tokens, seed, tokenizer_path)
    cast = Roles((teacher or open_model(TEACHER),))
    engine = Engine(recipe, cast, seed, None, RunLimits())
    basket = asyncio.run(_fill(order, cast, engine, examples.append, _unwatched))
    return DataSet(examples, card_of(recipe, basket, cast, seed, tokenizer_path))


def teach(
    order: SetRequest,
    cast: Roles,
    out: Path,
    *,
    bounds: RunLimits | None = None,
    reuse: Sequence[Path] = (),
    watch: Watch | None = None,
) -> Card:
    """Write a set into a folder: `examples.jsonl`, its card, the ledger in `answers/`, and the manifest last.

    A folder that is finished and was made from the same order is left as it is; any other run there begins with the
    answers that its ledger holds.

    Args:
        order: what is to be made.
        cast: who is asked.
        out: the folder.
        bounds: what the run keeps to.
        reuse: folders of other sets whose answers to the same requests are taken over.
        watch: called after each few examples.

    Raises:
        InputError: the budget is not positive, or there is a cap and no price.
        ModelError: no tokenizer at `order.tokenizer`.
        IncompleteError: the run stopped before its end; what is answered is kept.
    """
    run, key, bounds = RunFolder(out), _key(order, cast), bounds or RunLimits()
    _affordable(order, cast, bounds)
    with alone(out):
        if run.complete and run.card().key == key:
            return Card.model_validate_json((out / "card.json").read_text(encoding="utf-8"))
        (out / "manifest.json").unlink(missing_ok=True)
        part = out / f"{EXAMPLES}.jsonl.part"
        with closing(Ledger(out, reuse)) as ledger, writing(part), part.open("w", encoding="utf-8") as file:
            engine = Engine(order.recipe, cast, order.seed, ledger, bounds)

            def keep(example: Example) -> None:
                file.write(example.model_dump_json(exclude_none=True) + "\n")

            basket = asyncio.run(_fill(order, cast, engine, keep, watch or _unwatched))
        spent = engine.purse.spent if engine.purse.known else None
        card = card_of(order.recipe, basket, cast, order.seed, order.tokenizer, spent)
        with writing(part):
            part.replace(out / f"{EXAMPLES}.jsonl")
        write_json(out / "card.json", card.model_dump(mode="json"))
        write_text(out / "README.md", card_markdown(card))
        run.finish(_manifest(key, card))
    return card


def _affordable(order: SetRequest, cast: Roles, bounds: RunLimits) -> None:
    """Refuse a cap that does not pay for one record."""
    if bounds.cap is None:
        return
    names = {role: models[0].name for role, models in cast.roles().items()}
    one = estimate_set(order.recipe, 1, names, prices=bounds.prices, batch=bounds.batch).dollars_per_record
    if one is None:
        # Raises, and names the model that has no price: a cap cannot be kept without one.
        for name in names.values():
            price_of(name, bounds.prices)
    elif one > bounds.cap:
        what = f"a cap of ${bounds.cap} does not pay for one record, which takes about ${one:.4f}"
        raise InputError(what, remedy="raise it, or name a cheaper teacher")


def _unwatched(standing: SetProgress) -> None:
    """Nobody looks."""


async def _fill(order: SetRequest, cast: Roles, engine: Engine, sink: Sink, watch: Watch) -> SetBuilder:
    if order.tokens <= 0:
        raise InputError(f"a budget of {order.tokens} tokens", remedy="ask for at least one")
    counter, basket, barren = Counter(order.tokenizer), SetBuilder(order.tokens), 0
    group: list[Draft] = []
    async with aclosing(engine.items(partial(_wanted, basket, math.prod(expected(order.recipe))))) as items:
        async for item in items:
            group.append(item)
            if len(group) < GROUP:
                continue
            before = len(basket.texts)
            _take(order, group, cast.teacher[0].name, counter, basket, sink)
            spent = engine.purse.spent if engine.purse.known else None
            watch(SetProgress(basket.examples, basket.tokens, engine.account, spent))
            if basket.unused:
                return basket
            barren = barren + GROUP if len(basket.texts) == before else 0
            if barren >= PATIENCE:
                reasons = ", ".join(f"{reason} ({count})" for reason, count in basket.dropped.most_common(3))
                what = f"{cast.teacher[0].name} gave nothing usable for {order.recipe.name}"
                what = f"{what} in {PATIENCE} tries: {reasons}"
                raise IncompleteError(what, remedy="ask for fewer tokens, or try another teacher or seed")
            group = []
    return basket


def _wanted(basket: SetBuilder, guess: float) -> int:
    """Items that will probably fill the room left, with some to spare; `guess` is the tokens that one gives."""
    each = (basket.tokens + _GUESSED * guess) / (basket.asked + _GUESSED)
    return 2 * GROUP + math.ceil(1.1 * (basket.room - basket.tokens) / each)


def _take(
    order: SetRequest, items: Sequence[Draft], teacher: str, counter: Counter, basket: SetBuilder, sink: Sink
) -> None:
    """Turn items into examples and put those that fit into the basket."""
    basket.asked += len(items)
    finished: list[tuple[Draft, Example]] = []
    for item in items:
        example = _example(order, item, teacher) if item.dropped is None else None
        if example is not None and (found := heldout_in(example)):
            item.dropped = f"held out: {found[0]}"
        elif example is not None and not basket.new(example):
            item.dropped = "repeats an earlier example"
        if item.dropped is not None or example is None:
            basket.dropped[item.dropped or "no example"] += 1
        else:
            finished.append((item, example))
    for (item, example), size in zip(finished, counter([e for _, e in finished]), strict=True):
        if basket.tokens + size > basket.room:
            basket.unused += 1
            continue
        sink(example)
        basket.put(example, size, {axis: item.state[axis] for axis in order.recipe.axes}, item.principle)


def _example(order: SetRequest, item: Draft, teacher: str) -> Example | None:
    """The example an item makes; None, with the reason in the item, where it makes none."""
    recipe, seed = order.recipe, order.seed
    try:
        made = made_of(recipe, item)
    except BadEpisode as reason:
        item.dropped = f"form: {reason}"
        return None
    return Example(
        id=key_of([recipe.name, seed, item.index, made.text or made.messages]),
        kind="document" if recipe.file.form == "document" else "chat",
        messages=made.messages,
        tools=made.tools,
        text=made.text,
        reward=made.reward,
        provenance=Provenance(
            recipe=recipe.name,
            teacher=teacher,
            seed=seed,
            stages={stage.key: stage.hash for stage in recipe.stages},
            principle=item.principle,
        ),
    )


def _key(order: SetRequest, cast: Roles) -> str:
    """Everything that a set is made from."""
    recipe = order.recipe
    file = order.tokenizer / "tokenizer.json" if order.tokenizer.is_dir() else order.tokenizer
    return key_of(
        [
            recipe.name,
            {stage.key: stage.hash for stage in recipe.stages},
            recipe.file,
            [recipe.axes, recipe.fixed, recipe.drafts, recipe.note],
            recipe.charter.hash if recipe.charter else None,
            [principle.id for principle in recipe.principles],
            cast.identity(),
            [order.tokens, order.seed, hash_files([file]) if file.is_file() else None],
            room_version("data"),
        ]
    )


def _manifest(key: str, card: Card) -> RunCard:
    return RunCard(
        key=key,
        kind="data",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=holdfast.__version__,
        code=room_version("data"),
        inputs={"name": card.name, "seed": card.seed, "teacher": card.teacher, "charter": card.charter},
        counts={"examples": card.examples, "tokens": card.tokens, "dropped": sum(card.dropped.values())},
    )
