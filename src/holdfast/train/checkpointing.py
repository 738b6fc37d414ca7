"""What outlives a killed training: the last state that was whole, and a line for each step done.

A state is written beside its place and then renamed into it, so that at any moment there is a whole one or none.
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
#: Without `save_steps`, saving may take this share of the time between two saves.
_SHARE = 0.02
_FIRST = 30.0  # seconds


class StepLog(Record):
    """What one step did: loss in nats per supervised token before the update, gradient norm before clipping.

    For preferences the loss is per pair; `reward` is the mean over the step's episodes, where there are any.
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


class Keeper:
    """Keeps a training's state in `out/unfinished` and its steps in `out/metrics.jsonl`.

    Args:
        out: folder of the training.
        key: of the training; a state under another key is nothing to go on from.
        every: steps between two saves; 0 saves as often as costs a fiftieth of the time.
    """

    def __init__(self, out: Path, key: str, every: int = 0) -> None:
        self.out, self.key, self.every = out, key, every
        self.folder = out / _FOLDER
        self._state = self.folder / "state.pt"
        self._saved, self._pause = time.monotonic(), _FIRST

    def begin(self) -> None:
        """Make room; what another training left unfinished in here goes.

        Raises:
            StoreError: the folder cannot be written.
        """
        mark = self.folder / "key"
        if mark.is_file() and mark.read_text(encoding="utf-8") == self.key:
            return
        with writing(self.out):
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True)
            for name in (METRICS, "safety"):
                (self.out / f"{name}.jsonl").unlink(missing_ok=True)
        write_text(mark, self.key)

    def restore(self, model: PreTrainedModel, optimizers: Sequence[torch.optim.Optimizer]) -> list[StepLog]:
        """Put the last whole state back; what was logged up to it, empty where there is none."""
        if not self._state.is_file():
            self.rewind(0)
            return []
        state: dict[str, Any] = torch.load(self._state, map_location="cpu", weights_only=True)
        logs = self.rewind(state["step"])
        if len(logs) < state["step"]:  # the disk lost lines that the state has behind it
            return self.rewind(0)
        model.load_state_dict(state["weights"], strict=False)
        for optimizer, held in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        torch.set_rng_state(state["random"])
        if model.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random_cuda"])
        return logs

    def revive(self, model: PreTrainedModel) -> bool:
        """Put the weights of the last whole state back into the model; False where there is none."""
        if not self._state.is_file():
            return False
        held: dict[str, Any] = torch.load(self._state, map_location="cpu", weights_only=True)
        model.load_state_dict(held["weights"], strict=False)
        return True

    def rewind(self, step: int) -> list[StepLog]:
        """The logs of the first `step` steps; later ones are dropped from the file."""
        logs = RunFolder(self.out).read(METRICS, StepLog)[:step]
        write_text(self.out / f"{METRICS}.jsonl", "".join(_line(log) for log in logs))
        return logs

    def note(self, log: StepLog) -> None:
        """Append one step's line; a kill loses none, as it is the operating system's at once.

        Raises:
            StoreError: it cannot be written.
        """
        path = self.out / f"{METRICS}.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(_line(log))

    def due(self, step: int) -> bool:
        """Whether the state after this step (from 1) should be saved."""
        return step % self.every == 0 if self.every else time.monotonic() - self._saved >= self._pause

    def save(self, step: int, model: PreTrainedModel, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Save what training changes: trained weights, optimizer, random numbers.

        Raises:
            StoreError: it cannot be written; the state before it stays.
        """
        began = time.monotonic()
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
            except RuntimeError as error:  # torch's own writer hides the disk's reason
                raise OSError(
                    errno.ENOSPC if shutil.disk_usage(self.folder).free < 2**20 else errno.EIO, str(error)
                ) from None
            part.replace(self._state)
        self._saved = time.monotonic()
        self._pause = max(_FIRST, (self._saved - began) / _SHARE)

    def end(self) -> None:
        """Training is over: remove the state."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _line(log: StepLog) -> str:
    return log.model_dump_json(exclude_none=True) + "\n"
