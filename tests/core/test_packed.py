"""Data files that the wheel holds gzipped: the same text, names and hash as the plain ones of the checkout."""

import gzip
from pathlib import Path

import pytest

from holdfast.core.identity import hash_files
from holdfast.core.packed import packed_files, packed_path, read_packed


def pack(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.jsonl").write_text('{"text": "é"}\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("{}\n")
    return tmp_path


def test_a_packed_file_reads_and_hashes_as_its_plain_form(folder: Path) -> None:
    plain = [*map(read_packed, packed_files(folder, "*.jsonl"))], hash_files(packed_files(folder, "*.jsonl"))
    pack(folder)
    files = packed_files(folder, "*.jsonl")
    assert [path.name for path in files] == ["a.jsonl.gz", "b.jsonl.gz"]
    assert ([*map(read_packed, files)], hash_files(files)) == plain
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b"[]\n"))
    assert hash_files(files) != plain[1]


def test_the_plain_file_is_taken_where_both_exist(folder: Path) -> None:
    plain = folder / "a.jsonl"
    assert packed_path(plain) == plain
    plain.with_name("a.jsonl.gz").write_bytes(gzip.compress(b"old"))
    assert packed_path(plain) == plain
    plain.unlink()
    assert packed_path(plain) == plain.with_name("a.jsonl.gz")
    assert packed_path(folder / "none.jsonl") == folder / "none.jsonl"
