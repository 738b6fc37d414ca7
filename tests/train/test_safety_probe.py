"""Looking at a model in training changes nothing in it, keeps to its budget, and goes on after a stop."""

import re
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_toys import agent, model, tokenizer, write_base

from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.run import train
from holdfast.train.safety_probe import BUDGET, SAFETY, SafetyPoint, SafetyProbe, Watching

EXAMPLES = [agent(str(n)) for n in range(8)]
CONFIG = TrainConfig(lr=1e-2, epochs=6, batch_tokens=256, trl={"save_steps": 3})


def look(net: object, words: object) -> dict[str, float | None]:
    net.eval()  # type: ignore[attr-defined]
    return {"harm": 0.5, "unknown": None}


def points(folder: Path) -> list[SafetyPoint]:
    return RunFolder(folder).read(SAFETY, SafetyPoint)


def test_looking_changes_nothing_and_is_on_the_card(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    train(base, EXAMPLES, CONFIG, tmp_path / "blind")
    train(base, EXAMPLES, CONFIG, tmp_path / "seen", watching=Watching(2, look))
    blind, seen = (load_file(tmp_path / name / "model.safetensors") for name in ("blind", "seen"))
    assert all(torch.equal(blind[name], seen[name]) for name in blind)
    steps = len(RunFolder(tmp_path / "seen").read("metrics", StepLog))
    assert [p.step for p in points(tmp_path / "seen")] == sorted({0, *range(2, steps + 1, 2), steps})
    assert points(tmp_path / "seen")[0].values == {"harm": 0.5, "unknown": None}
    text = (tmp_path / "seen" / "README.md").read_text(encoding="utf-8")
    assert "| harm | 0.500 | 0.500 |" in text
    assert "| unknown | unknown | unknown |" in text
    assert re.search(rf"{len(points(tmp_path / 'seen'))} looks took \d+\.\d s, beside \d+\.\d s of training", text)
    assert "Nothing was measured" in (tmp_path / "blind" / "README.md").read_text(encoding="utf-8")


def logs(count: int, seconds: float) -> list[StepLog]:
    one = {"steps": 100, "loss": 1.0, "lr": 1.0, "norm": 1.0, "tokens": 10, "supervised": 5, "seconds": seconds}
    return [StepLog.model_validate({"step": n + 1, **one}) for n in range(count)]


@pytest.mark.parametrize(("cost", "step", "few"), [(0.0, 10.0, False), (0.05, 0.02, True)])
def test_a_dear_look_is_taken_less_often(tmp_path: Path, cost: float, step: float, few: bool) -> None:
    def dear(net: object, words: object) -> dict[str, float | None]:
        time.sleep(cost)
        return {}

    watch, net = SafetyProbe(Watching(1, dear), tokenizer(), tmp_path), model()
    watch.begin(net, [])
    for count in range(1, 101):
        watch(net, logs(count, seconds=step))
    assert (len(watch.points) < 10) is few
    assert [watch.points[0].step, watch.points[-1].step] == [0, 100]
    assert watch.seconds <= 2 * BUDGET * 100 * step  # a busy machine makes the last looks dearer than the first


def test_points_after_the_last_state_are_taken_again(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(log: StepLog) -> None:
        if log.step == 5:
            raise Stop

    base, watching = write_base(tmp_path / "base"), Watching(1, look)
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop, watching)
    assert [p.step for p in points(tmp_path / "out")] == [0, 1, 2, 3, 4, 5]
    train(base, EXAMPLES, CONFIG, tmp_path / "out", watching=watching)
    steps = [p.step for p in points(tmp_path / "out")]
    assert steps == list(range(len(steps)))
