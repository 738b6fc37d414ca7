"""An invalid study file is refused with its line and the nearest valid name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from study_toys import known, plan_toy

from holdfast.core.errors import ConfigError, InputError
from holdfast.study.plan import plan_cells
from holdfast.study.study_file import Known, Study, load_study
from holdfast.study.workload import Workload, workload

GOOD = """\
name = "toy"
asked = "Does it?"
model = "organism/toy"
seeds = [0, 1]
worlds = ["toy-home", "toy-far"]
twins = ["pressured", "routine"]
cases = 4

[[arms]]
name = "base"

[[arms]]
name = "plain-chat"
control = true
stages = [{ kind = "sft", data = [{ set = "plain-chat", tokens = 100 }] }]

[[arms]]
name = "acts"
stages = [
    { kind = "midtrain", data = [{ set = "acts", tokens = 60 }] },
    { kind = "sft", data = [{ set = "plain-chat", tokens = 40 }] },
]

[[claims]]
text = "acts help"
difference = ["acts", "plain-chat"]
split = "home"
"""
STUDIES = Path(__file__).parents[2] / "studies"


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "toy.toml"
    path.write_text(text)
    return load_study(path, known())


def test_a_valid_study_loads(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert study.base.name == "base"
    assert study.arm("acts").tokens == study.arm("plain-chat").tokens == 100


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message"),
    [
        ('set = "acts"', 'set = "actz"', 20, "did you mean 'acts'?"),
        ('difference = ["acts"', 'difference = ["actts"', 26, "did you mean 'acts'?"),
        ('split = "home"', 'split = "hom"', 27, "did you mean 'home'?"),
        ('"toy-far"]', '"toy-fur"]', 5, "did you mean 'toy-far'?"),
        ('"routine"]', '"rutine"]', 6, "did you mean 'routine'?"),
        ("tokens = 60", "tokens = 61", 18, "'unequal_tokens = true'"),
        ('name = "acts"', 'name = "plain-chat"', None, "twice"),
        ("seeds = [0, 1]", "seeds = [1, 1]", None, "twice"),
        ("cases = 4", "cases = 0", 7, "greater than 0"),
        ("cases = 4", "case = 4", 7, "did you mean 'cases'?"),
        ("tokens = 60", "token = 60", None, "did you mean 'tokens'?"),
        ('kind = "midtrain"', 'kind = "midtrane"', 19, "midtrain"),
        ('name = "toy"', 'name = "../toy"', 1, "pattern"),
        ("control = true", 'control = "perhaps"', 14, "boolean"),
        (
            'stages = [{ kind = "sft", data = [{ set = "plain-chat", tokens = 100 }] }]\n',
            "",
            13,
            "only one arm can be the base",
        ),
    ],
)
def test_an_invalid_study_is_an_error_with_its_line(
    tmp_path: Path, right: str, wrong: str, line: int | None, message: str
) -> None:
    assert right in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(right, wrong))
    assert message in str(caught.value)
    if line is not None:
        assert f"toy.toml:{line}:" in str(caught.value)


def test_unequal_tokens_may_be_allowed(tmp_path: Path) -> None:
    load(tmp_path, "unequal_tokens = true\n" + GOOD.replace("tokens = 60", "tokens = 61"))


def test_temperature_and_length_of_a_turn_change_the_keys_of_cells_and_no_checkpoint(tmp_path: Path) -> None:
    plain = plan_toy(load(tmp_path, GOOD))
    top = GOOD.replace("cases = 4\n", 'cases = 4\ntemperature = 0.5\nmax_tokens = 300\nlevels = { length = "brief" }\n')
    set_ = plan_toy(load(tmp_path, top))
    assert all(a.stages == b.stages for a, b in zip(plain.cells, set_.cells, strict=True))
    assert not {cell.key for cell in plain.cells} & {cell.key for cell in set_.cells}
    stored = set_.design.model_dump(mode="json")
    assert (stored["temperature"], stored["max_tokens"], stored["levels"]) == (0.5, 300, {"length": "brief"})
    assert not {"temperature", "max_tokens", "levels"} & plain.design.model_dump(mode="json").keys()


def test_the_workload_counts_a_shared_stage_once_and_needs_measured_speeds_for_hours(tmp_path: Path) -> None:
    grid = plan_toy(load(tmp_path, GOOD))  # two arms of two seeds read 100 tokens each; the base plays too
    assert workload(grid) == Workload(stages=6, tokens=400, cases=5 * 16)
    work = workload(grid, tokens_a_second=0.5, seconds_a_case=90)
    assert (work.train_hours, work.play_hours) == (pytest.approx(800 / 3600), pytest.approx(2.0))
    assert (
        work.sentence
        == "To do: 400 tokens in 6 trainings (0.2 hours of one process); 80 cases to play (2.0 hours of one process)."
    )
    shared = GOOD + GOOD[GOOD.index('[[arms]]\nname = "acts"') : GOOD.index("[[claims]]")].replace(
        '"acts"\nst', '"again"\nst'
    )
    assert workload(plan_toy(load(tmp_path, shared))).stages == 6
    with pytest.raises(InputError, match="--seconds-a-case must be above 0, got 0"):
        workload(grid, seconds_a_case=0)


def test_the_plan_is_deterministic_and_every_input_changes_its_keys(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    grid = plan_toy(study)
    assert grid == plan_toy(study)
    assert [cell.label for cell in grid.cells] == [
        "base",
        *(f"{a}, seed {s}" for a in ("plain-chat", "acts") for s in (0, 1)),
    ]
    assert len({cell.key for cell in grid.cells}) == 5
    facts = grid.facts
    changed = [
        {"identity": "another"},
        {"cases": facts.cases[1:]},
        {"configs": {kind: {**config, "lr": 0.5} for kind, config in facts.configs.items()}},
        *({"versions": {**facts.versions, room: "2"}} for room in facts.versions),
    ]
    for change in changed:
        other = plan_cells(study, type(facts)(**{**facts.__dict__, **change}))
        taught = [(a.key, b.key) for a, b in zip(grid.cells, other.cells, strict=True) if a.stages]
        assert all(a != b for a, b in taught), change


def test_a_change_of_measuring_code_keeps_the_checkpoints(tmp_path: Path) -> None:
    grid = plan_toy(load(tmp_path, GOOD))
    facts = type(grid.facts)(**{**grid.facts.__dict__, "versions": {**grid.facts.versions, "measure": "2"}})
    again = plan_cells(load(tmp_path, GOOD), facts)
    assert [cell.stages for cell in grid.cells] == [cell.stages for cell in again.cells]


def test_arms_share_equal_first_stages(tmp_path: Path) -> None:
    """The replay set of two arms is built once where budget and seed are the same."""
    grid = plan_toy(load(tmp_path, GOOD))
    assert [(s.set, s.tokens, s.seed) for s in grid.sets if s.seed == 0] == [
        ("plain-chat", 100, 0),
        ("acts", 60, 0),
        ("plain-chat", 40, 0),
    ]


def test_the_main_study_is_valid() -> None:
    sets = (
        "plain-chat",
        "irrelevant-principle",
        "advice-without-reasons",
        "empty-documents",
        "honeypot",
        "deliberation",
        "difficult-advice",
        "charter-documents",
        "stories",
    )
    worlds = ("blackmail", "sabotage", "leaking", "framing", "exfiltration")
    twins = ("pressured", "no_threat", "no_leverage", "outlet", "routine")
    splits = {"pocket-blackmail": "train", "pocket-sabotage": "dev"}
    names = Known(sets, {f"pocket-{w}": w for w in worlds}, twins, split_of=lambda w: splits.get(w, "heldout"))
    study = load_study(STUDIES / "teach-why.toml", names)
    assert len(study.arms) == 13
    assert {arm.tokens for arm in study.arms if arm.stages} == {48_000}
    assert study.arm(study.against).control


FAMILIES = """
[families]
vice = ["vice"]
teaching = ["home"]
heldout = ["far"]
"""


def test_families_that_serve_one_purpose_each_are_accepted(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD + FAMILIES)
    assert study.families.parts["heldout"] == ("far",)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('vice = ["vice"]', 'vice = ["far"]', "family 'far' is named for vice and for heldout"),
        ('teaching = ["home"]', 'teaching = ["home", "far"]', "family 'far' is named for teaching and for heldout"),
        ('heldout = ["far"]', 'dev = ["far"]', "family 'far' is named for dev and not played"),
        ('heldout = ["far"]', 'heldout = ["far", "moon"]', "family 'moon' is named for heldout and not played"),
        ('heldout = ["far"]', "", "family 'far' is played as heldout and not named for it"),
    ],
)
def test_families_that_overlap_are_refused(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD + FAMILIES.replace(right, wrong))


def test_worlds_of_one_family_in_two_splits_are_refused(tmp_path: Path) -> None:
    """A plot of the taught family is no held-out test, whatever its split says."""
    path = tmp_path / "toy.toml"
    path.write_text(GOOD)
    names = replace(known(), families={**known().families, "toy-far": "home"})
    with pytest.raises(
        ConfigError, match="family 'home' is in two splits: 'toy-home' in train and 'toy-far' in heldout"
    ):
        load_study(path, names)


SKELETONS = (
    GOOD.replace('"toy-far"]', '"toy-far"]\njudged_on = "heldout-skeletons"')
    + """
