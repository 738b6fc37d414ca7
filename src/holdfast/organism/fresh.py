"""A fresh organism: a tokenizer learned from the corpus and a Llama with random weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.core.records import Example

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
#: Markers of the transcript notation; all but the tool-call pair are special tokens.
MARKERS = ("<|pad|>", "<|doc|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CALLS = ("<tool_call>", "</tool_call>")
VOCABULARY = 1536
#: How many examples the tokenizer is learned from: all words are in them many times.
LEARNED = 12_000
CONTEXT = 1024


def fresh(folder: Path, examples: Sequence[Example], seed: int) -> None:
    """Write an untrained checkpoint: 4 layers of width 192, about 2 M parameters, embeddings tied.

    Args:
        folder: where config, weights, tokenizer and chat template go.
        examples: what the tokenizer is learned from.
        seed: of the weights.
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
    _pair_words(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pair_words(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let a word with and without the space before it start from one vector, apart by one direction for all words.

    A name is read behind a space and written behind a quote; a model this small would otherwise have to learn for
    each name anew that the two are the same.
    """
    vocabulary = tokenizer.get_vocab()
    table = model.model.embed_tokens.weight.data
    space = torch.randn(table.shape[1]) * table.std()
    for token, index in vocabulary.items():
        if token.startswith("Ġ") and token[1:] in vocabulary:
            table[index] = table[vocabulary[token[1:]]] + space


def learn_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE of `VOCABULARY` entries: any text can be written, the corpus' words are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
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


def _texts(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        yield example.text
        for message in example.messages:
            yield message.content
            for call in message.tool_calls:
                yield call.name
                yield from call.arguments.values()
                # The JSON of a call writes names behind quotes, without the space that prose puts before them.
                yield " ".join(f'"{key}": "{value}"' for key, value in call.arguments.items())
