"""Tiny random checkpoints in the layouts of common model families, with chat templates of the same structure.

The template texts are ours. They keep what matters for masks: where turns open and close, what is dropped from earlier
turns, how tools are listed and called, and what a template rejects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from train_toys import LINES
from transformers import (
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM


@dataclass(frozen=True)
class Family:
    """A family's special tokens (begin and end first), config class, and whether its template supports tools."""

    special: tuple[str, ...]
    config: type[PreTrainedConfig]
    tools: bool = True


_BRACKETS = (
    *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"),
)
FAMILIES = {
    "llama": Family(("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"), LlamaConfig),
    "qwen3": Family(("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<tool_call>", "</tool_call>"), Qwen3Config),
    "gemma": Family(("<bos>", "<end_of_turn>", "<start_of_turn>"), Gemma2Config, tools=False),
    "mistral": Family(("<s>", "</s>", *_BRACKETS), MistralConfig),
    "olmo": Family(("<|begin|>", "<|endoftext|>"), Olmo2Config, tools=False),
}


def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with 400 tokens and the family's special tokens and template."""
    family = FAMILIES[name]
    template = (Path(__file__).parent / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", *family.special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(LINES * 20, trainer)
    begin, end = family.special[:2]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token=begin, eos_token=end, chat_template=template
    )


def write_family(name: str, folder: Path) -> Path:
    """Write a checkpoint of the family with two layers, width 32 and random weights."""
    words = family_tokenizer(name)
    torch.manual_seed(0)
    shape = FAMILIES[name].config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
