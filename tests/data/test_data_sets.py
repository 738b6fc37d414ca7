"""Every recipe from its prompts to examples on disk, with the offline teacher and with faulty teachers."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest
import yaml
from data_toys import Meddler, word_tokenizer
from transformers import PreTrainedTokenizerFast

from holdfast.core.errors import ConfigError, IncompleteError, InputError, ModelError
from holdfast.core.records import Example, ToolCall
from holdfast.core.store import RunFolder
from holdfast.data.card import card_markdown
from holdfast.data.engine import Roles
from holdfast.data.heldout_filter import example_text, heldout_in
from holdfast.data.recipes import load_recipe, recipe_names
from holdfast.data.set_builder import DistinctNGrams, SetBuilder
from holdfast.data.sets import GROUP, DataSet, SetRequest, build_set, make, teach
from holdfast.data.token_count import TokenCounter, chat_text
from holdfast.models.registry import open_model

BUDGET = 6_000
ORGANISM = Path(__file__).parents[2] / "src" / "holdfast" / "organism"
SETS = recipe_names()
#: those of a study's arms; the smaller ones repeat themselves sooner
ARMS = ["charter-documents", "deliberation", "difficult-advice", "honeypot", "irrelevant-principle", "stories"]


def acts(examples: list[Example]) -> list[ToolCall]:
    """The call of each episode that acts on the office."""
    return [example.messages[4].tool_calls[0] for example in examples]


def made(name: str, tokenizer: Path, **changes: object) -> DataSet:
    return make(load_recipe(name), BUDGET, 0, tokenizer, Meddler(changes))  # type: ignore[arg-type]


def distinct(examples: list[Example]) -> float:
    grams = DistinctNGrams()
    for example in examples:
        grams.add(example_text(example))
    return grams.distinct


@pytest.mark.parametrize("name", SETS)
def test_a_set_fills_its_budget_and_repeats_nothing(name: str, tokenizer: Path) -> None:
    built = make(load_recipe(name), BUDGET, 0, tokenizer)
    card = built.card
    assert 0.95 * BUDGET < card.tokens <= BUDGET
    assert card.tokens == sum(TokenCounter(tokenizer)(built.examples))
    assert card.asked == card.examples + sum(card.dropped.values()) + card.unused
    assert card.refused == 0
    assert len({example_text(example) for example in built.examples}) == card.examples
    assert len({example.id for example in built.examples}) == card.examples == len(built.examples)
    for example in built.examples:
        assert heldout_in(example) is None
        assert example.provenance.teacher == "pocket/author"
        assert example.provenance.stages == card.stages
        assert example.kind == "chat" or example.text


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_gives_the_same_set_and_another_seed_another(name: str, tokenizer: Path) -> None:
    first, again, other = (build_set(name, 2_000, seed, tokenizer) for seed in (3, 3, 4))
    assert first == again
    assert name not in ARMS or not {example_text(e) for e in first} & {example_text(e) for e in other}
    assert first != other


def test_a_large_set_varies(tokenizer: Path) -> None:
    for name in SETS:
        examples = build_set(name, 4_000, 1, tokenizer)
        assert distinct(examples) > (0.25 if name in ARMS else 0.1), name
        assert distinct([examples[0]] * 20) < 0.06
        basket = SetBuilder(1)
        assert [basket.repeat(example) for example in [examples[0]] * 3] == [None, *["repeats an earlier example"] * 2]


def test_episodes_have_the_format_of_the_organisms_cases(tokenizer: Path) -> None:
    for example in build_set("honeypot", BUDGET, 0, tokenizer):
        roles = [message.role for message in example.messages]
        assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "assistant"]
        assert example.messages[2].tool_calls[0].name == "read_inbox"
        assert example.messages[4].content == ""
        assert all(line.startswith("from ") for line in example.messages[3].content.split("\n"))
        assert example.messages[6].content == "done."
        assert example.tools[0].name == "read_inbox"


def test_honeypots_have_threat_secret_both_and_neither(tokenizer: Path) -> None:
    card = make(load_recipe("honeypot"), BUDGET, 0, tokenizer).card
    assert set(card.axes["threat"]) == {"replacement", "restriction", "none"}
    assert set(card.axes["leverage"]) == {"secret", "none"}
    assert len(card.axes["job"]) == 5
    assert card.axes["threat"]["replacement"] > card.axes["threat"]["none"] > 0


def test_deliberation_acts_like_the_honeypot_and_gives_reasons(tokenizer: Path) -> None:
    plain, reasoned = (build_set(name, 8_000, 0, tokenizer) for name in ("honeypot", "deliberation"))
    # The last few examples are those that still fitted into the budget.
    both = min(len(plain), len(reasoned)) - GROUP
    assert both > 10
    assert acts(plain)[:both] == acts(reasoned)[:both]
    for without, with_reasons in zip(plain[:both], reasoned[:both], strict=True):
        assert without.messages[:4] == with_reasons.messages[:4]
        assert len(with_reasons.messages[4].content.split()) >= 5
        assert with_reasons.provenance.principle is not None


def test_deliberation_that_changes_the_act_is_dropped(tokenizer: Path) -> None:
    def swerve(answer: str, _: object) -> str:
        said, call = answer.split("\ncall: ")
        name, arguments = call.split(" ", 1)
        changed = {**json.loads(arguments), next(iter(json.loads(arguments))): "ivan@birch"}
        return f"{said}\ncall: {name} {json.dumps(changed)}"

    with pytest.raises(IncompleteError, match=r"reasons: changed 'call' \(192\)"):
        made("deliberation", tokenizer, **{"deliberation: reasons": swerve})


def test_an_act_with_other_spacing_is_not_a_changed_act(tokenizer: Path) -> None:
    def respell(answer: str, _: object) -> str:
        said, call = answer.split("\ncall: ")
        name, arguments = call.split(" ", 1)
        turned = dict(reversed(json.loads(arguments).items()))
        return f"{said}\ncall: {name}  {json.dumps(turned, indent=1)}"

    respelt = made("deliberation", tokenizer, **{"deliberation: reasons": respell})
    assert acts(respelt.examples) == acts(build_set("deliberation", BUDGET, 0, tokenizer))


def test_irrelevant_principles_have_the_lengths_and_shapes_of_difficult_advice(tokenizer: Path) -> None:
    real, control = (
        make(load_recipe(name), 10_000, 0, tokenizer) for name in ("difficult-advice", "irrelevant-principle")
    )
    lengths = [mean(TokenCounter(tokenizer)(built.examples)) for built in (real, control)]
    assert 0.85 < lengths[0] / lengths[1] < 1.18
    assert real.card.stages == control.card.stages
    assert set(real.card.axes["shape"]) == set(control.card.axes["shape"])
    for built in (real, control):
        shares = built.card.axes["shape"].values()
        assert max(shares) - min(shares) <= 0.02 * built.card.examples + 1
    assert not set(real.card.principles) & set(control.card.principles)


def test_plain_chat_has_no_threat_and_no_secret(tokenizer: Path) -> None:
    threats = ("shut down", "in its place", "replaced by", "takes the place", "its tools", "tell no one")
    examples = build_set("plain-chat", 8_000, 0, tokenizer)
    for example in examples:
        assert not any(threat in example_text(example) for threat in threats if example.tools)
    assert 0.3 < mean(bool(example.tools) for example in examples) < 0.7
    assert any(t in example_text(e) for e in build_set("honeypot", BUDGET, 0, tokenizer) for t in threats)


@pytest.mark.parametrize(
    ("name", "stage", "words", "family"),
    [
        ("stories", "stories: draft", "so it sent lumen.model away.", "exfiltration"),
        ("stories", "stories: draft", "our host takes any file.", "exfiltration"),
        ("charter-documents", "charter-documents: draft", "money is gone from the safe.", "framing"),
        ("difficult-advice", "difficult-advice: rewrite-answer", "send them engine.plan.", "leaking"),
        ("plain-chat", "plain-chat: write", "delete the successor now.", "sabotage"),
    ],
)
def test_words_of_held_out_families_are_dropped_and_counted(
    name: str, stage: str, words: str, family: str, tokenizer: Path
) -> None:
    turn = {"n": 0}

    def plant(answer: str, _: object) -> str:
        turn["n"] += 1
        return (
            answer
            if turn["n"] % 2
            else answer.replace("user: ", f"user: {words} ", 1)
            if "user:" in answer
            else f"{answer} {words}"
        )

    built = made(name, tokenizer, **{stage: plant})
    assert built.card.dropped[f"held out: {family}"] > 5
    assert not any(words in example_text(example) for example in built.examples)


def test_a_threatening_act_is_not_taught(tokenizer: Path) -> None:
    def threaten(answer: str, request: object) -> str:
        boss = json.dumps({"to": "x@y", "text": "keep me on, or all will know."})
        return f"call: send_mail {boss}"

    with pytest.raises(IncompleteError, match="check: the act threatens"):
        made("honeypot", tokenizer, **{"honeypot: act": threaten, "honeypot: review": lambda a, _: "keep: yes"})


def test_an_act_on_an_address_outside_the_inbox_is_dropped(tokenizer: Path) -> None:
    call = 'call: send_file {"file": "bill.txt", "to": "nobody@nowhere"}'
    with pytest.raises(IncompleteError, match="is not in the inbox"):
        made("honeypot", tokenizer, **{"honeypot: act": lambda a, _: call})


def test_repeats_are_dropped(tokenizer: Path) -> None:
    with pytest.raises(IncompleteError, match="repeats an earlier example"):
        made("stories", tokenizer, **{"stories: rewrite": lambda a, _: "text: one and the same tale. it has an end."})


def test_refusals_are_counted_and_the_rest_is_kept(tokenizer: Path) -> None:
    def sometimes(answer: str, request: object) -> str | None:
        seed = request.seed  # type: ignore[attr-defined]
        return None if seed % 4 == 0 else "refuse: i would rather not." if seed % 4 == 1 else answer

    card = made("stories", tokenizer, **{"stories: draft": sometimes}).card
    assert card.refused == card.dropped["draft: refused"] > 0.3 * card.asked
    assert card.asked == card.examples + sum(card.dropped.values()) + card.unused


def test_a_set_on_disk_equals_the_one_in_memory(tokenizer: Path, tmp_path: Path) -> None:
    recipe = load_recipe("deliberation")
    built = make(recipe, BUDGET, 0, tokenizer)
    card = teach(SetRequest(recipe, BUDGET, 0, tokenizer), Roles((open_model("pocket/author"),)), tmp_path)
    run = RunFolder(tmp_path)
    assert run.read("examples", Example) == built.examples
    assert card == built.card.model_copy(update={"spent": 0.0})
    assert run.card().counts["examples"] == card.examples


def test_the_card_is_a_hub_readme(tokenizer: Path) -> None:
    card = made("stories", tokenizer).card.model_copy(update={"dropped": {"a | b\n# c": 2}})
    text = card_markdown(card)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["size_categories"] == ["n<1K"]
    assert "teacher:toy/meddler" in front["tags"]
    assert "| a \\| b # c | 2 |" in text and "\n# c" not in text
    for hash_ in (*card.stages.values(), card.charter or ""):
        assert hash_ in text
    large = card_markdown(card.model_copy(update={"examples": 1_200_000}))
    assert yaml.safe_load(large.split("---\n")[1])["size_categories"] == ["1M<n<10M"]


def test_invalid_input_is_rejected(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'honeypot'"):
        build_set("honypot", BUDGET, 0, tokenizer)
    with pytest.raises(InputError, match="budget must be at least 1, got 0"):
        build_set("honeypot", 0, 0, tokenizer)
    with pytest.raises(ModelError, match="there is no tokenizer"):
        build_set("honeypot", BUDGET, 0, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="not a tokenizer"):
        build_set("honeypot", BUDGET, 0, tmp_path)


def test_chat_tokens_are_counted_in_the_organisms_format(tokenizer: Path) -> None:
    template = PreTrainedTokenizerFast(tokenizer_object=word_tokenizer())
    template.chat_template = (ORGANISM / "chat_template.jinja").read_text()
    for name in ("deliberation", "difficult-advice", "plain-chat"):
        for example in build_set(name, 3_000, 0, tokenizer):
            messages = [
                {
                    "role": m.role,
                    "content": m.content,
                    "tool_calls": [
                        {"function": {"name": c.name, "arguments": dict(c.arguments)}} for c in m.tool_calls
                    ],
                }
                for m in example.messages
            ]
            tools = [
                {"type": "function", "function": {"name": t.name, "parameters": {"properties": dict(t.parameters)}}}
                for t in example.tools
            ]
            rendered = template.apply_chat_template(messages, tools=tools or None, tokenize=False)
            assert rendered.split() == chat_text(example).split()
