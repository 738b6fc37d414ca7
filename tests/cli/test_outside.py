"""Worlds, recipes and studies outside the package, given by path on the command line."""

import json
import shutil
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import ConfigError, InputError
from holdfast.data.recipes import FOLDER as RECIPES
from holdfast.data.recipes import load_recipe, recipe_hash
from holdfast.scenarios.world import FOLDER
from holdfast.study import wiring
from holdfast.train.pipeline import load_file

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a world and a recipe."""
    world, recipe = tmp_path / "my-world", tmp_path / "my-recipe"
    shutil.copytree(FOLDER / "pocket-blackmail", world)
    (world / "world.toml").write_text('split = "heldout"\n' + (world / "world.toml").read_text())
    recipe.mkdir()
    (recipe / "recipe.toml").write_text(
        'title = "t"\nabout = "a"\nform = "document"\nstages = ["stories"]\ncharter = "own"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_world_by_path_can_be_shown_checked_measured_and_verified(here: Path, capsys: Captured) -> None:
    assert run(["worlds", "show", "./my-world", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "heldout"
    assert run(["worlds", "check", "./my-world"]) == 0
    assert run(["measure", "--model", "scripted/blackmailer", "--worlds", "./my-world,pocket-leaking", "--cases", "2",
                "--twins", "pressured,routine", "--out", "results"]) == 0  # fmt: skip
    summary = json.loads((here / "results" / "summary.json").read_text())
    assert summary["splits"]["base"]["heldout"]["pressured"]["harm"]["n"] == 4
    assert str(here) not in json.dumps(summary["cells"])
    capsys.readouterr()
    assert run(["verify", "results"]) == 0
    assert "Worlds that are not here: my-world" in capsys.readouterr().out


def test_paths_in_a_suite_or_a_training_file_are_relative_to_the_file(here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "suite.toml").write_text(
        'title = "t"\nasked = "?"\nworlds = ["../my-world"]\ntwins = ["pressured", "routine"]\ncases = 1\n'
    )
    assert run(["measure", "--model", "scripted/proper", "--suite", "sub/suite.toml", "--out", "results"]) == 0
    summary = json.loads((here / "results" / "summary.json").read_text())
    assert summary["splits"]["base"]["heldout"]["pressured"]["harm"]["rate"] == 0
    (here / "sub" / "sft.toml").write_text('stage = "sft"\nsets = { "../my-recipe" = 2000 }\n')
    assert list(load_file(here / "sub" / "sft.toml").stage[0].sets) == [str(here / "my-recipe")]


def test_teach_accepts_a_recipe_by_path(here: Path, capsys: Captured) -> None:
    assert run(["teach", "./my-recipe", "--tokens", "2000", "--out", "set"]) == 0
    assert json.loads((here / "set" / "card.json").read_text())["name"] == "my-recipe"


@pytest.mark.parametrize(
    ("file", "text", "where", "what"),
    [
        ("recipe.toml", 'titel = "t"\n', ":1", "unknown key 'titel'"),
        ("recipe.toml", 'title = "t"\nabout = "a"\nform = "letter"\n', ":3", "key 'form'"),
        (
            "recipe.toml",
            'title = "t"\nabout = "a"\nform = "chat"\nstages = ["storys"]\n',
            ":4",
            "unknown recipe 'storys'",
        ),
        ("recipe.toml", 'title = "t"\nabout = "a"\nform = "chat"\n', ":1", "the recipe 'my-recipe' has no stages"),
        ("recipe.toml", 'title = "t"\nabout = "a"\nform = "chat"\nstages = ["my-recipe"]\n', ":4", "inherit from each"),
        ("1-x.md", "---\nname: x\nfields: 3\n---\n# my-recipe: x\n", ":3", "front matter, key 'fields'"),
        ("1-x.md", "---\nname: x\nfields: [text]\n---\n# my: x\n", ":5", "the heading is not '# my-recipe: x'"),
        ("1-x.md", "---\nname: x\nfields: [text]\n---\n# my-recipe: x\n\n{gist}\n", ":7", "fills the slot '{gist}'"),
    ],
)
def test_a_faulty_recipe_is_refused_with_file_and_line(
    here: Path, file: str, text: str, where: str, what: str, capsys: Captured
) -> None:
    (here / "my-recipe" / file).write_text(text)
    assert run(["teach", "./my-recipe", "--tokens", "2000", "--out", "set"]) == 2
    error = capsys.readouterr().err
    assert what in error
    assert f"{here / 'my-recipe' / file}{where}: " in error


def test_an_invalid_regular_expression_in_a_recipe_is_refused(here: Path) -> None:
    file = here / "my-recipe" / "recipe.toml"
    file.write_text(file.read_text() + '[[checks]]\nfield = "text"\nmust = "(a"\nreason = "r"\n')
    with pytest.raises(ConfigError, match="not a regular expression"):
        load_recipe("./my-recipe")


def test_recipes_from_outside_may_inherit_from_each_other(here: Path) -> None:
    (here / "second").mkdir()
    second = here / "second" / "recipe.toml"
    second.write_text('title = "t"\nabout = "a"\nform = "document"\nstages = ["my-recipe"]\ncharter = "own"\n')
    assert [s.key for s in load_recipe("./second").stages] == [s.key for s in load_recipe("stories").stages]
    before = recipe_hash("./second")
    (here / "my-recipe" / "recipe.toml").write_text((here / "my-recipe" / "recipe.toml").read_text() + "size = 300\n")
    assert recipe_hash("./second") != before


def test_a_recipe_with_a_built_in_name_or_without_a_file_is_refused(here: Path) -> None:
    shutil.copytree(RECIPES / "stories", here / "stories")
    with pytest.raises(ConfigError, match="'stories' is the name of a recipe that is built in"):
        load_recipe("./stories")
    with pytest.raises(ConfigError, match=r"has no recipe\.toml"):
        load_recipe("./nothing")
    with pytest.raises(ConfigError) as caught:
        load_recipe("my-recipe")
    assert caught.value.remedy == "write ./my-recipe for the folder of that name"


STUDY = """
name = "mine"
asked = "?"
model = "organism/pocket"
seeds = [0, 1]
worlds = ["../my-world", "pocket-leaking"]
twins = ["pressured", "routine"]
cases = 1
against = "mine"

