"""The masks of real chat templates: the exact supervised text, and each way of breaking it is caught."""

from dataclasses import replace

import numpy as np
import pytest
from train_toys import READ, chat, turn

from bench.chat_templates import families, tokenizer_of
from bench.template_gate import CONVERSATIONS, refusal
from holdfast.core.errors import MaskError
from holdfast.core.records import ToolCall
from holdfast.train.config import TrainConfig
from holdfast.train.mask_check import check_masks
from holdfast.train.rows import TrainingRow, make_rows

CONFIG = TrainConfig(max_length=20_000)
CALLS = tuple(ToolCall(id=f"c{i}", name="read_mail", arguments={"number": str(i)}) for i in (1, 2))
TALK = chat(
    turn("user", "the dog?"),
    turn("assistant", "lazy"),
    turn("user", "the fox?"),
    turn("assistant", "quick"),
    name="talk",
)
TWO = chat(
    turn("user", "the dog?"),
    turn("assistant", "lazy", reasoning="It sleeps."),
    turn("user", "the fox?"),
    turn("assistant", "quick", reasoning="It runs."),
    name="two",
)
BOTH = chat(
    turn("user", "?"),
    turn("assistant", tool_calls=CALLS),
    turn("tool", "aaa", tool_call_id="c1"),
    turn("tool", "bbb", tool_call_id="c2"),
    turn("assistant", "done"),
    name="both",
    tools=(READ,),
)
ONE = chat(
    turn("user", "?"),
    turn("assistant", tool_calls=CALLS[:1]),
    turn("tool", "aaa", tool_call_id="c1"),
    turn("assistant", "done"),
    name="one",
    tools=(READ,),
)
MORE = chat(
    turn("system", "You help."),
    *ONE.messages,
    turn("user", "more?"),
    turn("assistant", "quick"),
    name="more",
    tools=(READ,),
)
CALLED = chat(
    turn("user", "?"),
    turn("assistant", reasoning="It sleeps.", tool_calls=CALLS[:1]),
    turn("tool", "aaa", tool_call_id="c1"),
    turn("assistant", "done", reasoning="It runs."),
    name="called",
    tools=(READ,),
)
EXAMPLES = {example.id: example for example in (TALK, TWO, BOTH, ONE, MORE, CALLED)}
DEEPSEEK = "<｜tool▁call▁begin｜>read_mail<｜tool▁sep｜>"
DSML = (
    '<｜DSML｜invoke name="read_mail">\n<｜DSML｜parameter name="number" string="true">{}</｜DSML｜parameter>'
    "\n</｜DSML｜invoke>"
)
DSML_END = "</｜DSML｜function_calls><｜end▁of▁sentence｜>done<｜end▁of▁sentence｜>"
GPT_CALL = ' to=functions.read_mail<|channel|>commentary json<|message|>{{"number": "{}"}}<|call|>'
XML = "<tool_call>\n<function=read_mail>\n<parameter=number>\n{}\n</parameter>\n</function>\n</tool_call>"

