"""A local checkpoint that writes planned turns, for tests of templates and of the text that a turn comes back as."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.models.local import LocalModel


class PlannedTurns(LlamaForCausalLM):
    """Writes each planned turn token by token, whatever the prompt is."""

    plan: list[list[int]]
    at: Iterator[int]

    def forward(self, input_ids: Any = None, **more: Any) -> Any:
        out = super().forward(input_ids=input_ids, **more)
        if input_ids.shape[1] > 1:
            self.at = iter(self.plan.pop(0))
        token = next(self.at, self.config.eos_token_id)
        out.logits = torch.full((1, 1, self.config.vocab_size), -1e4)
        out.logits[..., token] = 1e4
        return out


def planned_model(words: PreTrainedTokenizerFast, turns: list[str]) -> LocalModel:
    """A local model that writes these turns, one for each request."""
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=40000, eos_token_id=words.eos_token_id, pad_token_id=0,
    )  # fmt: skip
    model = PlannedTurns(config)
    model.plan = [words(turn, add_special_tokens=False)["input_ids"] for turn in turns]
    return LocalModel.around(model, words)
