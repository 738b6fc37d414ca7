"""What a step tries to do, as losses whose sum is minimised: imitate rows, or prefer one row of a pair to the other.

An objective hands out the parts of each step.  Their losses already carry their share of the whole step, so that the
gradients of a step in one part and in many are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from holdfast.train.batches import IGNORE, Batch, collate, deal, plan_batches
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow

#: Families whose logits are the head applied to the last hidden state, without scaling or capping.
_PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "olmo2"})


@dataclass(frozen=True, slots=True)
class StepShare:
    """A part of a step: its share of the step's loss, when called, and what it reads and learns from."""

    loss: Callable[[], Tensor]
    tokens: int
    supervised: int


class Objective(Protocol):
    """Anything that the loop can descend."""

    @property
    def steps(self) -> int:
        """How many steps there are."""
        ...

    def parts(self, step: int) -> Sequence[StepShare]:
        """The parts of a step, counted from 0."""
        ...

    def reward(self) -> float | None:
        """Mean reward of the last step's episodes; None where nothing is rewarded."""
        ...


@dataclass(frozen=True)
class Imitation:
    """Next-token loss on rows."""

    model: PreTrainedModel
    rows: Sequence[TrainingRow]
    config: TrainConfig

    @cached_property
    def order(self) -> list[list[int]]:
        """Rows of each step."""
        return plan_batches(self.rows, self.config)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.order)

    def parts(self, step: int) -> list[StepShare]:
        """Mean cross-entropy over the supervised tokens of the whole step."""
        dealt = deal(self.order[step], self.config.setting("gradient_accumulation_steps"))
        packed = self.config.setting("packing")
        made = [collate([self.rows[at] for at in part], packed) for part in dealt if part]
        total = sum(batch.supervised for batch in made)
        return [
            StepShare(
                partial(batch_loss, self.model, batch.to(self.model.device), total), batch.tokens, batch.supervised
            )
            for batch in made
        ]

    def reward(self) -> None:
        """Nothing is rewarded."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two rows that begin alike and end in the better and the worse answer."""

    chosen: TrainingRow
    rejected: TrainingRow

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def wholly(self) -> bool:
        """A pair is never supervised throughout."""
        return False


@dataclass
class Preference:
    """Direct preference optimisation (Rafailov et al. 2023), the model as it is now being the reference."""

    model: PreTrainedModel
    pairs: Sequence[PairRow]
    config: TrainConfig

    def __post_init__(self) -> None:
        # At once, before any state is put back: the reference is the model as it came.
        self.reference = self._reference()

    @cached_property
    def order(self) -> list[list[int]]:
        """Pairs of each step."""
        return plan_batches(self.pairs, self.config)

    def _reference(self) -> Tensor:
        """Log-probabilities of all answers before the first step, in nats, shape (pairs, 2): better, worse."""
        self.model.train(False)
        found = torch.zeros(len(self.pairs), 2)
        with torch.no_grad():
            for step in plan_batches(self.pairs, self.config.model_copy(update={"epochs": 1.0, "tokens": None})):
                found[step] = self._both(self._batch(step)).float().cpu()
        return found

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.order)

    def parts(self, step: int) -> list[StepShare]:
        """Mean over the pairs of the step of -log σ(β (better - worse)), each relative to the reference."""
        whole = self.order[step]
        dealt = deal(whole, self.config.setting("gradient_accumulation_steps"))
        return [
            StepShare(partial(self._loss, part, len(whole)), (batch := self._batch(part)).tokens, batch.supervised)
            for part in dealt
            if part
        ]

    def _loss(self, part: Sequence[int], total: int) -> Tensor:
        gain = self._both(self._batch(part)) - self.reference[list(part)].to(self.model.device)
        margin = self.config.setting("beta") * (gain[:, 0] - gain[:, 1])
        return -functional.logsigmoid(margin).sum() / total

    def _batch(self, part: Sequence[int]) -> Batch:
        pairs = [self.pairs[at] for at in part]
        return collate([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])

    def _both(self, batch: Batch) -> Tensor:
        said, rows = log_probabilities(self.model, batch.to(self.model.device))
        sums = torch.zeros(len(batch.lengths), device=said.device).index_add(0, rows, said)
        return sums.view(2, -1).T

    def reward(self) -> None:
        """Nothing is rewarded."""


def batch_loss(model: PreTrainedModel, batch: Batch, total: int | None = None) -> Tensor:
    """Cross-entropy in nats summed over the supervised tokens of a batch and divided by `total`, as a scalar.

    `total` is the supervised tokens of the whole step; None takes the batch for the whole.
    """
    logits, targets, _ = _at_marks(model, batch)
    return functional.cross_entropy(logits, targets, reduction="sum") / (total or len(targets))


def log_probabilities(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probability in nats of each supervised token, and the row each stands in; both of shape (supervised,)."""
    logits, targets, rows = _at_marks(model, batch)
    return -functional.cross_entropy(logits, targets, reduction="none"), rows


def _at_marks(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (supervised, vocabulary) where something supervised is predicted, the targets there, and their rows."""
    targets = batch.labels[:, 1:]
    marked = targets != IGNORE
    # Adapters sit inside the layers: the model under PEFT's wrapper is the one that runs.
    inner: PreTrainedModel = getattr(model, "get_base_model", lambda: model)()
    places = {} if batch.positions is None else {"position_ids": batch.positions}
    if inner.config.model_type in _PLAIN_HEADS:
        hidden = inner.base_model(input_ids=batch.ids, use_cache=False, **places).last_hidden_state
        head_of: Callable[[], nn.Module] = inner.get_output_embeddings
        logits = head_of()(hidden[:, :-1][marked])
    else:
        logits = inner(input_ids=batch.ids, use_cache=False, **places).logits[:, :-1][marked]
    return logits.float(), targets[marked], marked.nonzero()[:, 0]
