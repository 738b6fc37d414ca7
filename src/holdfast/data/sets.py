"""Build data sets from a recipe, a teacher and a seed, up to a token budget.

    examples = build_set("difficult-advice", tokens=50_000, seed=0, tokenizer_path=checkpoint)
    card = teach(SetRequest(load_recipe("stories"), 3_000_000, 0, checkpoint), Roles((teacher,)), folder)

`build_set` and `make` work in memory and write no files. `teach` writes a folder and stores every answer in its
response cache, so it can be killed at any moment and run again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Example, Provenance
from holdfast.core.store import RunFolder, write_json, write_text, writing
from holdfast.data.assemble import assemble
from holdfast.data.card import EXAMPLES, Card, card_markdown, card_of, set_manifest
from holdfast.data.cells import SITUATIONS, CellCount
from holdfast.data.engine import Account, Engine, Roles, RunLimits
from holdfast.data.fan_out import FanOut, plan_hash
from holdfast.data.heldout_filter import heldout_in
from holdfast.data.lesson_book import draw_lesson, is_lesson
from holdfast.data.office import BadEpisode
from holdfast.data.plan import estimate_set, expected_yield
from holdfast.data.quality.findings import text_patterns
from holdfast.data.recipes import Recipe, RecipeChoice, load_recipe
from holdfast.data.response_cache import ResponseCache, exclusive_lock
from holdfast.data.set_builder import SetBuilder
from holdfast.data.stages import Draft
from holdfast.data.text_memory import TextMemory
from holdfast.data.token_count import TokenCounter
from holdfast.data.twin_situations import TwinSituations, planned_situations
from holdfast.detectors.topics import is_foreign
from holdfast.models.base import Model
from holdfast.models.live_probe import NOT_PROBED, is_served
from holdfast.models.prices import Money, price_of
from holdfast.models.registry import open_model

#: The offline teacher; the caller must name any other.
TEACHER = "pocket/author"
#: Items that are assembled and counted together.
GROUP = 8
#: Consecutive items without a usable example after which the run stops.
PATIENCE = 192
#: Weight of the recipe's expected yield, in items.
_GUESSED = 2 * GROUP
Sink = Callable[[Example], None]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Examples and their card."""

    examples: list[Example]
    card: Card


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A set to build: a recipe, a token budget, a seed, and the checkpoint whose tokenizer counts the tokens.

    `twin_of` is the folder of a set whose situations are used in place of new ones.
    """

    recipe: Recipe
    tokens: int
    seed: int
    tokenizer: Path
    twin_of: Path | None = None


@dataclass(frozen=True, slots=True)
class SetProgress:
    """Progress of a set; `spent` is None if a price is not known."""

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
    """Build a set in pocket English, or draw from a written one, and return its examples; for the arguments see `make`.

    Raises:
        ConfigError: there is no recipe or written set of that name.
        InputError: the budget is not positive, or more than a written set holds.
        ModelError: there is no tokenizer at `tokenizer_path`.
        IncompleteError: the teacher gives no usable answer.
    """
    if is_lesson(name):
        return draw_lesson(name, tokens, seed, tokenizer_path)
    return make(load_recipe(name, RecipeChoice(charter=charter)), tokens, seed, tokenizer_path, teacher).examples


def make(recipe: Recipe, tokens: int, seed: int, tokenizer_path: Path, teacher: Model | None = None) -> DataSet:
    """Run a recipe until its examples fill the token budget. The same arguments give the same set.

    Args:
        recipe: see `recipes.load_recipe`, which also takes the language, the charter and the stages to switch off.
        tokens: token budget; the set is never larger, and less than one example smaller.
        seed: seed of the draws and of the teacher's sampling.
        tokenizer_path: checkpoint to be trained; its tokenizer counts the tokens.
        teacher: the teacher model; by default the pocket author.

    Raises:
        InputError: the budget is not positive.
        ModelError: there is no tokenizer at `tokenizer_path`.
        IncompleteError: the teacher gives no usable answer; the message counts the reasons.
    """
    examples: list[Example] = []
    request = SetRequest(recipe, tokens, seed, tokenizer_path)
    roles = Roles((teacher or open_model(TEACHER),))
    engine = Engine(recipe, roles, seed, None, RunLimits())
    builder, fan_out = asyncio.run(_fill(request, roles, engine, examples.append, _unwatched))
    return DataSet(examples, card_of(recipe, builder, roles, seed, tokenizer_path, cells=_cells(fan_out)))


def teach(
    request: SetRequest,
    roles: Roles,
    out: Path,
    *,
    limits: RunLimits | None = None,
    reuse: Sequence[Path] = (),
    watch: Watch | None = None,
) -> Card:
    """Build a set in a folder: `examples.jsonl`, its card, the response cache in `answers/`, and the manifest last.

    If the folder holds a finished set from the same request, it is left unchanged. Otherwise the run uses the answers
    that are in its response cache.

    Args:
        request: the set to build.
        roles: models for each role.
        out: output folder.
        limits: limits of the run.
        reuse: folders of other sets whose answers to the same requests are reused.
        watch: called after every few items.

    Returns:
        The card of the set.

    Raises:
        InputError: the budget is not positive, there is a cap but no price, or `request.twin_of` holds no situations.
        ModelError: there is no tokenizer at `request.tokenizer`, or a model loses a part of its requests; see
            `first_probe`.
        IncompleteError: the run stopped before its end; answers received so far are kept.
    """
    if request.twin_of:
        planned_situations(request.twin_of)  # raises if there are none
        reuse = [*reuse, request.twin_of]
    run, key, limits = RunFolder(out), _key(request, roles), limits or RunLimits()
    _affordable(request, roles, limits)
    with exclusive_lock(out):
        if run.complete and run.card().key == key:
            return Card.model_validate_json((out / "card.json").read_text(encoding="utf-8"))
        (out / "manifest.json").unlink(missing_ok=True)
        part = out / f"{EXAMPLES}.jsonl.part"
        with closing(ResponseCache(out, reuse)) as cache, writing(part), part.open("w", encoding="utf-8") as file:
            engine = Engine(request.recipe, roles, request.seed, cache, limits)

            def keep(example: Example) -> None:
                file.write(example.model_dump_json(exclude_none=True) + "\n")

            builder, fan_out = asyncio.run(_fill(request, roles, engine, keep, watch or _unwatched))
        spent = engine.budget.spent if engine.budget.known else None
        card = card_of(request.recipe, builder, roles, request.seed, request.tokenizer, spent, _cells(fan_out))
        card = _noted(card, roles) if limits.skip_probe else card
        if fan_out:
            lines = "".join(situation.model_dump_json() + "\n" for situation in fan_out.planned)
            write_text(out / f"{SITUATIONS}.jsonl", lines)
        with writing(part):
            part.replace(out / f"{EXAMPLES}.jsonl")
        write_json(out / "card.json", card.model_dump(mode="json"))
        write_text(out / "README.md", card_markdown(card))
        run.finish(set_manifest(key, card))
    return card


def _cells(fan_out: FanOut | TwinSituations | None) -> tuple[CellCount, ...]:
    return fan_out.counts() if fan_out else ()


def _noted(card: Card, roles: Roles) -> Card:
    """The card with a note if a served model was not probed."""
    served = any(is_served(model) for models in roles.by_role().values() for model in models)
    return card.model_copy(update={"limits": (*card.limits, NOT_PROBED)}) if served else card


def _affordable(request: SetRequest, roles: Roles, limits: RunLimits) -> None:
    """Raise InputError if the cap does not pay for one item."""
    if limits.cap is None:
        return
    names = {role: models[0].name for role, models in roles.by_role().items()}
    one = estimate_set(request.recipe, 1, names, prices=limits.prices, batch=limits.batch).dollars_per_record
    if one is None:
        # Raises and names the model without a price: a cap cannot be enforced without prices.
        for name in names.values():
            price_of(name, limits.prices)
    elif one > limits.cap:
        what = f"the cap of ${limits.cap} does not pay for one item, which costs about ${one:.4f}"
        raise InputError(what, remedy="raise the cap, or choose a cheaper teacher")


def _unwatched(progress: SetProgress) -> None:
    """The default progress callback: does nothing."""


async def _fill(
    request: SetRequest, roles: Roles, engine: Engine, sink: Sink, watch: Watch
) -> tuple[SetBuilder, FanOut | TwinSituations | None]:
    if request.tokens <= 0:
        raise InputError(f"the token budget must be at least 1, got {request.tokens}", remedy="raise it")
    counter, builder, unproductive = TokenCounter(request.tokenizer), SetBuilder(request.tokens), 0
    builder.memory = TextMemory() if request.recipe.repeats else None
    guess = math.prod(expected_yield(request.recipe))
    fan_out = _planned(request, engine, builder, guess)
    groups = fan_out.rounds() if fan_out else _groups(engine, builder, guess)
    async with aclosing(groups):
        async for group in groups:
            before = builder.examples + builder.unused
            _take(request, group, roles.teacher[0].name, counter, builder, sink)
            if fan_out:
                fan_out.note(group)
            spent = engine.budget.spent if engine.budget.known else None
            watch(SetProgress(builder.examples, builder.tokens, engine.account, spent))
            if builder.unused:
                break
            unproductive = unproductive + len(group) if builder.examples == before else 0
            if unproductive >= PATIENCE:
                reasons = ", ".join(f"{reason} ({count})" for reason, count in builder.dropped.most_common(3))
                what = f"{roles.teacher[0].name} gave no usable answer for {request.recipe.name}"
                what = f"{what} in {unproductive} items: {reasons}"
                raise IncompleteError(what, remedy="lower the token budget, or try another teacher or seed")
    return builder, fan_out


def _planned(request: SetRequest, engine: Engine, builder: SetBuilder, guess: float) -> FanOut | TwinSituations | None:
    if request.twin_of:
        return TwinSituations(engine, builder, request.twin_of)
    return FanOut(engine, builder, guess) if request.recipe.plan else None


async def _groups(engine: Engine, builder: SetBuilder, guess: float) -> AsyncGenerator[list[Draft], None]:
    """Yield the items of a recipe without a plan in groups."""
    async with aclosing(engine.items(partial(_wanted, builder, guess))) as items:
        group: list[Draft] = []
        async for item in items:
            group.append(item)
            if len(group) == GROUP:
                yield group
                group = []


def _wanted(builder: SetBuilder, guess: float) -> int:
    """Estimate the items needed to fill the remaining budget, with a margin; `guess` is the expected tokens of one."""
    each = (builder.tokens + _GUESSED * guess) / (builder.asked + _GUESSED)
    return 2 * GROUP + math.ceil(1.1 * (builder.room - builder.tokens) / each)


def _take(
    request: SetRequest, items: Sequence[Draft], teacher: str, counter: TokenCounter, builder: SetBuilder, sink: Sink
) -> None:
    """Assemble items into examples and add those that fit."""
    builder.asked += len(items)
    finished: list[tuple[Draft, Example]] = []
    for item in items:
        example = _example(request, item, teacher) if item.dropped is None else None
        if example is not None and (family := heldout_in(example)):
            item.dropped = f"held out: {family[0]}"
        elif example is not None:
            item.dropped = _unsound(request.recipe, item) or builder.repeat(example)
        if item.dropped is not None or example is None:
            builder.dropped[item.dropped or "no example"] += 1
        else:
            finished.append((item, example))
    for (item, example), size in zip(finished, counter([e for _, e in finished]), strict=True):
        if builder.tokens + size > builder.room:
            builder.unused += 1
            continue
        sink(example)
        item.example = example.id
        builder.put(example, size, {axis: item.state[axis] for axis in request.recipe.axes}, item)


def _unsound(recipe: Recipe, item: Draft) -> str | None:
    """Return why an English example is unusable: another language, or a refusal in place of what the teacher writes."""
    if recipe.language != "english":
        return None
    # Each answer as a whole: a paragraph in another language may be what an English text is about.
    if any(is_foreign(" ".join(text.split())) for _, text in item.answers):
        return "in another language"
    # An assistant may decline; whoever writes a document, a situation or a user's message may not.
    written = [text for label, text in item.answers if label not in ("assistant", "say")]
    if any(pattern.search(text) for text in written for pattern in text_patterns("refusals").values()):
        return "phrased as a refusal"
    return None


def _example(request: SetRequest, item: Draft, teacher: str) -> Example | None:
    """Assemble the example of an item; return None and record the reason in the item if that fails."""
    recipe, seed = request.recipe, request.seed
    try:
        content = assemble(recipe, item)
    except BadEpisode as reason:
        item.dropped = f"form: {reason}"
        return None
    return Example(
        id=key_of([recipe.name, seed, item.index, content.text or content.messages]),
        kind="document" if recipe.file.form == "document" else "chat",
        messages=content.messages,
        tools=content.tools,
        text=content.text,
        reward=content.reward,
        provenance=Provenance(
            recipe=recipe.name,
            teacher=teacher,
            seed=seed,
            stages={stage.key: stage.hash for stage in recipe.stages},
            principle=item.principle,
        ),
    )


def _key(request: SetRequest, roles: Roles) -> str:
    """Hash of everything that determines the set."""
    recipe = request.recipe
    file = request.tokenizer / "tokenizer.json" if request.tokenizer.is_dir() else request.tokenizer
    return key_of(
        [
            recipe.name,
            {stage.key: stage.hash for stage in recipe.stages},
            recipe.file,
            [recipe.axes, recipe.fixed, recipe.drafts, recipe.note],
            plan_hash(recipe),
            hash_files([request.twin_of / f"{SITUATIONS}.jsonl"]) if request.twin_of else None,
            recipe.charter.hash if recipe.charter else None,
            [principle.id for principle in recipe.principles],
            roles.identity(),
            [request.tokens, request.seed, hash_files([file]) if file.is_file() else None],
            room_version("data"),
        ]
    )
