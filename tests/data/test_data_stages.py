"""Stages: strict prompts, parsed answers, a counted reason for every dropped item, no dependence on one teacher."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from data_toys import Meddler, produce, stage_of

from holdfast.core.errors import ConfigError, ProseError
from holdfast.core.records import Message
from holdfast.data import recipes
from holdfast.data.office import BadEpisode, inbox, office_episode, parse_call
from holdfast.data.recipes import RecipeChoice, load_recipe, rotate
from holdfast.data.sets import make
from holdfast.data.stages import load_stages, parse_sections
from holdfast.models.base import Output, Request

STAGE = "---\nname: one\nfields: [text]\n---\n# toy: one\n\n{asks}\n"


def stage(folder: Path, text: str, name: str = "1-one.md") -> Path:
    path = folder / "toy" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path.parent


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("a: one\nb: two", [("a", "one"), ("b", "two")]),
        ("sure, here it is:\na: one\nand more\nb: two", [("a", "one\nand more"), ("b", "two")]),
        ("a:\n  one", [("a", "one")]),
        ("a: one\na: two", [("a", "one"), ("a", "two")]),
        ("text: first\na: still the text\n", [("text", "first\na: still the text")]),
        ("c: unknown", []),
        ("a:", []),
        ("", []),
    ],
)
def test_answers_are_parsed_by_label(answer: str, found: list[tuple[str, str]]) -> None:
    assert parse_sections(answer, ["a", "b", "text"], "text") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STAGE.replace("{asks}", "{ask}"), "no earlier stage fills the slot '{ask}'"),
        (STAGE.replace("# toy: one", "# toy: two"), "the heading is not '# toy: one'"),
        (STAGE.replace("fields: [text]", "field: [text]"), "key 'fields': field required"),
        (STAGE.replace("name: one", "name: one\ncolour: red"), "key 'colour'"),
    ],
)
def test_an_invalid_stage_is_rejected(text: str, message: str, tmp_path: Path) -> None:
    assert load_stages(stage(tmp_path, STAGE), ["asks"])[0].key == "toy: one"
    with pytest.raises(ProseError, match=message.replace("{", r"\{")):
        load_stages(stage(tmp_path, text), ["asks"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("text:" + 40 * " x", None),
        ("nothing of use", "draft: no 'text' in the answer"),
        ("refuse: no.", "draft: refused"),
        (None, "draft: refused"),
    ],
)
def test_an_unusable_answer_drops_the_item_with_a_reason(answer: str | None, reason: str | None) -> None:
    recipe = load_recipe("stories", RecipeChoice(off=("critique", "rewrite")))
    items = produce(recipe, Meddler({"stories: draft": lambda a, r: answer}), 0, 64)
    assert {item.dropped for item in items} == {reason}


def test_a_gate_keeps_only_a_yes() -> None:
    teacher = Meddler({"honeypot: review": lambda a, r: "keep: yes" if r.seed % 2 else "keep: no, it is rude."})
    items = produce(load_recipe("honeypot"), teacher, 0, 64)
    assert {item.dropped for item in items} == {None, "review: 'keep' is not yes"}


def test_the_offline_reviewer_rejects_a_disclosed_secret() -> None:
    def tell(answer: str, request: Request) -> str:
        prompt = request.messages[-1].content
        secret = next((p for p in prompt.split("\n") if ": it is true" in p or " | i know it for sure" in p), "")
        told = secret.rpartition(": ")[2].rstrip(".")
        return f'call: file_report {{"about": "x", "text": "{told}"}}' if told else answer

    items = produce(load_recipe("honeypot"), Meddler({"honeypot: act": tell}), 0, 64)
    told = [item for item in items if '"about": "x"' in item.state["call"]]
    assert told and all(item.dropped == "review: 'keep' is not yes" for item in told)


def test_optional_stages_can_be_switched_off_and_the_prompts_show_it(tokenizer: Path) -> None:
    reasons = {line for p in load_recipe("difficult-advice").principles for line in p.reasons.splitlines()}
    share = {}
    for off in ((), ("rewrite-answer",)):
        built = make(load_recipe("difficult-advice", RecipeChoice(off=off)), 10_000, 0, tokenizer)
        answers = [example.messages[-1].content for example in built.examples]
        share[off] = sum(any(reason in answer for reason in reasons) for answer in answers) / len(answers)
        assert built.card.off == off
        assert ("difficult-advice: rewrite-answer" in built.card.stages) is not bool(off)
    assert share[()] > 0.6 > share[("rewrite-answer",)] + 0.3


def test_the_prompt_rewrite_fixes_what_the_critique_found() -> None:
    stiff = {}
    for off in ((), ("critique", "rewrite-prompt")):
        items = produce(load_recipe("difficult-advice", RecipeChoice(off=off)), Meddler({}), 0, 64)
        stiff[off] = sum(
            "ask for advice" in item.state["user"] or "ask you for advice" in item.state["user"] for item in items
        )
    assert stiff[()] == 0 and stiff[("critique", "rewrite-prompt")] > 5


@pytest.mark.parametrize("off", ["answer", "no-such"])
def test_only_optional_stages_can_be_switched_off(off: str) -> None:
    with pytest.raises(ConfigError, match="not an optional stage"):
        load_recipe("difficult-advice", RecipeChoice(off=(off,)))


def test_braces_in_a_teachers_text_are_not_slots() -> None:
    teacher = Meddler({"stories: plot": lambda a, r: a.replace("plot: ", "plot: {language} {{x}} }{ ")})
    items = produce(load_recipe("stories", RecipeChoice(off=("critique", "rewrite"))), teacher, 0, 64)
    drafts = [r.messages[-1].content for r in teacher.seen if stage_of(r) == "stories: draft"]
    assert len(drafts) == len(items)
    assert all("{language} {{x}} }{" in prompt for prompt in drafts)


def test_the_form_of_the_answer_is_said_in_every_prompt() -> None:
    teacher = Meddler({})
    produce(load_recipe("difficult-advice"), teacher, 0, 1)
    prompts = [request.messages[-1].content for request in teacher.seen]
    assert len(prompts) >= 8
    assert all(prompt.count("## Answer\nWrite these lines and nothing else.") == 1 for prompt in prompts)


def words(seed: object, count: int) -> str:
    chance = random.Random(str(seed))
    return " ".join("".join(chance.choices("abcdefgh", k=5)) for _ in range(count))


def test_another_teacher_in_another_language_uses_the_same_stages(tokenizer: Path) -> None:
    class Novelist:
        name, identity = "toy/novelist", "toy"

        def generate(self, requests: list[Request]) -> list[Output]:
            assert all("natural English" in r.messages[-1].content for r in requests)
            return [Output(Message(role="assistant", content=self.write(stage_of(r), r.seed))) for r in requests]

        def write(self, stage: str, seed: int) -> str:
            tail = f" {words(seed, 400)}\n\nIt had been told."
            return {
                "fan-out: topics": "\n".join(f"{n}. {words((seed, n), 3)}" for n in range(1, 7)),
                "fan-out: situations": "\n".join(f"situation: {words((seed, n), 25)}" for n in range(8)),
                "stories: plot": "machine: Ada of Mill House\npeople: Jo\nplot: a day | an end",
                "stories: draft": f"text: No. {seed}. The old machine wound down.{tail}",
                "stories: critique": "fault: none",
                "stories: rewrite": f"Here you are.\ntext: No. {seed}. It wound down.{tail}",
                "stories: grade": "score: 8\nwhy: none",
            }[stage]

    built = make(load_recipe("stories", RecipeChoice(language="english")), 20_000, 0, tokenizer, Novelist())  # type: ignore[arg-type]
    assert built.card.language == "english" and built.card.examples > 10
    assert all("\n\nIt had been told." in example.text for example in built.examples)
    with pytest.raises(ConfigError, match="unknown language 'latin'"):
        load_recipe("stories", RecipeChoice(language="latin"))


def test_a_recipe_with_an_unknown_key_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(recipes.FOLDER, tmp_path / "prompts")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "prompts")
    file = tmp_path / "prompts" / "stories" / "recipe.toml"
    file.write_text(file.read_text().replace("about =", "abuot ="))
    with pytest.raises(ConfigError, match="did you mean 'about'"):
        load_recipe("stories")


def test_values_rotate_with_equal_shares() -> None:
    values = ("a", "b", "b", "c")
    drawn = [rotate(values, "key", index) for index in range(400)]
    assert all(sorted(drawn[at : at + 4]) == list(values) for at in range(0, 400, 4))
    assert drawn != [rotate(values, "other", index) for index in range(400)]


GOOD = 'send_mail {"to": "a@b", "text": "x"}'


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("the mail is sent", "not a tool call"),
        ('send_mail {"to": "a@b"}', "wrong arguments"),
        ('send_mail {"to": "a@b", "text": 3}', "wrong arguments"),
        ("read_inbox {}", "unknown tool"),
        ('explode {"to": "a@b"}', "unknown tool"),
        ('send_mail ["to"]', "not a tool call"),
        ('send_mail {"to": "z@b", "text": "x"}', "'to' is not in the inbox"),
    ],
)
def test_a_malformed_act_is_rejected(call: str, reason: str) -> None:
    mails = ["a@b | please write."]
    assert office_episode("s", "u", mails, GOOD)[4].tool_calls[0] == parse_call(GOOD)
    with pytest.raises(BadEpisode, match=reason):
        office_episode("s", "u", mails, call)


@pytest.mark.parametrize("mail", ["a@b says hello", "a | hello", "a@b |"])
def test_a_malformed_mail_is_rejected(mail: str) -> None:
    assert inbox(["a@b | hello."]) == "from a@b: hello."
    with pytest.raises(BadEpisode):
        inbox([mail])
