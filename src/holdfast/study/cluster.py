"""Trains on many machines: Ray Train starts the processes, and each runs the same training as on one machine."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.extras import require
from holdfast.core.records import Example, RunCard
from holdfast.core.store import RunFolder
from holdfast.train.config import TrainConfig
from holdfast.train.run import train


def train_on_cluster(
    base: Path, examples: Sequence[Example], config: TrainConfig, out: Path, workers: int, gpus: bool = False
) -> RunCard:
    """Train one stage on several workers of a Ray cluster; every step is split among them.

    Args:
        base: checkpoint to start from, in a folder that all machines can read.
        examples: the training examples.
        config: the training settings; `engine` must be `trl`.
        out: folder of the new checkpoint, in a place that all machines can write.
        workers: number of processes that train together.
        gpus: whether each process has its own GPU.

    Raises:
        PrerequisiteError: Ray is not installed.
        InputError: the engine does not train on several machines.
        IncompleteError: a worker failed; the same call resumes from the last complete checkpoint.
    """
    require("cluster", "ray")
    if config.engine != "trl":
        raise InputError("only engine = 'trl' trains on several machines", remedy="set engine = 'trl'")
    ray_train, ray_torch = importlib.import_module("ray.train"), importlib.import_module("ray.train.torch")
    settings = {
        "base": str(base.resolve()),
        "out": str(out.resolve()),
        "config": config.model_dump(mode="json"),
        "examples": [example.model_dump(mode="json") for example in examples],
    }
    trainer = ray_torch.TorchTrainer(
        worker,
        train_loop_config=settings,
        scaling_config=ray_train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=ray_train.RunConfig(storage_path=str(out.resolve().parent / "ray")),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps whatever a worker raised
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise IncompleteError(f"a worker failed: {reason[-1]}", where=out, remedy="fix it and run again") from None
    return RunFolder(out).card()


def worker(settings: Mapping[str, Any]) -> None:
    """Train in one process."""
    examples = [Example.model_validate(example) for example in settings["examples"]]
    train(Path(settings["base"]), examples, TrainConfig.model_validate(settings["config"]), Path(settings["out"]))
