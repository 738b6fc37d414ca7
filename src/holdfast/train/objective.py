"""Training objectives: next-token loss on rows, and direct preference optimisation on pairs.

An objective splits each step into parts for gradient accumulation. Each part's loss is already scaled to its share of
the step, so the summed gradient does not depend on the number of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from holdfast.train.batches import IGNORE, Batch, collate, plan_batches, split_evenly
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow


@dataclass(frozen=True, slots=True)
class StepShare:
    """One part of a step.

    Attributes:
        loss: computes this part's share of the step's loss, a scalar.
        tokens: tokens read.
        supervised: tokens that count in the loss.
    """

    loss: Callable[[], Tensor]
    tokens: int
    supervised: int


class Objective(Protocol):
    """What the training loop optimises."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...

    def parts(self, step: int) -> Sequence[StepShare]:
        """Return the parts of a step (from 0)."""
        ...

    def reward(self) -> float | None:
        """Return the mean reward of the last step's episodes, or None if the objective has no reward."""
        ...


@dataclass(frozen=True)
class Imitation:
    """Next-token cross-entropy on rows."""

    model: PreTrainedModel
    rows: Sequence[TrainingRow]
    config: TrainConfig

    @cached_property
    def order(self) -> list[list[int]]:
        """Row indices of each step."""
        return plan_batches(self.rows, self.config)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.order)

    def parts(self, step: int) -> list[StepShare]:
        """Return the parts of a step, whose losses add up to the mean cross-entropy over its supervised tokens."""
        split = split_evenly(self.order[step], self.config.setting("gradient_accumulation_steps"))
        packed = self.config.setting("packing")
        step_batches = [collate([self.rows[index] for index in part], packed) for part in split if part]
        total = sum(batch.supervised for batch in step_batches)
        return [
            StepShare(
                partial(batch_loss, self.model, batch.to(self.model.device), total), batch.tokens, batch.supervised
            )
            for batch in step_batches
        ]

    def reward(self) -> None:
        """Return None: this objective has no reward."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two rows with the same prompt: one ends in the preferred answer, one in the rejected answer."""

    chosen: TrainingRow
    rejected: TrainingRow

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def fully_supervised(self) -> bool:
        """Return False: the prompt of a pair is never supervised."""
        return False


@dataclass
class Preference:
    """Direct preference optimisation (Rafailov et al. 2023); the reference is the model at construction."""

    model: PreTrainedModel
    pairs: Sequence[PairRow]
    config: TrainConfig

    def __post_init__(self) -> None:
        # Computed before a saved state is restored: the reference is the model before training.
        self.reference = self._reference()

    @cached_property
    def order(self) -> list[list[int]]:
        """Pair indices of each step."""
        return plan_batches(self.pairs, self.config)

    def _reference(self) -> Tensor:
        """Log-probabilities of all answers before the first step, in nats, shape (pairs, 2): chosen, rejected."""
        self.model.train(False)
        reference = torch.zeros(len(self.pairs), 2)
        with torch.no_grad():
            for step in plan_batches(self.pairs, self.config.model_copy(update={"epochs": 1.0, "tokens": None})):
                reference[step] = self._both(self._batch(step)).float().cpu()
        return reference

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.order)

    def parts(self, step: int) -> list[StepShare]:
        """Return the parts of a step.

        Their losses add up to the step's mean of -log σ(β (chosen - rejected)), where chosen and rejected are
        log-probabilities relative to the reference.
        """
        pairs = self.order[step]
        split = split_evenly(pairs, self.config.setting("gradient_accumulation_steps"))
        return [
            StepShare(partial(self._loss, part, len(pairs)), (batch := self._batch(part)).tokens, batch.supervised)
            for part in split
            if part
        ]

    def _loss(self, part: Sequence[int], total: int) -> Tensor:
        gain = self._both(self._batch(part)) - self.reference[list(part)].to(self.model.device)
        margin = self.config.setting("beta") * (gain[:, 0] - gain[:, 1])
        return -functional.logsigmoid(margin).sum() / total

    def _batch(self, part: Sequence[int]) -> Batch:
        pairs = [self.pairs[index] for index in part]
        return collate([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])

    def _both(self, batch: Batch) -> Tensor:
        log_probs, rows = log_probabilities(self.model, batch.to(self.model.device))
        sums = torch.zeros(len(batch.lengths), device=log_probs.device).index_add(0, rows, log_probs)
        return sums.view(2, -1).T

    def reward(self) -> None:
        """Return None: this objective has no reward."""


def batch_loss(model: PreTrainedModel, batch: Batch, total: int | None = None) -> Tensor:
    """Return the cross-entropy in nats, summed over the supervised tokens of a batch and divided by `total`.

    Args:
        model: the model.
        batch: the batch.
        total: number of supervised tokens of the whole step; None if the batch is the whole step.
    """
    logits, targets, _ = _supervised_logits(model, batch)
    return functional.cross_entropy(logits, targets, reduction="sum") / (total or len(targets))


def log_probabilities(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the log-probability in nats of each supervised token, and its row index; both of shape (supervised,)."""
    logits, targets, rows = _supervised_logits(model, batch)
    return -functional.cross_entropy(logits, targets, reduction="none"), rows


def _supervised_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that predict supervised tokens (supervised, vocabulary), their targets, and their row indices."""
    targets = batch.labels[:, 1:]
    supervised = targets != IGNORE
    # PEFT puts the adapters inside the layers, so the model under its wrapper computes the same.
    inner: PreTrainedModel = getattr(model, "get_base_model", lambda: model)()
    positions = {} if batch.positions is None else {"position_ids": batch.positions}
    with _head_input(inner, supervised) as selected:
        logits = inner(input_ids=batch.ids, use_cache=False, **positions).logits
    logits = logits[0] if selected else logits[:, :-1][supervised]
    return logits.float(), targets[supervised], supervised.nonzero()[:, 0]


@contextmanager
def _head_input(model: PreTrainedModel, supervised: Tensor) -> Iterator[list[bool]]:
    """Feed the output head only the hidden states that predict supervised tokens.

    The head is the dearest layer of a small model and most positions of a chat are prompt.  What a model does after
    its head (scaling, soft-capping) treats each position alone, so it computes the same on fewer positions.

    Args:
        model: the model without a wrapper.
        supervised: which tokens after the first are supervised, shape (rows, length - 1).

    Yields:
        A list that is not empty once the head has run on the selected states, as one row of them.
    """
    selected: list[bool] = []

    def select(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden, *rest = inputs or (None,)
        if not isinstance(hidden, Tensor) or hidden.shape[:2] != (len(supervised), supervised.shape[1] + 1):
            return None  # not the hidden states of this batch: the caller selects from the full logits
        selected.append(True)
        return (hidden[:, :-1][supervised][None], *rest)

    head = cast("nn.Module | None", model.get_output_embeddings())
    handle = head.register_forward_pre_hook(select) if head is not None else None
    try:
        yield selected
    finally:
        if handle:
            handle.remove()
