"""Equal values have equal keys; whatever makes a result changes its key."""

from pathlib import Path

import pytest

from holdfast.core.identity import canonical, hash_files, key_of, room_version
from holdfast.core.records import ToolCall


def test_keys_follow_the_value_and_not_its_order() -> None:
    assert key_of({"a": 1, "b": (2, 3)}) == key_of({"b": [2, 3], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert key_of({"a": 1}) != key_of({"a": "1"})
    assert canonical({"c": ToolCall(id="1", name="x"), "s": {"b", "a"}}) == (
        '{"c":{"arguments":{},"id":"1","name":"x"},"s":["a","b"]}'
    )
    with pytest.raises(TypeError, match="no canonical form"):
        canonical(object())


def test_a_file_counts_by_name_and_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("y")
    before = hash_files([one, two])
    assert before == hash_files([two, one])
    two.write_text("z")
    assert hash_files([one, two]) != before


def test_rooms_have_versions_of_their_own() -> None:
    assert room_version("core") != room_version("report")
    assert len(room_version("core")) == 16
