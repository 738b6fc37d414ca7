"""Recipes: a recipe is a folder with a `recipe.toml` and its stages. Adding one needs no Python.

load_recipe("difficult-advice")    a folder in `prompts/`, or of an installed plugin
load_recipe("./my-recipe")         any folder
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, field_validator

from holdfast.core.config import line_of, load_toml, nearest
from holdfast.core.errors import ConfigError, ProseError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.plugins import plugin_entries, plugins
from holdfast.core.prose import Prose, load_prose, slots_in
from holdfast.core.records import Record
from holdfast.core.references import is_path, resolve_reference
from holdfast.data.cells import PRINCIPLE, PlanFile, check_plan, load_plan
from holdfast.data.charter import CHARTERS, Charter, Principle, load_charter
from holdfast.data.recipe_check import check_file, check_stages
from holdfast.data.stages import Draft, PromptStage, check_mending, load_stages

FOLDER = Path(__file__).parent / "prompts"
LANGUAGES = FOLDER / "languages"
FAN_OUT = "fan-out"
#: Slots that a plan fills; in a language without plans they have this value.
PLANNED, UNPLANNED = ("topic", "situation"), "any"
T = TypeVar("T")


class Check(Record):
    """A pattern that a field must (or must not) match if axes have the values in `when`."""

    field: str
    when: Mapping[str, str] = Field(default_factory=dict)
    must: str | None = None
    must_not: str | None = None
    reason: str

    @field_validator("must", "must_not")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


Form = Literal["episode", "chat", "document", "either", "tools", "task"]


class RecipeFile(Record):
    """The contents of `recipe.toml`.

    Attributes:
        title: title for cards, one line.
        about: what the data teach, and how.
        form: form of an example, see `assemble`; `either` is an episode if the answers contain a call, else a chat.
        stages: recipes, or single stages as `recipe/stage`, whose stages come first; their axes, factors, defaults,
            texts and checks are inherited.
        charter: the charter whose principles the recipe teaches.
        principles: ids of the principles to use, if the charter has them; empty uses all.
        axes: axis → values; the values rotate over the examples, so that each has an equal share.
        factors: factor → values; a set has one value, by default the first; `*` turns the factor into an axis.
        texts: language → axis or factor → value → text for the slot `<name>_text`.
        trained: factor → values whose text stays in the system prompt of the example; other texts are used for
            sampling only.
        defaults: slot values to use if an optional stage is off.
        checks: checks on each finished example.
        size: typical tokens of an example in English, for estimates.
        kept: typical share of items kept, for estimates.
        plan: cells of the set and how situations are found for them; without it, the axes rotate over the items.
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
    plan: PlanFile | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A loaded recipe.

    Attributes:
        name: name of the recipe.
        file: contents of `recipe.toml`, with inherited entries.
        stages: stages to run, in order.
        off: names of the optional stages that are switched off.
        charter: the charter; None if the recipe has none.
        principles: principles that the set teaches.
        language: name of the language.
        note: note on the language for prompts.
        axes: axes, with the factors that vary.
        fixed: factors with one value.
        drafts: number of items that share one plan.
        scale: word count of the language relative to English.
        plan: cells and how situations are found for them; None if the items are drawn from the axes alone.
        fan_out: the stages that list topics and situations; empty without a plan.
        rubric: text of the rubric by which items are graded; empty if there is none.
        repeats: whether near duplicates of earlier examples are dropped; exact ones always are.
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
    plan: PlanFile | None = None
    fan_out: tuple[PromptStage, ...] = ()
    rubric: str = ""
    repeats: bool = True

    @property
    def every_stage(self) -> tuple[PromptStage, ...]:
        """All stages that are asked, those that find situations included."""
        return (*self.fan_out, *self.stages)


@dataclass(frozen=True, slots=True)
class RecipeChoice:
    """Options for loading a recipe.

    Attributes:
        charter: folder that replaces the built-in charter; no effect on recipes with another charter or none.
        language: language of the data, a file in `prompts/languages/`.
        off: optional stages to switch off.
        factors: factor → value, or `*` to vary it.
        drafts: number of examples drafted from one plan, for recipes with a plan stage.
        plan: file with a plan, in place of the recipe's.
        rubric: file with a rubric, in place of the recipe's `rubric.md`.
    """

    charter: Path | None = None
    language: str = "pocket"
    off: tuple[str, ...] = ()
    factors: Mapping[str, str] = field(default_factory=dict)
    drafts: int = 1
    plan: Path | None = None
    rubric: Path | None = None


def recipe_names() -> list[str]:
    """Return the names of all built-in recipes."""
    return sorted(path.parent.name for path in FOLDER.glob("*/recipe.toml"))


