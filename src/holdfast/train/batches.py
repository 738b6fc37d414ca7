"""Rows → steps → batches: which rows share a step, and how they lie in memory.

Rows of like length share a batch and are padded on the right.  Under causal attention no real token sees padding, so
no attention mask is needed and documents never see each other.  Packed, they lie end to end in one long row instead,
each with positions of its own, by which attention keeps them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow

IGNORE = -100
_WINDOW = 32  # batches among which rows are sorted by length: wide enough to waste little, narrow enough to mix


class Sized(Protocol):
    """What can be planned: a row, or a pair of rows that stay together."""

    @property
    def wholly(self) -> bool:
        """Whether all of it is supervised."""
        ...

    def __len__(self) -> int:
        """Tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go through the model together.

    Attributes:
        ids: token ids, shape (rows, length), padded on the right with zeros; packed, shape (1, all tokens).
        labels: the same ids where they are supervised and -100 elsewhere, same shape, not shifted.
        lengths: real tokens of each row, shape (rows,).
        positions: packed, each token's place in its own row, same shape as `ids`; else None.
    """

    ids: Tensor
    labels: Tensor
    lengths: Tensor
    positions: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Real tokens, padding left out."""
        return int(self.lengths.sum())

    @property
    def supervised(self) -> int:
        """Tokens that count in the loss."""
        return int((self.labels[:, 1:] != IGNORE).sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        places = None if self.positions is None else self.positions.to(device)
        return Batch(self.ids.to(device), self.labels.to(device), self.lengths, places)


def plan_batches(rows: Sequence[Sized], config: TrainConfig) -> list[list[int]]:
    """Which rows make up each step, for the whole training: shuffled by seed, near neighbours in length together.

    A step holds rows that are supervised throughout or rows that are supervised in part, never both: the many tokens
    of documents, most of which nothing predicts, would drown the few of an answer.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("no rows to train on", remedy="check the examples")
    lengths = np.array([len(row) for row in rows])
    wholly = np.array([row.wholly for row in rows])
    budget = config.tokens or math.ceil(config.epochs * int(lengths.sum()))
    chance = np.random.default_rng(config.seed)
    order: list[int] = []
    while budget > 0:
        for row in chance.permutation(len(rows)):
            if budget <= 0:
                break
            order.append(int(row))
            budget -= int(lengths[row])
    window = max(1, _WINDOW * config.batch_tokens // int(lengths.mean()))
    steps: list[list[int]] = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lambda row: int(lengths[row]))
        made = [
            step
            for whole in (True, False)
            for step in cut([row for row in near if bool(wholly[row]) is whole], lengths, config.batch_tokens)
        ]
        steps += [made[at] for at in chance.permutation(len(made))]
    return steps


def cut(order: Sequence[int], lengths: np.ndarray[Any, Any], batch_tokens: int) -> list[list[int]]:
    """Cut rows sorted by rising length so that rows × longest stays within `batch_tokens` (one row may exceed it)."""
    made: list[list[int]] = []
    for row in order:
        if made and (len(made[-1]) + 1) * lengths[row] <= batch_tokens:
            made[-1].append(row)
        else:
            made.append([row])
    return made


def batches(rows: Sequence[TrainingRow], config: TrainConfig) -> Iterator[Batch]:
    """The batches of the whole training, in order; `len(plan(rows, config))` of them."""
    for step in plan_batches(rows, config):
        yield collate([rows[at] for at in step])


def deal(step: Sequence[int], parts: int) -> list[list[int]]:
    """A step's rows in so many parts, as even as can be; a part is empty where there are fewer rows than parts."""
    return [list(part) for part in np.array_split(np.asarray(step, dtype=np.int64), parts)]


def collate(rows: Sequence[TrainingRow], packed: bool = False) -> Batch:
    """Pad rows on the right to the longest of them, or lay them end to end."""
    lengths = torch.tensor([len(row) for row in rows])
    marked = [np.where(row.supervised, row.ids, IGNORE) for row in rows]
    if packed:
        long = [np.concatenate(part)[None].astype(np.int64) for part in ([row.ids for row in rows], marked)]
        places = np.concatenate([np.arange(len(row)) for row in rows])[None]
        return Batch(torch.from_numpy(long[0]), torch.from_numpy(long[1]), lengths, torch.from_numpy(places))
    ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
    labels = np.full_like(ids, IGNORE)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row.ids
        labels[at, : len(row)] = marked[at]
    return Batch(torch.from_numpy(ids), torch.from_numpy(labels), lengths)