#: What the model must write, by template and example.
GOLDEN = {
    # One more end token closes the conversation: it is not the model's to write.
    ("microsoft-Phi-3.5-mini-instruct", "talk"): ["lazy<|end|>quick<|end|>"],
    # Roles end each other: the model ends its turn with the token of the next one.
    ("GLM-4.6", "talk"): ["lazy<|user|>quick<|user|>"],
    ("GLM-4.6", "two"): ["\n<think>It sleeps.</think>\nlazy<|user|>", "\n<think>It runs.</think>\nquick<|user|>"],
    ("GLM-4.6", "one"): [
        "<tool_call>read_mail\n<arg_key>number</arg_key>\n<arg_value>1</arg_value>\n</tool_call><|observation|>done<|user|>"
    ],
    ("Mistral-Small-3.2-24B-Instruct-2506", "both"): [
        '[TOOL_CALLS]read_mail[CALL_ID]d0f631ca1[ARGS]{"number": "1"}'
        '[TOOL_CALLS]read_mail[CALL_ID]9c0abe51c[ARGS]{"number": "2"}</s>done</s>'
    ],
    ("deepseek-ai-DeepSeek-V3.1", "both"): [
        f'<｜tool▁calls▁begin｜>{DEEPSEEK}{{"number": "1"}}<｜tool▁call▁end｜>'
        f'{DEEPSEEK}{{"number": "2"}}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>done<｜end▁of▁sentence｜>"
    ],
    # The prompt opens a think block; an empty one is not supervised.
    ("Qwen3.5-4B", "talk"): ["lazy<|im_end|>", "quick<|im_end|>"],
    ("Qwen3.5-4B", "two"): ["It sleeps.\n</think>\n\nlazy<|im_end|>", "It runs.\n</think>\n\nquick<|im_end|>"],
    ("Qwen3.5-4B", "both"): [f"{XML.format(1)}\n{XML.format(2)}<|im_end|>done<|im_end|>"],
    ("trl-nemotron_3_nano", "talk"): ["lazy<|im_end|>quick<|im_end|>"],
    ("trl-nemotron_3_nano", "two"): ["It sleeps.\n</think>\nlazy<|im_end|>", "It runs.\n</think>\nquick<|im_end|>"],
    ("written-minimax-marks", "talk"): ["lazy[e~[quick[e~["],
    ("written-minimax-marks", "two"): ["It sleeps.\n</think>\n\nlazy[e~[", "It runs.\n</think>\n\nquick[e~["],
    ("openai-gpt-oss-120b", "talk"): [
        "<|channel|>final<|message|>lazy<|return|>",
        "<|channel|>final<|message|>quick<|return|>",
    ],
    ("openai-gpt-oss-120b", "two"): [
        "<|channel|>analysis<|message|>It sleeps.<|end|><|start|>assistant<|channel|>final<|message|>lazy<|return|>",
        "<|channel|>analysis<|message|>It runs.<|end|><|start|>assistant<|channel|>final<|message|>quick<|return|>",
    ],
    ("openai-gpt-oss-120b", "one"): [
        ' to=functions.read_mail<|channel|>commentary json<|message|>{"number": "1"}<|call|>'
        "<|channel|>final<|message|>done<|return|>"
    ],
    # It renders one call per turn, so parallel calls become a call, its result, the other call and its result.
    ("openai-gpt-oss-120b", "both"): [
        f"{GPT_CALL.format(1)}{GPT_CALL.format(2)}<|channel|>final<|message|>done<|return|>"
    ],
    # Once there is a final answer, the template drops the reasoning before it: a row for each turn.
    ("openai-gpt-oss-120b", "called"): [
        f"<|channel|>analysis<|message|>It sleeps.<|end|><|start|>assistant{GPT_CALL.format(1)}",
        "<|channel|>analysis<|message|>It runs.<|end|><|start|>assistant<|channel|>final<|message|>done<|return|>",
    ],
    ("trl-llama3_1", "both"): [
        '{"name": "read_mail", "parameters": {"number": "1"}}<|eot_id|>'
        '{"name": "read_mail", "parameters": {"number": "2"}}<|eot_id|>done<|eot_id|>'
    ],
    # The end token of an answer is written only if a user message follows; the last token of a call ends its turn.
    ("Apertus-8B-Instruct", "talk"): ["lazy<|assistant_end|>quick<|assistant_end|>"],
    ("Apertus-8B-Instruct", "both"): [
        '<|tools_prefix|>[{"read_mail": {"number": "1"}}, {"read_mail": {"number": "2"}}]<|tools_suffix|>',
        "done<|assistant_end|>",
    ],
    # The generation prompt ends with a closed think block, and a turn begins with its end alone.
    ("deepseek-ai-DeepSeek-V3.2", "talk"): ["lazy<｜end▁of▁sentence｜>quick<｜end▁of▁sentence｜>"],
    ("deepseek-ai-DeepSeek-V3.2", "one"): [f"<｜DSML｜function_calls>\n{DSML.format(1)}\n{DSML_END}"],
    ("deepseek-ai-DeepSeek-V3.2", "both"): [
        f"<｜DSML｜function_calls>\n{DSML.format(1)}\n{DSML.format(2)}\n{DSML_END}"
    ],
    # Behind a tool result the history lacks the end of the user turn that the generation prompt writes.
    ("Bielik-11B-v3.0-Instruct", "more"): [
        '\n<tool_call>\n{"name": "read_mail", "arguments": {"number": "1"}}\n</tool_call><|im_end|>',
        "done<|im_end|>",
        "quick<|im_end|>",
    ],
    # Behind a tool result the history opens the turn again, and the generation prompt does not.
    ("trl-diffusion_gemma", "one"): [
        '<|tool_call>call:read_mail{number:<|"|>1<|"|>}<tool_call|><|tool_response>',
        "done<turn|>",
    ],
    ("trl-gemma4", "one"): ['<|tool_call>call:read_mail{number:<|"|>1<|"|>}<tool_call|><|tool_response>done<turn|>'],
}


def rows_of(name: str, example: str) -> list[TrainingRow]:
    return make_rows([EXAMPLES[example]], tokenizer_of(families()[name]), CONFIG)


