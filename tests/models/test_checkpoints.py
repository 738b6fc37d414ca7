"""`checkpoint_path` finds the folder behind a model name without loading the model."""

from pathlib import Path

import pytest

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.models.checkpoints import checkpoint_path
from holdfast.organism import weights_path


def test_the_packaged_checkpoint_and_a_folder_are_found(tmp_path: Path) -> None:
    assert (checkpoint_path("organism/pocket") / "tokenizer.json").is_file()
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert checkpoint_path(f"hf/{tmp_path}") == tmp_path


def test_names_without_a_checkpoint_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="not a transformers checkpoint"):
        checkpoint_path(f"hf/{tmp_path}")
    with pytest.raises(ModelError, match="unknown organism 'pockets'"):
        checkpoint_path("organism/pockets")
    with pytest.raises(ModelError, match="cannot be trained"):
        checkpoint_path("scripted/proper")
    monkeypatch.setattr(weights_path, "WEIGHTS", tmp_path)
    with pytest.raises(PrerequisiteError, match="weights of the organism are missing"):
        checkpoint_path("organism/pocket")
