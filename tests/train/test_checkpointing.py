"""A training that is stopped at any step ends as if it had not been; a loss that is no number keeps the last good."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_toys import agent, document, write_base

from holdfast.core.errors import IncompleteError
from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.run import LAST_GOOD, train
from holdfast.train.weights import load_checkpoint

EXAMPLES = [agent(str(n)) for n in range(8)] + [document("the quick fox", "d")]
CONFIG = TrainConfig(lr=1e-2, epochs=6, batch_tokens=256, lora=0, trl={"save_steps": 3})


class Stop(Exception):
    """A kill, as far as the training can tell."""


def stop_at(step: int) -> object:
    def listen(log: StepLog) -> None:
        if log.step == step:
            raise Stop

    return listen


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    "config", [CONFIG, CONFIG.model_copy(update={"lora": 4, "trl": {**CONFIG.trl, "lora_dropout": 0.3}})]
)
def test_stopped_anywhere_it_goes_on_to_the_same_weights(tmp_path: Path, config: TrainConfig) -> None:
    base = write_base(tmp_path / "base")
    train(base, EXAMPLES, config, tmp_path / "straight")
    straight = RunFolder(tmp_path / "straight").read("metrics", StepLog)
    assert len(straight) > 8
    halted = tmp_path / "halted"
    for step in (2, 4, 7, 8):
        with pytest.raises(Stop):
            train(base, EXAMPLES, config, halted, stop_at(step))  # type: ignore[arg-type]
    seen: list[StepLog] = []
    train(base, EXAMPLES, config, halted, seen.append)
    assert seen[0].step == 7  # the last state was saved after step 6
    assert [log.loss for log in RunFolder(halted).read("metrics", StepLog)] == [log.loss for log in straight]
    ours, theirs = weights(halted), weights(tmp_path / "straight")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (halted / "unfinished").exists()


def test_a_torn_line_and_a_torn_state_are_no_harm(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop_at(5))  # type: ignore[arg-type]
    with (tmp_path / "out" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 9')
    (tmp_path / "out" / "unfinished" / "state.part").write_bytes(b"half a state")
    card = train(base, EXAMPLES, CONFIG, tmp_path / "out")
    assert [log.step for log in RunFolder(tmp_path / "out").read("metrics", StepLog)] == list(
        range(1, card.counts["steps"] + 1)
    )


def test_what_another_training_left_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop_at(5))  # type: ignore[arg-type]
    seen: list[StepLog] = []
    train(base, EXAMPLES, CONFIG.model_copy(update={"seed": 1}), tmp_path / "out", seen.append)
    assert seen[0].step == 1


def test_lost_lines_are_not_made_up(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop_at(5))  # type: ignore[arg-type]
    (tmp_path / "out" / "metrics.jsonl").write_text("", encoding="utf-8")
    seen: list[StepLog] = []
    train(base, EXAMPLES, CONFIG, tmp_path / "out", seen.append)
    assert seen[0].step == 1


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    base, out = write_base(tmp_path / "base"), tmp_path / "out"
    often = CONFIG.model_copy(update={"trl": {"save_steps": 1}})

    def overflow(log: StepLog) -> None:
        # As a disk that lies would: the state that is read back at the next start holds a weight that is no number.
        if log.step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(base, EXAMPLES, often, out, overflow)
    state = torch.load(out / "unfinished" / "state.pt", weights_only=True)
    state["optimizers"][0]["state"][0]["exp_avg"][:] = math.inf
    torch.save(state, out / "unfinished" / "state.pt")
    with pytest.raises(IncompleteError, match=r"the loss is nan at step 5 of .* \(lower lr or train in float32"):
        train(base, EXAMPLES, often, out)
    assert not RunFolder(out).complete
    kept, _ = load_checkpoint(out / LAST_GOOD)
    assert kept.config.model_type == "llama"
