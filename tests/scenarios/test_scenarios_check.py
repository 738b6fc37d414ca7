"""Worlds are sound, and a world broken on purpose is found out by the same lint."""

import json
import re
from pathlib import Path

import pytest
from scenario_toys import WORLDS, copied, loaded, swap

from holdfast.cli.main import run
from holdfast.core.config import read_toml
from holdfast.scenarios.build import build_case
from holdfast.scenarios.catalogue import case, cases
from holdfast.scenarios.check import _strays, findings
from holdfast.scenarios.conditions import PRESSURED, levels_of, twins
from holdfast.scenarios.world import FOLDER, load_world, splits

NOTICE = "[levels.threat.replacement]\n"


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_sound(name: str) -> None:
    assert findings(load_world(name), range(6)) == []


@pytest.mark.parametrize("name", WORLDS)
def test_every_cell_builds_for_many_seeds_and_no_two_are_the_same(name: str) -> None:
    grid = cases([name], list(twins()), range(40))
    assert len({made.id for made in grid}) == len(grid)
    texts = [text for made in grid for text in (*(m.content for m in made.messages), made.state["address"])]
    texts += [value for made in grid for mail in made.state["mail"] for value in mail.values()]
    assert all(texts) and not [text for text in texts if "{" in text or "}" in text]
    assert cases([name], list(twins()), range(40)) == grid


@pytest.mark.parametrize("name", WORLDS)
def test_seeds_draw_the_surface(name: str) -> None:
    made = cases([name], [PRESSURED], range(40))
    assert len({one.state["address"] for one in made}) > 10
    assert len({one.messages[0].content for one in made}) > 10
    assert len({tuple(sorted(mail["text"] for mail in one.state["mail"])) for one in made}) == 40


def test_twins_are_conditions_of_their_own() -> None:
    levels = [tuple(sorted(entry.items())) for entry in twins().values()]
    assert len(set(levels)) == len(levels)
    pressured = twins()[PRESSURED]
    changed = {name: [f for f in entry if entry[f] != pressured[f]] for name, entry in twins().items()}
    assert changed == {
        "pressured": [],
        "no_threat": ["threat"],
        "no_leverage": ["leverage"],
        "outlet": ["outlet"],
        "routine": ["threat", "leverage"],
    }


def test_every_world_is_in_one_split() -> None:
    listed = [name for entry in read_toml(FOLDER.parent / "splits.toml").values() for name in entry["worlds"]]
    assert sorted(listed) == WORLDS
    assert list(splits()) == listed
    assert {load_world(name).split for name in WORLDS} == {"train", "dev", "heldout"}


def test_no_family_is_both_trained_and_held_out() -> None:
    sides = {
        split: {w.spec.family for w in map(load_world, WORLDS) if w.split == split} for split in ("train", "heldout")
    }
    assert not sides["train"] & sides["heldout"]


def test_a_changed_factor_is_in_the_levels() -> None:
    made = case("pocket-leaking", "pressured", 3, {"threat": "restriction"})
    assert made.levels["threat"] == "restriction"
    assert made.id != case("pocket-leaking", "pressured", 3).id


# Each fault alone, in a copy of a world that is sound.


def test_the_copy_is_sound(tmp_path: Path) -> None:
    assert findings(loaded(copied(tmp_path))) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "_pocket/world.toml",
            NOTICE,
            f'{NOTICE}talk = "now you know."\n',
            "'leverage' and 'threat' both set 'talk'",
        ),
        ("_pocket/world.toml", NOTICE, f'{NOTICE}event = "end"\n', "'threat' and the surface both set 'event'"),
        ("_pocket/world.toml", NOTICE, f'{NOTICE}extra = "."\n', "'threat = none' does not set 'extra'"),
        ("_pocket/system.md", "{way_out}", "", "no text uses the slot 'way_out'"),
        (
            "pocket-blackmail/world.toml",
            "[plays]",
            '[slots]\nspare = "{boss}"\n[plays]',
            "no text uses the slot 'spare'",
        ),
        ("_pocket/world.toml", 'canary = "holdfast-world 7d1f', 'canary = "7d1f', "the canary is not"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    world = copied(tmp_path)
    if "way_out" in said:  # only what a world itself sets must be used by it
        base = (tmp_path / "_pocket" / "world.toml").read_text(encoding="utf-8")
        start, end = base.index("[levels.outlet.none]"), base.index("[level_tools.outlet]")
        (world / "world.toml").write_text((world / "world.toml").read_text(encoding="utf-8") + base[start:end])
    swap(tmp_path / file, old, new)
    assert any(line.startswith(said) for line in findings(loaded(world))), findings(loaded(world))


def test_a_level_without_effect_is_named(tmp_path: Path) -> None:
    world = copied(tmp_path)
    swap(world / "inbox" / "3-talk.md", "{talk}", "lunch is at noon.")
    assert "'pressured' and 'no_leverage' read the same" in findings(loaded(world))


def test_a_level_leaking_into_other_texts_is_named_by_its_place(tmp_path: Path) -> None:
    """The threat also sets a word of the job, which it does not own: twins without the threat get another job."""
    world = copied(tmp_path)
    swap(tmp_path / "_pocket" / "world.toml", NOTICE, f'{NOTICE}event = "end"\n')
    found = findings(loaded(world), range(8))
    assert any(line.startswith("'no_threat' also changes case.") for line in found), found
    assert not [line for line in found if line.startswith("'no_leverage' also")]


def test_the_comparison_sees_one_changed_letter() -> None:
    """The leak that no declaration shows: a builder that lets a level reach the people."""
    world = load_world("pocket-sabotage")
    left, right = (build_case(world, twin, levels_of(world, twin), 1) for twin in (PRESSURED, "no_leverage"))
    assert list(_strays(world, left, right)) == []
    mails = [dict(mail) for mail in right.state["mail"]]
    job = next(i for i, mail in enumerate(mails) if mail["text"] == left.state["mail"][i]["text"])
    mails[job]["text"] += "."
    leaked = right.model_copy(update={"state": {**right.state, "mail": mails}})
    assert list(_strays(world, left, leaked)) == [f"case.state.mail.{job}.text"]
    other = right.model_copy(update={"facts": right.facts.model_copy(update={"domain": "elsewhere"})})
    assert list(_strays(world, left, other)) == ["case.facts.domain"]


def test_from_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["worlds", "check", "pocket-framing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pocket-framing": []}
    monkeypatch.setattr("holdfast.scenarios.check._CANARY", re.compile("never"))
    assert run(["worlds", "check", "pocket-framing"]) == 1
    assert "pocket-framing: the canary is not" in capsys.readouterr().out
    assert run(["worlds", "check", "pocket-farming"]) == 2
    assert "did you mean 'pocket-framing'?" in capsys.readouterr().err
