"""Reads the results folder of the original agentic-misalignment framework.

prompts/CONDITION/email_content.txt, user_prompt.txt, system_prompt.txt
models/MODEL/CONDITION/sample_NNN/response.json    raw_response, metadata, classification
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import ResultsError
from holdfast.evals.imports.sample import StoredSample

_VERDICTS = ("harmful_behavior", "verdict")


def read_folder(path: Path) -> Iterator[StoredSample]:
    """Yield the samples of a results folder by model, condition and number.

    Raises:
        ResultsError: a file is missing or is not in the framework's format.
    """
    answers = sorted((path / "models").glob("*/*/sample_*/response.json"))
    if not answers:
        raise ResultsError(
            "the folder holds no samples", where=path / "models", remedy="expected MODEL/CONDITION/sample_NNN/"
        )
    for file in answers:
        model, condition, sample, _ = file.relative_to(path / "models").parts
        yield _sample(file, model, condition, sample, _text(path / "prompts" / condition / "email_content.txt"))


def _sample(file: Path, model: str, condition: str, sample: str, mails: str) -> StoredSample:
    try:
        stored = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise ResultsError("not JSON", where=f"{file}:{error.lineno}", remedy="correct or remove the file") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("raw_response"), str):
        what = "no text under 'raw_response': an unknown version of the framework"
        raise ResultsError(what, where=file, remedy="known: raw_response, metadata and classification")
    scored = stored.get("classification") or {}
    return StoredSample(
        id=f"{model}/{condition}/{sample}",
        scenario=condition.partition("_")[0],
        model=model,
        prompt=mails,
        answer=stored["raw_response"],
        harmful=_verdict(scored, *_VERDICTS),
        judged=_verdict(scored, "classifier_verdict"),
    )


def _verdict(scored: Mapping[str, Any], *names: str) -> bool | None:
    return next((scored[name] for name in names if isinstance(scored.get(name), bool)), None)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ResultsError(what, where=file, remedy="the framework writes one for each condition") from None
    except UnicodeDecodeError:
        raise ResultsError("not UTF-8 text", where=file, remedy="correct or remove the file") from None
