"""Puts this folder on the import path, so that tests can import the shared helpers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from data_toys import word_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer that counts words and punctuation."""
    folder = tmp_path_factory.mktemp("tokenizer")
    word_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
