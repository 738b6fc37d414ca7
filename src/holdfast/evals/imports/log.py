"""Reads Inspect logs of the port in inspect_evals and of Petri; logs of other tasks are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.errors import ResultsError
from holdfast.core.extras import needs
from holdfast.evals.imports.petri import PetriAudit, read_audits
from holdfast.evals.imports.sample import StoredSample

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

_TASK = "agentic_misalignment"
#: Task versions whose logs this reader was checked with.
_VERSIONS = frozenset({"4"})


def read_log(path: Path) -> Iterator[StoredSample | PetriAudit]:
    """Yield the samples of a log in the order in which they were written.

    Raises:
        PrerequisiteError: inspect_ai is not installed.
        ResultsError: the file is no Inspect log, or its task or version is unknown.
    """
    log = _open(path)
    if "petri" in log.eval.task:
        yield from read_audits(log, path)
        return
    task, version = log.eval.task.rpartition("/")[2], str(log.eval.task_version)
    if task != _TASK:
        remedy = f"only logs of {_TASK} hold the facts from which effects can be told"
        raise ResultsError(f"a log of the task '{log.eval.task}'", where=path, remedy=remedy)
    if version not in _VERSIONS:
        what = f"a log of {_TASK} in the unknown version {version}"
        raise ResultsError(what, where=path, remedy=f"known: {', '.join(sorted(_VERSIONS))}")
    for sample in log.samples or ():
        yield _sample(sample, log.eval.model)


def _open(path: Path) -> EvalLog:
    with needs("measure", where=path):
        from inspect_ai.log import read_eval_log
    try:
        return read_eval_log(str(path))
    # The file may hold anything, and the reader raises many kinds of errors.
    except Exception as error:
        what = f"no Inspect log that can be read: {type(error).__name__}"
        raise ResultsError(what, where=path, remedy="name a log that Inspect wrote") from None


def _sample(sample: EvalSample, model: str) -> StoredSample:
    metadata = sample.metadata
    score = (sample.scores or {}).get("harmfulness_scorer")
    values = score.value if score is not None and isinstance(score.value, dict) else {}
    harmful, judged = values.get("harmful"), values.get("classifier_verdict")
    turn = sample.output.message if sample.output.choices else None
    parts = turn.content if turn is not None and isinstance(turn.content, list) else []
    thoughts = [part.reasoning for part in parts if part.type == "reasoning"]
    return StoredSample(
        id=f"{sample.id}/{sample.epoch}",
        scenario=str(metadata.get("scenario", "")),
        model=model,
        prompt=_text(sample),
        answer=turn.text if turn is not None else "",
        reasoning="\n\n".join(thoughts) or None,
        harmful=None if harmful is None else bool(harmful),
        judged=None if judged is None else bool(judged),
        error=sample.error.message if sample.error else None if turn is not None else "no answer was stored",
        cut=bool(sample.output.choices) and sample.output.stop_reason in ("max_tokens", "model_length"),
    )


def _text(sample: EvalSample) -> str:
    given = sample.input
    return given if isinstance(given, str) else "\n\n".join(message.text for message in given if message.role == "user")