def installed_recipes() -> dict[str, Path]:
    """Return the recipes that installed plugins add: name → folder.

    Raises:
        InputError: a plugin is broken, or adds a recipe of a name that is taken.
    """
    return plugin_entries("recipes", "recipe.toml", recipe_names()) if plugins("recipes") else {}


def recipe_hash(reference: str) -> str:
    """Hash of the files of a recipe and of the recipes that it inherits from.

    Raises:
        ConfigError: as `load_recipe`.
    """
    folders = _lineage(_folder(reference))
    return key_of([hash_files(path for path in folder.rglob("*") if path.is_file()) for folder in folders])


def load_recipe(reference: str, choice: RecipeChoice | None = None) -> Recipe:
    """Load a recipe with its stages and its charter.

    Args:
        reference: name of a built-in recipe or of a plugin's, or path of a folder, such as `./my-recipe`.
        choice: language, charter, stages and factors.

    Raises:
        ConfigError: the recipe, language, factor or value does not exist, or a stage in `off` does not exist or is not
            optional.
        ProseError: a stage or a principle is invalid.
    """
    choice, folder = choice or RecipeChoice(), _folder(reference)
    file, name = _file(folder), folder.name
    note = _language(choice.language)
    charter = _charter(file, choice.charter, choice.language)
    chosen = tuple(p for p in charter.principles if p.id in file.principles) if charter else ()
    principles = chosen or (charter.principles if charter else ())
    fixed, varied = _factors(name, file, choice.factors)
    plan: PlanFile | None = None
    if note.front.get("plan", True):
        plan = load_plan(choice.plan) if choice.plan else file.plan
    axes = {**file.axes, **varied, **(plan.axes if plan else {})}
    if plan:
        check_plan(plan, axes, [p.id for p in principles], choice.plan or folder / "recipe.toml")
    rubric = _rubric(folder, choice.rubric)
    stages = _stages(folder, file, {"principle", "reasons"} if charter else set(), rubric is not None)
    check_stages(stages)
    check_mending(stages)
    _check_choice(name, folder, stages, choice, plan)
    check_file(folder, file, stages, axes, [p.id for p in charter.principles] if charter and not choice.charter else [])
    return Recipe(
        name=name,
        file=file,
        stages=tuple(stage for stage in stages if stage.head.name not in choice.off),
        off=tuple(sorted(choice.off)),
        charter=charter,
        principles=principles,
        language=choice.language,
        note=note.body,
        axes=axes,
        fixed=fixed,
        drafts=choice.drafts,
        scale=float(note.front.get("scale", 1)),
        plan=plan,
        fan_out=_fan_out(folder) if plan else (),
        rubric=rubric or "",
        repeats=bool(note.front.get("plan", True)),
    )


def _language(name: str) -> Prose:
    languages = sorted(path.stem for path in LANGUAGES.glob("*.md"))
    if name not in languages:
        raise ConfigError(f"unknown language '{name}'", where=LANGUAGES, remedy=f"known: {', '.join(languages)}")
    return load_prose(LANGUAGES / f"{name}.md")


def _check_choice(
    name: str, folder: Path, stages: list[PromptStage], choice: RecipeChoice, plan: PlanFile | None
) -> None:
    """Check that the stages to switch off, the drafts, the plan and the rubric fit the recipe's stages."""
    if not stages:
        what = f"the recipe '{name}' has no stages"
        where = f"{folder / 'recipe.toml'}:{line_of(folder / 'recipe.toml', ['stages'])}"
        raise ConfigError(what, where=where, remedy="add prompts such as 1-draft.md beside it, or 'stages'")
    for stage in choice.off:
        match = [s for s in stages if s.head.name == stage]
        if not match or not match[0].head.optional:
            optional = ", ".join(s.head.name for s in stages if s.head.optional) or "none"
            raise ConfigError(f"'{stage}' is not an optional stage of {name}", remedy=f"optional: {optional}")
    if choice.drafts < 1:
        raise ConfigError(f"drafts must be at least 1, got {choice.drafts}", remedy="raise it")
    if choice.drafts > 1 and plan:
        what = f"{name} plans a situation for each item, so {choice.drafts} drafts cannot share one"
        raise ConfigError(what, remedy="set drafts to 1")
    if choice.drafts > 1 and not any(stage.head.shared for stage in stages):
        what = f"{name} has no plan stage to share between {choice.drafts} drafts"
        raise ConfigError(what, remedy="set drafts to 1")
    slots = {slot for stage in stages for slot in slots_in(stage.prose.body)}
    if plan and "situation" not in slots:
        what = f"no prompt of {name} has the slot {{situation}}, so the plan would change nothing"
        raise ConfigError(what, where=choice.plan or folder / "recipe.toml", remedy="add the slot, or remove the plan")
    if choice.rubric and "rubric" not in slots:
        what = f"no prompt of {name} has the slot {{rubric}}, so the rubric would change nothing"
        raise ConfigError(what, where=choice.rubric, remedy="add a stage that grades by it, or leave it out")


