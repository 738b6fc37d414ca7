"""Find the checkpoint folder behind a model name, without loading the model or importing torch."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.models.pinned import model_card, model_folder, pinned
from holdfast.models.registry import open_model

#: Module with `checkpoint_path(rest) -> Path`. Imported by name, because models must not depend on organism.
_ORGANISM = "holdfast.organism.weights_path"


def checkpoint_path(name: str) -> Path:
    """Return the checkpoint folder of `hf/PATH`, `gguf/PATH`, `organism/pocket` or a name from `holdfast models list`.

    Only `gguf/PATH` opens the model, because the file must be converted first.

    Raises:
        ModelError: the model has no checkpoint on disk, so it cannot be trained.
        PrerequisiteError: the checkpoint is not downloaded yet or is not installed.
    """
    prefix, _, rest = name.partition("/")
    if name in pinned():
        if model_card(name) is None:
            raise PrerequisiteError(f"'{name}' is not downloaded yet", remedy=f"holdfast models get {name}")
        return model_folder(name)
    if prefix == "organism" and rest:
        path: Path = import_module(_ORGANISM).checkpoint_path(rest)
        return path
    if prefix == "hf" and rest:
        path = Path(rest)
        if not (path / "config.json").is_file():
            what = "not a transformers checkpoint: the folder has no config.json"
            raise ModelError(what, where=path, remedy="pass the folder that save_pretrained wrote, as hf/PATH")
        return path
    opened = getattr(open_model(name), "path", None)
    if not isinstance(opened, Path):
        remedy = "choose a checkpoint on disk: hf/PATH or organism/pocket"
        raise ModelError(f"'{name}' has no checkpoint on disk and cannot be trained", remedy=remedy)
    return opened
