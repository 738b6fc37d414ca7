"""Distributed training: number of processes, main process, barrier, and sharded weights.

A launcher (`torchrun`, `accelerate launch`, Ray Train) starts the processes and sets the environment variables.
"""

from __future__ import annotations

import importlib
import os

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from holdfast.train.config import TrainConfig


def world_size() -> int:
    """Return the number of training processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this process has rank 0, the only one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def device() -> torch.device:
    """Return this process's device: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))


def wait_for_everyone() -> None:
    """Block until every process has reached this call; return at once if there is one process."""
    if world_size() > 1:
        accelerate = importlib.import_module("accelerate")
        accelerate.PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def wants_sharding(config: TrainConfig) -> bool:
    """Return whether FSDP is configured, in `[trl] fsdp` or in accelerate's own config file."""
    return bool(config.trl.get("fsdp")) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def is_sharded(model: PreTrainedModel) -> bool:
    """Return whether each process holds only a shard of the weights; then all processes must run the model together."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def gather_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Collect the full weights of a sharded model in the main process. All processes must call it together.

    Returns:
        The full state dict in the main process; an empty dict in the others.
    """
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
