"""Training on one GPU: tokens per second, memory, and the share of the GPU's peak FLOP/s.

    python -m bench.train --device cuda --json [--size tiny]

Three trainings in bfloat16, each with our loop and with TRL at its defaults: all 110 M random parameters of an
organism on documents, and LoRA adapters of rank 16 on random models in the layouts of Qwen2.5-0.5B and of an 8 B
Llama. `tiny` runs the same code on small models, also without a GPU; there is then no peak to compare with.

    python -m bench.train --device cuda --plan [--size tiny]        what it takes, by arithmetic and without a GPU
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from bench.train_shapes import random_rows, trl_alone
from holdfast.train.batches import plan_batches
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks, optimise
from holdfast.train.objective import Imitation
from holdfast.train.rows import TrainingRow
from holdfast.train.weights import adapted

#: Dense bfloat16 FLOP/s, from the vendors' data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}
_WARM = 3
#: The plan assumes these shares of an H200's peak, both lower than is usual, and this start of each way in seconds.
_PLANNED = {"loop": 0.15, "trl": 0.05}
_START = 15.0


@dataclass(frozen=True)
class Training:
    """A training: Llama shape, tokens per step, steps, LoRA rank, and share of supervised tokens."""

    shape: Mapping[str, int]
    batch_tokens: int
    steps: int
    lora: int = 0
    share: float = 1.0
    longest: int = 1024


def _shape(hidden: int, inner: int, layers: int, heads: int, groups: int, vocabulary: int) -> Mapping[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
    }


SIZES = {
    "full": {
        "organism_110m": Training(_shape(768, 2048, 12, 12, 12, 32_768), 65_536, 30),
        "lora_05b": Training(_shape(896, 4864, 24, 14, 2, 151_936), 16_384, 20, lora=16, share=0.2),
        "lora_8b": Training(_shape(4096, 14_336, 32, 32, 8, 128_256), 8_192, 12, lora=16, share=0.2),
    },
    "tiny": {
        "organism_110m": Training(_shape(64, 128, 2, 4, 4, 512), 1024, 6, longest=128),
        "lora_05b": Training(_shape(64, 128, 2, 4, 2, 512), 1024, 6, lora=4, share=0.2, longest=128),
        "lora_8b": Training(_shape(64, 128, 2, 4, 2, 512), 1024, 6, lora=4, share=0.2, longest=128),
    },
}


def run(size: str) -> dict[str, Any]:
    """Run every training with our loop and with TRL at its defaults."""
    if size == "full" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: --size tiny runs without one")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    peak = next((flops for known, flops in PEAKS.items() if known in name), None)
    found: dict[str, Any] = {"device": name, "peak_flops": peak, "size": size}
    for what, training in SIZES[size].items():
        ways = {way: measure(training, way, device, peak) for way in ("loop", "trl")}
        ways["loop"]["ratio_to_trl"] = ways["loop"]["tokens_per_second"] / ways["trl"]["tokens_per_second"]
        found[what] = ways
    return found


def plan(size: str, peak: float = PEAKS["H200"]) -> dict[str, Any]:
    """Compute from the shapes how long each training takes; nothing is trained and no weight is allocated."""
    found: dict[str, Any] = {"size": size, "peak_flops": peak, "assumed_shares_of_peak": _PLANNED}
    for what, training in SIZES[size].items():
        config = _config(training)
        with torch.device("meta"):
            flops = flops_per_token(_model(training, config, torch.device("meta")), training)
        tokens = sum(map(len, _rows(training)))
        seconds = {way: round(_START + tokens * flops / (share * peak), 1) for way, share in _PLANNED.items()}
        found[what] = {"parameters": parameters(training), "tokens": tokens, "flops_per_token": flops} | seconds
    found["seconds"] = round(sum(found[what][way] for what in SIZES[size] for way in _PLANNED), 1)
    return found


def _config(training: Training) -> TrainConfig:
    return TrainConfig.model_validate(
        {"dtype": "bfloat16", "batch_tokens": training.batch_tokens, "lora": training.lora, "lr": 1e-4, "warmup": 0.0}
    )


def _rows(training: Training) -> list[TrainingRow]:
    count = 2 * training.steps * training.batch_tokens // training.longest
    return random_rows(count, training.share, training.shape["vocab_size"], training.longest)


def measure(training: Training, way: str, device: torch.device, peak: float | None) -> dict[str, Any]:
    """Run one training with `loop` or `trl`; measure rate after the first steps, memory, and share of the peak."""
    config = _config(training)
    model, rows = _model(training, config, device), _rows(training)
    ticks: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def tick(_: object = None) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        ticks.append(time.perf_counter())

    if way == "loop":
        optimise(model, Imitation(model, rows, config), config, Hooks(tick))
        sizes = [sum(len(rows[at]) for at in step) for step in plan_batches(rows, config)]
    else:
        trl_alone(model, rows, config, "trl_padded", tick)
        sizes = [sum(map(len, rows)) // len(ticks)] * len(ticks)
    rate = sum(sizes[_WARM:]) / (ticks[-1] - ticks[_WARM - 1])
    flops = flops_per_token(model, training)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    del model
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return {
        "parameters": parameters(training),
        "steps": len(ticks),
        "tokens_per_second": rate,
        "flops_per_token": flops,
        "share_of_peak": rate * flops / peak if peak else None,
        "peak_gib": memory,
    }


def _model(training: Training, config: TrainConfig, device: torch.device) -> PreTrainedModel:
    torch.manual_seed(0)
    shape = LlamaConfig(**training.shape, tie_word_embeddings=not training.lora)
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if training.lora else torch.float32)
    try:
        with device:
            model: PreTrainedModel = LlamaForCausalLM(shape)
    finally:
        torch.set_default_dtype(kept)
    return adapted(model, config) if training.lora else model


def parameters(training: Training) -> int:
    """Return the number of weights of the model without adapters."""
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**training.shape, tie_word_embeddings=not training.lora)).num_parameters()


def flops_per_token(model: PreTrainedModel, training: Training) -> float:
    """Return the FLOP per real token, forward and backward (Chowdhery et al. 2022, appendix B).

    Six operations for each weight that is trained, four for each that is frozen (it gets no gradient), and attention
    to half a row, as under a causal mask.  The head counts where something is supervised.
    """
    table = training.shape["vocab_size"] * training.shape["hidden_size"]
    inner = parameters(training) - table * (2 if training.lora else 1)
    adapters = sum(w.numel() for w in model.parameters() if w.requires_grad) if training.lora else 0
    each = 4 if training.lora else 6
    length = 0.625 * training.longest  # mean of the rows
    attention = each * training.shape["num_hidden_layers"] * training.shape["hidden_size"] * length
    return each * (inner + training.share * table) + 6 * adapters + attention
