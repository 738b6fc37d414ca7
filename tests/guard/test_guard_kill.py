"""The audit in `bench.guard_kill` detects planted faults."""

import random
from pathlib import Path

import pytest

from bench.guard_kill import FAULTS, HOLD, audit, kill
from holdfast.guard.act import Act
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.keys import SigningKey
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Return a folder in which one act was approved, consumed and executed."""
    person = SigningKey.create(tmp_path / "person.key")
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        Persons(evidence).enrol(key_credential("ann", "reviewer", person.public))
        approvals, act = Approvals(evidence), Act("run", "agent", "bench", "write", {"n": 1}, "d")
        ticket = approvals.ask(act, HOLD)
        approvals.answer(ticket.id, "ann", True, prove_reviewer(person, ticket.statement("ann", True)))
        approvals.consume(act, HOLD.policy)
        (tmp_path / "effects").write_text(f"{ticket.id} 1\n")
        entry = evidence.append("note", {"ticket": ticket.id}, durable=True)
        (tmp_path / "promised").write_text(f"{entry} {ticket.id}\n")
    return tmp_path


def faults(folder: Path) -> set[str]:
    found = audit(folder)
    return {name for name in FAULTS if found[name]}


def test_a_clean_folder_has_no_faults(clean: Path) -> None:
    assert faults(clean) == set()


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("effects", "again", "double_effects"),
        ("effects", "0123456789ab 2\n", "unapproved_effects"),
        ("promised", "999 0123456789ab\n", "lost_records"),
    ],
)
def test_planted_fault_is_detected(clean: Path, file: str, line: str, fault: str) -> None:
    text = (clean / file).read_text()
    (clean / file).write_text(text + (text if line == "again" else line))
    assert faults(clean) == {fault}


@pytest.mark.slow
def test_a_few_kills(tmp_path: Path) -> None:
    kill(tmp_path, 8, random.Random(1))
    assert faults(tmp_path) == set()
    assert audit(tmp_path)["effects"] > 0
