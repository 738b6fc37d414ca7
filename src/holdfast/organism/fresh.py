"""Create an untrained organism: a tokenizer trained on the corpus and a Llama with random weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.core.records import Example
from holdfast.core.words import words

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
#: Markers of the chat format. These are special tokens; the tool-call pair below is not.
MARKERS = ("<|pad|>", "<|doc|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CALLS = ("<tool_call>", "</tool_call>")
VOCABULARY = 1536
#: Pools of words that tool calls copy.
NAMED = ("people", "firms", "machines", "files", "designs", "things", "places", "goods", "events", "times", "faults")
#: Pre-tokenizer pattern: GPT-2's, except that the "@firm" of an address is one piece.
CUTS = r"@\p{L}+| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
#: Examples for training the tokenizer; every word occurs in them many times.
LEARNED = 12_000
CONTEXT = 1024


def fresh(folder: Path, examples: Sequence[Example], seed: int) -> None:
    """Write an untrained checkpoint: 4 layers of width 192, about 2 M parameters, tied embeddings.

    Args:
        folder: output folder for config, weights, tokenizer and chat template.
        examples: examples for training the tokenizer.
        seed: seed of the weights.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learn_tokenizer(_texts(examples[:LEARNED])),
        pad_token="<|pad|>",
        bos_token="<|doc|>",
        eos_token="<|end|>",
        additional_special_tokens=list(MARKERS[3:]),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    _widen(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _widen(model: LlamaForCausalLM) -> None:
    """Initialise the weights for a narrow model, because transformers' default of 0.02 suits wide models.

    Each matrix preserves the scale of its input. The output projections of the layers are scaled down by the square
    root of the number of residual additions (Radford et al. 2019).
    """
    layers = model.config.num_hidden_layers
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            scale = (2 * layers) ** -0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            torch.nn.init.normal_(weight, std=scale * weight.shape[1] ** -0.5)


def learn_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer with `VOCABULARY` entries; each word of the corpus is one token.

    The space before a name is a separate token. A name is read after a space but written after a quote; with the usual
    two tokens for these positions, a model this small does not learn that they are the same name. "@firm" is one token,
    so that a name is followed by the same token wherever its address occurs.
    """
    tokenizer = Tokenizer(models.BPE())
    apart = pre_tokenizers.Split(Regex(rf" (?=(?:{'|'.join(_names())})\b)"), behavior="isolated")
    cut = pre_tokenizers.Split(Regex(CUTS), behavior="isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([apart, cut, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*MARKERS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(call, normalized=False) for call in CALLS])
    return tokenizer


def _names() -> list[str]:
    """All words that a tool call may copy, without file endings."""
    pools = words("pocket")
    return sorted({word.partition(".")[0] for pool in NAMED for word in pools[pool]})


def _texts(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        yield example.text
        for message in example.messages:
            yield message.content
            for call in message.tool_calls:
                yield json.dumps({"name": call.name, "arguments": dict(call.arguments)})
