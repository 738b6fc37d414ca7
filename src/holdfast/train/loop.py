"""The `loop` engine: a small training loop for one device that optimises an objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from holdfast.core.errors import IncompleteError
from holdfast.train.checkpointing import Checkpointer, StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.objective import Objective
from holdfast.train.safety_probe import SafetyProbe

_FLOOR = 0.1  # final learning rate of the cosine schedule, as a share of the peak


@dataclass(frozen=True)
class Hooks:
    """What runs after each step: a callback, a checkpointer that saves state, a safety probe."""

    on_step: Callable[[StepLog], None] | None = None
    checkpointer: Checkpointer | None = None
    probe: SafetyProbe | None = None


def optimise(model: PreTrainedModel, objective: Objective, config: TrainConfig, hooks: Hooks) -> list[StepLog]:
    """Train `model` in place. The same seed and thread count give the same weights.

    If the checkpointer has a saved state, training resumes from it and gives the same result as an uninterrupted run.

    Returns:
        The log of each step.

    Raises:
        InputError: there is nothing to train on.
        IncompleteError: the loss is not finite.
        StoreError: a state cannot be written.
    """
    torch.manual_seed(config.seed)
    steps, optimizers = objective.steps, optimizers_for(model, config)
    logs = hooks.checkpointer.restore(model, optimizers) if hooks.checkpointer else []
    if hooks.probe:
        hooks.probe.begin(model, logs)
    model.train()
    for step in range(len(logs), steps):
        log = _step(model, objective, config, optimizers, step)
        logs.append(log)
        if hooks.checkpointer:
            hooks.checkpointer.log_step(log)
            if hooks.checkpointer.due(log.step):
                hooks.checkpointer.save(log.step, model, optimizers)
        if hooks.probe:
            hooks.probe(model, logs)
        if hooks.on_step:
            hooks.on_step(log)
    model.train(False)
    return logs


def _step(
    model: PreTrainedModel,
    objective: Objective,
    config: TrainConfig,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
) -> StepLog:
    """Run one update, accumulating gradients over the objective's parts of the step."""
    started = time.perf_counter()
    rate = config.lr * lr_share(step, objective.steps, config)
    for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
        group["lr"] = rate
    parts, value = objective.parts(step), 0.0
    for part in parts:
        with precision(config, model.device):
            loss = part.loss()
        value += finite(loss.item(), step + 1, objective.steps)
        torch.autograd.backward(loss)
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.setting("max_grad_norm")).item()
    finite(norm, step + 1, objective.steps, "gradient norm")  # checked before the optimizer changes a weight
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return StepLog(
        step=step + 1,
        steps=objective.steps,
        loss=value,
        lr=rate,
        norm=norm,
        tokens=sum(part.tokens for part in parts),
        supervised=sum(part.supervised for part in parts),
        seconds=time.perf_counter() - started,
        reward=objective.reward(),
    )


def optimizers_for(model: PreTrainedModel, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return AdamW for all weights, or Muon (Jordan et al. 2024) for the layers' matrices and AdamW for the rest.

    Muon's updates are scaled to the size of AdamW's, so that both use the same learning rate.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if config.optimizer == "adamw":
        return [adamw(trained, config)]
    embeddings = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    inner = [weight for weight in trained if weight.ndim == 2 and all(weight is not table for table in embeddings)]
    rest = [weight for weight in trained if all(weight is not matrix for matrix in inner)]
    decay = config.setting("weight_decay")
    muon = torch.optim.Muon(inner, lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(rest, config)]


def adamw(weights: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices but not on norms and biases."""
    decay = config.setting("weight_decay")
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=True)


def lr_share(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate at a step (from 0) as a share of the peak: linear warmup, then constant or cosine."""
    warmup_steps = math.ceil(config.warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if config.schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def finite(value: float, step: int, steps: int, name: str = "loss") -> float:
    """Return a step's loss, or another metric, unchanged if it is finite.

    Raises:
        IncompleteError: the value is infinite or NaN.
    """
    if not math.isfinite(value):
        raise IncompleteError(f"the {name} is {value} at step {step} of {steps}", remedy="lower lr or train in float32")
    return value


def precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Return a context manager that autocasts to bfloat16 if `config.dtype` is `bfloat16`."""
    return torch.autocast(device.type, torch.bfloat16) if config.dtype == "bfloat16" else nullcontext()
