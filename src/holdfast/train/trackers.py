"""Log steps to experiment trackers (trackio, MLflow, Weights & Biases) through transformers' callbacks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from holdfast.core.errors import ConfigError
from holdfast.core.extras import missing
from holdfast.train.checkpointing import StepLog
from holdfast.train.safety_probe import SafetyProbe


def trackers(names: str | Sequence[str]) -> list[Any]:
    """Return one callback per tracker name; `none` is skipped.

    Raises:
        ConfigError: transformers does not support a tracker of that name.
        PrerequisiteError: the tracker is not installed.
    """
    wanted = [name for name in ([names] if isinstance(names, str) else names) if name != "none"]
    # Imported by name, because transformers neither exports nor types this function.
    integrations: Any = importlib.import_module("transformers.integrations")
    callbacks = []
    for name in wanted:
        try:
            [kind] = integrations.get_reporting_integration_callbacks([name])
            callbacks.append(kind())
        except ValueError as error:
            raise ConfigError(f"[trl] report_to: {error}", remedy="use one of the supported names") from None
        except (RuntimeError, ImportError):
            raise missing(name) from None
    return callbacks


@contextmanager
def tracked(
    callbacks: Sequence[Any],
    model: PreTrainedModel,
    out: Path,
    probe: SafetyProbe | None = None,
    on_step: Callable[[StepLog], None] | None = None,
) -> Iterator[Callable[[StepLog], None] | None]:
    """Yield a step callback that logs each step and the safety probe results after it to the trackers.

    Args:
        callbacks: result of `trackers`.
        model: the trained model; trackers record its shape.
        out: output folder; its name becomes the run's name.
        probe: safety probe of the training.
        on_step: further callback to call after each step.
    """
    if not callbacks:
        yield on_step
        return
    # Imported here because transformers' trainer loads every integration that is installed.
    from transformers import TrainerControl, TrainerState, TrainingArguments

    settings = TrainingArguments(output_dir=str(out), run_name=out.name, report_to="none")
    state, control = TrainerState(), TrainerControl()

    def notify(event: str, **more: Any) -> None:
        for callback in callbacks:
            getattr(callback, event)(settings, state, control, model=model, **more)

    def listen(log: StepLog) -> None:
        state.global_step, state.max_steps = log.step, log.steps
        metrics = log.model_dump(exclude={"step", "steps"}, exclude_none=True)
        if probe and probe.points[-1].step == log.step:
            metrics |= {name: value for name, value in probe.points[-1].values.items() if value is not None}
        notify("on_log", logs=metrics)
        if on_step:
            on_step(log)

    notify("on_train_begin")
    try:
        yield listen
    finally:
        notify("on_train_end")
