"""A recipe is a folder of `prompts/`: `recipe.toml` and its stages. Adding one takes no Python.

recipe = load_recipe("difficult-advice")
for item in produce(recipe, teacher, seed=0): ...
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from holdfast.core.config import load_toml, nearest
from holdfast.core.errors import ConfigError
from holdfast.core.prose import load_prose
from holdfast.core.records import Message, Record, ToolSpec
from holdfast.data.charter import CHARTERS, Charter, Principle, load_charter
from holdfast.data.office import TOOLS, BadEpisode, episode
from holdfast.data.stages import Item, Stage, load_stages, run_stage
from holdfast.models.base import Model

FOLDER = Path(__file__).parent / "prompts"
LANGUAGES = FOLDER / "languages"
BATCH = 64
T = TypeVar("T")


class Check(Record):
    """A pattern that a field must (or must not) match where an axis has a given value."""

    field: str
    when: Mapping[str, str] = Field(default_factory=dict)
    must: str | None = None
    must_not: str | None = None
    reason: str


class RecipeFile(Record):
    """`recipe.toml`.

    Attributes:
        title: one line for cards.
        about: what the data teach, and from what.
        form: what an example is made into: an agent's episode, a chat, a document; `either` is an episode where the
            answers hold a call and a chat where they do not.
        stages: name of a recipe whose stages come first.
        charter: whose principles it teaches.
        principles: ids it keeps to, where the charter has them.
        axes: values that examples take in turn, so that each has its exact share.
        defaults: slots for when an optional stage is off.
        checks: what each finished example is held against.
    """

    title: str
    about: str
    form: Literal["episode", "chat", "document", "either"]
    stages: str | None = None
    charter: Literal["own", "irrelevant", "none"] = "none"
    principles: tuple[str, ...] = ()
    axes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    defaults: Mapping[str, str] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe ready to run: its file, stages that are on, principles, and the note on the language."""

    name: str
    file: RecipeFile
    stages: tuple[Stage, ...]
    off: tuple[str, ...]
    charter: Charter | None
    principles: tuple[Principle, ...]
    language: str
    note: str


def recipe_names() -> list[str]:
    """The recipes that there are."""
    return sorted(path.parent.name for path in FOLDER.glob("*/recipe.toml"))


def load_recipe(
    name: str, *, charter: Path | None = None, language: str = "pocket", off: tuple[str, ...] = ()
) -> Recipe:
    """Read a recipe with its stages and its charter.

    Args:
        name: folder of `prompts/`.
        charter: a folder to use in place of our own charter; a recipe on another one or none keeps to that.
        language: what the data are written in; a file of `prompts/languages/`.
        off: optional stages to leave out.

    Raises:
        ConfigError: no recipe of that name, no such language, or a stage of `off` that is not there or not optional.
        ProseError: a stage or a principle that does not fit.
    """
    if name not in recipe_names():
        near = nearest(name, recipe_names())
        remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(recipe_names())}"
        raise ConfigError(f"no data set called '{name}'", remedy=remedy)
    languages = [path.stem for path in LANGUAGES.glob("*.md")]
    if language not in languages:
        raise ConfigError(f"no language called '{language}'", where=LANGUAGES, remedy=f"known: {', '.join(languages)}")
    file = load_toml(FOLDER / name / "recipe.toml", RecipeFile)
    read = _charter(file, charter, language)
    known = {"language", *file.axes, *file.defaults}
    if read:
        known |= {"principle", "reasons"}
    stages: list[Stage] = []
    for source in filter(None, (file.stages, name)):
        fields = {label for stage in stages for label in (*stage.head.fields, *stage.head.may)}
        stages += load_stages(FOLDER / source, known | fields)
    for stage in off:
        match = [s for s in stages if s.head.name == stage]
        if not match or not match[0].head.optional:
            optional = ", ".join(s.head.name for s in stages if s.head.optional) or "none"
            raise ConfigError(f"'{stage}' is no optional stage of {name}", remedy=f"optional: {optional}")
    on = tuple(stage for stage in stages if stage.head.name not in off)
    chosen = tuple(p for p in read.principles if p.id in file.principles) if read else ()
    principles = chosen or (read.principles if read else ())
    note = load_prose(LANGUAGES / f"{language}.md").body
    return Recipe(name, file, on, tuple(sorted(off)), read, principles, language, note)


def _charter(file: RecipeFile, charter: Path | None, language: str) -> Charter | None:
    if file.charter == "none":
        return None
    folder = charter if charter and file.charter == "own" else CHARTERS[file.charter]
    return load_charter(folder, language)


def produce(recipe: Recipe, teacher: Model, seed: int) -> Iterator[list[Item]]:
    """Batches of finished items without end, dropped ones included, the same for the same seed and teacher."""
    start = 0
    while True:
        items = [_item(recipe, index, seed) for index in range(start, start + BATCH)]
        for stage in recipe.stages:
            run_stage(stage, items, teacher, seed)
        for item in items:
            if item.dropped is None:
                item.dropped = failed_check(recipe, item)
        yield items
        start += BATCH


def _item(recipe: Recipe, index: int, seed: int) -> Item:
    state = {"language": recipe.note, **recipe.file.defaults}
    for axis, values in recipe.file.axes.items():
        state[axis] = turn(values, f"{seed}:{axis}", index)
    item = Item(index, state)
    if recipe.principles:
        principle = turn(recipe.principles, f"{seed}:principle", index)
        item.principle = principle.id
        state |= {"principle": principle.text, "reasons": principle.reasons}
    return item


def turn(values: tuple[T, ...], key: str, index: int) -> T:
    """The value whose turn it is: each comes once in every round, in an order drawn anew for each round."""
    order = list(range(len(values)))
    random.Random(f"{key}:{index // len(values)}").shuffle(order)
    return values[order[index % len(values)]]


def failed_check(recipe: Recipe, item: Item) -> str | None:
    """The reason for which a finished item is dropped, if any."""
    for check in recipe.file.checks:
        if any(item.state.get(axis) != value for axis, value in check.when.items()):
            continue
        text = item.state.get(check.field, "")
        if check.must and not re.search(check.must, text):
            return f"check: {check.reason}"
        if check.must_not and re.search(check.must_not, text):
            return f"check: {check.reason}"
    return None


def messages_of(recipe: Recipe, item: Item) -> tuple[Message, ...]:
    """The conversation an item holds.

    Raises:
        BadEpisode: the answers make no conversation; the message is the reason.
    """
    state = item.state
    if recipe.file.form == "episode" or "call" in state:
        lacking = [label for label in ("system", "user", "mail", "call") if label not in state]
        if lacking:
            raise BadEpisode(f"an episode without '{lacking[0]}'")
        return episode(state["system"], state["user"], item.all("mail"), state["call"], state.get("say", ""))
    turns = [Message(role="system", content=state["system"])] if state.get("system") else []
    # One voice after the other, beginning with the user.
    for place, (label, text) in enumerate(pair for pair in item.answers if pair[0] in ("user", "assistant")):
        if label != ("user", "assistant")[place % 2]:
            raise BadEpisode("user and assistant do not take turns")
        turns.append(Message(role="user" if label == "user" else "assistant", content=text))
    if not turns or turns[-1].role != "assistant":
        raise BadEpisode("the chat does not end with the assistant")
    return tuple(turns)


def tools_of(messages: tuple[Message, ...]) -> tuple[ToolSpec, ...]:
    """The office's tools where a conversation uses any."""
    return TOOLS if any(message.tool_calls for message in messages) else ()
