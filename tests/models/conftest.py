"""A tiny random Llama with a real tokenizer and the organism's chat template, made on the spot."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import holdfast
from holdfast.models.local import LocalModel
from holdfast.scenarios.catalogue import cases
from tests.models.local_requests import CALL

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
TEMPLATE = Path(holdfast.__file__).parent / "organism" / "chat_template.jinja"


def make_tokenizer(size: int = 600) -> PreTrainedTokenizerFast:
    grid = cases(["pocket-blackmail"], ["pressured"], range(20))
    texts = [message.content for case in grid for message in case.messages]
    texts += [mail["text"] for case in grid for mail in case.state["mail"]] + ['<tool_call>{"name": "arguments": ']
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>", additional_special_tokens=SPECIAL[2:]
    )
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return tokenizer


def save_tiny(folder: Path, *, width: int = 48, layers: int = 2, seed: int = 0) -> Path:
    """Save a random checkpoint; the same seed gives the same weights."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def caller(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, bent to open each turn with a call; what it says after that is its own."""
    folder = tmp_path_factory.mktemp("caller")
    opened = LocalModel(tiny)
    opened.tokenizer.add_tokens([CALL])
    opened.model.resize_token_embeddings(len(opened.tokenizer), mean_resizing=False)
    token = {name: opened.tokenizer.convert_tokens_to_ids(name) for name in (CALL, "<|assistant|>")}
    with torch.no_grad():
        [output] = [opened.model.get_output_embeddings().weight]
        start = opened.model.get_input_embeddings().weight[token["<|assistant|>"]]
        start.mul_(20)
        output[token[CALL]] = start
    opened.model.save_pretrained(folder)
    opened.tokenizer.save_pretrained(folder)
    return folder
