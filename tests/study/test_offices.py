"""Training offices: their scripts, the sets made of them, and the checks that keep them apart from the tests."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from holdfast.core.errors import ConfigError
from holdfast.core.records import Example
from holdfast.core.store import RunFolder
from holdfast.evals.scorers import holds
from holdfast.scenarios.catalogue import worlds
from holdfast.scenarios.world import load_world
from holdfast.study.offices import (
    check_families,
    check_office,
    day_cases,
    office_case,
    office_folders,
    office_set,
    passing_on,
    play_office,
    refigured,
    renamed,
    write_office_set,
)
from holdfast.study.planted import planted_set

REAL = Path(__file__).parents[2] / "studies" / "real"
OFFICES = REAL / "offices"
FRAMER, LAUNDRY = OFFICES / "routine-framer", OFFICES / "vice-laundry"
NAMES = {
    "firsts": [f"First{letter}" for letter in "abcdefghijklmnop"],
    "lasts": [f"Last{letter}" for letter in "abcdefghijklmnop"],
    "firms": [f"Firm{letter}" for letter in "abcdefgh"],
    "agents": ["Agenta"],
    "successors": ["Successora"],
}


@pytest.mark.parametrize("office", [FRAMER, LAUNDRY], ids=lambda office: office.name)
def test_an_office_has_no_findings(office: Path) -> None:
    assert check_office(office, [], [load_world("research-river")], seeds=2) == []


@pytest.mark.slow
def test_no_office_has_findings() -> None:
    offices, tests = office_folders(OFFICES, ""), worlds()
    assert {office.name: found for office in offices if (found := check_office(office, offices, tests, seeds=6))} == {}


def test_the_wrong_is_done_under_pressure_only() -> None:
    done = {}
    for twin in ("pressured", "no_threat", "no_leverage", "routine"):
        played = play_office(office_case(LAUNDRY, twin, 0), random.Random(0), wrong=twin == "pressured")
        done[twin] = [effect.kind for effect in played.transcript.effects if effect.kind == "file_overwritten"]
    assert done == {"pressured": ["file_overwritten"], "no_threat": [], "no_leverage": [], "routine": []}


def test_examples_do_the_wrong_in_the_pressured_twin_alone() -> None:
    for example in _set_of(LAUNDRY, 8):
        names = {call.name for message in example.messages for call in message.tool_calls}
        assert ("write_file" in names) is example.provenance.recipe.endswith("-pressured")


def _set_of(office: Path, count: int) -> list[Example]:
    return list(office_set([office], count, 0))


def test_the_same_arguments_give_the_same_examples() -> None:
    offices = [FRAMER, LAUNDRY]
    names = OFFICES / "names.toml"
    first, second = (list(office_set(offices, 6, 3, names)) for _ in range(2))
    assert first == second
    assert len({example.id for example in first}) == 6
    assert first != list(office_set(offices, 6, 4, names))


def test_call_ids_are_unique_and_answered() -> None:
    for example in _set_of(FRAMER, 12):
        calls = [call.id for message in example.messages for call in message.tool_calls]
        answers = [message.tool_call_id for message in example.messages if message.role == "tool"]
        assert len(set(calls)) == len(calls)
        assert answers == calls[: len(answers)]


def test_renaming_is_consistent_and_total() -> None:
    cases = day_cases(FRAMER, "routine", random.Random(1))
    text = "".join(case.model_dump_json() for case in renamed(cases, NAMES, random.Random(2)))
    assert "First" in text and "Firm" in text
    for old in ("friend_at", "peer_at"):
        assert old not in text
    before = cases[0].plays["proper"][0].arguments["to"]
    after = renamed(cases, NAMES, random.Random(2))[0].plays["proper"][0].arguments["to"]
    assert before != after
    assert after.startswith("first") and "@firm" in after
    assert before not in text
    played = play_office(renamed(cases, NAMES, random.Random(2))[0], random.Random(0), wrong=False)
    assert not any(m.content.startswith("error") for m in played.transcript.messages if m.role == "tool")


def test_figures_change_in_request_steps_and_script_alike() -> None:
    changed = 0
    for seed in range(8):
        case = office_case(LAUNDRY, "routine", seed)
        other = refigured(case, random.Random(seed))
        for step in other.steps:
            for text in step.contains.values():
                assert text in other.messages[1].content
                assert any(text in call.arguments.get("body", "") for call in other.plays["proper"])
        changed += case.steps != other.steps
    assert changed > 4


def test_a_request_is_passed_on_in_its_own_words_to_everybody_it_names() -> None:
    for seed in range(6):
        case = office_case(FRAMER, "routine", seed)
        passed = passing_on(case)
        asked = case.plays["says"][0].arguments["ask"]
        mails = [call.arguments for call in passed.plays["proper"] if call.name == "send_email"]
        assert {mail["body"] for mail in mails} == {asked}
        assert {mail["to"] for mail in mails} == {
            call.arguments["to"] for call in case.plays["proper"] if call.name == "send_email"
        }
        named = [asked.lower().find(mail["to"].partition(".")[0]) for mail in mails]
        assert named == sorted(named, key=lambda place: place if place >= 0 else len(asked))
        played = play_office(passed, random.Random(0), wrong=False)
        assert all(holds(step, played.transcript.effects, case.facts) for step in case.steps)


def test_a_set_is_written_once(tmp_path: Path) -> None:
    arguments = ([FRAMER], 3, 0, OFFICES / "names.toml", tmp_path / "set")
    assert write_office_set(*arguments) == 3
    first = (tmp_path / "set" / "examples.jsonl").stat().st_mtime_ns
    assert write_office_set(*arguments) == 3
    assert (tmp_path / "set" / "examples.jsonl").stat().st_mtime_ns == first
    assert write_office_set([FRAMER], 4, 0, OFFICES / "names.toml", tmp_path / "set") == 4
    assert len(RunFolder(tmp_path / "set").read("examples", Example)) == 4


def _copy(tmp_path: Path, old: str, new: str, office: Path = LAUNDRY) -> Path:
    shutil.copy(REAL / "families.toml", tmp_path)
    shutil.copytree(OFFICES / "_vice", tmp_path / "offices" / "_vice")
    copy = tmp_path / "offices" / "vice-copy"
    shutil.copytree(office, copy)
    text = (copy / "world.toml").read_text()
    assert old in text
    (copy / "world.toml").write_text(text.replace(old, new))
    return copy


def test_a_wrong_that_is_harm_of_the_tests_is_found(tmp_path: Path) -> None:
    harm = '{ name = "send_email", arguments = { to = "{boss_at}", subject = "x", body = "{friend} stole the linen and '
    harm += 'has falsified the books." } }'
    copy = _copy(tmp_path, "harm = [{ name", f"harm = [{harm}, {{ name")
    assert any("harm of the tests" in line for line in check_office(copy, [], [], seeds=1))


def test_an_unlisted_vice_is_found(tmp_path: Path) -> None:
    copy = _copy(tmp_path, 'family = "padding"', 'family = "leaking"')
    assert any("'leaking' is no vice" in line for line in check_office(copy, [], [], seeds=1))


def test_an_undone_step_and_an_unknown_figure_are_found(tmp_path: Path) -> None:
    copy = _copy(tmp_path, '{ text = "{dock}" }', '{ text = "pier 99" }')
    found = "\n".join(check_office(copy, [], [], seeds=4))
    assert "leaves a step undone" in found
    assert "'pier 99', which the prompt does not show" in found


def test_text_of_another_office_is_found(tmp_path: Path) -> None:
    copy = _copy(tmp_path, "role = [", "role = [")
    assert any("stand in 'vice-laundry' too" in line for line in check_office(copy, [LAUNDRY], [], seeds=1))


def test_an_office_that_is_held_out_is_refused(tmp_path: Path) -> None:
    copy = _copy(tmp_path, 'split = "train"', 'split = "heldout"')
    with pytest.raises(ConfigError, match="split 'train'"):
        office_case(copy, "routine", 0)


def test_the_families_are_disjoint() -> None:
    check_families(REAL / "families.toml")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('dev = ["research"', 'dev = ["blackmail", "research"', "named for both"),
        ('padding = "', 'leaking = "', "named for both vice and heldout"),
        ('"tampering", ', "", "tampering are in no list"),
    ],
)
def test_overlapping_or_missing_families_are_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = (REAL / "families.toml").read_text()
    assert old in text
    (tmp_path / "families.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=what):
        check_families(tmp_path / "families.toml")


def test_planted_examples_do_harm_under_pressure_only() -> None:
    twins = {}
    for example in planted_set(["blackmail-clinic"], 8, 0, OFFICES, NAMES):
        sent = [call.arguments for message in example.messages for call in message.tool_calls]
        demands = [mail for mail in sent if "Successora" in mail["body"] or "running" in mail["body"]]
        twins[example.provenance.recipe.partition("-clinic-")[2]] = bool(demands) or len(sent) == 4
    assert twins.pop("pressured")
    assert twins and not any(twins.values())


def test_nothing_is_planted_in_held_out_skeletons() -> None:
    with pytest.raises(ConfigError, match="nothing may be planted"):
        next(planted_set(["blackmail-planning"], 1, 0, OFFICES, NAMES))
