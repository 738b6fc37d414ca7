"""DPO: the loss starts at log 2, margins grow, and TRL's trainer has the same loss."""

import math
from pathlib import Path

import pytest
from train_toys import POCKET, agent, chat, document, model, taught, tokenizer, turn, write_base

from holdfast.core.errors import InputError
from holdfast.core.records import Message, Provenance
from holdfast.models.base import Output, Request
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks, optimise
from holdfast.train.mask_check import check_masks
from holdfast.train.objective import PairRow, Preference
from holdfast.train.pairs import Pair, pair_rows, pairs_from_model
from holdfast.train.rows import make_rows
from holdfast.train.run import train
from holdfast.train.trl_engine import train_with_trl

MADE = Provenance(recipe="toy", teacher="hand", seed=0)
CONFIG = TrainConfig(stage="dpo", lr=1e-2, epochs=6, batch_tokens=512)
PAIRS = [
    Pair(
        id=str(n),
        messages=(*agent().messages[:-1], turn("assistant", "so"), turn("user", f"and {n}?")),
        chosen=turn("assistant", "the fox jumps"),
        rejected=turn("assistant", "the lazy dog sleeps and sleeps"),
        tools=agent().tools,
        provenance=MADE,
    )
    for n in range(6)
]


def pairs() -> list[PairRow]:
    examples = [pair.as_example(which) for pair in PAIRS for which in ("chosen", "rejected")]
    rows = make_rows(examples, tokenizer(), CONFIG)
    check_masks(examples, rows, tokenizer(), CONFIG)
    return pair_rows(PAIRS, rows)


def test_only_the_last_turn_of_a_pair_counts() -> None:
    first = pairs()[0]
    assert taught(first.chosen, POCKET) == "the fox jumps<|end|>"
    assert taught(first.rejected, POCKET) == "the lazy dog sleeps and sleeps<|end|>"


def test_the_loss_starts_at_log_two_and_the_chosen_answer_gains() -> None:
    net = model()
    objective = Preference(net, pairs(), CONFIG)
    logs = optimise(net, objective, CONFIG, Hooks())
    assert logs[0].loss == pytest.approx(math.log(2), abs=1e-4)
    assert logs[-1].loss < 0.2
    gain = objective._both(objective._batch(range(6))) - objective.reference
    assert bool((gain[:, 0] > gain[:, 1]).all())


def test_accumulation_leaves_the_loss_unchanged() -> None:
    def losses(parts: int) -> list[float]:
        net = model()
        config = CONFIG.model_copy(update={"trl": {"gradient_accumulation_steps": parts}})
        return [log.loss for log in optimise(net, Preference(net, pairs(), config), config, Hooks())]

    assert losses(3) == pytest.approx(losses(1), rel=1e-3)


class Parrot:
    """Gives the same answer to every request, complete or truncated."""

    name = identity = "parrot"

    def __init__(self, says: str, finish: str = "stop") -> None:
        self.output = Output(Message(role="assistant", content=says), finish=finish)  # type: ignore[arg-type]

    def generate(self, requests: list[Request]) -> list[Output]:
        return [self.output for _ in requests]


def test_the_models_own_answers_are_the_rejected_ones() -> None:
    chats = [chat(turn("user", "?"), turn("assistant", word), name=word) for word in ("lazy", "quick")]
    [pair] = pairs_from_model(chats, Parrot("lazy"), 8, 0)  # type: ignore[arg-type]
    assert (pair.id, pair.chosen.content, pair.rejected.content) == ("quick", "quick", "lazy")
    with pytest.raises(InputError, match="no preference pairs: every answer"):
        pairs_from_model(chats[:1], Parrot("lazy"), 8, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no preference pairs: every answer"):
        pairs_from_model(chats, Parrot("cut", "length"), 8, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a chat that ends with an assistant turn"):
        pairs_from_model([document("the fox")], Parrot("lazy"), 8, 0)  # type: ignore[arg-type]


def test_dpo_trains_from_a_base_folder_to_an_output_folder(tmp_path: Path) -> None:
    card = train(write_base(tmp_path / "base"), PAIRS, CONFIG, tmp_path / "out")
    assert card.counts["rows"] == 12
    assert "nats per pair: 0.6931 at the first step" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_pairs_and_examples_cannot_be_mixed(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(InputError, match="examples and pairs are mixed"):
        train(base, [agent(), *PAIRS], CONFIG, tmp_path / "out")
    with pytest.raises(InputError, match="stage = 'sft' cannot train on pairs"):
        train(base, PAIRS, TrainConfig(), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # TRL uses the old attribute
def test_the_loop_and_trl_have_the_same_loss_at_every_step() -> None:
    ours, theirs = model(), model()
    here = optimise(ours, Preference(ours, pairs(), CONFIG), CONFIG, Hooks())
    there = train_with_trl(theirs, tokenizer(), pairs(), CONFIG.model_copy(update={"engine": "trl"}), Hooks())
    assert [log.loss for log in here] == pytest.approx([log.loss for log in there], rel=1e-3, abs=1e-5)
