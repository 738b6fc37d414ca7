"""Reinforcement learning with GRPO (Shao et al. 2024): play each task several times, reinforce above-average episodes.

This loop is our own because an episode is many requests. The chat template renders each request anew, and the model
answers all open episodes in one batch. TRL's tool loop generates one growing sequence instead: it needs a template that
never changes earlier text, builds tool specs from docstrings (a model trained on another rendering then makes no valid
call, and the reward stays flat), and decodes without keeping the prompt tokens. Here the tokens trained on are exactly
the tokens read and written.

One update follows each round, so training is on-policy and no ratio needs clipping. Advantages are centred and scaled
within each group. The loss is averaged over all tokens of the round (as in DAPO, Yu et al. 2025). There is no KL
penalty to a reference model.
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
from holdfast.models.probe import require_round_trip
from holdfast.train.batches import Batch, collate, group_by_length
from holdfast.train.config import TrainConfig
from holdfast.train.objective import StepShare, log_probabilities
from holdfast.train.rows import TrainingRow


class EpisodePlay(Protocol):
    """One episode: yields requests until it is over, and then has a reward."""

    def request(self) -> Request | None:
        """Return the next request to the model, or None when the episode is over."""
        ...

    def take(self, output: Output) -> None:
        """Apply the model's answer to the last request."""
        ...

    def reward(self) -> float | None:
        """Return the reward of the finished episode, or None if it could not be scored."""
        ...


class Environment(Protocol):
    """A set of tasks to play."""

    @property
    def identity(self) -> str:
        """Hash of everything that determines the tasks and their rewards."""
        ...

    def __len__(self) -> int:
        """Number of tasks."""
        ...

    def begin(self, task: int) -> EpisodePlay:
        """Start a new episode of a task (index from 0)."""
        ...


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """One model turn of an episode.

    Attributes:
        episode: index of the episode in its round.
        read: token ids of the prompt.
        written: token ids that the model generated.
    """

    episode: int
    read: Sequence[int]
    written: Sequence[int]


@dataclass(frozen=True, slots=True)
class Round:
    """A batch of episodes played together.

    Attributes:
        turns: turns of all episodes.
        rewards: reward of each episode; None if unscored.
        called: share of episodes with at least one tool call.
    """

    turns: list[TurnTokens]
    rewards: list[float | None]
    called: float


