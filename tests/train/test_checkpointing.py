"""Resuming after an interruption gives the same result; a NaN loss keeps the last good weights."""

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
    """Raised by a callback to stop training."""


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
def test_resuming_at_any_step_gives_the_same_weights(tmp_path: Path, config: TrainConfig) -> None:
    base = write_base(tmp_path / "base")
    train(base, EXAMPLES, config, tmp_path / "straight")
    straight = RunFolder(tmp_path / "straight").read("metrics", StepLog)
    assert len(straight) > 8
    resumed = tmp_path / "resumed"
    for step in (2, 4, 7, 8):
        with pytest.raises(Stop):
            train(base, EXAMPLES, config, resumed, stop_at(step))  # type: ignore[arg-type]
    seen: list[StepLog] = []
    train(base, EXAMPLES, config, resumed, seen.append)
    assert seen[0].step == 7  # the last state was saved after step 6
    assert [log.loss for log in RunFolder(resumed).read("metrics", StepLog)] == [log.loss for log in straight]
    ours, theirs = weights(resumed), weights(tmp_path / "straight")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (resumed / "unfinished").exists()


def test_a_truncated_log_line_and_state_file_are_ignored(tmp_path: Path) -> None:
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


def test_the_state_of_another_training_is_not_resumed(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop_at(5))  # type: ignore[arg-type]
    seen: list[StepLog] = []
    train(base, EXAMPLES, CONFIG.model_copy(update={"seed": 1}), tmp_path / "out", seen.append)
    assert seen[0].step == 1


def test_training_restarts_if_log_lines_are_missing(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop_at(5))  # type: ignore[arg-type]
    (tmp_path / "out" / "metrics.jsonl").write_text("", encoding="utf-8")
    seen: list[StepLog] = []
    train(base, EXAMPLES, CONFIG, tmp_path / "out", seen.append)
    assert seen[0].step == 1


def test_a_nan_loss_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    base, out = write_base(tmp_path / "base"), tmp_path / "out"
    often = CONFIG.model_copy(update={"trl": {"save_steps": 1}})

    def overflow(log: StepLog) -> None:
        # Simulates disk corruption: the state read at the next start holds an infinite optimizer moment.
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
