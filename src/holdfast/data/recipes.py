"""A recipe is a folder of `prompts/`: `recipe.toml` and its stages. Adding one takes no Python.

recipe = load_recipe("difficult-advice", Choice(language="english"))
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from holdfast.core.config import load_toml, nearest
from holdfast.core.errors import ConfigError
from holdfast.core.prose import load_prose
from holdfast.core.records import Record
from holdfast.data.charter import CHARTERS, Charter, Principle, load_charter
from holdfast.data.stages import Draft, PromptStage, load_stages

FOLDER = Path(__file__).parent / "prompts"
LANGUAGES = FOLDER / "languages"
T = TypeVar("T")


class Check(Record):
    """A pattern that a field must (or must not) match where an axis has a given value."""

    field: str
    when: Mapping[str, str] = Field(default_factory=dict)
    must: str | None = None
    must_not: str | None = None
    reason: str


Form = Literal["episode", "chat", "document", "either", "tools", "task"]


class RecipeFile(Record):
    """`recipe.toml`.

    Attributes:
        title: one line for cards.
        about: what the data teach, and from what.
        form: what an example is made into, see `forms`; `either` is an episode where the answers hold a call and a chat
            where they do not.
        stages: recipes, or single stages as `recipe/stage`, whose stages come first; their axes, factors, defaults,
            texts and checks hold here too.
        charter: whose principles it teaches.
        principles: ids it keeps to, where the charter has them.
        axes: values that examples take in turn, so that each has its exact share.
        factors: values of which a set has one, the first where none is named; `*` makes an axis of them.
        texts: language → axis or factor → value → the words for it, in the slot `<name>_text`.
        trained: factor → values whose text stays in the system prompt for training; others are for sampling alone.
        defaults: slots for when an optional stage is off.
        checks: what each finished example is held against.
        size: tokens of a usual example in English, for the plan.
        kept: share of items usually kept, for the plan.
    """

    title: str
    about: str
    form: Form
    stages: tuple[str, ...] = ()
    charter: Literal["own", "irrelevant", "none"] = "none"
    principles: tuple[str, ...] = ()
    axes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    factors: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    texts: Mapping[str, Mapping[str, Mapping[str, str]]] = Field(default_factory=dict)
    trained: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    defaults: Mapping[str, str] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    size: int = Field(default=600, gt=0)
    kept: float = Field(default=0.9, gt=0, le=1)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe ready to run.

    `axes` and `fixed` hold the factors, varied and not; `drafts` is how many items share a plan; `scale` is the share
    of English's words that the language needs.
    """

    name: str
    file: RecipeFile
    stages: tuple[PromptStage, ...]
    off: tuple[str, ...]
    charter: Charter | None
    principles: tuple[Principle, ...]
    language: str
    note: str
    axes: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, str]
    drafts: int
    scale: float


@dataclass(frozen=True, slots=True)
class RecipeChoice:
    """What may be chosen of a recipe.

    Attributes:
        charter: a folder to use in place of our own charter; a recipe on another one or none keeps to that.
        language: what the data are written in; a file of `prompts/languages/`.
        off: optional stages to leave out.
        factors: factor → value, or `*` to vary it.
        drafts: how many examples are drafted from one plan, where the recipe plans.
    """

    charter: Path | None = None
    language: str = "pocket"
    off: tuple[str, ...] = ()
    factors: Mapping[str, str] = field(default_factory=dict)
    drafts: int = 1


def recipe_names() -> list[str]:
    """The recipes that there are."""
    return sorted(path.parent.name for path in FOLDER.glob("*/recipe.toml"))


def load_recipe(name: str, choice: RecipeChoice | None = None) -> Recipe:
    """Read a recipe, a folder of `prompts/`, with its stages and its charter.

    Raises:
        ConfigError: no recipe of that name, no such language, factor or value, or a stage of `off` that is not there or
            not optional.
        ProseError: a stage or a principle that does not fit.
    """
    choice = choice or RecipeChoice()
    file = _file(name)
    languages = [path.stem for path in LANGUAGES.glob("*.md")]
    if choice.language not in languages:
        what = f"no language called '{choice.language}'"
        raise ConfigError(what, where=LANGUAGES, remedy=f"known: {', '.join(languages)}")
    read = _charter(file, choice.charter, choice.language)
    fixed, varied = _factors(name, file, choice.factors)
    stages = _stages(name, file, read is not None)
    for stage in choice.off:
        match = [s for s in stages if s.head.name == stage]
        if not match or not match[0].head.optional:
            optional = ", ".join(s.head.name for s in stages if s.head.optional) or "none"
            raise ConfigError(f"'{stage}' is no optional stage of {name}", remedy=f"optional: {optional}")
    if choice.drafts < 1 or (choice.drafts > 1 and not any(stage.head.shared for stage in stages)):
        raise ConfigError(f"{choice.drafts} drafts of one plan in {name}", remedy="it has no plan to share: leave it 1")
    chosen = tuple(p for p in read.principles if p.id in file.principles) if read else ()
    note = load_prose(LANGUAGES / f"{choice.language}.md")
    return Recipe(
        name=name,
        file=file,
        stages=tuple(stage for stage in stages if stage.head.name not in choice.off),
        off=tuple(sorted(choice.off)),
        charter=read,
        principles=chosen or (read.principles if read else ()),
        language=choice.language,
        note=note.body,
        axes={**file.axes, **varied},
        fixed=fixed,
        drafts=choice.drafts,
        scale=float(note.front.get("scale", 1)),
    )


