"""Killing and resuming, two processes, and sharded weights all give the loss of a single uninterrupted run."""

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


def launch(folder: Path, engine: str, settings: str = "{}", script: str = "train_alone", processes: int = 1) -> Running:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    started = [sys.executable, *(torchrun if processes > 1 else []), str(HERE / f"{script}.py")]
    where = f"{HERE}:{os.environ.get('PYTHONPATH', '')}"
    env = {**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([*started, engine, str(folder), settings], env=env, stderr=subprocess.PIPE, text=True)


def losses(folder: Path) -> list[float]:
    return [log.loss for log in RunFolder(folder / "out").read("metrics", StepLog)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "model.safetensors")


def finished(running: Running) -> None:
    output = running.communicate()[1]
    assert running.returncode == 0, output[-2000:]


def uninterrupted(folder: Path, engine: str, settings: str = "{}") -> list[float]:
    write_base(folder / "base")
    finished(launch(folder, engine, settings))
    return losses(folder)


def kill_after(lines: int, folder: Path, running: Running) -> None:
    while running.poll() is None and len(losses(folder)) < lines:
        time.sleep(0.005)
    alive = running.poll() is None
    for process in (running, *psutil.Process(running.pid).children(recursive=True)) if alive else ():
        process.send_signal(signal.SIGKILL)
    running.communicate()


@pytest.mark.parametrize("engine", ["loop", "trl"])
def test_the_loss_curve_is_the_same_after_kills(tmp_path: Path, engine: str) -> None:
    frequent_saves = '{"trl": {"save_steps": 2}}'
    expected = uninterrupted(tmp_path / "expected", engine, frequent_saves)
    folder = tmp_path / "killed"
    write_base(folder / "base")
    for lines in (1, 4, 5):
        kill_after(lines, folder, launch(folder, engine, frequent_saves))
    finished(launch(folder, engine, frequent_saves))
    assert losses(folder) == pytest.approx(expected, rel=1e-5)


def test_two_processes_have_the_same_loss_as_one(tmp_path: Path) -> None:
    one = uninterrupted(tmp_path / "one", "trl")
    write_base(tmp_path / "two" / "base")
    finished(launch(tmp_path / "two", "trl", processes=2))
    assert losses(tmp_path / "two") == pytest.approx(one, rel=1e-3)
    more = '{"trl": {"gradient_accumulation_steps": 2}}'
    assert uninterrupted(tmp_path / "parts", "trl", more) == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("lora", [0, 4])
def test_sharded_weights_train_to_the_same_result(tmp_path: Path, lora: int) -> None:
    one = uninterrupted(tmp_path / "one", "trl", json.dumps({"lora": lora}))
    two = tmp_path / "two"
    write_base(two / "base")
    finished(launch(two, "trl", json.dumps({"lora": lora, "trl": {"fsdp": True}}), "train_spread", 2))
    assert losses(two) == pytest.approx(one, rel=1e-3)
    alone, gathered = weights(tmp_path / "one"), weights(two)
    assert set(alone) == set(gathered)
    assert all(torch.allclose(alone[name], gathered[name], atol=1e-3) for name in alone)


def test_accelerates_config_file_enables_sharding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = uninterrupted(tmp_path / "one", "trl")
    two = tmp_path / "two"
    write_base(two / "base")
    # What `accelerate launch --config_file examples/train/fsdp.yaml` puts into the environment.
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    for name, value in FSDP.items():
        monkeypatch.setenv(name.upper(), str(value).lower() if isinstance(value, bool) else str(value))
    finished(launch(two, "trl", script="train_spread", processes=2))
    assert losses(two) == pytest.approx(one, rel=1e-3)


def test_sharded_training_resumes_from_its_last_state(tmp_path: Path) -> None:
    settings = '{"trl": {"fsdp": true, "save_steps": 5}}'
    one = uninterrupted(tmp_path / "one", "trl")
    two = tmp_path / "two"
    write_base(two / "base")
    kill_after(12, two, launch(two, "trl", settings, "train_spread", 2))
    finished(launch(two, "trl", settings, "train_spread", 2))
    assert losses(two) == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize(
    ("engine", "settings", "processes", "message"),
    [
        ("trl", '{"trl": {"fsdp": true}}', 1, "fsdp needs several processes, got 1"),
        ("trl", '{"trl": {"fsdp": true}}', 2, "accelerate shards weights over GPUs only, and none is available"),
        ("loop", "{}", 2, "engine 'loop' needs one process, got 2"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the messages of a machine without GPUs")
def test_unsupported_distributed_setups_are_rejected(
    tmp_path: Path, engine: str, settings: str, processes: int, message: str
) -> None:
    write_base(tmp_path / "base")
    running = launch(tmp_path, engine, settings, processes=processes)
    output = running.communicate()[1]
    assert running.returncode != 0
    assert message in output