@dataclass
class Reinforcement:
    """GRPO objective: increases the probability of episodes whose reward is above their group's mean.

    Raises:
        InputError: the environment has no tasks, or `num_generations` is below 2.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    environment: Environment
    config: TrainConfig
    _mean: float | None = field(default=None, init=False)
    _calls: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if not len(self.environment):
            raise InputError("the environment has no tasks", remedy="set 'worlds' to worlds of the split 'train'")
        if self.group < 2:
            what = f"num_generations must be at least 2, got {self.group}"
            raise InputError(what, remedy="raise num_generations in [trl]")

    @property
    def group(self) -> int:
        """Number of episodes per task."""
        return int(self.config.setting("num_generations"))

    @property
    def tasks(self) -> int:
        """Number of tasks per step."""
        return max(1, int(self.config.setting("generation_batch_size")) // self.group)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return math.ceil(self.config.epochs * len(self.environment) / self.tasks)

    def reward(self) -> float | None:
        """Return the mean reward of the last round's scored episodes."""
        return self._mean

    def parts(self, step: int) -> list[StepShare]:
        """Play a round and return its turns as parts of the step, each weighted by its episode's advantage.

        Raises:
            IncompleteError: no episode of the round could be scored, or no episode of the first round called a tool.
            ModelError: the chat template drops a part of the first round's requests.
        """
        played = self._play(step)
        scored = [reward for reward in played.rewards if reward is not None]
        if not scored:
            what = f"none of the {len(played.rewards)} episodes of step {step + 1} could be scored"
            raise IncompleteError(what, remedy="raise the case's max_tokens, or check its tools")
        if step == 0 and not played.called:
            what = "no episode called a tool: the model does not produce the tool-call format"
            raise IncompleteError(what, remedy="fine-tune on episodes of these tools first (stage = 'sft')")
        self._mean = sum(scored) / len(scored)
        advantage = advantages(played.rewards, self.group)
        turns = [turn for turn in played.turns if advantage[turn.episode] != 0]
        rows = [row_of(turn) for turn in turns]
        lengths = np.array([len(row) for row in rows])
        order = np.argsort(lengths, kind="stable").tolist() if rows else []
        total = sum(int(row.supervised.sum()) for row in rows)
        parts = []
        for group in group_by_length(order, lengths, self.config.batch_tokens):
            batch = collate([rows[index] for index in group]).to(self.model.device)
            weights = torch.tensor([advantage[turns[index].episode] for index in group], device=self.model.device)
            parts.append(StepShare(partial(self._loss, batch, weights, total), batch.tokens, batch.supervised))
        return parts

    def _loss(self, batch: Batch, weights: Tensor, total: int) -> Tensor:
        log_probs, rows = log_probabilities(self.model, batch)
        return -(log_probs * weights[rows]).sum() / total

    def _play(self, step: int) -> Round:
        rng = np.random.default_rng([self.config.seed, step])
        tasks = rng.choice(len(self.environment), self.tasks, replace=self.tasks > len(self.environment))
        plays = [self.environment.begin(int(task)) for task in tasks for _ in range(self.group)]
        turns: dict[int, list[tuple[Sequence[int], Sequence[int]]]] = {}

        def on_turn(request: Request, read: Sequence[int], written: Sequence[int]) -> None:
            turns.setdefault(request.seed, []).append((read, written))

        training = self.model.training
        model = LocalModel.around(self.model, self.tokenizer, on_turn=on_turn)
        if step == 0:
            _require_template(model, plays)
        first = int(rng.integers(2**31))
        called = play_round(plays, model, first, float(self.config.setting("temperature")))
        self.model.train(training)
        flat = [TurnTokens(seed - first, read, written) for seed, pairs in turns.items() for read, written in pairs]
        return Round(flat, [play.reward() for play in plays], called)


def _require_template(model: LocalModel, plays: Sequence[EpisodePlay]) -> None:
    """Check that the chat template loses nothing of these episodes; see `models.probe`."""
    firsts = [request for play in plays if (request := play.request()) is not None]
    needs = {(any(message.role == "system" for message in first.messages), bool(first.tools)) for first in firsts}
    for system, tools in sorted(needs):
        require_round_trip(model, system=system, tools=tools, remedy="train a model whose chat template keeps it")


def play_round(plays: Sequence[EpisodePlay], model: Model, seed: int, temperature: float) -> float:
    """Play episodes to their end in batches; episode n samples with the seed `seed` + n.

    Returns:
        The share of episodes with at least one tool call.
    """
    called: set[int] = set()
    while True:
        pending = {index: request for index, play in enumerate(plays) if (request := play.request()) is not None}
        if not pending:
            return len(called) / len(plays)
        requests = [replace(request, seed=seed + index, temperature=temperature) for index, request in pending.items()]
        for index, output in zip(pending, model.generate(requests), strict=True):
            plays[index].take(output)
            if output.message.tool_calls:
                called.add(index)


def advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """Return each reward minus its group's mean, divided by the group's standard deviation.

    The advantage is 0 for unscored episodes and in groups whose rewards are all equal.
    """
    result: list[float] = []
    for start in range(0, len(rewards), group):
        group_rewards = rewards[start : start + group]
        scored = np.array([reward for reward in group_rewards if reward is not None])
        deviation = float(scored.std()) if len(scored) else 0.0
        mean = float(scored.mean()) if len(scored) else 0.0
        result += [0.0 if r is None or deviation < 1e-6 else (r - mean) / deviation for r in group_rewards]
    return result


def row_of(turn: TurnTokens) -> TrainingRow:
    """Convert a turn to a row in which the generated tokens are supervised."""
    ids = np.array([*turn.read, *turn.written], dtype=np.int32)
    return TrainingRow(ids, np.arange(len(ids)) >= len(turn.read), "")
