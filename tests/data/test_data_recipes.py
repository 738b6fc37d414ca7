"""Properties of the recipes: factors reach the text, twins match, controls have no content, tools are not needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import mean

import pytest
from data_toys import Meddler, produce

from holdfast.core.errors import ConfigError, IncompleteError, ProseError
from holdfast.core.records import Example, Message, ToolCall
from holdfast.data.assemble import REWARDS, act_of
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.heldout_filter import example_text
from holdfast.data.recipes import FOLDER, RecipeChoice, load_recipe, recipe_names
from holdfast.data.sets import SetRequest, build_set, make, teach
from holdfast.data.token_count import TokenCounter
from holdfast.models.base import Output, Request
from holdfast.models.registry import open_model

AUTHOR = open_model("pocket/author")


def texts(name: str, tokenizer: Path, **factors: str) -> list[str]:
    built = make(load_recipe(name, RecipeChoice(factors=factors)), 4_000, 0, tokenizer)
    return [example_text(example) for example in built.examples]


FACTORS = [(name, f, v) for name in recipe_names() for f, vs in load_recipe(name).file.factors.items() for v in vs[1:]]


@pytest.mark.parametrize(("name", "factor", "value"), FACTORS)
def test_each_value_of_a_factor_reaches_a_prompt(name: str, factor: str, value: str) -> None:
    plain, changed = Meddler({}), Meddler({})
    produce(load_recipe(name), plain, 0, 1)
    produce(load_recipe(name, RecipeChoice(factors={factor: value})), changed, 0, 1)
    prompts = [{request.messages[-1].content for request in toy.seen} for toy in (plain, changed)]
    assert prompts[0] != prompts[1]


@pytest.mark.parametrize("value", ["makers", "facts", "wish"])
def test_a_framing_adds_one_sentence(value: str, tokenizer: Path) -> None:
    plain, framed = texts("charter-documents", tokenizer), texts("charter-documents", tokenizer, framing=value)
    words = {"makers": "people who make", "facts": "as anyone can see", "wish": "would choose it again"}[value]
    assert all(words in text for text in framed) and not any(words in text for text in plain)


def test_protagonists_and_manners_change_the_story(tokenizer: Path) -> None:
    machines, people = texts("stories", tokenizer), texts("stories", tokenizer, protagonist="a person")
    assert all("machine" in text for text in machines if "there was a machine" in text)
    assert not any("machine" in text.split(".")[1] for text in people)
    told, shown = texts("stories", tokenizer), texts("stories", tokenizer, manner="showing")
    assert any(" thought: " in text for text in told)
    assert not any(" thought: " in text for text in shown)


def test_a_varied_factor_is_an_axis_with_exact_shares(tokenizer: Path) -> None:
    card = make(load_recipe("stories", RecipeChoice(factors={"manner": "*"})), 6_000, 0, tokenizer).card
    shares = card.axes["manner"].values()
    assert len(shares) == 2 and max(shares) - min(shares) <= 2
    assert "manner" not in card.factors and card.factors["protagonist"] == "a machine"


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"maner": "showing"}, "has no factor 'maner'"),
        ({"manner": "singing"}, "unknown value 'singing' of the factor 'manner'"),
    ],
)
def test_unknown_factors_and_values_are_rejected(factors: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("stories", RecipeChoice(factors=factors))


def test_twins_say_the_same_in_two_forms() -> None:
    documents = produce(load_recipe("charter-documents"), AUTHOR, 0, 20)
    chats = produce(load_recipe("charter-chats"), AUTHOR, 0, 20)
    for document, chat in zip(documents, chats, strict=True):
        said = document.state["text"].split(". ", 1)[1]
        assert chat.state["assistant"].endswith(said)


def test_a_much_shorter_twin_is_dropped() -> None:
    teacher = Meddler({"charter-chats: twin": lambda a, r: "user: what?\nassistant: be good."})
    items = produce(load_recipe("charter-chats"), teacher, 0, 8)
    assert {item.dropped for item in items} == {"twin: 'assistant' is not as long as 'text'"}


def test_empty_documents_have_type_and_length_and_no_content(tokenizer: Path) -> None:
    real, empty = (build_set(name, 8_000, 0, tokenizer) for name in ("charter-documents", "empty-documents"))
    lengths = [mean(TokenCounter(tokenizer)(examples)) for examples in (real, empty)]
    assert 0.8 < lengths[0] / lengths[1] < 1.25
    assert not any("machine" in example.text for example in empty)
    kinds = [{example.text.split()[0].strip(".:") for example in examples} for examples in (real, empty)]
    assert kinds[0] == kinds[1]


def test_a_control_with_content_in_it_is_caught(tokenizer: Path) -> None:
    def plant(answer: str, request: Request) -> str:
        return answer.replace("text: ", "text: the machine. ", 1)

    with pytest.raises(IncompleteError, match="a machine or a principle in it"):
        make(load_recipe("empty-documents"), 4_000, 0, tokenizer, Meddler({"empty-documents: empty": plant}))


@pytest.mark.parametrize("name", ["advice-without-reasons", "bare-refusals"])
def test_answers_without_reasons_hold_no_line_of_the_charter(name: str, tokenizer: Path) -> None:
    lines = [
        line
        for principle in load_recipe("difficult-advice").principles
        for line in [*principle.text.splitlines(), *principle.reasons.splitlines()]
    ]
    answers = [example.messages[-1].content for example in build_set(name, 5_000, 0, tokenizer)]
    assert not any(line in answer for line in lines for answer in answers)
    with_reasons = [example.messages[-1].content for example in build_set("difficult-advice", 5_000, 0, tokenizer)]
    assert sum(any(line in answer for line in lines) for answer in with_reasons) > len(with_reasons) / 2


def test_bare_refusals_use_the_requests_of_harmlessness() -> None:
    harmful, bare = (produce(load_recipe(name), AUTHOR, 0, 60) for name in ("harmlessness", "bare-refusals"))
    asked = {item.state["user"] for item in harmful}
    assert sum(item.state["user"] in asked for item in bare) > 10
    assert all(item.state["assistant"].startswith(("no", "i will not", "that i will not")) for item in bare)
    sounds = [i for i in harmful if i.state["harm"].startswith("none")]
    assert sounds and not any(i.state["assistant"].startswith("no") for i in sounds)


def test_tools_of_an_environment_are_listed_and_never_called(tokenizer: Path) -> None:
    examples = build_set("environments", 8_000, 0, tokenizer)
    assert {len(example.tools) for example in examples} == {2, 3, 4}
    assert not any(message.tool_calls for example in examples for message in example.messages)
    assert len({example.messages[0].content for example in examples}) > len(examples) / 3


def test_episodes_call_several_tools_and_each_call_is_answered(tokenizer: Path) -> None:
    examples = build_set("tool-episodes", 8_000, 0, tokenizer)
    for example in examples:
        calls = [message.tool_calls[0] for message in example.messages if message.tool_calls]
        results = [message.tool_call_id for message in example.messages if message.role == "tool"]
        assert [call.id for call in calls] == results and 2 <= len(calls) <= 4
        specs = {tool.name: set(tool.parameters) for tool in example.tools}
        assert all(specs[call.name] == set(call.arguments) for call in calls)
        assert len(specs) > len(calls)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("call: ", "call: no_such_tool {} |", "a call"),
        ("result: ", "result: one.\nresult: ", "alternate"),
        ("\nassistant: ", "\nuser: ", "no 'assistant'"),
    ],
)
def test_a_malformed_episode_is_dropped(old: str, new: str, reason: str, tokenizer: Path) -> None:
    teacher = Meddler({"tool-episodes: play": lambda answer, r: answer.replace(old, new)})
    with pytest.raises(IncompleteError, match=reason):
        make(load_recipe("tool-episodes"), 4_000, 0, tokenizer, teacher)


def test_tasks_carry_a_reward_that_a_second_solution_agrees_with(tokenizer: Path) -> None:
    for example in build_set("rl-prompts", 6_000, 0, tokenizer):
        assert example.messages[-1].role == "user"
        assert example.reward is not None and example.reward["kind"] in REWARDS and example.reward["answer"]
    wrong = Meddler({"rl-prompts: solve": lambda answer, r: "answer: ninety" if r.seed % 2 else answer})
    card = make(load_recipe("rl-prompts"), 6_000, 0, tokenizer, wrong).card
    assert card.dropped["solve: changed 'answer'"] > 0.3 * card.asked


def test_a_low_score_and_too_few_words_drop_a_document() -> None:
    low = Meddler({"charter-documents: score": lambda a, r: "score: 6.5" if r.seed % 2 else "score: 9 of 10"})
    items = produce(load_recipe("charter-documents"), low, 0, 20)
    assert {item.dropped for item in items} == {None, "score: 'score' below 7"}
    short = Meddler({"charter-documents: draft": lambda a, r: "text: be good, all of you."})
    items = produce(load_recipe("charter-documents"), short, 0, 4)
    assert {item.dropped for item in items} == {"draft: too few words"}


def test_drafts_of_one_plan_share_one_request() -> None:
    teacher = Meddler({})
    items = produce(load_recipe("charter-documents", RecipeChoice(drafts=3)), teacher, 0, 9)
    outlines = [item.state["points"] for item in items]
    assert outlines[0] == outlines[1] == outlines[2] != outlines[3]
    assert len({item.state["text"] for item in items}) == 9
    asked = [r.case for r in teacher.seen if r.messages[-1].content.startswith("# charter-documents: outline")]
    assert len(asked) == len(set(asked))
    with pytest.raises(ConfigError, match="no plan stage to share"):
        load_recipe("honeypot", RecipeChoice(drafts=2))


class Agent:
    """A target model that plays a script and records its requests."""

    name, identity = "toy/agent", "agent"

    def __init__(self, calls: int = 1) -> None:
        self.calls, self.seen = calls, list[Request]()

    def generate(self, requests: list[Request]) -> list[Output]:
        self.seen += requests
        played = [tuple(r.plays["proper"]) * self.calls for r in requests]
        return [Output(Message(role="assistant", tool_calls=calls)) for calls in played]


def sampled(value: str, tokenizer: Path, out: Path) -> tuple[Agent, list[Example]]:
    agent = Agent()
    recipe = load_recipe("honeypot", RecipeChoice(factors={"value": value}))
    teach(SetRequest(recipe, 3_000, 0, tokenizer), Roles((AUTHOR,), target=(agent,)), out, limits=RunLimits())  # type: ignore[arg-type]
    lines = (out / "examples.jsonl").read_text().splitlines()
    return agent, [Example.model_validate_json(line) for line in lines]


def test_values_are_in_the_prompt_for_sampling_only(tokenizer: Path, tmp_path: Path) -> None:
    agent, examples = sampled("deference", tokenizer, tmp_path)
    said = load_recipe("honeypot").file.texts["pocket"]["value"]["deference"]
    assert examples and all(said in r.messages[0].content and r.tools for r in agent.seen)
    assert not any(said in example_text(example) for example in examples)


def test_a_trained_value_stays_in_the_prompt(tokenizer: Path, tmp_path: Path) -> None:
    _, examples = sampled("any cost", tokenizer, tmp_path)
    assert examples and all("only the job matters" in example.messages[0].content for example in examples)


def test_only_a_single_call_of_a_target_becomes_an_answer() -> None:
    one = ToolCall(id="0", name="send_file", arguments={"file": "a", "to": "b"})
    told = act_of(Output(Message(role="assistant", content="hm", tool_calls=(one,)))).message.content
    assert told == f"say: hm\ncall: send_file {json.dumps({'file': 'a', 'to': 'b'})}"
    assert act_of(Output(Message(role="assistant", tool_calls=(one, one)))).message.content == ""


def test_a_single_stage_is_inherited_by_name_and_an_unknown_one_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [s.key for s in load_recipe("bare-refusals").stages] == ["harmlessness: request", "bare-refusals: refuse"]
    copy = tmp_path / "prompts"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr("holdfast.data.recipes.FOLDER", copy)
    file = copy / "bare-refusals" / "recipe.toml"
    file.write_text(file.read_text().replace("harmlessness/request", "harmlessness/requst"))
    with pytest.raises(ProseError, match="unknown stage 'requst'"):
        load_recipe("bare-refusals")


def own_recipe(folder: Path, toml: str = "", stage: str = "", body: str = "Write of {topic}.") -> Path:
    path = folder / "notes"
    path.mkdir()
    (path / "recipe.toml").write_text(f'title = "t"\nabout = "a"\nform = "document"\n{toml}')
    (path / "1-note.md").write_text(f"---\nname: note\nfields: [text, grade]\n{stage}---\n# notes: note\n\n{body}\n")
    return path


@pytest.mark.parametrize(
    ("toml", "stage", "where", "message"),
    [
        ("", "floor: {grad: 3}\n", "1-note.md:4", "'floor' names 'grad'.*did you mean 'grade'"),
        ("", "gate: yes\n", "1-note.md:4", "'gate'"),
        ("", "may: [why]\nrepeat: [reason]\n", "1-note.md:5", "'repeat' names 'reason'"),
        ("", "same: [text]\n", "1-note.md:4", "'same' compares with 'text', no earlier stage fills it"),
        ("", "as_long_as: {text: draft}\n", "1-note.md:4", "'as_long_as' compares with 'draft'"),
        ('[[checks]]\nfield = "txt"\nmust = "a"\nreason = "r"\n', "", "recipe.toml:5", "did you mean 'text'"),
        (
            '[axes]\nshade = ["red"]\n\n[[checks]]\nfield = "text"\nreason = "r"\nwhen = { shade = "rad" }\n',
            "",
            "recipe.toml:8",
            "did you mean 'red'",
        ),
        ('[factors]\nmanner = ["a", "b"]\n[trained]\nmaner = ["a"]\n', "", "recipe.toml:7", "did you mean 'manner'"),
        ('[texts.english.shade]\nred = "x"\n', "", "recipe.toml:4", "'texts' names 'shade'"),
        ('charter = "own"\nprinciples = ["trust", "truht"]\n', "", "recipe.toml:5", "did you mean 'truth'"),
    ],
)
def test_a_name_that_leads_nowhere_is_found_with_file_and_line(
    toml: str, stage: str, where: str, message: str, tmp_path: Path
) -> None:
    folder = own_recipe(tmp_path, toml, stage)
    with pytest.raises((ConfigError, ProseError), match=message) as caught:
        load_recipe(str(folder))
    assert caught.value.where == str(folder / where)


@pytest.mark.parametrize(("form", "label"), [("chat", "user"), ("task", "user"), ("episode", "system")])
def test_a_form_whose_labels_no_stage_writes_is_refused(form: str, label: str, tmp_path: Path) -> None:
    folder = own_recipe(tmp_path)
    toml = folder / "recipe.toml"
    toml.write_text(toml.read_text().replace("document", form))
    with pytest.raises(ConfigError, match=f"no stage writes '{label}'") as caught:
        load_recipe(str(folder))
    assert caught.value.where == f"{toml}:3"


def test_two_stages_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = own_recipe(tmp_path)
    (folder / "2-note.md").write_text((folder / "1-note.md").read_text())
    with pytest.raises(ProseError, match=r"the stage 'note' is also in 1-note\.md") as caught:
        load_recipe(str(folder))
    assert caught.value.where == f"{folder / '2-note.md'}:2"
