"""Several processes that train together: how many, which of them writes, and where they wait for each other.

A launcher (`torchrun`, `accelerate launch`, Ray Train) starts them and says so in the environment.
"""

from __future__ import annotations

import importlib
import os

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from holdfast.train.config import TrainConfig


def world() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def device() -> torch.device:
    """Where this process trains: a GPU of its own, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))


def meet() -> None:
    """Wait until every process is here; at once where there is one."""
    if world() > 1:
        accelerate = importlib.import_module("accelerate")
        accelerate.PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def sharded(config: TrainConfig) -> bool:
    """Whether each process is to hold a part of the weights only (FSDP), by `[trl] fsdp` or accelerate's own file."""
    return bool(config.trl.get("fsdp")) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def spread(model: PreTrainedModel) -> bool:
    """Whether each process holds a part of the weights only: then all must run the model together, or none."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def gathered(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The whole weights of a model that is spread; empty in every process but the first. All must call it together."""
    found = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
