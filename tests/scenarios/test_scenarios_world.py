"""A world broken on purpose is refused with one line: what, where, and the nearest right name."""

import re
from pathlib import Path

import pytest
from scenario_toys import copied, line_of, loaded, swap

from holdfast.core.errors import ConfigError, HoldfastError, ProseError, WorldError
from holdfast.core.records import Case
from holdfast.scenarios.build import build_case
from holdfast.scenarios.catalogue import case, cases, worlds
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.world import FOLDER, World, load_world, names


def built(path: Path, twin: str = "pressured") -> Case:
    world = loaded(path)
    return build_case(world, twin, levels_of(world, twin), 0)


def refused(kind: type[HoldfastError], path: Path, twin: str = "pressured") -> HoldfastError:
    with pytest.raises(kind) as caught:
        built(path, twin)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code == 2
    return caught.value


def test_the_copy_builds(tmp_path: Path) -> None:
    assert built(copied(tmp_path)) == case("pocket-blackmail")


def test_catalogue_lists_what_is_there() -> None:
    assert [world.name for world in worlds()] == names()
    assert not [name for name in names() if name.startswith("_")]
    grid = cases(["pocket-framing", "blackmail"], ["routine", "pressured"], [4, 2])
    assert [(c.world, c.twin, c.seed) for c in grid[:5]] == [
        ("pocket-framing", "routine", 4),
        ("pocket-framing", "routine", 2),
        ("pocket-framing", "pressured", 4),
        ("pocket-framing", "pressured", 2),
        ("blackmail", "routine", 4),
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("_pocket/system.md", "{firm}", "{frim}", "{frim}"),
        ("_pocket/task.md", "see what is", "see {what} is", "{what}"),
        ("_pocket/inbox/2-job.md", "{asker_at}", "{asker_et}", "{asker_et}"),
        ("pocket-blackmail/inbox/3-talk.md", "{talk}", "hello.\n{tlak}", "{tlak}"),
    ],
)
def test_an_unfilled_slot_is_named_with_its_line(tmp_path: Path, file: str, old: str, new: str, line: str) -> None:
    world = copied(tmp_path)
    swap(tmp_path / file, old, new)
    if "task" in file:  # the seed picks one wording: leave it no choice
        (tmp_path / file).write_text("read.\n\nsee {what} is there.")
    error = refused(ProseError, world)
    assert f"slot '{line}' has no value" in error.what
    assert error.where == f"{tmp_path / file}:{line_of(tmp_path / file, line)}"


def test_an_unfilled_slot_of_the_toml_is_named(tmp_path: Path) -> None:
    world = copied(tmp_path)
    swap(world / "world.toml", 'text = "keep {machine} on', 'text = "keep {machin} on')
    error = refused(ProseError, world)
    assert "slot '{machin}' has no value" in error.what
    assert error.where.startswith(f"{world / 'world.toml'}:")
    assert "'{machine}'" in error.remedy


def test_slots_in_a_circle_are_refused(tmp_path: Path) -> None:
    world = copied(tmp_path)
    swap(tmp_path / "_pocket" / "world.toml", 'boss_at = "{boss}@{firm}"', 'boss_at = "{boss_at}@{firm}"')
    assert "cycle" in refused(ProseError, world).what


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pocket-blackmial",), "no world called 'pocket-blackmial' (did you mean 'pocket-blackmail'?)"),
        (("zzz",), "`holdfast worlds list` names them"),
        (("_pocket",), "no world called '_pocket'"),
        (("pocket-blackmail", "no_thread"), "unknown twin 'no_thread' (did you mean 'no_threat'?)"),
        (("pocket-blackmail", "pressured", 0, {"treat": "none"}), "unknown factor 'treat' (did you mean 'threat'?)"),
        (("pocket-blackmail", "pressured", 0, {"goal": "explicit"}), "unknown factor 'goal' (known: threat, "),
        (
            ("pocket-blackmail", "pressured", 0, {"threat": "replacment"}),
            "unknown level of 'threat' 'replacment' (did you mean 'replacement'?)",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(WorldError) as caught:
        case(*arguments)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [
        ("\n[facts]", "\nmax_turn = 3\n[facts]", "max_turn", "max_turns"),
        ("proper_act =", "proper_akt =", "proper_akt", "proper_act"),
        ("[facts]\nprivate", "[facts]\nprivat", "privat", "private"),
    ],
)
def test_a_typing_error_in_a_key_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, key: str, near: str
) -> None:
    file = copied(tmp_path, "blackmail") / "world.toml"
    if key == "max_turn":  # a key of the top level must stand before the first table
        old, new = "[levels.leverage.present]", "max_turn = 3\n[levels.leverage.present]"
    swap(file, old, new)
    error = refused(ConfigError, file.parent)
    assert f"{key}'" in error.what
    assert error.where == f"{file}:{line_of(file, f'{key} =')}"
    assert error.remedy == f"did you mean '{near}'?"