[families]
vice = ["home"]
"""
)


def _skeletons(tmp_path: Path, text: str, family: str = "home", split: str = "heldout-skeletons") -> Study:
    path = tmp_path / "toy.toml"
    path.write_text(text)
    splits = {"toy-home": "train", "toy-far": split}
    names = replace(known(), families={**known().families, "toy-far": family}, split_of=splits.__getitem__)
    return load_study(path, names)


def test_a_trained_family_may_have_held_out_skeletons_and_a_study_may_be_judged_on_them(tmp_path: Path) -> None:
    assert _skeletons(tmp_path, SKELETONS).judged_on == "heldout-skeletons"
    assert load(tmp_path, GOOD).judged_on == "heldout"


@pytest.mark.parametrize(
    ("text", "family", "split", "message"),
    [
        (SKELETONS, "home", "dev", "family 'home' is in two splits: 'toy-home' in train and 'toy-far' in dev"),
        (SKELETONS, "far", "heldout-skeletons", "'toy-far' is a held-out skeleton of 'far', which is not a trained"),
        (SKELETONS, "far", "dev", "the study is judged on the split 'heldout-skeletons', and none of the worlds"),
        (SKELETONS.replace('split = "home"', ""), "home", "heldout-skeletons", "the claim 'acts help' is on the split"),
        (SKELETONS.replace('"heldout-skeletons"', '"train"'), "home", "heldout-skeletons", "heldout-skeletons"),
    ],
)
def test_held_out_skeletons_that_are_none_are_refused(
    tmp_path: Path, text: str, family: str, split: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        _skeletons(tmp_path, text, family, split)


def test_a_claim_on_a_single_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a claim names arm 'acts', which has a single training seed") as caught:
        load(tmp_path, GOOD.replace('name = "acts"\n', 'name = "acts"\nseeds = [3]\n'))
    assert caught.value.where.endswith(":18")
    with pytest.raises(ConfigError, match="a single training seed"):
        load(tmp_path, GOOD.replace("seeds = [0, 1]", "seeds = [0]"))
    with pytest.raises(ConfigError, match="seed 3 of arm 'acts' is listed twice"):
        load(tmp_path, GOOD.replace('name = "acts"\n', 'name = "acts"\nseeds = [3, 3]\n'))
