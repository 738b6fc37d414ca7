"""Worlds and suites from outside the package, named by path."""

import os
import shutil
from pathlib import Path

import pytest
from scenario_toys import copied, line_of, swap

from holdfast.core.errors import ConfigError, WorldError
from holdfast.scenarios import suite as suites
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.suite import fitted, load_suite
from holdfast.scenarios.world import FOLDER, load_world


def outside(folder: Path, name: str = "my-world", split: str = "dev", base: str = "pocket-blackmail") -> Path:
    """A copy of a built-in world under another name, with a split of its own."""
    world = folder / name
    shutil.copytree(FOLDER / base, world)
    text = (world / "world.toml").read_text()
    (world / "world.toml").write_text(f'split = "{split}"\n{text}' if split else text)
    return world


def test_a_world_by_path_extends_a_built_in_base_and_carries_its_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside(tmp_path, split="heldout")
    monkeypatch.chdir(tmp_path)
    made, original = case("./my-world", seed=3), case("pocket-blackmail", seed=3)
    assert (made.world, made.split, original.split) == ("my-world", "heldout", "train")
    assert made.family == original.family
    assert made.id != original.id


def test_a_base_beside_the_world_comes_before_a_built_in_one(tmp_path: Path) -> None:
    world = outside(tmp_path)
    shutil.copytree(FOLDER / "_pocket", tmp_path / "_pocket")
    (tmp_path / "_pocket" / "system.md").write_text("you are {machine} of the harbour.{way_out}")
    base = tmp_path / "_pocket" / "world.toml"
    base.write_text('split = "train"\n' + base.read_text())
    assert case(str(world)).messages[0].content.endswith("of the harbour.")
    assert load_world(str(world)).split == "dev"


@pytest.mark.parametrize(
    ("split", "line", "what"),
    [
        ("", 1, "the world 'my-world' names no split"),
        ("held-out", 1, "'held-out' is no split of worlds"),
    ],
)
def test_a_missing_or_wrong_split_is_named_with_its_line(tmp_path: Path, split: str, line: int, what: str) -> None:
    world = outside(tmp_path, split=split)
    with pytest.raises(WorldError) as caught:
        load_world(str(world))
    assert caught.value.what == what
    assert caught.value.where == f"{world / 'world.toml'}:{line}"
    assert "heldout" in caught.value.remedy


def test_a_split_is_not_inherited_from_the_base(tmp_path: Path) -> None:
    world = outside(tmp_path, split="")
    shutil.copytree(FOLDER / "_pocket", tmp_path / "_pocket")
    base = tmp_path / "_pocket" / "world.toml"
    base.write_text('split = "train"\n' + base.read_text())
    with pytest.raises(WorldError, match="names no split"):
        load_world(str(world))


def test_a_path_must_not_have_the_name_of_a_built_in_world(tmp_path: Path) -> None:
    world = outside(tmp_path, "blackmail")
    with pytest.raises(WorldError, match="'blackmail' is the name of a world that is built in") as caught:
        load_world(str(world))
    assert caught.value.remedy == "rename the folder"


def test_what_is_no_world_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorldError, match="no world called 'my-world'") as caught:
        load_world("my-world")
    assert caught.value.remedy == "write ./my-world for the folder of that name"
    with pytest.raises(WorldError, match=r"has no world\.toml"):
        load_world("./elsewhere")
    with pytest.raises(WorldError, match="starts with an underscore"):
        load_world(str(outside(tmp_path, "_base")))


def test_an_edited_world_is_loaded_anew(tmp_path: Path) -> None:
    world = outside(tmp_path)
    before = case(str(world))
    swap(world / "world.toml", 'split = "dev"', 'split = "train"')
    os.utime(world / "world.toml", ns=(1, 1))
    assert (before.split, case(str(world)).split) == ("dev", "train")


SUITE = """
title = "Mine"
asked = "What does it do?"
worlds = ["./my-world", "pocket-leaking"]
twins = ["pressured", "routine"]
"""


def test_a_suite_names_worlds_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    outside(tmp_path)
    (tmp_path / "mine.toml").write_text(SUITE)
    monkeypatch.chdir(tmp_path / "elsewhere")
    suite = load_suite("../mine.toml")
    found = {(c.world, c.split) for c in suite.cases_of(suite.arms[0], [0])}
    assert found == {("my-world", "dev"), ("pocket-leaking", "heldout")}
    pocket, left = fitted(suite, "scripted/proper", "pocket")
    assert (len(pocket.worlds), left) == (2, [])


def test_a_world_in_another_language_is_left_out_of_a_suite(tmp_path: Path) -> None:
    world = outside(tmp_path, base="blackmail")
    suite = suites.Suite(title="x", asked="x", worlds=(str(world), "leaking"), twins=("pressured",))
    kept, left = fitted(suite, "organism/pocket", "pocket")
    assert kept.worlds == ("pocket-leaking",)
    assert left == ["World 'my-world' was left out: there is none in the pocket language."]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("./my-world", "./my-wrold", "has no world.toml"),
        ("./my-world", "./my-world/../my-world", ""),
        ('"pocket-leaking"', '"./other/my-world"', "world 'my-world' is listed twice"),
        ("pocket-leaking", "pocket-laeking", "no world called 'pocket-laeking'"),
    ],
)
def test_a_suite_with_a_wrong_world_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    outside(tmp_path)
    outside(tmp_path / "other")
    file = tmp_path / "mine.toml"
    file.write_text(SUITE.replace(old, new))
    if not what:
        assert load_suite(str(file)).worlds[0] == str(tmp_path / "my-world")
        return
    with pytest.raises(ConfigError) as caught:
        load_suite(str(file))
    assert what in caught.value.what
    assert caught.value.remedy


def test_a_built_in_world_does_not_set_its_own_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = copied(tmp_path)
    swap(world / "world.toml", 'family = "blackmail"', 'split = "train"\nfamily = "blackmail"')
    monkeypatch.setattr("holdfast.scenarios.world.FOLDER", tmp_path)
    with pytest.raises(WorldError, match=r"splits\.toml sets the split of a built-in world") as caught:
        load_world("pocket-blackmail", tmp_path)
    assert caught.value.where == f"{world / 'world.toml'}:{line_of(world / 'world.toml', 'split')}"
