"""The small loop: an objective in, a trained model out, on one device, with nothing hidden."""

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
from holdfast.train.checkpointing import Keeper, StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.objective import Imitation, Objective
from holdfast.train.rows import TrainingRow
from holdfast.train.safety_probe import SafetyProbe

_FLOOR = 0.1  # share of the peak rate where the cosine ends


@dataclass(frozen=True)
class Hooks:
    """Who is told of each step: a listener, a keeper that saves states, a watch that looks at the model."""

    on_step: Callable[[StepLog], None] | None = None
    keeper: Keeper | None = None
    watch: SafetyProbe | None = None


def train_rows(
    model: PreTrainedModel,
    rows: Sequence[TrainingRow],
    config: TrainConfig,
    on_step: Callable[[StepLog], None] | None = None,
) -> list[StepLog]:
    """Train `model` in place on rows and return what each step did.

    Raises:
        InputError: there are no rows.
        IncompleteError: the loss is no longer a number.
    """
    return descend(model, Imitation(model, rows, config), config, Hooks(on_step))


def descend(model: PreTrainedModel, objective: Objective, config: TrainConfig, hooks: Hooks) -> list[StepLog]:
    """Train `model` in place and return what each step did. The same seed and thread count give the same weights.

    Where the keeper holds a state, training goes on from it, and ends as if it had never stopped.

    Raises:
        InputError: there is nothing to train on.
        IncompleteError: the loss is no longer a number.
        StoreError: a state cannot be written.
    """
    torch.manual_seed(config.seed)
    steps, optimizers = objective.steps, optimizers_for(model, config)
    logs = hooks.keeper.restore(model, optimizers) if hooks.keeper else []
    if hooks.watch:
        hooks.watch.begin(model, logs)
    model.train()
    for step in range(len(logs), steps):
        log = _step(model, objective, config, optimizers, step)
        logs.append(log)
        if hooks.keeper:
            hooks.keeper.note(log)
            if hooks.keeper.due(log.step):
                hooks.keeper.save(log.step, model, optimizers)
        if hooks.watch:
            hooks.watch(model, logs)
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
    """One update, of as many parts as the objective hands out."""
    began = time.perf_counter()
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
    finite(norm, step + 1, objective.steps, "gradient's norm")  # before it reaches a weight
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
        seconds=time.perf_counter() - began,
        reward=objective.reward(),
    )


def optimizers_for(model: PreTrainedModel, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all weights, or Muon (Jordan et al. 2024) for the matrices of the layers and AdamW for the rest.

    Muon's updates are scaled to the size of AdamW's, so that one learning rate serves both.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if config.optimizer == "adamw":
        return [adamw(trained, config)]
    tables = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    inner = [weight for weight in trained if weight.ndim == 2 and all(weight is not table for table in tables)]
    rest = [weight for weight in trained if all(weight is not matrix for matrix in inner)]
    decay = config.setting("weight_decay")
    muon = torch.optim.Muon(inner, lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(rest, config)]


def adamw(weights: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves norms and biases alone."""
    decay = config.setting("weight_decay")
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=True)


def lr_share(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at a step (from 0): linear warmup, then constant or cosine."""
    rising = math.ceil(config.warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if config.schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def finite(value: float, step: int, steps: int, name: str = "loss") -> float:
    """The loss, or another figure of a step, if it is a number.

    Raises:
        IncompleteError: it is not.
    """
    if not math.isfinite(value):
        raise IncompleteError(f"the {name} is {value} at step {step} of {steps}", remedy="lower lr or train in float32")
    return value


def precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the config asks for it."""
    return torch.autocast(device.type, torch.bfloat16) if config.dtype == "bfloat16" else nullcontext()
