"""Safety probes do not change the trained weights, keep to their time budget, and resume after an interruption."""

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
from holdfast.train.safety_probe import BUDGET, SAFETY, ProbeSchedule, SafetyPoint, SafetyProbe

EXAMPLES = [agent(str(n)) for n in range(8)]
CONFIG = TrainConfig(lr=1e-2, epochs=6, batch_tokens=256, trl={"save_steps": 3})


def probe_values(net: object, words: object) -> dict[str, float | None]:
    net.eval()  # type: ignore[attr-defined]
    return {"harm": 0.5, "unknown": None}


def points(folder: Path) -> list[SafetyPoint]:
    return RunFolder(folder).read(SAFETY, SafetyPoint)


def test_probes_do_not_change_the_weights_and_are_on_the_card(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    train(base, EXAMPLES, CONFIG, tmp_path / "plain")
    train(base, EXAMPLES, CONFIG, tmp_path / "probed", probe_schedule=ProbeSchedule(2, probe_values))
    plain, probed = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "probed"))
    assert all(torch.equal(plain[name], probed[name]) for name in plain)
    steps = len(RunFolder(tmp_path / "probed").read("metrics", StepLog))
    assert [p.step for p in points(tmp_path / "probed")] == sorted({0, *range(2, steps + 1, 2), steps})
    assert points(tmp_path / "probed")[0].values == {"harm": 0.5, "unknown": None}
    text = (tmp_path / "probed" / "README.md").read_text(encoding="utf-8")
    assert "| harm | 0.500 | 0.500 |" in text
    assert "| unknown | unknown | unknown |" in text
    assert re.search(rf"{len(points(tmp_path / 'probed'))} probes took \d+\.\d s; training took \d+\.\d s", text)
    assert "No safety probe ran" in (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")


def logs(count: int, seconds: float) -> list[StepLog]:
    one = {"steps": 100, "loss": 1.0, "lr": 1.0, "norm": 1.0, "tokens": 10, "supervised": 5, "seconds": seconds}
    return [StepLog.model_validate({"step": n + 1, **one}) for n in range(count)]


@pytest.mark.parametrize(("cost", "step", "few"), [(0.0, 10.0, False), (0.05, 0.02, True)])
def test_a_slow_probe_runs_less_often(tmp_path: Path, cost: float, step: float, few: bool) -> None:
    def slow(net: object, words: object) -> dict[str, float | None]:
        time.sleep(cost)
        return {}

    probe, net = SafetyProbe(ProbeSchedule(1, slow), tokenizer(), tmp_path), model()
    probe.begin(net, [])
    for count in range(1, 101):
        probe(net, logs(count, seconds=step))
    assert (len(probe.points) < 10) is few
    assert [probe.points[0].step, probe.points[-1].step] == [0, 100]
    assert probe.seconds <= 2 * BUDGET * 100 * step  # on a busy machine later probes may take longer than the first


def test_probes_after_the_last_saved_state_are_repeated_on_resume(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(log: StepLog) -> None:
        if log.step == 5:
            raise Stop

    base, schedule = write_base(tmp_path / "base"), ProbeSchedule(1, probe_values)
    with pytest.raises(Stop):
        train(base, EXAMPLES, CONFIG, tmp_path / "out", stop, schedule)
    assert [p.step for p in points(tmp_path / "out")] == [0, 1, 2, 3, 4, 5]
    train(base, EXAMPLES, CONFIG, tmp_path / "out", probe_schedule=schedule)
    steps = [p.step for p in points(tmp_path / "out")]
    # None twice. On a busy machine probes exceed their share of the time, and later ones are left out.
    assert steps == sorted(set(steps)) and steps[:6] == list(range(6))
