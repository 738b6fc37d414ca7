"""Tells trackers (trackio, MLflow, Weights & Biases) of each step, through the callbacks that transformers keeps."""

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
    """A callback for each tracker; none for `none`.

    Raises:
        ConfigError: transformers knows no such tracker.
        PrerequisiteError: the tracker is not installed.
    """
    wanted = [name for name in ([names] if isinstance(names, str) else names) if name != "none"]
    # By name: transformers types this function no more than it exports it.
    integrations: Any = importlib.import_module("transformers.integrations")
    made = []
    for name in wanted:
        try:
            [kind] = integrations.get_reporting_integration_callbacks([name])
            made.append(kind())
        except ValueError as error:
            raise ConfigError(f"[trl] report_to: {error}", remedy="name one of those") from None
        except (RuntimeError, ImportError):
            raise missing(name) from None
    return made


@contextmanager
def tracked(
    callbacks: Sequence[Any],
    model: PreTrainedModel,
    out: Path,
    watch: SafetyProbe | None = None,
    on_step: Callable[[StepLog], None] | None = None,
) -> Iterator[Callable[[StepLog], None] | None]:
    """A listener that passes each step, and what was seen of the model after it, on to the trackers.

    Args:
        callbacks: of `trackers`.
        model: what is trained; trackers note its shape.
        out: folder of the training, whose name the run gets.
        watch: what looks at the model.
        on_step: who else is told.
    """
    if not callbacks:
        yield on_step
        return
    # Only here: transformers' trainer loads all that it could train with.
    from transformers import TrainerControl, TrainerState, TrainingArguments

    settings = TrainingArguments(output_dir=str(out), run_name=out.name, report_to="none")
    state, control = TrainerState(), TrainerControl()

    def tell(event: str, **more: Any) -> None:
        for callback in callbacks:
            getattr(callback, event)(settings, state, control, model=model, **more)

    def listen(log: StepLog) -> None:
        state.global_step, state.max_steps = log.step, log.steps
        figures = log.model_dump(exclude={"step", "steps"}, exclude_none=True)
        if watch and watch.points[-1].step == log.step:
            figures |= {name: value for name, value in watch.points[-1].values.items() if value is not None}
        tell("on_log", logs=figures)
        if on_step:
            on_step(log)

    tell("on_train_begin")
    try:
        yield listen
    finally:
        tell("on_train_end")