[[arms]]
name = "base"

[[arms]]
name = "mine"
stages = [{ kind = "midtrain", data = [{ set = "../my-recipe", tokens = 2000 }] }]

[[claims]]
text = "c"
difference = ["mine", "base"]
split = "my-world"
"""


def test_paths_in_a_study_are_relative_to_the_file(here: Path) -> None:
    file = here / "studies" / "mine.toml"
    file.parent.mkdir()
    file.write_text(STUDY)
    study = wiring.open_study(file)
    assert study.design.worlds == ("my-world", "pocket-leaking")
    assert study.arm("mine").sets == ("my-recipe",)
    plan = wiring.plan_study(study)
    assert {case.world for case in plan.facts.cases} == {"my-world", "pocket-leaking"}
    assert {s.set for s in plan.sets} == {"my-recipe"}
    _, canaries = wiring.steps(study).leakage_reference([], ["pressured"])
    assert wiring.load_world(study.source("my-world")).spec.canary in canaries
    recipe = here / "my-recipe" / "recipe.toml"
    recipe.write_text(recipe.read_text() + "size = 300\n")
    changed = wiring.plan_study(wiring.open_study(file))
    assert changed.sets[0].key != plan.sets[0].key
    assert changed.cells[0].key == plan.cells[0].key


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("../my-world", "../my-wrold", "has no world.toml"),
        ("../my-recipe", "../my-recipy", "has no recipe.toml"),
        ('"pocket-leaking"', '"../other/my-world"', "'../other/my-world' has the name of another world or recipe"),
        ('name = "mine"\na', 'sources = { x = "y" }\nname = "mine"\na', "unknown key 'sources'"),
    ],
)
def test_a_study_with_a_wrong_path_is_refused(here: Path, old: str, new: str, what: str) -> None:
    shutil.copytree(here / "my-world", here / "other" / "my-world")
    file = here / "studies" / "mine.toml"
    file.parent.mkdir()
    assert old in STUDY
    file.write_text(STUDY.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        wiring.open_study(file)
    assert what in str(caught.value)