def _file(name: str) -> RecipeFile:
    """`recipe.toml` with what it takes over from the recipes whose stages come first."""
    if name not in recipe_names():
        near = nearest(name, recipe_names())
        remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(recipe_names())}"
        raise ConfigError(f"no data set called '{name}'", remedy=remedy)
    file = load_toml(FOLDER / name / "recipe.toml", RecipeFile)
    for source in dict.fromkeys(entry.partition("/")[0] for entry in file.stages):
        base = _file(source)
        file = file.model_copy(
            update={
                "axes": {**base.axes, **file.axes},
                "factors": {**base.factors, **file.factors},
                "texts": {k: {**base.texts.get(k, {}), **file.texts.get(k, {})} for k in {**base.texts, **file.texts}},
                "trained": {**base.trained, **file.trained},
                "defaults": {**base.defaults, **file.defaults},
                "checks": (*base.checks, *file.checks),
            }
        )
    return file


def _stages(name: str, file: RecipeFile, principled: bool) -> list[PromptStage]:
    """The stages of a recipe, those it takes over first; each slot is filled by what stands before."""
    known = {"language", *file.axes, *file.factors, *file.defaults}
    known |= {f"{axis}_text" for texts in file.texts.values() for axis in texts}
    if principled:
        known |= {"principle", "reasons"}
    stages: list[PromptStage] = []
    for entry in (*file.stages, name):
        source, _, only = entry.partition("/")
        # A whole recipe brings along what it takes over itself.
        whole = source != name and not only
        taken = _stages(source, _file(source), principled) if whole else load_stages(FOLDER / source, known, only)
        stages += taken
        known |= {label for stage in taken for label in (*stage.head.fields, *stage.head.may)}
    return stages


def _factors(
    name: str, file: RecipeFile, named: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Factors that have one value, and those that vary."""
    fixed = {factor: values[0] for factor, values in file.factors.items()}
    varied: dict[str, tuple[str, ...]] = {}
    for factor, value in named.items():
        if factor not in file.factors:
            remedy = f"it has: {', '.join(file.factors) or 'none'}"
            raise ConfigError(f"{name} has no factor '{factor}'", remedy=remedy)
        if value == "*":
            varied[factor] = file.factors[factor]
            del fixed[factor]
        elif value in file.factors[factor]:
            fixed[factor] = value
        else:
            raise ConfigError(f"no '{factor}' called '{value}'", remedy=f"known: {', '.join(file.factors[factor])}, *")
    return fixed, varied


def _charter(file: RecipeFile, charter: Path | None, language: str) -> Charter | None:
    if file.charter == "none":
        return None
    folder = charter if charter and file.charter == "own" else CHARTERS[file.charter]
    return load_charter(folder, language)


def new_item(recipe: Recipe, index: int, seed: int) -> Draft:
    """The item at a place of the run, before its first stage: what it is about, drawn from the seed."""
    plan = index // recipe.drafts
    state = {"language": recipe.note, **recipe.file.defaults, **recipe.fixed}
    for axis, values in recipe.axes.items():
        state[axis] = turn(values, f"{seed}:{axis}", plan)
    for axis, texts in recipe.file.texts.get(recipe.language, {}).items():
        # A value without words, such as `none`, says nothing.
        state[f"{axis}_text"] = texts.get(state[axis], "")
    item = Draft(index, state, scale=recipe.scale)
    if recipe.principles:
        principle = turn(recipe.principles, f"{seed}:principle", plan)
        item.principle = principle.id
        state |= {"principle": principle.text, "reasons": principle.reasons}
    return item


def turn(values: tuple[T, ...], key: str, index: int) -> T:
    """The value whose turn it is: each comes once in every round, in an order drawn anew for each round."""
    order = list(range(len(values)))
    random.Random(f"{key}:{index // len(values)}").shuffle(order)
    return values[order[index % len(values)]]


def failed_check(recipe: Recipe, item: Draft) -> str | None:
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
