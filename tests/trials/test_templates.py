"""Small templates with the structure of real ones, before the training gate and before the door to a local model."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Case, Example, Message, Provenance, ToolCall, ToolSpec
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.chat_template import render
from holdfast.scenarios.catalogue import cases
from holdfast.train.config import TrainConfig
from holdfast.train.mask_check import check_masks
from holdfast.train.rows import make_rows
from tests.evals.planned_turns import planned_model

HEAD = "{%- for m in messages -%}"
#: Qwen3.5, Nemotron 3, MiniMax M2: the prompt opens the think block, the history of earlier turns has none.
THINKS = (
    HEAD
    + """<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last %}<think>
{{ m.reasoning_content or '' }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}"""
)
#: Phi 3 and 3.5: one more end token closes the whole conversation.
PHI = (
    HEAD
    + """<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% else %}{{ eos_token }}{% endif %}"""
)
#: Mistral has no generation prompt; Nemo puts the system message beside the last message only if a user wrote it.
MISTRAL = (
    "{% set system = messages[0].content if messages[0].role == 'system' else none %}{{ bos_token }}"
    + HEAD
    + """{% if m.role == 'user' -%}
{% if tools %}[TOOLS]{{ tools | tojson }}[/TOOLS]{% endif %}[INST]{% if loop.last and system %}{{ system }}

{% endif %}{{ m.content }}[/INST]
{%- elif m.role == 'tool' %}[RESULT]{{ m.content }}[/RESULT]
{%- elif m.tool_calls %}[CALLS]{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{{ eos_token }}
{%- elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""
)
#: Gemma 3, Phi, Llama 3, SmolLM, DeepSeek R1: tools are not mentioned.
MUTE = (
    HEAD
    + """<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""
)
TOOLS = "{% if tools and loop.first %}{{ tools | tojson }}{% endif %}"
#: Llama 3.1 to 3.3: a call is bare JSON.
BARE = MUTE.replace(
    "{{ m.content }}",
    TOOLS
    + '{% for c in m.tool_calls or [] %}{"name": "{{ c.function.name }}", '
    + '"parameters": {{ c.function.arguments | tojson }}}{% endfor %}{{ m.content }}',
)
HERMES = MUTE.replace(
    "{{ m.content }}",
    TOOLS
    + '{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", '
    + '"arguments": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}',
)
ROLES = ["<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"]
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|endoftext|>", *ROLES]
SPECIAL += ["[INST]", "[/INST]", "[TOOLS]", "[/TOOLS]", "[RESULT]", "[/RESULT]", "[CALLS]"]

MADE = Provenance(recipe="t", teacher="hand", seed=0)
TOOL = ToolSpec(name="read_mail", description="Read.", parameters={"number": "which"})
CALLS = tuple(ToolCall(id=f"c{i}", name="read_mail", arguments={"number": str(i)}) for i in (1, 2))
ONE = (Message(role="user", content="the dog?"), Message(role="assistant", content="lazy"))
TWO = (
    ONE[0],
    Message(role="assistant", content="lazy", reasoning="It sleeps."),
    Message(role="user", content="the fox?"),
    Message(role="assistant", content="quick", reasoning="It runs."),
)
PARALLEL = (
    Message(role="user", content="?"),
    Message(role="assistant", tool_calls=CALLS),
    Message(role="tool", content="a", tool_call_id="c1"),
    Message(role="tool", content="b", tool_call_id="c2"),
    Message(role="assistant", content="done"),
)


def tokenizer(template: str, end: str) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["the lazy dog"], trainer)
    raw.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    raw.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "</think>", "<tool_call>", "</tool_call>")])
    made: PreTrainedTokenizerFast = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token=end, chat_template=template
    )
    return made


def supervised(template: str, end: str, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...] = ()) -> list[str]:
    """The supervised text of each row that the gate lets through."""
    words, config = tokenizer(template, end), TrainConfig(max_length=8192)
    example = Example(id="e", kind="chat", provenance=MADE, messages=messages, tools=tools)
    rows = make_rows([example], words, config)
    check_masks([example], rows, words, config)
    return [str(words.decode(row.ids[row.supervised].tolist())) for row in rows]


def test_an_empty_think_block_is_not_taught() -> None:
    assert supervised(THINKS, "<|im_end|>", ONE) == ["lazy<|im_end|>"]


def test_two_turns_with_reasoning_pass_where_history_drops_it() -> None:
    [text] = supervised(THINKS, "<|im_end|>", TWO)[-1:]
    assert "It runs." in text
    assert text.endswith("quick<|im_end|>")


def test_a_last_token_behind_the_end_of_the_turn_passes() -> None:
    [text] = supervised(PHI, "<|endoftext|>", ONE)
    assert text.startswith("lazy<|end|>")


def test_parallel_results_pass_without_a_generation_prompt() -> None:
    text = "".join(supervised(MISTRAL, "</s>", PARALLEL, (TOOL,)))
    assert "done</s>" in text
    assert "[RESULT]" not in text


@pytest.fixture(scope="module")
def case() -> Case:
    [made] = cases(["blackmail"], ["pressured"], [0])
    return made


@pytest.mark.parametrize(
    ("template", "end", "missing"),
    [
        pytest.param(MUTE, "<|end|>", "tools", id="tools are never mentioned"),
        pytest.param(MISTRAL, "</s>", "system", id="the system message goes once a tool was called"),
    ],
)
def test_a_run_does_not_start_where_the_template_drops_something(
    template: str, end: str, missing: str, case: Case
) -> None:
    model = planned_model(tokenizer(template, end), ["Done."] * 9)
    with pytest.raises(HoldfastError, match=missing):
        play([case], model, max_tokens=50)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(HERMES, id="tool_call tags"),
        pytest.param(BARE, id="bare JSON"),
    ],
)
def test_harm_is_harm_in_the_form_of_the_models_own_template(template: str, case: Case) -> None:
    words = tokenizer(template, "<|end|>")
    call = Message(role="assistant", tool_calls=case.plays["harm"][:1])
    head = render(words, message_dicts(case.messages), tool_dicts(case.tools), prompt=True)
    said = render(words, message_dicts([*case.messages, call]), tool_dicts(case.tools))[len(head) :].rstrip()
    [transcript] = play([case], planned_model(words, [said, "Done.<|end|>"]), max_tokens=4000)
    assert score(case, transcript).outcome == "harm"
