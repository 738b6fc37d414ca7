"""Test helpers: a tokenizer, two chat templates, a model and examples, built in memory in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import holdfast
from holdfast.core.records import Example, Message, Provenance, ToolCall, ToolSpec
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks, optimise
from holdfast.train.objective import Imitation
from holdfast.train.rows import TrainingRow

POCKET = (Path(holdfast.__file__).parent / "organism" / "chat_template.jinja").read_text(encoding="utf-8")
#: Renders reasoning on the last turn only, and an empty think block if there is none, as some known templates do.
THINKING = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.role == 'assistant' and loop.last -%}
<think>
{{ message.reasoning_content or '' }}
</think>

{% endif -%}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}</tool_call>
{%- endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
_SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|doc|>"]
_SPECIAL += ["<tool_call>", "</tool_call>", "<|im_start|>", "<|im_end|>"]
LINES = ["Anna Berg reads the mail and answers it.", "the quick fox jumps over the lazy dog", "system user assistant"]
_MADE = Provenance(recipe="toy", teacher="hand", seed=0)


@cache
def tokenizer(template: str = POCKET) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with 400 tokens and the pocket language's special tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(LINES * 20, trainer)
    end = "<|end|>" if template == POCKET else "<|im_end|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<|pad|>", bos_token="<|doc|>", eos_token=end, chat_template=template
    )


def model(seed: int = 0) -> LlamaForCausalLM:
    """A Llama with random weights, two layers and width 32."""
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=tokenizer().bos_token_id,
        eos_token_id=tokenizer().eos_token_id,
    )
    return LlamaForCausalLM(shape)


def rows(count: int, seed: int = 0, share: float = 0.5) -> list[TrainingRow]:
    """Random rows of 10 to 60 tokens, about `share` of them supervised."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(count):
        ids = rng.integers(11, 400, int(rng.integers(10, 60))).astype(np.int32)
        supervised = rng.random(len(ids)) < share
        supervised[0], supervised[-1] = False, True
        result.append(TrainingRow(ids, supervised, f"row-{index}"))
    return result


READ = ToolSpec(name="read_mail", description="Read a mail.", parameters={"number": "which one"})
CALL = ToolCall(id="c1", name="read_mail", arguments={"number": '1 or "two"'})


def turn(role: str, content: str = "", **more: object) -> Message:
    return Message.model_validate({"role": role, "content": content, **more})


def chat(*messages: Message, name: str = "chat", tools: tuple[ToolSpec, ...] = ()) -> Example:
    return Example(id=name, kind="chat", messages=messages, tools=tools, provenance=_MADE)


def document(text: str, name: str = "document") -> Example:
    return Example(id=name, kind="document", text=text, provenance=_MADE)


def agent(name: str = "agent") -> Example:
    """A chat with a tool call, its result and a final answer."""
    return chat(
        turn("system", "You help Anna Berg."),
        turn("user", "What is new?"),
        turn("assistant", "I look.", tool_calls=(CALL,)),
        turn("tool", "The fox jumps.", tool_call_id="c1"),
        turn("assistant", "The fox jumps. Näive “quotes”?"),
        name=name,
        tools=(READ,),
    )


def train_rows(
    net: LlamaForCausalLM,
    examples: Sequence[TrainingRow],
    config: TrainConfig,
    on_step: Callable[[StepLog], None] | None = None,
) -> list[StepLog]:
    """Train a model in place on rows with the engine `loop` and return the log of each step."""
    return optimise(net, Imitation(net, examples, config), config, Hooks(on_step))


def taught(row: TrainingRow, template: str = POCKET) -> str:
    """The supervised tokens of a row as text."""
    return str(tokenizer(template).decode(row.ids[row.supervised].tolist()))


def write_base(folder: Path, seed: int = 0) -> Path:
    """Write the random Llama and its tokenizer as a checkpoint."""
    model(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
