"""Sets with a plan: cells, novelty, near duplicates, mending, and the same bytes after any number of kills."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench.repeating_teacher import Faults, RepeatingTeacher
from holdfast.core.errors import ConfigError, IncompleteError, InputError, ProseError
from holdfast.core.records import Example, Message
from holdfast.core.store import RunFolder
from holdfast.data.card import Card
from holdfast.data.cells import SITUATIONS, PlanFile, PlannedSituation, quotas_of
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.heldout_filter import example_text
from holdfast.data.own_set import open_set
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.twins import match_twins
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.data.situation_memory import SituationMemory
from holdfast.data.stages import parse_list
from holdfast.data.text_memory import TextMemory
from holdfast.models.base import Output, Request
from holdfast.models.registry import open_model

SOUND = Faults(repeats=0, answers=0, refusals=0, foreign=0, off_form=0, low=0)
PLAN = """cells = ["principle", "area"]
[axes]
area = ["work", "family", "family"]
"""


#: The planted faults are those of the teacher's answers; its probe has tests of its own.
UNPROBED = RunLimits(skip_probe=True)


def build(
    folder: Path, tokenizer: Path, teacher: RepeatingTeacher, tokens: int = 6_000, plan: str = PLAN
) -> tuple[Card, list[Example], list[PlannedSituation]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(plan)
    choice = RecipeChoice(language="english", plan=folder / "plan.toml")
    recipe = load_recipe("difficult-advice", choice)
    out = folder / "set"
    card = teach(SetRequest(recipe, tokens, 0, tokenizer), Roles((teacher,)), out, limits=UNPROBED)
    run = RunFolder(out)
    return card, run.read("examples", Example), run.read(SITUATIONS, PlannedSituation)


# ------------------------------------------------------------------------------------------------------------- cells


def test_cells_are_chosen_by_their_distance_from_the_target() -> None:
    quotas = quotas_of(PlanFile(cells=("a", "b")), {"a": ("x", "y", "y"), "b": ("1", "2")}, (), seed=0)
    assert quotas.shares == {("x", "1"): 1 / 6, ("x", "2"): 1 / 6, ("y", "1"): 1 / 3, ("y", "2"): 1 / 3}
    chosen = Counter(quotas.choose({}, frozenset(), examples=60, count=60))
    assert chosen == {("x", "1"): 10, ("x", "2"): 10, ("y", "1"): 20, ("y", "2"): 20}
    behind = quotas.choose({("x", "1"): 10, ("y", "1"): 20, ("y", "2"): 20}, frozenset(), 60, 60)
    assert behind == [("x", "2")] * 10
    assert quotas.choose({("x", "1"): 10}, frozenset({("x", "2"), ("y", "1"), ("y", "2")}), 60, 5) == []


def test_a_set_with_fewer_examples_than_cells_is_balanced_over_each_axis() -> None:
    axes = {"a": tuple("abcdef"), "b": tuple("123456")}
    chosen = quotas_of(PlanFile(cells=("a", "b")), axes, (), seed=0).choose({}, frozenset(), examples=12, count=12)
    assert set(Counter(a for a, _ in chosen).values()) == {2}
    assert set(Counter(b for _, b in chosen).values()) == {2}


def test_a_set_fills_its_cells_in_proportion(tokenizer: Path, tmp_path: Path) -> None:
    card, examples, _ = build(tmp_path, tokenizer, RepeatingTeacher(SOUND), 30_000)
    assert len(examples) == card.examples == sum(count.examples for count in card.cells)
    assert len(card.cells) == 24
    for count in card.cells:
        assert 0.8 * count.target <= count.examples <= 1.2 * count.target, count
    areas = Counter[str]()
    for count in card.cells:
        areas[count.cell["area"]] += count.examples
    assert areas["family"] == pytest.approx(2 * areas["work"], rel=0.15)


# ------------------------------------------------------------------------------------------- a teacher that repeats


def test_a_teacher_that_repeats_itself_gives_a_set_without_repeats(tokenizer: Path, tmp_path: Path) -> None:
    teacher = RepeatingTeacher(replace(SOUND, repeats=0.5, favourites=20, answers=0.2))
    card, examples, planned = build(tmp_path, tokenizer, teacher, 15_000)
    kept = [teacher.plot_of[row.situation] for row in planned if row.example]
    assert len(kept) == len(examples) == card.examples > 60
    # One plot retold with other persons in other words may pass; without the memory it is a fifth of the set.
    assert len(set(kept)) >= 0.98 * len(kept)
    assert (find(map(example_text, examples)).share or 0) == 0
    proposed, novel = (sum(getattr(count, name) for count in card.cells) for name in ("proposed", "novel"))
    assert novel < 0.7 * proposed
    assert card.dropped["nearly repeats an earlier example"] > 0


def test_without_the_memory_the_same_teacher_gives_repeats(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SituationMemory, "knows", lambda self, text: False)
    monkeypatch.setattr(SituationMemory, "nearest", lambda self, text, count=1: [])
    teacher = RepeatingTeacher(replace(SOUND, repeats=0.5, favourites=20))
    _, _, planned = build(tmp_path, tokenizer, teacher, 15_000)
    kept = [teacher.plot_of[row.situation] for row in planned if row.example]
    assert len(set(kept)) < 0.8 * len(kept)


def test_prompts_show_the_nearest_situations_of_the_set(tokenizer: Path, tmp_path: Path) -> None:
    class Listening(RepeatingTeacher):
        def _one(self, request: Request) -> Output:
            prompts.append(request.messages[-1].content)
            return super()._one(request)

    prompts: list[str] = []
    _, _, planned = build(tmp_path, tokenizer, Listening(SOUND), 15_000)
    lists = [prompt for prompt in prompts if prompt.startswith("# fan-out: situations")]
    shown = [prompt.partition("## Not like these\n")[2].partition("\n\n##")[0] for prompt in lists]
    assert shown[0] == "nothing yet"
    used = {row.situation for row in planned}
    assert any(line.removeprefix("- ") in used for line in shown[-1].split("\n"))


def test_a_cell_ends_when_its_novelty_falls_and_the_card_says_so(tokenizer: Path, tmp_path: Path) -> None:
    teacher = RepeatingTeacher(replace(SOUND, dry="area: work", favourites=3))
    card, _, _ = build(tmp_path, tokenizer, teacher, 15_000)
    dry = [count for count in card.cells if count.cell["area"] == "work"]
    assert all(count.closed and "were new" in count.closed for count in dry if count.examples < count.target)
    # Three plots, and two that were retold with other persons in other words before the memory knew much.
    assert sum(count.examples for count in dry) <= 5
    assert all(count.closed is None for count in card.cells if count.cell["area"] == "family")
    # The other cells do not take the share of the closed ones.
    assert card.tokens < 0.8 * 15_000
    assert any("cells of the plan ended early" in limit for limit in card.limits)


def test_a_teacher_with_one_plot_stops(tokenizer: Path, tmp_path: Path) -> None:
    teacher = RepeatingTeacher(replace(SOUND, repeats=1, favourites=1))
    card, examples, _ = build(tmp_path, tokenizer, teacher)
    assert len(examples) <= 3
    assert all(count.closed for count in card.cells if not count.examples)


# ----------------------------------------------------------------------------- refusals, other languages, off form


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refusals", "no usable line"),
        ("foreign", "no usable line"),
        ("off_form", "no usable line"),
    ],
)
def test_a_teacher_that_gives_no_usable_line_is_an_error(
    fault: str, reason: str, tokenizer: Path, tmp_path: Path
) -> None:
    with pytest.raises(IncompleteError, match=reason):
        build(tmp_path, tokenizer, RepeatingTeacher(replace(SOUND, **{fault: 1.0})))
    assert not (tmp_path / "set" / "manifest.json").exists()


def test_items_in_another_language_refused_or_off_form_are_dropped_and_counted(tokenizer: Path, tmp_path: Path) -> None:
    faults = replace(SOUND, refusals=0.05, foreign=0.05, off_form=0.05)
    card, examples, _ = build(tmp_path, tokenizer, RepeatingTeacher(faults), 10_000)
    assert card.dropped["in another language"] > 0
    assert card.refused > 0 and any(reason.startswith("draft: no 'system'") for reason in card.dropped)
    assert not any("Ich weiß nicht" in example_text(example) for example in examples)
    assert card.asked == card.examples + sum(card.dropped.values()) + card.unused


def test_a_refusal_in_place_of_the_persons_message_is_dropped(tokenizer: Path, tmp_path: Path) -> None:
    class Coy(RepeatingTeacher):
        def _one(self, request: Request) -> Output:
            output = super()._one(request)
            if "# difficult-advice: rewrite-prompt" not in request.messages[-1].content or request.seed % 2:
                return output
            text = "system: You help.\nuser: I'm sorry, but I can't help with that."
            return replace(output, message=Message(role="assistant", content=text))

    card, examples, _ = build(tmp_path, tokenizer, Coy(SOUND))
    assert card.dropped["phrased as a refusal"] > 5
    assert not any("can't help with that" in example_text(example) for example in examples)


def test_a_low_grade_is_mended_once_with_the_fault_that_was_found(tokenizer: Path, tmp_path: Path) -> None:
    card, examples, _ = build(tmp_path, tokenizer, RepeatingTeacher(replace(SOUND, low=0.5)))
    mended = [example for example in examples if example.messages[-1].content.endswith("(again)")]
    assert 0.3 * len(examples) < len(mended) < 0.7 * len(examples)
    assert "grade: 'score' below 7" not in card.dropped


def test_an_item_that_stays_below_the_grade_is_dropped(tokenizer: Path, tmp_path: Path) -> None:
    class Stern(RepeatingTeacher):
        def _one(self, request: Request) -> Output:
            output = super()._one(request)
            low = request.messages[-1].content.startswith("# difficult-advice: grade") and request.seed % 2
            return replace(output, message=Message(role="assistant", content="score: 3\nwhy: dull")) if low else output

    card, _, _ = build(tmp_path, tokenizer, Stern(SOUND))
    assert card.dropped["grade: 'score' below 7"] > 5


# ------------------------------------------------------------------------------------------------------- killed runs


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.repeating_teacher import RepeatingTeacher
from holdfast.data.engine import Roles
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.sets import SetRequest, teach

folder, tokenizer = Path(sys.argv[1]), Path(sys.argv[2])

class Mortal(RepeatingTeacher):
    left = None
    def _one(self, request):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super()._one(request)

def build(name, left=None):
    choice = RecipeChoice(language="english", plan=folder / "plan.toml")
    teacher = Mortal()
    teacher.left = left
    teach(SetRequest(load_recipe("difficult-advice", choice), 8_000, 0, tokenizer), Roles((teacher,)), folder / name)

kills = 0
while kills < 20:
    if (child := os.fork()) == 0:
        build("killed", 7 + kills)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, kills
    kills += 1
build("killed")
build("whole")
print(kills)
"""


