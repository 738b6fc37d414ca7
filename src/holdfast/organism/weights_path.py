"""Location of the packaged checkpoint. Imports no torch, so that a path can be resolved without loading it."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.errors import ModelError, PrerequisiteError

WEIGHTS = Path(__file__).parent / "weights"


def checkpoint_path(name: str) -> Path:
    """Return the folder of the packaged checkpoint `name`.

    Raises:
        ModelError: there is no packaged checkpoint of that name.
        PrerequisiteError: the weights are not installed.
    """
    if name != "pocket":
        raise ModelError(f"unknown organism '{name}'", remedy="use 'organism/pocket', the only one")
    if not (WEIGHTS / name / "config.json").is_file():
        remedy = "reinstall Holdfast, or build them with `runs/organism.sh`"
        raise PrerequisiteError("the weights of the organism are missing", where=WEIGHTS / name, remedy=remedy)
    return WEIGHTS / name