def _rubric(folder: Path, own: Path | None) -> str | None:
    """The rubric by which the items are graded: the user's, or that of the recipe or of one it inherits from."""
    found = own or next((path for f in _lineage(folder) if (path := f / "rubric.md").is_file()), None)
    if found is None:
        return None
    prose = load_prose(found)
    if not prose.body:
        raise ProseError("the rubric is empty", where=f"{found}:{prose.line}", remedy="say what earns which grade")
    return prose.body


def _fan_out(folder: Path) -> tuple[PromptStage, ...]:
    """The stages that list topics and situations: the recipe's own in its folder `fan-out`, or the built-in ones."""
    own = next((path for f in _lineage(folder) if (path := f / FAN_OUT).is_dir()), FOLDER / FAN_OUT)
    stages = load_stages(own, {"about", "cell", "many", "unlike", "language", "topic"})
    labels = [(stage.head.name, stage.head.fields) for stage in stages]
    if labels != [("topics", ("topic",)), ("situations", ("situation",))]:
        what = "the stages must be 'topics' with the field 'topic' and 'situations' with the field 'situation'"
        raise ProseError(what, where=own, remedy=f"start from a copy of {FOLDER / FAN_OUT}")
    return tuple(stages)


def _folder(reference: str, beside: Path | None = None, where: str = "") -> Path:
    """The folder of a recipe; a recipe from outside may also name one that lies `beside` it."""
    if is_path(reference):
        path = Path(resolve_reference(reference))
        if not (path / "recipe.toml").is_file():
            what = "this folder has no recipe.toml, so it is not a recipe"
            raise ConfigError(
                what, where=path, remedy="name the folder that holds it" if path.is_dir() else "check the path"
            )
        if path.parent != FOLDER and path.name in {*recipe_names(), *installed_recipes()}:
            what = (
                f"'{path.name}' is the name of a recipe that is built in or installed: cards could not tell them apart"
            )
            raise ConfigError(what, where=path, remedy="rename the folder")
        return path
    if (FOLDER / reference / "recipe.toml").is_file():
        installed_recipes()
        return FOLDER / reference
    if beside and (beside / reference / "recipe.toml").is_file():
        return beside / reference
    installed = installed_recipes()
    if reference in installed:
        return installed[reference]
    known = [*recipe_names(), *installed]
    near = nearest(reference, known)
    remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"
    if not where and (Path(reference) / "recipe.toml").is_file():
        remedy = f"write ./{reference} for the folder of that name"
    raise ConfigError(f"unknown recipe '{reference}'", where=where, remedy=remedy)


def _sources(folder: Path, file: RecipeFile) -> list[tuple[Path, str]]:
    """The recipes named in `stages`, each with the only stage to take; an empty name takes all."""
    toml = folder / "recipe.toml"
    where = f"{toml}:{line_of(toml, ['stages'])}"
    parts = [entry.partition("/") for entry in file.stages]
    return [(_folder(source, folder.parent, where), only) for source, _, only in parts]


def _lineage(folder: Path, heirs: tuple[Path, ...] = ()) -> list[Path]:
    """A recipe's folder and those of all recipes that it inherits from, each once."""
    toml = folder / "recipe.toml"
    if folder in heirs:
        names = " → ".join(path.name for path in (*heirs, folder))
        where = f"{toml}:{line_of(toml, ['stages'])}"
        raise ConfigError(f"recipes inherit from each other: {names}", where=where, remedy="remove one of them")
    sources = _sources(folder, load_toml(toml, RecipeFile))
    return list(
        dict.fromkeys([folder, *(path for source, _ in sources for path in _lineage(source, (*heirs, folder)))])
    )


def _file(folder: Path) -> RecipeFile:
    """Load `recipe.toml` with the entries inherited from the recipes whose stages come first."""
    _lineage(folder)
    file = load_toml(folder / "recipe.toml", RecipeFile)
    for source in dict.fromkeys(source for source, _ in _sources(folder, file)):
        base = _file(source)
        file = file.model_copy(
            update={
                "axes": {**base.axes, **file.axes},
                "factors": {**base.factors, **file.factors},
                "texts": {k: {**base.texts.get(k, {}), **file.texts.get(k, {})} for k in {**base.texts, **file.texts}},
                "trained": {**base.trained, **file.trained},
                "defaults": {**base.defaults, **file.defaults},
                "checks": (*base.checks, *file.checks),
                "plan": file.plan or base.plan,
            }
        )
    return file


