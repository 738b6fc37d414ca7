"""Killed for good and started again, dealt out to two processes, or spread over them: one loss, that of one run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from train_toys import write_base

from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog

HERE = Path(__file__).parent
FSDP = yaml.safe_load((HERE.parents[1] / "examples" / "train" / "fsdp.yaml").read_text("utf-8"))["fsdp_config"]
Running = subprocess.Popen[str]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def launch(folder: Path, engine: str, knobs: str = "{}", script: str = "train_alone", processes: int = 1) -> Running:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    started = [sys.executable, *(torchrun if processes > 1 else []), str(HERE / f"{script}.py")]
    where = f"{HERE}:{os.environ.get('PYTHONPATH', '')}"
    env = {**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([*started, engine, str(folder), knobs], env=env, stderr=subprocess.PIPE, text=True)


def losses(folder: Path) -> list[float]:
    return [log.loss for log in RunFolder(folder / "out").read("metrics", StepLog)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "model.safetensors")


def finished(running: Running) -> None:
    told = running.communicate()[1]
    assert running.returncode == 0, told[-2000:]


def straight(folder: Path, engine: str, knobs: str = "{}") -> list[float]:
    write_base(folder / "base")
    finished(launch(folder, engine, knobs))
    return losses(folder)


def kill_after(lines: int, folder: Path, running: Running) -> None:
    while running.poll() is None and len(losses(folder)) < lines:
        time.sleep(0.005)
    alive = running.poll() is None
    for process in (running, *psutil.Process(running.pid).children(recursive=True)) if alive else ():
        process.send_signal(signal.SIGKILL)
    running.communicate()


@pytest.mark.parametrize("engine", ["loop", "trl"])
def test_killed_at_any_step_the_curve_is_the_same(tmp_path: Path, engine: str) -> None:
    often = '{"trl": {"save_steps": 2}}'
    whole = straight(tmp_path / "whole", engine, often)
    folder = tmp_path / "killed"
    write_base(folder / "base")
    for lines in (1, 4, 5):
        kill_after(lines, folder, launch(folder, engine, often))
    finished(launch(folder, engine, often))
    assert losses(folder) == pytest.approx(whole, rel=1e-5)


def test_two_processes_lose_the_same_as_one(tmp_path: Path) -> None:
    one = straight(tmp_path / "one", "trl")
    write_base(tmp_path / "two" / "base")
    finished(launch(tmp_path / "two", "trl", processes=2))
    assert losses(tmp_path / "two") == pytest.approx(one, rel=1e-3)
    more = '{"trl": {"gradient_accumulation_steps": 2}}'
    assert straight(tmp_path / "parts", "trl", more) == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("lora", [0, 4])
def test_weights_spread_over_two_processes_learn_the_same(tmp_path: Path, lora: int) -> None:
    one = straight(tmp_path / "one", "trl", json.dumps({"lora": lora}))
    two = tmp_path / "two"
    write_base(two / "base")
    finished(launch(two, "trl", json.dumps({"lora": lora, "trl": {"fsdp": True}}), "train_spread", 2))
    assert losses(two) == pytest.approx(one, rel=1e-3)
    alone, gathered = weights(tmp_path / "one"), weights(two)
    assert set(alone) == set(gathered)
    assert all(torch.allclose(alone[name], gathered[name], atol=1e-3) for name in alone)


def test_accelerates_own_file_spreads_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = straight(tmp_path / "one", "trl")
    two = tmp_path / "two"
    write_base(two / "base")
    # What `accelerate launch --config_file examples/train/fsdp.yaml` puts into the environment.
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    for name, value in FSDP.items():
        monkeypatch.setenv(name.upper(), str(value).lower() if isinstance(value, bool) else str(value))
    finished(launch(two, "trl", script="train_spread", processes=2))
    assert losses(two) == pytest.approx(one, rel=1e-3)


def test_spread_weights_go_on_from_their_last_state(tmp_path: Path) -> None:
    knobs = '{"trl": {"fsdp": true, "save_steps": 5}}'
    one = straight(tmp_path / "one", "trl")
    two = tmp_path / "two"
    write_base(two / "base")
    kill_after(12, two, launch(two, "trl", knobs, "train_spread", 2))
    finished(launch(two, "trl", knobs, "train_spread", 2))
    assert losses(two) == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize(
    ("engine", "knobs", "processes", "message"),
    [
        ("trl", '{"trl": {"fsdp": true}}', 1, "fsdp spreads weights over several processes, and here is one"),
        ("trl", '{"trl": {"fsdp": true}}', 2, "accelerate spreads weights over GPUs alone, and here are none"),
        ("loop", "{}", 2, "the loop runs in one process, not in 2"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without GPUs says")
def test_what_cannot_be_spread_is_refused(
    tmp_path: Path, engine: str, knobs: str, processes: int, message: str
) -> None:
    write_base(tmp_path / "base")
    running = launch(tmp_path, engine, knobs, processes=processes)
    told = running.communicate()[1]
    assert running.returncode != 0
    assert message in told
