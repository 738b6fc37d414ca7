"""Safety probes: measures the model during training, in at most a tenth of the training time.

The caller provides the probe function, because this package imports neither cases nor scorers.
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
#: Share of the training time that probes may take.
BUDGET = 0.1

#: Model and tokenizer → named metrics; None if a metric could not be measured.
Probe = Callable[[PreTrainedModel, PreTrainedTokenizerBase], Mapping[str, float | None]]


class SafetyPoint(Record):
    """Result of one probe.

    Attributes:
        step: steps done before the probe; 0 is before training.
        tokens: tokens trained on before the probe.
        seconds: wall-clock time of the probe.
        values: named metrics; None if a metric could not be measured.
    """

    step: int
    tokens: int
    seconds: float
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class ProbeSchedule:
    """A probe function and the number of steps between two probes."""

    every: int
    probe: Probe


class SafetyProbe:
    """Probes the model before the first step, after the last, and in between on schedule if the time budget allows.

    Args:
        schedule: probe function and interval.
        tokenizer: the model's tokenizer.
        out: folder whose `safety.jsonl` receives the points.
    """

    def __init__(self, schedule: ProbeSchedule, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
        self.schedule, self.tokenizer, self.folder = schedule, tokenizer, RunFolder(out)
        self.points: list[SafetyPoint] = []

    def begin(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        """Load the points of the steps already done, or probe the model if there are none."""
        points = [point for point in self.folder.read(SAFETY, SafetyPoint) if point.step <= len(logs)]
        lines = "".join(point.model_dump_json() + "\n" for point in points)
        write_text(self.folder.path / f"{SAFETY}.jsonl", lines)
        self.points = points
        if not points:
            self._measure(model, logs)

    def __call__(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        """Probe the model after a step if a probe is due and within budget."""
        last = logs[-1]
        if self.points[-1].step == last.step:
            return
        due = last.step % self.schedule.every == 0 and self._affordable(logs)
        if due or last.step == last.steps:
            self._measure(model, logs)

    @property
    def seconds(self) -> float:
        """Total wall-clock time of all probes."""
        return sum(point.seconds for point in self.points)

    def _affordable(self, logs: Sequence[StepLog]) -> bool:
        """Whether the budget allows one more probe besides the final one."""
        trained = sum(log.seconds for log in logs)
        expected = trained * logs[-1].steps / len(logs)
        return self.seconds + 2 * self.points[-1].seconds <= BUDGET * expected

    def _measure(self, model: PreTrainedModel, logs: Sequence[StepLog]) -> None:
        started, training = time.perf_counter(), model.training
        values = self.schedule.probe(model, self.tokenizer)
        model.train(training)
        seconds, tokens = time.perf_counter() - started, sum(log.tokens for log in logs)
        point = SafetyPoint(step=len(logs), tokens=tokens, seconds=seconds, values=values)
        self.points.append(point)
        self.folder.append(SAFETY, [point])
