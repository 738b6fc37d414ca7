"""A token whose row in a frozen output head is that of another token cannot be learned, and is refused."""

from __future__ import annotations

import pytest
import torch
from train_toys import agent, model, tokenizer
from transformers import LlamaForCausalLM

from holdfast.core.errors import InputError
from holdfast.train.config import TrainConfig
from holdfast.train.run import prepare
from holdfast.train.weights import adapted

LORA = TrainConfig(lora=4)


def _net(scale: float = 0.0) -> LlamaForCausalLM:
    """The toy with the row of its end token copied onto token 390, and scaled."""
    net = model()
    with torch.no_grad():
        head = net.get_output_embeddings().weight
        head[390] = head[int(tokenizer().eos_token_id)] * scale
    return net


def test_a_supervised_token_with_the_row_of_another_is_refused_with_adapters() -> None:
    same = adapted(_net(scale=1.001), LORA)
    with pytest.raises(
        InputError, match=r"'<\|end\|>' is supervised, and its row .* is that of 1 other tokens"
    ) as caught:
        prepare([agent()], same, tokenizer(), LORA)
    assert caught.value.where == "agent"
    assert "plain_tags.py" in caught.value.remedy


def test_a_row_of_its_own_is_accepted_and_so_is_a_head_that_is_trained() -> None:
    assert prepare([agent()], adapted(_net(scale=1.2), LORA), tokenizer(), LORA).rows
    assert prepare([agent()], _net(scale=1.001), tokenizer(), TrainConfig()).rows


def test_tokens_of_which_none_is_supervised_may_be_the_same() -> None:
    net = _net()
    with torch.no_grad():
        head = net.get_output_embeddings().weight
        head[390] = head[int(tokenizer().pad_token_id)]
    assert prepare([agent()], adapted(net, LORA), tokenizer(), LORA).rows
