"""Tags that a tokenizer writes as one token are written as plain text in a copy of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from holdfast.core.errors import InputError
from runs.plain_tags import write_plain

TEXT = "<tool_call>"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate("<>_acelot")}, []))
    tokenizer.add_tokens([AddedToken(TEXT, special=False, normalized=False), AddedToken("<a>", special=False)])
    base = tmp_path / "base"
    base.mkdir()
    tokenizer.save(str(base / "tokenizer.json"))
    for name in ("config.json", "model.safetensors", "holdfast_model.json"):
        (base / name).write_text(name)
    return base


def _tokens(folder: Path) -> list[str]:
    return list(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).tokens)


def test_the_tag_becomes_plain_text_and_everything_else_is_copied(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_plain(checkpoint, out, [TEXT])
    write_plain(checkpoint, out, [TEXT])  # again: the same copy
    assert _tokens(checkpoint) == [TEXT]
    assert _tokens(out) == list(TEXT)
    assert Tokenizer.from_file(str(out / "tokenizer.json")).encode("<a>").tokens == ["<a>"]
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (out / "model.safetensors").read_text() == "model.safetensors"


def test_a_tag_that_is_no_token_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="adds no token '<call>'"):
        write_plain(checkpoint, tmp_path / "out", [TEXT, "<call>"])
