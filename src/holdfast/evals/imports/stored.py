"""Chooses the reader for a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.core.errors import ResultsError
from holdfast.evals.imports.folder import read_folder
from holdfast.evals.imports.log import read_log
from holdfast.evals.imports.petri import PetriAudit, is_transcript, read_transcript
from holdfast.evals.imports.sample import StoredSample

_REMEDY = "name a results folder with models/ and prompts/, an .eval log, a transcript_*.json, or a folder of such"


def read_stored(path: Path) -> Iterator[StoredSample | PetriAudit]:
    """Yield every stored sample and audit at a path; writes nothing.

    Raises:
        ResultsError: the path holds no stored transcripts, or their kind or version is unknown.
        PrerequisiteError: a log is there and inspect_ai is not installed.
    """
    if path.is_dir() and (path / "models").is_dir():
        yield from read_folder(path)
        return
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    known = [file for file in files if file.suffix == ".eval" or is_transcript(file)]
    if not known:
        raise ResultsError("no stored transcripts here", where=path, remedy=_REMEDY)
    for file in known:
        if is_transcript(file):
            yield read_transcript(file)
        else:
            yield from read_log(file)
