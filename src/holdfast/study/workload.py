"""Counts what a planned study trains and plays, and the time that this takes at measured speeds."""

from __future__ import annotations

from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.study.plan import StudyPlan

_HOUR = 3600


class Workload(Record):
    """The work of a study as a whole.

    Attributes:
        stages: stages that are trained; one that several arms share counts once.
        tokens: tokens that they read.
        cases: cases that are played, over all checkpoints.
        train_hours: at the measured speed of training, one process; None if it is not given.
        play_hours: at the measured time a case, one process; None if it is not given.
    """

    stages: int
    tokens: int
    cases: int
    train_hours: float | None = None
    play_hours: float | None = None

    @property
    def sentence(self) -> str:
        """The work in words."""
        trained = f"{self.tokens:,} tokens in {self.stages} trainings" + _at(self.train_hours)
        return f"To do: {trained}; {self.cases:,} cases to play{_at(self.play_hours)}."


def _at(hours: float | None) -> str:
    return "" if hours is None else f" ({hours:.1f} hours of one process)"


def workload(plan: StudyPlan, tokens_a_second: float | None = None, seconds_a_case: float | None = None) -> Workload:
    """Count the work of a plan.

    Args:
        plan: the plan.
        tokens_a_second: measured speed of training.
        seconds_a_case: measured time of one case.

    Raises:
        InputError: a speed is not positive.
    """
    for name, value in (("tokens-a-second", tokens_a_second), ("seconds-a-case", seconds_a_case)):
        if value is not None and value <= 0:
            raise InputError(f"--{name} must be above 0, got {value:g}", remedy="give a measured value")
    stages = {stage.key: sum(data.tokens for data in stage.sets) for cell in plan.cells for stage in cell.stages}
    cases = sum(len(plan.cases_of(cell.arm)) for cell in plan.cells)
    tokens = sum(stages.values())
    return Workload(
        stages=len(stages),
        tokens=tokens,
        cases=cases,
        train_hours=tokens / tokens_a_second / _HOUR if tokens_a_second else None,
        play_hours=cases * seconds_a_case / _HOUR if seconds_a_case else None,
    )