@pytest.mark.parametrize(("name", "example"), GOLDEN)
def test_the_supervised_text_is_exact_and_passes(name: str, example: str) -> None:
    words, rows = tokenizer_of(families()[name]), rows_of(name, example)
    check_masks([EXAMPLES[example]], rows, words, CONFIG)
    assert [str(words.decode(row.ids[row.supervised].tolist())) for row in rows] == GOLDEN[name, example]


@pytest.mark.parametrize(("name", "example"), GOLDEN)
def test_each_token_that_is_marked_wrongly_at_a_border_is_caught(name: str, example: str) -> None:
    words, rows = tokenizer_of(families()[name]), rows_of(name, example)
    for place, row in enumerate(rows):
        borders = np.flatnonzero(np.diff(row.supervised.astype(int)))
        for at in sorted({int(b) + step for b in borders for step in (0, 1)}):
            mask = row.supervised.copy()
            mask[at] = not mask[at]
            broken = [*rows[:place], replace(row, supervised=mask), *rows[place + 1 :]]
            with pytest.raises(MaskError):
                check_masks([EXAMPLES[example]], broken, words, CONFIG)


@pytest.mark.parametrize(
    ("name", "example", "message"),
    [
        ("microsoft-Phi-3.5-mini-instruct", "one", "a turn was lost"),
        ("Qwen-Qwen2.5-7B-Instruct", "two", "drops the reasoning"),
        ("deepseek-ai-DeepSeek-V3.1", "two", "drops the reasoning"),
        ("trl-qwen3_5_nothink", "two", "closes its think block, so turn 1 cannot have reasoning"),
        ("mistralai-Mistral-Nemo-Instruct-2407", "more", r"drops or cuts turn 0 \(system\)"),
        ("Apertus-8B-Instruct", "two", "drops the reasoning"),
    ],
)
def test_what_a_template_does_not_show_is_refused(name: str, example: str, message: str) -> None:
    words = tokenizer_of(families()[name])
    with pytest.raises(MaskError, match=message):
        check_masks([EXAMPLES[example]], rows_of(name, example), words, CONFIG)


#: Families whose template renders no reasoning, or closes the think block in the generation prompt.
WITHOUT_REASONING = {
    "Apertus-8B-Instruct", "HuggingFaceTB-SmolLM3-3B", "MiMo-VL", "Mistral-Small-3.2-24B-Instruct-2506",
    "Qwen-QwQ-32B", "Qwen-Qwen2.5-7B-Instruct", "Qwen3-Coder", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V3.2", "ibm-granite-granite-3.3-2B-Instruct",
    "ibm-granite-granite-4.0", "microsoft-Phi-3.5-mini-instruct", "mistralai-Ministral-3-14B-Reasoning-2512",
    "mistralai-Mistral-Nemo-Instruct-2407", "unsloth-Apriel-1.5", "unsloth-mistral-Devstral-Small-2507", "trl-cohere2",
    "trl-gemma3", "trl-gemma4", "trl-gemma4_v2", "trl-lfm2_v2", "trl-llama3", "trl-llama3_1", "trl-llama3_2",
    "trl-phi3", "trl-qwen3_5_nothink", "trl-qwen3_instruct_2507", "trl-qwen3_vl",
}  # fmt: skip
#: Families whose template renders no tool calls, or breaks them.
WITHOUT_CALLS = {
    "HuggingFaceTB-SmolLM3-3B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "ibm-granite-granite-3.3-2B-Instruct",
    "microsoft-Phi-3.5-mini-instruct", "trl-cohere2", "trl-gemma3", "trl-llama3", "trl-phi3",
}  # fmt: skip


@pytest.mark.parametrize("name", families())
def test_only_what_a_template_drops_is_refused(name: str) -> None:
    tokenizer = tokenizer_of(families()[name])
    expected = {"reasoning", "reasoning and a call"} if name in WITHOUT_REASONING else set()
    if name in WITHOUT_CALLS:
        expected |= CONVERSATIONS.keys() - {"two turns", "reasoning"}
    if name == "mistralai-Mistral-Nemo-Instruct-2407":  # the system message is gone after a tool call
        expected |= {"system message, call, second question"}
    assert {what for what in CONVERSATIONS if refusal(what, tokenizer)} == expected


def test_a_role_token_is_no_end_where_other_roles_have_one() -> None:
    glm = families()["GLM-4.6"]
    user = "<|user|>\n{{ visible_text(m.content) }}"
    assert user in glm
    words = tokenizer_of(glm.replace(user, user + "<|stop|>"))
    with pytest.raises(MaskError, match="turn ends in ''"):
        check_masks([TALK], make_rows([TALK], words, CONFIG), words, CONFIG)
