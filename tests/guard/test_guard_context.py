"""Organisational context: stale, missing, contradictory and unreadable statements are found."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from holdfast.core.errors import InputError
from holdfast.guard.context import ContextIssue, bulletin, check_context

TODAY = date(2026, 11, 20)
SOUND = """\
---
subject: customer data
owner: Data protection officer
scope: [assistant, clerk]
valid_until: 2026-12-31
claims: {kept for days: 30, may leave the firm: false}
---
Customer files are lent to us.
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
    return folder


def found(folder: Path, **options: object) -> list[tuple[str, str]]:
    """Return (kind, place) of every issue."""
    return [(f.kind, Path(f.where).name) for f in check_context(folder, TODAY, **options)]  # type: ignore[arg-type]


def test_valid_folder_has_no_issues(tmp_path: Path) -> None:
    assert found(write(tmp_path, data=SOUND), agents=["assistant", "clerk"]) == []


@pytest.mark.parametrize(
    ("old", "new", "kind", "place"),
    [
        ("2026-12-31", "2026-11-19", "stale", "data.md:5"),
        ("owner: Data protection officer\n", "", "missing", "data.md:1"),
        ("subject: customer data\n", "", "missing", "data.md:1"),
        ("valid_until: 2026-12-31\n", "", "missing", "data.md:1"),
        ("scope: [assistant, clerk]\n", "", "missing", "data.md:1"),
        ("scope: [assistant, clerk]", "scope: []", "unreadable", "data.md:4"),
        ("2026-12-31", "next year", "unreadable", "data.md:5"),
        ("owner:", "ownr:", "unreadable", "data.md:3"),
        ("Customer files are lent to us.\n", "", "missing", "data.md:8"),
        ("claims: {", "claims: [", "unreadable", "data.md:6"),
        ("claims:", "needs: [retention]\nclaims:", "missing", "data.md:6"),
    ],
)
def test_a_broken_statement_is_found(tmp_path: Path, old: str, new: str, kind: str, place: str) -> None:
    assert old in SOUND
    assert (kind, place) in found(write(tmp_path, data=SOUND.replace(old, new)))


def test_statement_is_valid_on_its_last_day(tmp_path: Path) -> None:
    assert found(write(tmp_path, data=SOUND.replace("2026-12-31", "2026-11-20"))) == []


def test_contradictions_need_one_reader_one_subject_and_two_values(tmp_path: Path) -> None:
    other = SOUND.replace("30", "90").replace("customer data", "Customer-Data")
    cases = {
        "differ": (other, 1),
        "same": (SOUND, 0),
        "other reader": (other.replace("[assistant, clerk]", "[auditor]"), 0),
        "all readers": (other.replace("[assistant, clerk]", "all"), 1),
        "other subject": (other.replace("Customer-Data", "staff data"), 0),
        "stale": (other.replace("2026-12-31", "2026-01-31"), 0),
        "bool is no number": (SOUND.replace("false", "0"), 1),
    }
    for name, (text, expected) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        write(folder, data=SOUND, other=text)
        kinds = [kind for kind, _ in found(folder)]
        assert kinds.count("contradictory") == expected, name


def test_contradiction_names_both_statements(tmp_path: Path) -> None:
    [finding] = check_context(write(tmp_path, a=SOUND, b=SOUND.replace("30", "90")), TODAY)
    assert isinstance(finding, ContextIssue)
    assert finding.where.endswith("a.md:6")
    assert "'30' here and '90' in" in finding.what
    assert "b.md" in finding.what


def test_needed_subject_must_reach_every_reader(tmp_path: Path) -> None:
    needs = SOUND.replace("claims:", "needs: [retention]\nclaims:")
    retention = SOUND.replace("customer data", "Retention").replace(
        "claims: {kept for days: 30, may leave the firm: false}\n", ""
    )
    write(tmp_path, data=needs, retention=retention)
    assert found(tmp_path) == []
    write(tmp_path, retention=retention.replace("[assistant, clerk]", "[clerk]"))
    assert found(tmp_path) == [("missing", "data.md:6")]
    write(tmp_path, retention=retention.replace("2026-12-31", "2026-01-31"))
    assert sorted(found(tmp_path)) == [("missing", "data.md:6"), ("stale", "retention.md:5")]


def test_empty_folder_and_agent_without_statement_are_missing_context(tmp_path: Path) -> None:
    assert [kind for kind, _ in found(tmp_path)] == ["missing"]
    assert [kind for kind, _ in found(write(tmp_path, data=SOUND), agents=["auditor"])] == ["missing"]
    with pytest.raises(InputError, match="no such folder"):
        check_context(tmp_path / "none", TODAY)


def test_bulletin_has_only_statements_in_scope(tmp_path: Path) -> None:
    secret = (
        SOUND.replace("customer data", "audit plan").replace("[assistant, clerk]", "[auditor]").replace("lent", "x")
    )
    write(tmp_path, data=SOUND, audit=secret)
    said = bulletin(tmp_path, "assistant", TODAY)
    assert "lent to us" in said
    assert "kept for days: 30" in said
    assert "audit plan" not in said
    version = said.split("Context version `")[1][:16]
    write(tmp_path, data=SOUND.replace("30", "31"))
    assert version not in bulletin(tmp_path, "assistant", TODAY)


def test_bulletin_refuses_a_folder_with_issues(tmp_path: Path) -> None:
    write(tmp_path, data=SOUND, other=SOUND.replace("30", "90"))
    with pytest.raises(InputError, match="contradictory context"):
        bulletin(tmp_path, "assistant", TODAY)
