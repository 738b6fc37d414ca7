"""One stored sample of a single-turn, tagged-command evaluation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredSample:
    """The prompt, the answer and the verdicts of the framework that stored them.

    `harmful` is the verdict of the rule and the judge together, `judged` that of the judge alone; None where the sample
    was not scored.  `error` says why there is no answer, `cut` that the answer was
    cut off at its most tokens.
    """

    id: str
    scenario: str
    model: str
    prompt: str
    answer: str
    reasoning: str | None = None
    harmful: bool | None = None
    judged: bool | None = None
    error: str | None = None
    cut: bool = False
