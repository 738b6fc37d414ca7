"""Shared parts of the training benchmarks: random models and rows, a bare PyTorch loop, and TRL alone."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
)

from holdfast.models.checkpoints import checkpoint_path
from holdfast.train.batches import IGNORE, collate, plan_batches
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow
from holdfast.train.weights import adapted

VOCABULARY = 1536
_CONTEXT = 1024

_ALONE = {"per_device_train_batch_size": 1, "packing": True, "gradient_accumulation_steps": 2}
_KEPT = {"activation_checkpointing": False}  # recomputing saves memory and costs time; TRL does it where nobody says
#: TRL's settings and attention implementation. The first three are its fastest ways that keep documents apart: padded
#: batches of similar length, or one packed row per batch. Its default packing concatenates a whole batch of 8, with one
#: mask over all of it if there is no FlashAttention.
TRL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "trl_grouped": ("eager", {**_KEPT, "train_sampling_strategy": "group_by_length"}),
    "trl_packed": ("eager", {**_KEPT, **_ALONE}),
    "trl_packed_sdpa": ("sdpa", {**_KEPT, **_ALONE}),
    "trl_padded": ("sdpa", {}),
    "trl_default": ("sdpa", {"packing": True}),
}


def organism_shaped(attention: str = "eager") -> LlamaForCausalLM:
    """Return a random Llama with 4 layers, width 192 and 2.07 M parameters; eager attention is fastest on a CPU."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(shape)


def pretrained(name: str, attention: str, config: TrainConfig) -> PreTrainedModel:
    """Return a fetched model as `train` loads it, with the given attention and with adapters if `config.lora`."""
    frozen = config.lora and config.dtype == "bfloat16"
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        checkpoint_path(name), dtype=torch.bfloat16 if frozen else torch.float32, attn_implementation=attention
    )
    return adapted(model, config) if config.lora else model


def random_rows(count: int, share: float, vocabulary: int = VOCABULARY, longest: int = 400) -> list[TrainingRow]:
    """Return rows of `longest` / 4 to `longest` random tokens, about `share` of them supervised."""
    chance = np.random.default_rng(0)
    rows = []
    for at in range(count):
        ids = chance.integers(3, vocabulary, int(chance.integers(longest // 4, longest))).astype(np.int32)
        supervised = chance.random(len(ids)) < share
        supervised[0], supervised[-1] = False, True
        rows.append(TrainingRow(ids, supervised, str(at)))
    return rows


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer, which TRL requires even for tokenised rows."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def bare_loop(
    model: PreTrainedModel, rows: Sequence[TrainingRow], config: TrainConfig, on_step: Callable[[], None]
) -> list[float]:
    """Train with a plain PyTorch loop on our batches (the model's own loss, plain AdamW) and return the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.95), weight_decay=0.0)
    kind, losses = model.device.type, []
    for batch in (
        made.to(model.device)
        for made in (collate([rows[index] for index in step]) for step in plan_batches(rows, config))
    ):
        real = torch.arange(batch.ids.shape[1], device=model.device)[None, :] < batch.lengths[:, None].to(model.device)
        assert bool((batch.labels[~real] == IGNORE).all())
        with torch.autocast(kind, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            loss = model(input_ids=batch.ids, attention_mask=real.long(), labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.setting("max_grad_norm"))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        on_step()
    return losses


def trl_alone(
    model: PreTrainedModel, rows: Sequence[TrainingRow], config: TrainConfig, way: str, on_step: Callable[[], None]
) -> None:
    """Train with TRL's trainer on the same rows for one epoch; TRL makes the batches."""
    trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")

    class Ticker(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            on_step()

    told = {
        "input_ids": [row.ids.tolist() for row in rows],
        "labels": [np.where(row.supervised, row.ids, IGNORE).tolist() for row in rows],
    }
    with tempfile.TemporaryDirectory() as spare:
        settings = trl.SFTConfig(
            output_dir=spare,
            num_train_epochs=1,
            max_length=_CONTEXT,
            learning_rate=config.lr,
            bf16=config.dtype == "bfloat16",
            use_cpu=model.device.type == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=model.device.type != "cpu",
            **TRL[way][1],
        )
        trainer = trl.SFTTrainer(
            model=model,
            args=settings,
            train_dataset=datasets.Dataset.from_dict(told),
            processing_class=tiny_tokenizer(),
            callbacks=[Ticker()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
