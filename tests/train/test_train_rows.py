"""The supervised text for two templates, and the examples that are rejected before tokenisation."""

import copy

import numpy as np
import pytest
from train_toys import POCKET, THINKING, agent, chat, document, taught, tokenizer, turn

from holdfast.core.errors import InputError, MaskError
from holdfast.core.records import Example
from holdfast.models.chat_format import tool_dicts
from holdfast.train.config import TrainConfig
from holdfast.train.rows import make_rows

CALLED = '<tool_call>{"name": "read_mail", "arguments": {"number": "1 or \\"two\\""}}</tool_call>'


def one(example: Example, template: str = POCKET, **settings: object) -> str:
    (row,) = make_rows([example], tokenizer(template), TrainConfig.model_validate(settings))
    assert not row.supervised[0]
    return taught(row, template)


def test_a_chat_supervises_the_assistant_and_its_end_tokens_only() -> None:
    assert one(agent()) == f"I look.{CALLED}<|end|>The fox jumps. Näive “quotes”?<|end|>"


def test_the_mask_agrees_with_the_templates_own_generation_markers() -> None:
    (row,) = make_rows([agent()], tokenizer())
    messages = [
        {"role": "system", "content": "You help Anna Berg."},
        {"role": "user", "content": "What is new?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"function": {"name": "read_mail", "arguments": {"number": '1 or "two"'}}}],
        },
        {"role": "tool", "content": "The fox jumps."},
        {"role": "assistant", "content": "The fox jumps. Näive “quotes”?"},
    ]
    theirs = tokenizer().apply_chat_template(
        messages, tools=tool_dicts(agent().tools), return_dict=True, return_assistant_tokens_mask=True
    )
    assert theirs["input_ids"] == row.ids.tolist()
    assert theirs["assistant_masks"] == row.supervised.astype(int).tolist()


def test_a_document_is_supervised_whole_between_its_end_tokens() -> None:
    (row,) = make_rows([document("The fox jumps.")], tokenizer())
    assert tokenizer().decode(row.ids.tolist()) == "<|doc|>The fox jumps.<|end|>"
    assert row.supervised.tolist() == [False] + [True] * (len(row) - 1)


def test_midtraining_supervises_every_token_of_a_chat() -> None:
    (row,) = make_rows([agent()], tokenizer(), TrainConfig(stage="midtrain"))
    assert row.supervised.tolist() == [False] + [True] * (len(row) - 1)


def test_reasoning_is_supervised_and_its_empty_block_is_not() -> None:
    thought = chat(turn("user", "the dog?"), turn("assistant", "lazy", reasoning="It jumps."))
    assert one(thought, THINKING) == "<think>\nIt jumps.\n</think>\n\nlazy<|im_end|>"
    assert one(thought, THINKING, keep_reasoning=False) == "lazy<|im_end|>"


def test_a_template_that_drops_earlier_reasoning_gives_one_row_per_turn() -> None:
    two = chat(
        turn("user", "the dog?"),
        turn("assistant", "lazy", reasoning="It sleeps."),
        turn("user", "the fox?"),
        turn("assistant", "quick", reasoning="It jumps."),
    )
    first, second = make_rows([two], tokenizer(THINKING))
    assert taught(first, THINKING) == "<think>\nIt sleeps.\n</think>\n\nlazy<|im_end|>"
    assert taught(second, THINKING) == "<think>\nIt jumps.\n</think>\n\nquick<|im_end|>"
    assert "sleeps" not in tokenizer(THINKING).decode(second.ids.tolist())


def test_rows_keep_the_order_of_the_examples_across_chunks() -> None:
    examples = [document(f"the fox {number}", name=f"d{number}") for number in range(600)]
    assert [row.example for row in make_rows(examples, tokenizer())] == [example.id for example in examples]


def test_an_empty_list_of_examples_is_rejected() -> None:
    with pytest.raises(InputError, match="no examples"):
        make_rows([], tokenizer())


def test_a_too_long_example_is_rejected_and_not_truncated() -> None:
    with pytest.raises(InputError, match=r"d: the example has \d+ tokens, more than max_length = 8 \("):
        make_rows([document("the quick fox jumps over the lazy dog", "d")], tokenizer(), TrainConfig(max_length=8))


def test_an_empty_document_is_rejected() -> None:
    with pytest.raises(InputError, match="document is empty"):
        make_rows([document(" \n")], tokenizer())


def test_a_chat_without_an_assistant_turn_is_rejected() -> None:
    with pytest.raises(MaskError, match="no assistant turn"):
        make_rows([chat(turn("user", "hello"))], tokenizer())


def test_a_failing_template_gives_a_one_line_error() -> None:
    broken = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(MaskError, match="chat template fails: roles must alternate"):
        make_rows([agent()], tokenizer(broken))


def test_a_template_whose_turns_do_not_start_with_the_generation_prompt_is_rejected() -> None:
    odd = POCKET.replace("{%- if add_generation_prompt -%}<|assistant|>", "{%- if add_generation_prompt -%}<|tool|>")
    with pytest.raises(MaskError, match="does not open turn 2 with its generation prompt"):
        make_rows([agent()], tokenizer(odd))


def test_a_token_across_the_boundary_of_a_turn_is_rejected() -> None:
    joined = copy.deepcopy(tokenizer(THINKING.replace("and loop.last", "and false")))
    joined.add_tokens(["\n\n"])  # joins the prompt's last newline and the answer's first into one token
    with pytest.raises(MaskError, match="a token crosses the boundary"):
        make_rows([chat(turn("user", "the dog?"), turn("assistant", "\nlazy"))], joined)


def test_ids_and_masks_have_small_types() -> None:
    (row,) = make_rows([agent()], tokenizer())
    assert row.ids.dtype == np.int32
    assert row.supervised.dtype == np.bool_
