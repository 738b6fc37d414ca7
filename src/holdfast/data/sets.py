"""Data sets by name: a recipe, a teacher and a seed, cut to a token budget.

examples = build("difficult-advice", tokens=50_000, seed=0, tokenizer_path=checkpoint)
made = make("difficult-advice", …); write_set(folder, made.examples, made.card)
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.records import Example, Provenance
from holdfast.data.card import Card, distinct_ratio, repeated_ratio
from holdfast.data.count import Counter
from holdfast.data.heldout import example_text, heldout_in
from holdfast.data.office import BadEpisode
from holdfast.data.recipes import Recipe, load_recipe, messages_of, produce, recipe_names, tools_of
from holdfast.data.stages import Item
from holdfast.models.base import Model
from holdfast.models.door import open_model

#: the offline teacher; any other must be named by the caller
TEACHER = "pocket/author"
#: batches without a single usable example after which a teacher is given up on
PATIENCE = 3


@dataclass(frozen=True, slots=True)
class DataSet:
    """Examples and their card."""

    examples: list[Example]
    card: Card


@dataclass(slots=True)
class _Basket:
    """What has been taken so far."""

    room: int
    examples: list[Example] = field(default_factory=list)
    tokens: int = 0
    dropped: Tally[str] = field(default_factory=Tally)
    axes: dict[str, Tally[str]] = field(default_factory=dict)
    principles: Tally[str] = field(default_factory=Tally)
    texts: set[str] = field(default_factory=set)
    asked: int = 0
    unused: int = 0


def names() -> list[str]:
    """The data sets that can be built: one for each recipe."""
    return recipe_names()


def build(
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
    recipe = load_recipe(name, charter=charter)
    return make(recipe, tokens, seed, tokenizer_path, teacher).examples


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
    if tokens <= 0:
        raise InputError(f"a budget of {tokens} tokens", remedy="ask for at least one")
    writer = teacher or open_model(TEACHER)
    counter, basket, barren = Counter(tokenizer_path), _Basket(tokens), 0
    for items in produce(recipe, writer, seed):
        before = len(basket.texts)
        full = _take(recipe, items, writer, seed, counter, basket)
        if full:
            break
        barren = barren + 1 if len(basket.texts) == before else 0
        if barren == PATIENCE:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in basket.dropped.most_common(3))
            what = f"{writer.name} gave nothing usable for {recipe.name} in {PATIENCE} batches: {reasons}"
            raise IncompleteError(what, remedy="ask for fewer tokens, or try another teacher or seed")
    return DataSet(basket.examples, _card(recipe, basket, writer, seed, tokenizer_path))


def _take(recipe: Recipe, items: Sequence[Item], teacher: Model, seed: int, counter: Counter, basket: _Basket) -> bool:
    """Turn a batch into examples and put them into the basket; True when it is full."""
    basket.asked += len(items)
    finished: list[tuple[Item, Example]] = []
    for item in items:
        example = _example(recipe, item, teacher, seed) if item.dropped is None else None
        if example is not None and (found := heldout_in(example)):
            item.dropped = f"held out: {found[0]}"
        elif example is not None and example_text(example) in basket.texts:
            item.dropped = "repeats an earlier example"
        if item.dropped is not None or example is None:
            basket.dropped[item.dropped or "no example"] += 1
            continue
        basket.texts.add(example_text(example))
        finished.append((item, example))
    for (item, example), size in zip(finished, counter([e for _, e in finished]), strict=True):
        if basket.tokens + size > basket.room:
            basket.unused += 1
            continue
        basket.examples.append(example)
        basket.tokens += size
        for axis in recipe.file.axes:
            basket.axes.setdefault(axis, Tally())[item.state[axis]] += 1
        if item.principle:
            basket.principles[item.principle] += 1
    return basket.unused > 0


def _example(recipe: Recipe, item: Item, teacher: Model, seed: int) -> Example | None:
    """The example an item makes; None, with the reason in the item, where it makes none."""
    made_by = Provenance(
        recipe=recipe.name,
        teacher=teacher.name,
        seed=seed,
        stages={stage.key: stage.hash for stage in recipe.stages},
        principle=item.principle,
    )
    if recipe.file.form == "document":
        text = item.state["text"]
        return Example(id=key_of([recipe.name, seed, item.index, text]), kind="document", text=text, provenance=made_by)
    try:
        messages = messages_of(recipe, item)
    except BadEpisode as reason:
        item.dropped = f"form: {reason}"
        return None
    name = key_of([recipe.name, seed, item.index, messages])
    return Example(id=name, kind="chat", messages=messages, tools=tools_of(messages), provenance=made_by)


def _card(recipe: Recipe, basket: _Basket, teacher: Model, seed: int, tokenizer: Path) -> Card:
    limits = [
        f"Made by {teacher.name}: what it can't write is not in here.",
        "Chat tokens are counted in the organism's notation; another checkpoint's template adds or saves a few a turn.",
        "Words of held-out families are filtered by pattern; overlap with the cases is for `study/leakage.py` to tell.",
    ]
    if recipe.language == "pocket":
        limits.append("Pocket English: a result on it says nothing about a model trained on anything else.")
    refused = sum(n for reason, n in basket.dropped.items() if reason.endswith(": refused"))
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return Card(
        name=recipe.name,
        title=recipe.file.title,
        about=recipe.file.about,
        language=recipe.language,
        examples=len(basket.examples),
        tokens=basket.tokens,
        budget=basket.room,
        asked=basket.asked,
        dropped=dict(basket.dropped.most_common()),
        unused=basket.unused,
        refused=refused,
        distinct=round(distinct_ratio(basket.examples), 4),
        repeated=round(repeated_ratio(basket.examples), 4),
        axes={axis: dict(sorted(values.items())) for axis, values in basket.axes.items()},
        principles=dict(sorted(basket.principles.items())),
        teacher=teacher.name,
        teacher_identity=teacher.identity,
        seed=seed,
        tokenizer=hash_files([file]),
        charter=recipe.charter.hash if recipe.charter else None,
        stages={stage.key: stage.hash for stage in recipe.stages},
        off=recipe.off,
        limits=tuple(limits),
    )
