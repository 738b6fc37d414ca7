"""The door `organism/pocket`: the packaged checkpoint, opened like any other."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.models.local import LocalModel

WEIGHTS = Path(__file__).parent / "weights"


def open_named(rest: str) -> LocalModel:
    """Open the embedded organism.

    Raises:
        ModelError: there is no organism of that name.
        PrerequisiteError: its weights are not there.
    """
    if rest != "pocket":
        raise ModelError(f"no organism called '{rest}'", remedy="there is one: 'organism/pocket'")
    if not (WEIGHTS / rest / "config.json").is_file():
        remedy = "install Holdfast anew, or make them with `runs/organism.sh`"
        raise PrerequisiteError("the organism has no weights", where=WEIGHTS / rest, remedy=remedy)
    return LocalModel(WEIGHTS / rest, name=f"organism/{rest}")
