"""Reads and checks `summary.json`, the one file that a report is made from; its records are in `core.results`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.core.errors import ResultsError
from holdfast.core.results import SCHEMA, SUMMARY, Summary
from holdfast.report.words import clean


def load_summary(folder: Path) -> Summary:
    """Read `summary.json` in `folder`.

    Every text is cleaned first (`words.clean`), so that no invisible character reaches a page.

    Raises:
        ResultsError: the file is missing, half written, of another schema, or not a summary.
    """
    path = folder / SUMMARY
    again = "run the study again: it resumes and rewrites this file"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "no results here" if folder.is_dir() else "no such folder"
        wanted = "give the folder that a study, a measurement or a training wrote"
        raise ResultsError(what, where=path, remedy=wanted) from None
    except OSError as error:
        raise ResultsError(f"cannot read: {error.strerror}", where=path, remedy="check its permissions") from None
    except json.JSONDecodeError as error:
        raise ResultsError("half written or not JSON", where=f"{path}:{error.lineno}", remedy=again) from None
    except (UnicodeDecodeError, RecursionError):
        raise ResultsError("not a JSON text", where=path, remedy=again) from None
    if not isinstance(raw, dict) or "schema" not in raw:
        raise ResultsError("not a summary: it has no schema number", where=path, remedy=again)
    if raw["schema"] != SCHEMA:
        what = f"schema {raw['schema']!r}, but this version reads schema {SCHEMA}"
        raise ResultsError(what, where=path, remedy="use the version of holdfast that wrote it")
    try:
        return Summary.model_validate(_cleaned(raw))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ResultsError(f"key '{name}': {first['msg'].lower()}", where=path, remedy=again) from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
