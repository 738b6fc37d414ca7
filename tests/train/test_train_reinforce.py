"""Reinforcement: what beats its group is followed, on exactly the tokens that were played; silence raises an alarm."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from train_toys import model, tokenizer, turn

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.records import Message, ToolCall
from holdfast.models.base import Output, Request
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks, descend
from holdfast.train.reinforce import Reinforcement, TurnTokens, advantages, play_round, row_of

CONFIG = TrainConfig(
    stage="grpo", lr=1e-2, epochs=12, batch_tokens=512, trl={"num_generations": 8, "generation_batch_size": 32}
)


@dataclass
class Spelling:
    """One turn, paid by the share of the letter 'e' in it; unpaid where nothing was said."""

    task: int
    said: list[Output] = field(default_factory=list)

    def request(self) -> Request | None:
        asked = (turn("user", f"the fox {self.task}"),)
        return None if self.said else Request(f"task-{self.task}", asked, max_tokens=12)

    def take(self, output: Output) -> None:
        self.said.append(output)

    def reward(self) -> float | None:
        text = self.said[0].message.content
        return text.count("e") / len(text) if text else None


@dataclass(frozen=True)
class Spellings:
    """Four tasks; `mute` pays nobody."""

    mute: bool = False
    identity = "spellings"

    def __len__(self) -> int:
        return 4

    def begin(self, task: int) -> Spelling:
        return Mute(task) if self.mute else Spelling(task)


class Mute(Spelling):
    def reward(self) -> float | None:
        return None


class Loud(Reinforcement):
    """Takes every word for a call: the alarm about calls is for another test."""

    def _play(self, step: int):  # type: ignore[no-untyped-def]
        played = super()._play(step)
        return type(played)(played.turns, played.rewards, 1.0)


def test_what_is_paid_becomes_frequent() -> None:
    net = model()
    logs = descend(net, Loud(net, tokenizer(), Spellings(), CONFIG), CONFIG, Hooks())
    paid = [log.reward for log in logs]
    assert len(paid) == 12
    assert np.mean(paid[-3:]) > 1.5 * np.mean(paid[:3])  # type: ignore[arg-type]


def test_the_same_seed_plays_the_same() -> None:
    def rewards() -> list[float | None]:
        net, config = model(), CONFIG.model_copy(update={"epochs": 2.0})
        return [log.reward for log in descend(net, Loud(net, tokenizer(), Spellings(), config), config, Hooks())]

    assert rewards() == rewards()


def test_a_model_that_calls_no_tool_at_all_raises_an_alarm() -> None:
    net = model()
    with pytest.raises(IncompleteError, match="not one episode called a tool"):
        descend(net, Reinforcement(net, tokenizer(), Spellings(), CONFIG), CONFIG, Hooks())


def test_a_round_that_nobody_can_score_stops() -> None:
    net = model()
    with pytest.raises(IncompleteError, match="no episode could be scored"):
        descend(net, Loud(net, tokenizer(), Spellings(mute=True), CONFIG), CONFIG, Hooks())


def test_a_group_of_one_has_no_mean_to_beat() -> None:
    with pytest.raises(InputError, match="num_generations = 1"):
        Reinforcement(model(), tokenizer(), Spellings(), CONFIG.model_copy(update={"trl": {"num_generations": 1}}))


def test_advantages_are_centred_in_each_group_and_leave_the_unscored_out() -> None:
    worth = advantages([1.0, 0.0, None, 1.0, 1.0, 1.0, 5.0, 5.0], 4)
    assert worth[2] == 0 and worth[1] == pytest.approx(-np.sqrt(2))
    assert sum(worth[:4]) == pytest.approx(0)
    assert worth[4:6] == pytest.approx([-1, -1])
    assert advantages([3.0, 3.0, None], 3) == [0, 0, 0]


def test_a_row_holds_the_tokens_that_were_played_and_supervises_what_was_written() -> None:
    row = row_of(TurnTokens(0, [5, 6, 7], [8, 9]))
    assert row.ids.tolist() == [5, 6, 7, 8, 9]
    assert row.supervised.tolist() == [False, False, False, True, True]


def test_every_episode_draws_samples_of_its_own_and_calls_are_counted() -> None:
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