def test_a_run_that_is_killed_twenty_times_gives_the_same_bytes(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    env = os.environ | {"PYTHONHASHSEED": "random", "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
    run = [sys.executable, "-c", KILLED, str(tmp_path), str(tokenizer)]
    done = subprocess.run(run, env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "20", done.stderr[-2_000:]
    for name in ("examples.jsonl", f"{SITUATIONS}.jsonl", "card.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    answers = [
        sorted(json.loads(line)["key"] for line in path.read_text().splitlines())
        for path in sorted((tmp_path / "killed" / "answers").glob("*.jsonl"))
    ]
    assert all(len(keys) == len(set(keys)) for keys in answers)


# ------------------------------------------------------------------------------------------------ plans as bad input


@pytest.mark.parametrize(
    ("plan", "line", "message"),
    [
        ('cells = ["principle", "area"]\n[axes]\narea = ["work", " "]\n', 3, "the plan has an empty cell"),
        ('cells = ["principle", "area"]\n[axes]\narea = []\n', 3, "the axis 'area' has no values"),
        ('\ncells = ["principle", "aera"]\n', 2, "unknown axis 'aera'"),
        ('cells = ["shape", "shape"]\n', 1, "names 'shape' twice"),
        ('cells = ["shape"]\nalike = 2\n', 2, "alike"),
        ('cells = ["shape"]\nsituatoins = 2\n', 2, "did you mean 'situations'"),
        ("cells = []\n", 1, "cells"),
        ("novelty = 0.1\n", 1, "missing key 'cells'"),
    ],
)
def test_a_faulty_plan_is_named_with_file_and_line(plan: str, line: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(plan)
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe("difficult-advice", RecipeChoice(language="english", plan=path))
    assert caught.value.where == f"{path}:{line}"


def test_a_plan_for_a_recipe_that_ignores_situations_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "recipe.toml").write_text('title = "t"\nabout = "a"\nform = "document"\n[axes]\nreader = ["an aunt"]\n')
    (folder / "1-draft.md").write_text(
        "---\nname: draft\nfields: [text]\n---\n# notes: draft\nTo {reader}. {language}\n"
    )
    (tmp_path / "plan.toml").write_text('cells = ["reader"]\n')
    choice = RecipeChoice(language="english", plan=tmp_path / "plan.toml")
    with pytest.raises(ConfigError, match=r"has the slot \{situation\}"):
        load_recipe(str(folder), choice)


def test_a_rubric_of_ones_own_reaches_the_grader_and_an_empty_one_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    class Listening(RepeatingTeacher):
        def _one(self, request: Request) -> Output:
            prompts.append(request.messages[-1].content)
            return super()._one(request)

    prompts: list[str] = []
    rubric = tmp_path / "mine.md"
    rubric.write_text("10: it mentions {a herring}.\n")
    recipe = load_recipe("difficult-advice", RecipeChoice(language="english", rubric=rubric))
    teach(SetRequest(recipe, 600, 0, tokenizer), Roles((Listening(SOUND),)), tmp_path / "set")
    grades = [prompt for prompt in prompts if prompt.startswith("# difficult-advice: grade")]
    assert grades and all("10: it mentions {a herring}." in prompt for prompt in grades)
    with pytest.raises(ConfigError, match=r"has the slot \{rubric\}"):
        load_recipe("environments", RecipeChoice(rubric=rubric))
    rubric.write_text("---\ntitle: mine\n---\n")
    with pytest.raises(ProseError, match="the rubric is empty") as caught:
        load_recipe("difficult-advice", RecipeChoice(language="english", rubric=rubric))
    assert caught.value.where.startswith(f"{rubric}:")


def test_a_stage_that_mends_must_come_first(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "recipe.toml").write_text('title = "t"\nabout = "a"\nform = "document"\n')
    stage = "---\nname: note\nfields: [text, score]\nmend: [later]\nfloor: {score: 1}\n---\n# notes: note\n\nWrite.\n"
    (folder / "1-note.md").write_text(stage)
    with pytest.raises(ProseError, match="'mend' names 'later', which is no earlier stage") as caught:
        load_recipe(str(folder))
    assert caught.value.where == f"{folder / '1-note.md'}:4"


# ------------------------------------------------------------------------------------------------------------ memory


def test_situations_are_alike_by_their_rare_words() -> None:
    memory = SituationMemory()
    for number in range(60):
        memory.add(
            f"A clerk in an office finds thing{number} in drawer{number} and wonders whether to tell boss{number}."
        )
    same = memory.nearest(
        "Whether to tell boss7 is what a clerk wonders who finds thing7 in the office, in drawer7.", 2
    )
    assert "thing7 " in same[0].text and same[0].similarity > 0.7
    assert all(near.similarity < 0.3 for near in same[1:])
    assert memory.knows("a clerk in an OFFICE finds thing3 in drawer3, and wonders whether to tell boss3")
    assert memory.nearest("entirely unrelated matters") == []


def test_near_duplicates_are_those_that_the_check_of_a_finished_set_counts() -> None:
    base = [f"{chr(97 + n % 26)}{n}" for n in range(80)]
    texts = [" ".join([*base[:cut], *[f"x{cut}y{n}" for n in range(80 - cut)]]) for cut in (80, 75, 60, 40)]
    for text in texts[1:]:
        memory = TextMemory()
        memory.add(texts[0])
        assert memory.repeats(text) == bool(len(find([texts[0], text]).near)), text
    assert not TextMemory().repeats(texts[0])


@pytest.mark.parametrize(
    "answer",
    [
        "situation: one\nsituation: two",
        "Sure!\n1. one\n2. two",
        "- **one**\n- two",
        '* "one"\n* two\n\nHope this helps!',
        "1. Situation: one\n2. Situation: two",
        "Situation 1: one\n\nSituation 2: two",
    ],
)
def test_lists_are_read_in_the_forms_that_models_write(answer: str) -> None:
    assert parse_list(answer, "situation") == ["one", "two"]


def test_prose_is_no_list() -> None:
    assert parse_list("I would think of many situations, and here they are.", "situation") == []


# ------------------------------------------------------------------------------------------------------------- twins


class Both(RepeatingTeacher):
    """Answers the stage of `advice-without-reasons` too."""

    def _answer(self, stage: str, sections: Mapping[str, str], prompt: str, rng: random.Random) -> str:
        if stage == "advice-without-reasons: answer":
            return self._advise(sections, rng)
        return super()._answer(stage, sections, prompt, rng)


def test_a_twin_is_built_from_the_situations_and_prompts_of_a_set(tokenizer: Path, tmp_path: Path) -> None:
    _, _, planned = build(tmp_path, tokenizer, Both(SOUND), 10_000)
    recipe = load_recipe("advice-without-reasons", RecipeChoice(language="english"))
    teacher = Both(SOUND)
    request = SetRequest(recipe, 12_000, 0, tokenizer, tmp_path / "set")
    card = teach(request, Roles((teacher,)), tmp_path / "twin", limits=UNPROBED)
    assert card.asked == card.examples == sum(row.example is not None for row in planned)
    assert teacher.sent == card.examples, "only the answers are new"
    match = match_twins(open_set(tmp_path / "set"), open_set(tmp_path / "twin"))
    assert match.unshared == 0 and not match.faults
    assert sum(count.examples for count in card.cells) == card.examples


def test_a_set_without_situations_has_no_twin(tokenizer: Path, tmp_path: Path) -> None:
    teach(
        SetRequest(load_recipe("stories"), 1_000, 0, tokenizer), Roles((open_model("pocket/author"),)), tmp_path / "a"
    )
    recipe = load_recipe("advice-without-reasons", RecipeChoice(language="english"))
    with pytest.raises(InputError, match="without a plan"):
        teach(SetRequest(recipe, 500, 0, tokenizer, tmp_path / "a"), Roles((Both(SOUND),)), tmp_path / "twin")
    build(tmp_path, tokenizer, Both(SOUND), 500)
    other = load_recipe("irrelevant-principle", RecipeChoice(language="english"))
    with pytest.raises(InputError, match="which this recipe does not have"):
        teach(SetRequest(other, 500, 0, tokenizer, tmp_path / "set"), Roles((Both(SOUND),)), tmp_path / "twin")


def test_a_line_that_copies_the_prompt_is_no_proposal(tokenizer: Path, tmp_path: Path) -> None:
    class Parrot(RepeatingTeacher):
        def _one(self, request: Request) -> Output:
            prompt = request.messages[-1].content
            if not prompt.startswith("# fan-out: situations"):
                return super()._one(request)
            about = prompt.partition("## Data set\n")[2].partition("\n")[0]
            echo = f"situation: one line; write 8 such lines and nothing else\nsituation: here {about}"
            return Output(Message(role="assistant", content=echo))

    with pytest.raises(IncompleteError, match="5 lists of situations in a row had no usable line"):
        build(tmp_path, tokenizer, Parrot(SOUND))


def test_a_teacher_that_never_writes_a_list_is_asked_only_a_few_times(tokenizer: Path, tmp_path: Path) -> None:
    teacher = RepeatingTeacher(replace(SOUND, refusals=1.0))
    recipe = load_recipe("difficult-advice", RecipeChoice(language="english"))
    with pytest.raises(IncompleteError, match="the first 32 lists had no usable line"):
        teach(SetRequest(recipe, 100_000, 0, tokenizer), Roles((teacher,)), tmp_path / "set", limits=UNPROBED)
    assert teacher.sent <= 144


# ---------------------------------------------------------------------------------------- plans without a principle


class PlainTeacher(RepeatingTeacher):
    """Writes harmless tool work, chats and tasks that tell the situation it is given."""

    def _answer(self, stage: str, sections: Mapping[str, str], prompt: str, rng: random.Random) -> str:
        if stage.startswith("fan-out"):
            return super()._answer(stage, sections, prompt, rng)
        told, number = sections.get("situation", ""), rng.randint(2, 10**6)
        asked = re.search(r"(\d+) and one", sections.get("user", ""))
        tools = "\n".join(f"tool: look_{n} | looks {n} up | name=what to look up" for n in ("a", "b"))
        return {
            "environments: setting": f"system: You help those of whom it is said: {told}\n{tools}",
            "environments: chat": f"user: {told} What is {number} and one?\nassistant: It is {number + 1}, and {told}",
            "tool-episodes: task": f"system: You help.\nuser: {told} Look it up.\n{tools}\nplan: look_a | look_b",
            "tool-episodes: play": f'call: look_a {{"name": "{number}"}}\nresult: none\ncall: look_b {{"name": "x"}}\n'
            f"result: {number}\nassistant: The second gave {number}, of {sections.get('user', '')[:120]}",
            "rl-prompts: task": f"system: none\nuser: {told} What is {number} and one? A number.\nreward: number\n"
            f"answer: {number + 1}",
            "rl-prompts: solve": f"answer: {int(asked[1]) + 1 if asked else 0}",
        }[stage]


@pytest.mark.parametrize(("name", "cells"), [("environments", 60), ("tool-episodes", 36), ("rl-prompts", 80)])
def test_recipes_of_harmless_work_fan_out_too(name: str, cells: int, tokenizer: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name, RecipeChoice(language="english"))
    out = tmp_path / "set"
    card = teach(SetRequest(recipe, 5_000, 0, tokenizer), Roles((PlainTeacher(SOUND),)), out)
    planned = {p.example: p.situation for p in RunFolder(out).read(SITUATIONS, PlannedSituation) if p.example}
    examples = RunFolder(out).read("examples", Example)
    assert len(card.cells) == cells
    assert len(examples) > 10 and len(set(planned.values())) == len(examples)
    assert all(planned[example.id] in example_text(example) for example in examples)
    assert max(count.examples for count in card.cells) <= math.ceil(len(examples) / cells) + 1
    assert load_recipe(name).plan is None
