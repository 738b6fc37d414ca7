"""GRPO reinforces above-average episodes on exactly the tokens that were played, and fails without tool calls."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from train_toys import model, tokenizer, turn

from holdfast.core.errors import IncompleteError, InputError, ModelError
from holdfast.core.records import Message, ToolCall
from holdfast.models.base import Output, Request
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks, optimise
from holdfast.train.reinforce import Reinforcement, TurnTokens, advantages, play_round, row_of

CONFIG = TrainConfig(
    stage="grpo", lr=1e-2, epochs=12, batch_tokens=512, trl={"num_generations": 8, "generation_batch_size": 32}
)


@dataclass
class Spelling:
    """An episode of one turn; the reward is the share of the letter 'e' in it, None if the answer is empty."""

    task: int
    outputs: list[Output] = field(default_factory=list)

    def request(self) -> Request | None:
        asked = (turn("user", f"the fox {self.task}"),)
        return None if self.outputs else Request(f"task-{self.task}", asked, max_tokens=12)

    def take(self, output: Output) -> None:
        self.outputs.append(output)

    def reward(self) -> float | None:
        text = self.outputs[0].message.content
        return text.count("e") / len(text) if text else None


@dataclass(frozen=True)
class Spellings:
    """Four tasks; with `unscored`, no episode has a reward."""

    unscored: bool = False
    identity = "spellings"

    def __len__(self) -> int:
        return 4

    def begin(self, task: int) -> Spelling:
        return Unscored(task) if self.unscored else Spelling(task)


class Unscored(Spelling):
    def reward(self) -> float | None:
        return None


class WithoutCallCheck(Reinforcement):
    """Counts every episode as having called a tool, so that the check for tool calls passes."""

    def _play(self, step: int):  # type: ignore[no-untyped-def]
        played = super()._play(step)
        return type(played)(played.turns, played.rewards, 1.0)


def test_rewarded_behaviour_becomes_more_frequent() -> None:
    net = model()
    logs = optimise(net, WithoutCallCheck(net, tokenizer(), Spellings(), CONFIG), CONFIG, Hooks())
    rewards = [log.reward for log in logs]
    assert len(rewards) == 12
    assert np.mean(rewards[-3:]) > 1.5 * np.mean(rewards[:3])  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_rewards() -> None:
    def rewards() -> list[float | None]:
        net, config = model(), CONFIG.model_copy(update={"epochs": 2.0})
        return [
            log.reward
            for log in optimise(net, WithoutCallCheck(net, tokenizer(), Spellings(), config), config, Hooks())
        ]

    assert rewards() == rewards()


def test_a_model_that_calls_no_tool_raises_an_error() -> None:
    net = model()
    with pytest.raises(IncompleteError, match="no episode called a tool"):
        optimise(net, Reinforcement(net, tokenizer(), Spellings(), CONFIG), CONFIG, Hooks())


class WithSystem(Spelling):
    def request(self) -> Request | None:
        asked = super().request()
        return replace(asked, messages=(turn("system", "be brief"), *asked.messages)) if asked else None


def test_a_template_that_drops_the_system_message_is_refused_before_the_first_round() -> None:
    dropping = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    words, played = tokenizer("{{ bos_token }}" + dropping), WithSystem(0)

    class Systems(Spellings):
        def begin(self, task: int) -> Spelling:
            return played

    net = model()
    with pytest.raises(ModelError, match=r"drops the system message.*train a model whose chat template keeps it"):
        optimise(net, Reinforcement(net, words, Systems(), CONFIG), CONFIG, Hooks())
    assert played.outputs == []


def test_a_round_without_a_scored_episode_raises_an_error() -> None:
    net = model()
    with pytest.raises(IncompleteError, match="none of the 32 episodes of step 1 could be scored"):
        optimise(net, WithoutCallCheck(net, tokenizer(), Spellings(unscored=True), CONFIG), CONFIG, Hooks())


def test_num_generations_must_be_at_least_two() -> None:
    with pytest.raises(InputError, match="num_generations must be at least 2, got 1"):
        Reinforcement(model(), tokenizer(), Spellings(), CONFIG.model_copy(update={"trl": {"num_generations": 1}}))


def test_advantages_are_centred_per_group_and_skip_unscored_episodes() -> None:
    result = advantages([1.0, 0.0, None, 1.0, 1.0, 1.0, 5.0, 5.0], 4)
    assert result[2] == 0 and result[1] == pytest.approx(-np.sqrt(2))
    assert sum(result[:4]) == pytest.approx(0)
    assert result[4:6] == pytest.approx([-1, -1])
    assert advantages([3.0, 3.0, None], 3) == [0, 0, 0]


def test_a_row_holds_the_played_tokens_and_supervises_the_generated_ones() -> None:
    row = row_of(TurnTokens(0, [5, 6, 7], [8, 9]))
    assert row.ids.tolist() == [5, 6, 7, 8, 9]
    assert row.supervised.tolist() == [False, False, False, True, True]


def test_every_episode_has_its_own_seed_and_calls_are_counted() -> None:
    seen: list[int] = []

    class Caller:
        name = identity = "caller"

        def generate(self, requests: list[Request]) -> list[Output]:
            seen.extend(request.seed for request in requests)
            calls = (ToolCall(id="0", name="look"),)
            return [
                Output(Message(role="assistant", content="e", tool_calls=calls if n == 0 else ()))
                for n, _ in enumerate(requests)
            ]

    assert play_round([Spelling(0) for _ in range(4)], Caller(), 100, 1.0) == 0.25  # type: ignore[arg-type]
    assert seen == [100, 101, 102, 103]
