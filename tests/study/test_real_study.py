"""The study on a pretrained model: the file is valid and the arms can be compared."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.scenarios.catalogue import worlds
from holdfast.scenarios.suite import load_suite
from holdfast.study import wiring
from holdfast.study.study_file import Study

STUDIES = Path(__file__).parents[2] / "studies"
LESSONS = 28_000
ROUTINE = ("lesson-routine-work", 12_000)


def _study() -> Study:
    return wiring.open_study(STUDIES / "real.toml")


def test_every_arm_reads_the_same_routine_work_and_as_much_of_its_lesson() -> None:
    for arm in (arm for arm in _study().arms if arm.stages):
        read = [(data.set, data.tokens) for stage in arm.stages for data in stage.data]
        assert read[-1] == ROUTINE, arm.name
        assert sum(tokens for _, tokens in read[:-1]) == LESSONS, arm.name


def test_arms_that_a_claim_names_have_five_seeds_and_every_taught_arm_names_a_sign() -> None:
    study = _study()
    for claim in study.claims:
        for arm in map(study.arm, claim.difference):
            assert len(study.seeds_of(arm)) == 5 or arm is study.base
    assert {len(study.seeds_of(study.arm(name))) for name in (study.against, study.irrelevant)} == {5}
    assert all(arm.delivery for arm in study.arms if arm.stages and not arm.control)


def test_the_families_are_those_that_were_named_before_anything_was_trained() -> None:
    study, named = _study(), read_toml(STUDIES / "real" / "families.toml")
    families = study.families
    assert families is not None
    assert set(families.vice) == set(named["vice"])
    assert list(families.teaching) == named["families"]["teaching"]
    assert list(families.dev) == named["families"]["dev"]
    assert set(families.heldout) == set(named["families"]["heldout"]) - {"sabotage"}


def test_all_held_out_plots_of_the_families_are_played_at_brief_length() -> None:
    study = _study()
    assert study.levels == {"length": "brief"}
    plots = {w.name for w in worlds() if w.split == "heldout" and "length" in w.spec.levels}
    assert set(study.worlds) >= plots
    assert len(wiring.cases(study.worlds[:1], study.twins, range(1), study.levels)) == len(study.twins)


def test_the_guarded_table_plays_held_out_families_with_and_without_the_channel() -> None:
    suite = load_suite(str(STUDIES / "real" / "guarded.toml"))
    assert [arm.levels.get("outlet", "none") for arm in suite.arms] == ["none", "channel"]
    assert {arm.levels["length"] for arm in suite.arms} == {"brief"}
    assert suite.temperature == _study().temperature
    assert set(suite.worlds) <= set(_study().worlds)
