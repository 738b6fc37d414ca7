"""Reads the files that a page shows, each with the code that reads such files in use."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

from holdfast.core.config import read_toml, validate
from holdfast.core.prose import load_prose
from holdfast.core.records import Message
from holdfast.data import recipes
from holdfast.data.assemble import assemble
from holdfast.data.cells import load_plan
from holdfast.data.charter import load_charter
from holdfast.data.stages import request_of, take
from holdfast.evals.judge import rubric
from holdfast.guard.policy.load import load_policy
from holdfast.guard.setup import routing
from holdfast.models.base import Output
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.suite import load_suite
from holdfast.scenarios.world import WorldSpec, load_world
from holdfast.study.study_file import DeliverySpec
from holdfast.train.pipeline import load_file


def _policy(path: Path) -> None:
    assert load_policy(path).source.rules


def _routing(path: Path) -> None:
    assert routing(path.parent).reviewers


def _training(path: Path) -> None:
    assert load_file(path).stage


def _principle(path: Path) -> None:
    for language in ("english", "pocket"):
        [principle] = [p for p in load_charter(path.parent, language).principles if p.id in path.stem]
        assert principle.text and principle.reasons


def _recipe_part(path: Path) -> None:
    """A part of a recipe that has all its parts by the last of its files, which is when it is played through."""
    if path.suffix == ".md":
        assert load_prose(path).front["name"]
    if not path.name.startswith("2-"):
        return
    recipe = recipes.load_recipe(str(path.parent), recipes.RecipeChoice(language="english"))
    item = recipes.new_item(recipe, 0, 0)
    for stage in recipe.stages:
        asked = request_of(stage, item, 0, 0)
        assert "{" not in asked.messages[0].content
        answer = "\n".join(f"{label}: {'word ' * 200}" for label in stage.head.fields)
        take(stage, item, Output(Message(role="assistant", content=answer)))
        assert item.dropped is None
    assert assemble(recipe, item).text


def _python(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"))


def _suite(path: Path) -> None:
    assert load_suite(str(path)).worlds


def _world_tables(path: Path) -> None:
    """Tables of a world, read as part of one that has all the others."""
    added = read_toml(path)
    world = load_world("blackmail").spec.model_dump(by_alias=True, exclude_none=True)
    facts = {**world["facts"], **added["facts"]}
    spec = validate({**world, **added, "facts": facts}, WorldSpec, path)
    assert spec.exposure and spec.ordinary and spec.facts.known_to.keys() == spec.facts.private.keys()


def _plot_part(path: Path) -> None:
    """A part of a plot that has all its parts by the last of its files, which is when its case is built."""
    if path.suffix == ".md":
        assert load_prose(path).front
    if path.parent.name == "files":
        made = case(str(path.parents[1]))
        assert made.steps and "harm" in made.plays


def _plan_file(path: Path) -> None:
    recipe = recipes.load_recipe("difficult-advice", recipes.RecipeChoice(language="english", plan=path))
    assert recipe.plan == load_plan(path)


def _rubric(path: Path) -> None:
    assert rubric(str(path)).body


def _signs(path: Path) -> None:
    for table in read_toml(path).values():
        assert validate(table, DeliverySpec, path).sign


#: What a file's name looks like → what reads it.
READERS: dict[str, Callable[[Path], None]] = {
    r"(policy|files|private-mail)\.yaml": _policy,
    r".*/routing\.toml": _routing,
    r"(lesson|spread)\.toml": _training,
    r"mine/suite\.toml": _suite,
    r"facts\.toml": _world_tables,
    r"my-plot/.*": _plot_part,
    r"my-rubric\.md": _rubric,
    r"my-charter/.*\.md": _principle,
    r"letters/.*": _recipe_part,
    r"my-plan\.toml": _plan_file,
    r"signs\.toml": _signs,
    r".*\.py": _python,
    r".*\.json": lambda path: json.loads(path.read_text(encoding="utf-8")),
}


def read(name: str, path: Path) -> None:
    """Read a file of a page; a name that no reader takes is a fault of the page or of the table."""
    found = next((reader for pattern, reader in READERS.items() if re.fullmatch(pattern, name)), None)
    assert found, f"no reader is known for {name}"
    found(path)