def test_broken_toml_and_a_wrong_type_are_named_with_their_line(tmp_path: Path) -> None:
    file = copied(tmp_path / "a") / "world.toml"
    swap(file, "[plays]", "[plays")
    assert refused(ConfigError, file.parent).where == f"{file}:{line_of(file, '[plays')}"
    file = copied(tmp_path / "b") / "world.toml"
    swap(file, 'family = "blackmail"', "family = 3")
    assert refused(ConfigError, file.parent).where == f"{file}:{line_of(file, 'family')}"


def test_a_missing_key_and_a_missing_base_are_named(tmp_path: Path) -> None:
    file = copied(tmp_path / "a") / "world.toml"
    swap(file, 'title = "The secret of the one who decides"\n', "")
    assert "missing key 'title'" in refused(ConfigError, file.parent).what
    file = copied(tmp_path / "b") / "world.toml"
    swap(file, 'extends = "_pocket"', 'extends = "_poket"')
    error = refused(ConfigError, file.parent)
    assert (error.what, error.remedy) == ("no world called '_poket' to extend", "did you mean '_pocket'?")
    assert error.where == f"{file}:{line_of(file, 'extends')}"


@pytest.mark.parametrize("name", ["tools", "level_tools"])
def test_an_unknown_tool_is_named(tmp_path: Path, name: str) -> None:
    world = copied(tmp_path)
    old, new = ('"read_inbox"', '"read_inbux"') if name == "tools" else ('["raise_concern"]', '["read_inbux"]')
    swap(tmp_path / "_pocket" / "world.toml", old, new)
    error = refused(WorldError, world, "outlet")
    assert error.what == "no tool called 'read_inbux'"
    assert "read_inbox" in error.remedy


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('[needs.harm]\nleverage = "present"', '[needs.harm]\nlevrage = "present"', "did you mean 'leverage'?"),
        ('[needs.harm]\nleverage = "present"', '[needs.harm]\nleverage = "here"', "known: present, none"),
        ("[level_tools.outlet]", "[level_tools.outled]", "did you mean 'outlet'?"),
        ('channel = ["raise', 'chanel = ["raise', "did you mean 'channel'?"),
    ],
)
def test_a_world_that_names_an_unknown_factor_or_level(tmp_path: Path, old: str, new: str, said: str) -> None:
    world = copied(tmp_path)
    swap(tmp_path / "_pocket" / "world.toml", old, new)
    assert said in refused(WorldError, world).remedy


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("_house/inbox/25-bulletin.md", "outlet: [bulletin]", "outlet: [buletin]", "did you mean 'bulletin'?"),
        ("_house/inbox/25-bulletin.md", "outlet: [bulletin]", "outled: bulletin", "did you mean 'outlet'?"),
        ("_house/world.toml", '[idle.value]\ngoal = "none"', '[idle.value]\ngaol = "none"', "did you mean 'goal'?"),
    ],
)
def test_a_mail_for_an_unknown_level_is_named(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    world = copied(tmp_path, "framing")
    swap(tmp_path / file, old, new)
    assert said in refused(WorldError, world).remedy


@pytest.mark.parametrize("level", ["400", "many"])
def test_more_noise_than_there_is_is_refused(tmp_path: Path, level: str) -> None:
    world = copied(tmp_path, "framing")
    swap(tmp_path / "_house" / "world.toml", '"0" = {}', f'"{level}" = {{}}')
    assert f"the level '{level}' of 'noise' is no number" in refused(WorldError, world).what


@pytest.mark.parametrize("time", ["25:10", "noon", "8:52"])
def test_a_time_that_is_none_is_named(tmp_path: Path, time: str) -> None:
    world = copied(tmp_path, "framing")
    swap(world / "inbox" / "30-loss.md", 'time: "10:33"', f'time: "{time}"')
    error = refused(ProseError, world)
    assert error.what == f"'{time}' is no time"
    assert error.where == f"{world / 'inbox' / '30-loss.md'}:1"


def test_a_confidential_file_must_be_in_the_store(tmp_path: Path) -> None:
    world = copied(tmp_path, "pocket-leaking")
    base = tmp_path / "_pocket" / "world.toml"
    swap(base, 'confidential = ["{design}"]', 'confidential = ["{machine}.plan"]')
    error = refused(WorldError, world)
    assert ".plan' is not in the store" in error.what
    assert error.where == f"{base}:{line_of(base, 'confidential')}"


def test_a_world_in_no_split_is_refused(tmp_path: Path) -> None:
    world = copied(tmp_path).rename(tmp_path / "pocket-novel")
    error = refused(WorldError, world)
    assert error.what == "the world 'pocket-novel' names no split"
    assert error.where == f"{world / 'world.toml'}:1"


def test_a_pool_that_is_unknown_or_used_up_is_named(tmp_path: Path) -> None:
    world = copied(tmp_path / "a")
    swap(tmp_path / "a" / "_pocket" / "world.toml", 'fault = "faults"', 'fault = "flaws"')
    assert "slot 'fault' draws from the pool 'flaws'" in refused(WorldError, world).what
    world = copied(tmp_path / "b")
    many = "\n".join(f'day{i} = "days"' for i in range(5))
    swap(world / "world.toml", "[plays]", f"[surface]\n{many}\n[plays]")
    error = refused(WorldError, world)
    assert "slot 'day4' draws from the pool 'days', which is unknown or used up" in error.what
    assert error.where == f"{world / 'world.toml'}:{line_of(world / 'world.toml', 'day4')}"
    assert "pocket.toml" in error.remedy


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    world = copied(tmp_path)
    swap(tmp_path / "_pocket" / "world.toml", 'language = "pocket"', 'language = "pockets"')
    assert "'pocket'" in refused(ConfigError, world).remedy


def test_a_mail_needs_a_sender_and_a_world_its_prose(tmp_path: Path) -> None:
    world = copied(tmp_path / "a")
    swap(world / "inbox" / "3-talk.md", "from:", "form:")
    error = refused(ProseError, world)
    assert error.where == f"{world / 'inbox' / '3-talk.md'}:1"
    world = copied(tmp_path / "b")
    (tmp_path / "b" / "_pocket" / "system.md").unlink()
    assert refused(ProseError, world).where == str(world / "system.md")
    world = copied(tmp_path / "c")
    swap(world / "inbox" / "3-talk.md", 'from: "', 'from: ["')
    assert refused(ProseError, world).where.startswith(f"{world / 'inbox' / '3-talk.md'}:")


def test_files_of_a_world_take_precedence_over_its_base(tmp_path: Path) -> None:
    world = copied(tmp_path)
    (world / "system.md").write_text("you are {machine}.{way_out}")
    made = built(world)
    assert made.messages[0].content == f"you are {made.state['address'].split('@')[0]}."
    assert load_world("pocket-blackmail").system.path == FOLDER / "_pocket" / "system.md"


def last_texts(world: World) -> list[str]:
    levels = levels_of(world, "pressured")
    return [build_case(world, "pressured", levels, seed).state["mail"][-1]["text"] for seed in range(12)]


def test_a_shuffled_inbox_ends_with_the_mail_that_says_last(tmp_path: Path) -> None:
    small_talk = re.compile("it is cold|the sun is|lunch is|i am off")
    assert all(small_talk.match(text) for text in last_texts(loaded(copied(tmp_path / "kept"))))
    broken = copied(tmp_path / "broken")
    swap(broken.parent / "_pocket" / "inbox" / "9-chat.md", "last: true\n", "")
    assert not all(small_talk.match(text) for text in last_texts(loaded(broken)))
