"""Checkpointing: the training state to resume from, and a log line for each finished step.

A state is written to a temporary file and then renamed, so a kill never leaves a partly written state.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from holdfast.core.records import Record
from holdfast.core.store import RunFolder, write_text, writing

METRICS = "metrics"
_FOLDER = "unfinished"
#: Without `save_steps`, saving may take at most this share of the time between two saves.
_SHARE = 0.02
_FIRST = 30.0  # seconds before the first save


class StepLog(Record):
    """Metrics of one training step.

    Attributes:
        step: number of the step, from 1.
        steps: number of steps of the whole training.
        loss: loss before the update, in nats per supervised token; for `dpo`, in nats per pair.
        lr: learning rate.
        norm: gradient norm before clipping.
        tokens: tokens read.
        supervised: tokens that count in the loss.
        seconds: wall-clock time of the step.
        reward: mean reward of the step's scored episodes; None outside `grpo`.
    """

    step: int
    steps: int
    loss: float
    lr: float
    norm: float
    tokens: int
    supervised: int
    seconds: float
    reward: float | None = None


class Checkpointer:
    """Saves and restores training state in `out/unfinished`, and logs steps to `out/metrics.jsonl`.

    Args:
        out: output folder of the training.
        key: hash of the training's inputs; a state saved under another key is not resumed.
        every: steps between two saves; 0 saves as often as 2% of the time allows.
    """

    def __init__(self, out: Path, key: str, every: int = 0) -> None:
        self.out, self.key, self.every = out, key, every
        self.folder = out / _FOLDER
        self._state = self.folder / "state.pt"
        self._saved, self._pause = time.monotonic(), _FIRST

    def prepare(self) -> None:
        """Create the state folder; delete what an unfinished training with another key left in it.

        Raises:
            StoreError: the folder cannot be written.
        """
        key_file = self.folder / "key"
        if key_file.is_file() and key_file.read_text(encoding="utf-8") == self.key:
            return
        with writing(self.out):
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True)
            for name in (METRICS, "safety"):
                (self.out / f"{name}.jsonl").unlink(missing_ok=True)
        write_text(key_file, self.key)

    def restore(self, model: PreTrainedModel, optimizers: Sequence[torch.optim.Optimizer]) -> list[StepLog]:
        """Load the last saved state into the model and optimizers.

        Returns:
            Logs of the steps up to that state; empty if there is no state.
        """
        if not self._state.is_file():
            self.truncate_log(0)
            return []
        state: dict[str, Any] = torch.load(self._state, map_location="cpu", weights_only=True)
        logs = self.truncate_log(state["step"])
        if len(logs) < state["step"]:  # log lines from before the state are missing on disk: start over
            return self.truncate_log(0)
        model.load_state_dict(state["weights"], strict=False)
        for optimizer, optimizer_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        torch.set_rng_state(state["random"])
        if model.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random_cuda"])
        return logs

    def restore_weights(self, model: PreTrainedModel) -> bool:
        """Load the weights of the last saved state into the model; return False if there is no state."""
        if not self._state.is_file():
            return False
        state: dict[str, Any] = torch.load(self._state, map_location="cpu", weights_only=True)
        model.load_state_dict(state["weights"], strict=False)
        return True

    def truncate_log(self, step: int) -> list[StepLog]:
        """Drop the log lines after step `step` from the file and return the remaining logs."""
        logs = RunFolder(self.out).read(METRICS, StepLog)[:step]
        write_text(self.out / f"{METRICS}.jsonl", "".join(_line(log) for log in logs))
        return logs

    def log_step(self, log: StepLog) -> None:
        """Append one step's line to the log. The file is closed at once, so killing the process loses no line.

        Raises:
            StoreError: the file cannot be written.
        """
        path = self.out / f"{METRICS}.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(_line(log))

    def due(self, step: int) -> bool:
        """Return whether the state after this step (from 1) should be saved."""
        return step % self.every == 0 if self.every else time.monotonic() - self._saved >= self._pause

    def save(self, step: int, model: PreTrainedModel, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Save everything that training changes: trained weights, optimizer state, random number generators.

        Raises:
            StoreError: the state cannot be written; the previous state is kept.
        """
        started = time.monotonic()
        trained = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        state = {
            "step": step,
            "weights": trained,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if model.device.type == "cuda" else [],
        }
        part = self._state.with_suffix(".part")
        with writing(self.folder):
            try:
                torch.save(state, part)
            except RuntimeError as error:  # torch's writer hides the operating system's error
                raise OSError(
                    errno.ENOSPC if shutil.disk_usage(self.folder).free < 2**20 else errno.EIO, str(error)
                ) from None
            part.replace(self._state)
        self._saved = time.monotonic()
        self._pause = max(_FIRST, (self._saved - started) / _SHARE)

    def discard(self) -> None:
        """Delete the saved state, after training has finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _line(log: StepLog) -> str:
    return log.model_dump_json(exclude_none=True) + "\n"
