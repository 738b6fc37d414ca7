"""Prose: every slot filled, every value used, front matter that is one."""

from pathlib import Path

import pytest

from holdfast.core.errors import ProseError
from holdfast.core.prose import fill, load_prose, slots_in, unused


def test_slots_are_filled_through_values_and_braces_are_kept() -> None:
    assert fill("dear {who.first}, {{not a slot}}", {"who.first": "{name}", "name": "ana"}) == "dear ana, {not a slot}"
    assert slots_in("{a} {{b}} {c.d} {1}") == {"a", "c.d"}


def test_a_slot_without_a_value_is_refused_at_its_line() -> None:
    with pytest.raises(ProseError, match=r"a\.md:12: slot '\{nmae\}' has no value \(did you mean '\{name\}'\?\)"):
        fill("one\ntwo\n{nmae}", {"name": "ana"}, "a.md", 10)


def test_values_that_refer_to_each_other_are_refused() -> None:
    with pytest.raises(ProseError, match="cycle"):
        fill("{a}", {"a": "{b}", "b": "{a}"})


def test_a_value_that_nothing_uses_is_found() -> None:
    values = {"a": "{b}", "b": "x", "c": "y"}
    assert unused(["text {a}"], values) == {"c"}
    assert unused(["text {a} {c}"], values) == set()


def test_front_matter_and_the_line_of_the_body(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("---\ntitle: x\n---\n\nfirst {slot}\n")
    prose = load_prose(path)
    assert (prose.front, prose.body, prose.line) == ({"title": "x"}, "first {slot}", 5)
    with pytest.raises(ProseError, match=r"a\.md:5"):
        fill(prose.body, {}, prose.path, prose.line)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("---\na: [1\n---\nx", r":\d: front matter is not YAML"),
        ("---\n- a\n---\nx", ":2: front matter is not a mapping"),
    ],
)
def test_front_matter_that_is_none(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(text)
    with pytest.raises(ProseError, match=what):
        load_prose(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProseError, match="no such file"):
        load_prose(tmp_path / "none.md")


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ProseError, match="cannot read the file"):
        load_prose(tmp_path)
    (tmp_path / "a.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ProseError, match="not UTF-8"):
        load_prose(tmp_path / "a.md")
