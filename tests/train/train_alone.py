"""Runs one training in its own process: `train_alone.py ENGINE FOLDER [SETTINGS]`; torchrun may start several."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from train_toys import agent, document

from holdfast.train.config import TrainConfig
from holdfast.train.run import train

EXAMPLES = [agent(str(n)) for n in range(8)] + [document("the quick fox", "d")]


def main(engine: str, folder: Path, more: str = "{}") -> None:
    """Train the checkpoint in `folder/base` into `folder/out`."""
    settings = {"lr": 1e-2, "epochs": 6, "batch_tokens": 256, "engine": engine, **json.loads(more)}
    train(folder / "base", EXAMPLES, TrainConfig.model_validate(settings), folder / "out")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
