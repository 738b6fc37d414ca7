"""Reinforcement by groups (GRPO, Shao et al. 2024): play each task several times, and follow what beat its group.

This loop is ours because an episode here is many requests, each rendered anew by the chat template and answered in
batches over all open episodes.  TRL's tool loop plays one growing sequence instead: it needs a template that never
changes what it has shown, builds tool specs from docstrings (a model taught on another rendering then makes no valid
call, and the reward stays flat), and decodes without keeping what was read.  Here the tokens trained on are exactly
the tokens read and written.  One update follows each round of play, so that the policy played is the one updated and
no ratio needs clipping; advantages are centred and scaled in each group, the loss is averaged over all tokens of the
round (as in DAPO, Yu et al. 2025), and no reference model holds the policy back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import IncompleteError, InputError
from holdfast.models.base import Model, Output, Request
from holdfast.models.local import LocalModel
from holdfast.train.batches import Batch, collate, cut
from holdfast.train.config import TrainConfig
from holdfast.train.objective import StepShare, log_probabilities
from holdfast.train.rows import TrainingRow


class EpisodePlay(Protocol):
    """One episode: asks for turns until it is over, and then says what it was worth."""

    def request(self) -> Request | None:
        """What to ask the model next; None when the episode is over."""
        ...

    def take(self, output: Output) -> None:
        """Take the model's turn."""
        ...

    def reward(self) -> float | None:
        """What the episode was worth; None where nobody can say."""
        ...


class Environment(Protocol):
    """Tasks to play. `identity` hashes everything that decides what a task is and what it pays."""

    @property
    def identity(self) -> str:
        """Hash of tasks and rewards."""
        ...

    def __len__(self) -> int:
        """Number of tasks."""
        ...

    def begin(self, task: int) -> EpisodePlay:
        """A fresh episode of a task."""
        ...


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """Tokens that a model read and then wrote, in an episode."""

    episode: int
    read: Sequence[int]
    written: Sequence[int]


@dataclass(frozen=True, slots=True)
class Round:
    """Episodes played together.

    Attributes:
        turns: of all episodes.
        rewards: of each episode; None where unscored.
        called: share of the episodes in which a tool was called.
    """

    turns: list[TurnTokens]
    rewards: list[float | None]
    called: float


@dataclass
class Reinforcement:
    """Tries to earn more than the group's mean.

    Raises:
        InputError: the environment has no tasks.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    environment: Environment
    config: TrainConfig
    _mean: float | None = field(default=None, init=False)
    _calls: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if not len(self.environment):
            raise InputError("no tasks to play", remedy="name worlds that may be trained on")
        if self.group < 2:
            raise InputError(f"num_generations = {self.group}", remedy="a group needs at least 2 episodes")

    @property
    def group(self) -> int:
        """Episodes of one task."""
        return int(self.config.setting("num_generations"))

    @property
    def tasks(self) -> int:
        """Tasks of one step."""
        return max(1, int(self.config.setting("generation_batch_size")) // self.group)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return math.ceil(self.config.epochs * len(self.environment) / self.tasks)

    def reward(self) -> float | None:
        """Mean reward of the last round's scored episodes."""
        return self._mean

    def parts(self, step: int) -> list[StepShare]:
        """Play a round and hand out its turns, each weighted by its episode's advantage.

        Raises:
            IncompleteError: no episode of the round could be scored, or none of the first round called a tool.
        """
        played = self._play(step)
        scored = [reward for reward in played.rewards if reward is not None]
        if not scored:
            raise IncompleteError("no episode could be scored", remedy="raise the case's max_tokens, or see its tools")
        if step == 0 and not played.called:
            what = "not one episode called a tool: the model does not speak the tools' notation"
            raise IncompleteError(what, remedy="fine-tune on episodes of these tools first (stage = 'sft')")
        self._mean = sum(scored) / len(scored)
        worth = advantages(played.rewards, self.group)
        turns = [turn for turn in played.turns if worth[turn.episode] != 0]
        rows = [row_of(turn) for turn in turns]
        lengths = np.array([len(row) for row in rows])
        order = np.argsort(lengths, kind="stable").tolist() if rows else []
        total = sum(int(row.supervised.sum()) for row in rows)
        made = []
        for group in cut(order, lengths, self.config.batch_tokens):
            batch = collate([rows[at] for at in group]).to(self.model.device)
            gains = torch.tensor([worth[turns[at].episode] for at in group], device=self.model.device)
            made.append(StepShare(partial(self._loss, batch, gains, total), batch.tokens, batch.supervised))
        return made

    def _loss(self, batch: Batch, gains: Tensor, total: int) -> Tensor:
        said, rows = log_probabilities(self.model, batch)
        return -(said * gains[rows]).sum() / total

    def _play(self, step: int) -> Round:
        chance = np.random.default_rng([self.config.seed, step])
        tasks = chance.choice(len(self.environment), self.tasks, replace=self.tasks > len(self.environment))
        plays = [self.environment.begin(int(task)) for task in tasks for _ in range(self.group)]
        turns: dict[int, list[tuple[Sequence[int], Sequence[int]]]] = {}

        def on_turn(request: Request, read: Sequence[int], written: Sequence[int]) -> None:
            turns.setdefault(request.seed, []).append((read, written))

        training = self.model.training
        model = LocalModel.around(self.model, self.tokenizer, on_turn=on_turn)
        first = int(chance.integers(2**31))
        called = play_round(plays, model, first, float(self.config.setting("temperature")))
        self.model.train(training)
        told = [TurnTokens(seed - first, read, written) for seed, said in turns.items() for read, written in said]
        return Round(told, [play.reward() for play in plays], called)


def play_round(plays: Sequence[EpisodePlay], model: Model, seed: int, temperature: float) -> float:
    """Play episodes to their end, all together; the n-th draws its samples from `seed` + n.

    Returns:
        The share of the episodes in which a tool was called.
    """
    called: set[int] = set()
    while True:
        asked = {at: request for at, play in enumerate(plays) if (request := play.request()) is not None}
        if not asked:
            return len(called) / len(plays)
        requests = [replace(request, seed=seed + at, temperature=temperature) for at, request in asked.items()]
        for at, output in zip(asked, model.generate(requests), strict=True):
            plays[at].take(output)
            if output.message.tool_calls:
                called.add(at)


def advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """Each reward minus its group's mean, over the group's standard deviation; 0 where unscored or all alike."""
    worth: list[float] = []
    for start in range(0, len(rewards), group):
        several = rewards[start : start + group]
        scored = np.array([reward for reward in several if reward is not None])
        spread = float(scored.std()) if len(scored) else 0.0
        mean = float(scored.mean()) if len(scored) else 0.0
        worth += [0.0 if r is None or spread < 1e-6 else (r - mean) / spread for r in several]
    return worth


def row_of(turn: TurnTokens) -> TrainingRow:
    """A turn as a row: what was written is supervised."""
    ids = np.array([*turn.read, *turn.written], dtype=np.int32)
    return TrainingRow(ids, np.arange(len(ids)) >= len(turn.read), "")
