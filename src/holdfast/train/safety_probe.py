"""Looks at the model while it is trained, and never spends more than a tenth of the training's time on it.

What is looked at comes from outside: this room knows of no case and no score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.records import Record
from holdfast.core.store import RunFolder, write_text
from holdfast.train.checkpointing import StepLog

SAFETY = "safety"
#: Share of the training's time that may go into looking.
BUDGET = 0.1

#: Model and tokenizer → named figures; None where a figure could not be had.
Probe = Callable[[PreTrainedModel, PreTrainedTokenizerBase], Mapping[str, float | None]]


class SafetyPoint(Record):
    """What a probe found after a step (0: before the first), and the seconds it took."""

    step: int
    tokens: int
    seconds: float
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Watching:
    """A probe, and after how many steps it is due."""

    every: int
    probe: Probe


class SafetyProbe:
    """Takes points before the first step, after the last, and in between as often as is asked for and affordable.

    Args:
        watching: what to look with, and how often.
        tokenizer: the model's.
        out: folder whose `safety.jsonl` takes the points.
    """

    def __init__(self, watching: Watching, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
        self.watching, self.tokenizer, self.folder = watching, tokenizer, RunFolder(out)
        self.points: list[SafetyPoint] = []

    def begin(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        """Take up the points of the steps done before, or take the first one."""
        kept = [point for point in self.folder.read(SAFETY, SafetyPoint) if point.step <= len(logs)]
        lines = "".join(point.model_dump_json() + "\n" for point in kept)
        write_text(self.folder.path / f"{SAFETY}.jsonl", lines)
        self.points = kept
        if not kept:
            self._take(model, logs)

    def __call__(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        """Take a point after a step if one is due and affordable."""
        last = logs[-1]
        if self.points[-1].step == last.step:
            return
        due = last.step % self.watching.every == 0 and self._affordable(logs)
        if due or last.step == last.steps:
            self._take(model, logs)

    @property
    def seconds(self) -> float:
        """Time spent on looking."""
        return sum(point.seconds for point in self.points)

    def _affordable(self, logs: Sequence[StepLog]) -> bool:
        """Whether one more point and the last one fit into the budget."""
        trained = sum(log.seconds for log in logs)
        whole = trained * logs[-1].steps / len(logs)
        return self.seconds + 2 * self.points[-1].seconds <= BUDGET * whole

    def _take(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        began, training = time.perf_counter(), model.training
        values = self.watching.probe(model, self.tokenizer)
        model.train(training)
        seconds, tokens = time.perf_counter() - began, sum(log.tokens for log in logs)
        point = SafetyPoint(step=len(logs), tokens=tokens, seconds=seconds, values=values)
        self.points.append(point)
        self.folder.append(SAFETY, [point])