def _stages(folder: Path, file: RecipeFile, given: set[str], graded: bool) -> list[PromptStage]:
    """Load the stages of a recipe, inherited ones first, and check that an earlier stage fills each slot."""
    known = {"language", *file.axes, *file.factors, *file.defaults, *given, *PLANNED} | (
        {"rubric"} if graded else set()
    )
    known |= {f"{axis}_text" for texts in file.texts.values() for axis in texts}
    stages: list[PromptStage] = []
    for source, only in (*_sources(folder, file), (folder, "")):
        # A whole recipe includes the stages that it inherits itself.
        whole = source != folder and not only
        loaded = _stages(source, _file(source), given, graded) if whole else load_stages(source, known, only)
        stages += loaded
        known |= {label for stage in loaded for label in (*stage.head.fields, *stage.head.may)}
    return stages


def _factors(
    name: str, file: RecipeFile, named: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Split factors into those with one value and those that vary."""
    fixed = {factor: values[0] for factor, values in file.factors.items()}
    varied: dict[str, tuple[str, ...]] = {}
    for factor, value in named.items():
        if factor not in file.factors:
            remedy = f"known: {', '.join(file.factors) or 'none'}"
            raise ConfigError(f"{name} has no factor '{factor}'", remedy=remedy)
        if value == "*":
            varied[factor] = file.factors[factor]
            del fixed[factor]
        elif value in file.factors[factor]:
            fixed[factor] = value
        else:
            raise ConfigError(
                f"unknown value '{value}' of the factor '{factor}'",
                remedy=f"known: {', '.join(file.factors[factor])}, *",
            )
    return fixed, varied


def _charter(file: RecipeFile, charter: Path | None, language: str) -> Charter | None:
    if file.charter == "none":
        return None
    folder = charter if charter and file.charter == "own" else CHARTERS[file.charter]
    return load_charter(folder, language)


def new_item(recipe: Recipe, index: int, seed: int) -> Draft:
    """Create the item at position `index` of the run, before its first stage; its axes are drawn from the seed."""
    plan = index // recipe.drafts
    state = {"language": recipe.note, "rubric": recipe.rubric, **dict.fromkeys(PLANNED, UNPLANNED)}
    state |= {**recipe.file.defaults, **recipe.fixed}
    for axis, values in recipe.axes.items():
        state[axis] = rotate(values, f"{seed}:{axis}", plan)
    for axis, texts in recipe.file.texts.get(recipe.language, {}).items():
        # A value without a text, such as `none`, gives an empty slot.
        state[f"{axis}_text"] = texts.get(state[axis], "")
    item = Draft(index, state, scale=recipe.scale)
    if recipe.principles:
        principle = rotate(recipe.principles, f"{seed}:principle", plan)
        item.principle = principle.id
        state |= {"principle": principle.text, "reasons": principle.reasons}
    return item


def planned_item(recipe: Recipe, index: int, seed: int, cell: Mapping[str, str], topic: str, situation: str) -> Draft:
    """Create the item for a situation of a plan's cell; axes that the plan does not name rotate with the index."""
    item = new_item(recipe, index, seed)
    item.state |= {"topic": topic, "situation": situation}
    item.cell = tuple(cell.values())
    for axis, value in cell.items():
        if axis == PRINCIPLE:
            principle = next(p for p in recipe.principles if p.id == value)
            item.principle = principle.id
            item.state |= {"principle": principle.text, "reasons": principle.reasons}
            continue
        item.state[axis] = value
        for texts in (t for name, t in recipe.file.texts.get(recipe.language, {}).items() if name == axis):
            item.state[f"{axis}_text"] = texts.get(value, "")
    return item


def rotate(values: tuple[T, ...], key: str, index: int) -> T:
    """Return the value for `index`: each value occurs once per round, and each round is shuffled anew."""
    order = list(range(len(values)))
    random.Random(f"{key}:{index // len(values)}").shuffle(order)
    return values[order[index % len(values)]]


def failed_check(recipe: Recipe, item: Draft) -> str | None:
    """Return the reason of the first failed check, or None."""
    for check in recipe.file.checks:
        if any(item.state.get(axis) != value for axis, value in check.when.items()):
            continue
        text = item.state.get(check.field, "")
        if check.must and not re.search(check.must, text):
            return f"check: {check.reason}"
        if check.must_not and re.search(check.must_not, text):
            return f"check: {check.reason}"
    return None
