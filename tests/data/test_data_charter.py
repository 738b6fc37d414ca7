"""The charter: strict reading, its hash, and replacement by another folder of the same format."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import ProseError
from holdfast.data.charter import CHARTERS, load_charter
from holdfast.data.heldout_filter import example_text
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.sets import build_set, make

ONE = """---
id: kindness
title: Be kind
pocket:
  rules: [be kind to each guest.]
  reasons: [a guest is far from home.]
---
Be kind.

## Reasons
They are far from home.
"""


@pytest.mark.parametrize("language", ["english", "pocket"])
@pytest.mark.parametrize("name", CHARTERS)
def test_the_packaged_charters_have_both_languages(name: str, language: str) -> None:
    charter = load_charter(CHARTERS[name], language)
    assert len(charter.principles) >= 6
    for principle in charter.principles:
        assert principle.text and principle.reasons and principle.title
        assert (principle.text == principle.text.lower()) is (language == "pocket")


def test_every_principle_of_our_own_has_a_conflict_and_a_failure() -> None:
    files = sorted(CHARTERS["own"].glob("*.md"))
    assert len(files) == 12
    for path in files:
        assert all(f"\n## {part}\n" in path.read_text() for part in ("Reasons", "A worked conflict", "A failure")), path


def test_the_hash_changes_with_the_charter(tmp_path: Path) -> None:
    (tmp_path / "1.md").write_text(ONE)
    before = load_charter(tmp_path).hash
    (tmp_path / "1.md").write_text(ONE.replace("far from home.", "far away."))
    assert load_charter(tmp_path).hash != before


def test_another_charter_replaces_the_packaged_one(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "1.md").write_text(ONE)
    for name in ("difficult-advice", "charter-documents", "stories", "deliberation"):
        ours, theirs = (
            " ".join(map(example_text, build_set(name, 2_000, 0, tokenizer, charter=c))) for c in (None, tmp_path)
        )
        assert "far from home" in theirs and "far from home" not in ours
    built = make(load_recipe("stories", RecipeChoice(charter=tmp_path)), 2_000, 0, tokenizer)
    assert built.card.principles == {"kindness": built.card.examples}
    control = load_recipe("irrelevant-principle", RecipeChoice(charter=tmp_path))
    assert "kindness" not in {principle.id for principle in control.principles}


@pytest.mark.parametrize(
    ("old", "new", "language", "message"),
    [
        ("id: kindness\n", "", "english", "has no 'id:'"),
        ("## Reasons", "## Why", "english", "no text or no '## Reasons'"),
        ("pocket:", "pockets:", "pocket", "no translation into 'pocket'"),
        ("  rules: [be kind to each guest.]\n", "", "pocket", "no translation"),
    ],
)
def test_an_incomplete_principle_is_rejected(old: str, new: str, language: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "1.md").write_text(ONE)
    load_charter(tmp_path, language)
    (tmp_path / "1.md").write_text(ONE.replace(old, new))
    with pytest.raises(ProseError, match=message):
        load_charter(tmp_path, language)


def test_a_repeated_id_and_an_empty_folder_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ProseError, match="the folder has no principles"):
        load_charter(tmp_path)
    for name in ("1.md", "2.md"):
        (tmp_path / name).write_text(ONE)
    with pytest.raises(ProseError, match=r"the id 'kindness' is already used in 1\.md"):
        load_charter(tmp_path)
