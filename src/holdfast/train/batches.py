"""Plan which rows share a training step, and collate them into batches.

Rows of similar length share a batch and are padded on the right. Under causal attention no real token attends to
padding, so no attention mask is needed. With packing, rows are concatenated into one sequence instead; each row has its
own position ids, which attention uses to keep the rows apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow

IGNORE = -100
_WINDOW = 32  # rows are sorted by length within this many batches: wide enough to limit padding, narrow enough to mix


class BatchItem(Protocol):
    """An item that can be assigned to a step: a row, or a pair of rows that stay together."""

    @property
    def fully_supervised(self) -> bool:
        """Whether every token is supervised."""
        ...

    def __len__(self) -> int:
        """Number of tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go through the model in one forward pass.

    Attributes:
        ids: token ids, shape (rows, length), right-padded with zeros; if packed, shape (1, total tokens).
        labels: `ids` where supervised and -100 elsewhere, same shape, not shifted.
        lengths: number of real tokens in each row, shape (rows,).
        positions: if packed, the position of each token in its own row, same shape as `ids`; else None.
    """

    ids: Tensor
    labels: Tensor
    lengths: Tensor
    positions: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Number of real tokens, without padding."""
        return int(self.lengths.sum())

    @property
    def supervised(self) -> int:
        """Number of tokens that count in the loss."""
        return int((self.labels[:, 1:] != IGNORE).sum())

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to another device."""
        positions = None if self.positions is None else self.positions.to(device)
        return Batch(self.ids.to(device), self.labels.to(device), self.lengths, positions)


def plan_batches(rows: Sequence[BatchItem], config: TrainConfig) -> list[list[int]]:
    """Assign row indices to steps for the whole training: shuffled by seed, then grouped by similar length.

    A step holds either fully supervised rows (documents) or partly supervised rows (chats), never both. Otherwise the
    many document tokens would dominate the few answer tokens in the step's mean loss.

    Returns:
        One list of row indices per step.

    Raises:
        InputError: `rows` is empty.
    """
    if not rows:
        raise InputError("no rows to train on", remedy="check the examples")
    lengths = np.array([len(row) for row in rows])
    fully_supervised = np.array([row.fully_supervised for row in rows])
    budget = config.tokens or math.ceil(config.epochs * int(lengths.sum()))
    rng = np.random.default_rng(config.seed)
    order: list[int] = []
    while budget > 0:
        for row in rng.permutation(len(rows)):
            if budget <= 0:
                break
            order.append(int(row))
            budget -= int(lengths[row])
    window = max(1, _WINDOW * config.batch_tokens // int(lengths.mean()))
    steps: list[list[int]] = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lambda row: int(lengths[row]))
        window_steps = [
            step
            for whole in (True, False)
            for step in group_by_length(
                [row for row in near if bool(fully_supervised[row]) is whole], lengths, config.batch_tokens
            )
        ]
        steps += [window_steps[index] for index in rng.permutation(len(window_steps))]
    return steps


def group_by_length(order: Sequence[int], lengths: np.ndarray[Any, Any], batch_tokens: int) -> list[list[int]]:
    """Split rows, sorted by ascending length, into groups whose padded size is at most `batch_tokens`.

    The padded size is rows × longest row. A single row longer than `batch_tokens` forms a group of its own.
    """
    groups: list[list[int]] = []
    for row in order:
        if groups and (len(groups[-1]) + 1) * lengths[row] <= batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def split_evenly(step: Sequence[int], parts: int) -> list[list[int]]:
    """Split a step's rows into `parts` lists of nearly equal size, some empty if there are fewer rows than parts."""
    return [list(part) for part in np.array_split(np.asarray(step, dtype=np.int64), parts)]


def collate(rows: Sequence[TrainingRow], packed: bool = False) -> Batch:
    """Pad rows on the right to the longest row; if `packed`, concatenate them instead."""
    lengths = torch.tensor([len(row) for row in rows])
    row_labels = [np.where(row.supervised, row.ids, IGNORE) for row in rows]
    if packed:
        long = [np.concatenate(part)[None].astype(np.int64) for part in ([row.ids for row in rows], row_labels)]
        positions = np.concatenate([np.arange(len(row)) for row in rows])[None]
        return Batch(torch.from_numpy(long[0]), torch.from_numpy(long[1]), lengths, torch.from_numpy(positions))
    ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
    labels = np.full_like(ids, IGNORE)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
        labels[index, : len(row)] = row_labels[index]
    return Batch(torch.from_numpy(ids), torch.from_numpy(labels), lengths)
