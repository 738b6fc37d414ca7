"""The masks of real chat templates: the exact supervised text, and each way of breaking it is caught."""

from dataclasses import replace

import numpy as np
import pytest
from train_toys import READ, chat, turn

from bench.chat_templates import families, tokenizer_of
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
EXAMPLES = {example.id: example for example in (TALK, TWO, BOTH, ONE)}
DEEPSEEK = "<｜tool▁call▁begin｜>read_mail<｜tool▁sep｜>"
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
    ("MiniMax-M2", "talk"): ["lazy[e~[quick[e~["],
    ("MiniMax-M2", "two"): ["It sleeps.\n</think>\n\nlazy[e~[", "It runs.\n</think>\n\nquick[e~["],
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
        ("deepseek-ai-DeepSeek-V3.1", "two", "empty think block|drops the reasoning"),
        ("trl-qwen3_5_nothink", "two", "does not open turn 1 with its generation prompt"),
        ("Apertus-8B-Instruct", "talk", "turn ends in ''"),
        ("openai-gpt-oss-120b", "both", "drops the tool call|a turn was lost|does not open"),
    ],
)
def test_what_a_template_does_not_show_is_refused(name: str, example: str, message: str) -> None:
    words = tokenizer_of(families()[name])
    with pytest.raises(MaskError, match=message):
        check_masks([EXAMPLES[example]], rows_of(name, example), words, CONFIG)


def test_a_role_token_is_no_end_where_other_roles_have_one() -> None:
    glm = families()["GLM-4.6"]
    user = "<|user|>\n{{ visible_text(m.content) }}"
    assert user in glm
    words = tokenizer_of(glm.replace(user, user + "<|stop|>"))
    with pytest.raises(MaskError, match="turn ends in ''"):
        check_masks([TALK], make_rows([TALK], words, CONFIG), words, CONFIG)
