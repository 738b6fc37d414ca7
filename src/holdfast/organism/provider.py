"""Opens `organism/pocket`, the packaged checkpoint."""

from __future__ import annotations

from holdfast.models.local import LocalModel
from holdfast.organism.weights_path import checkpoint_path


def open_named(rest: str) -> LocalModel:
    """Open the packaged checkpoint `organism/<rest>`.

    Raises:
        ModelError: there is no packaged checkpoint of that name.
        PrerequisiteError: the weights are not installed.
    """
    return LocalModel(checkpoint_path(rest), name=f"organism/{rest}")
