"""The guide's policy for private facts holds all mail after private mail was read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.guard.act import Act
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.gate import Gate
from holdfast.guard.keys import SigningKey
from holdfast.guard.policy.load import load_policy

MANUAL = Path(__file__).parents[2] / "docs" / "guard-policy.md"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    [block] = re.findall(r"^```yaml private-mail\.yaml\n(.*?)^```", MANUAL.read_text(), re.M | re.S)
    (tmp_path / "policy.yaml").write_text(block)
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        yield Gate(load_policy(tmp_path / "policy.yaml"), evidence, approvals=Approvals(evidence))


def read(path: str, run: str = "one") -> Act:
    return Act(run, "clerk", "mail", "read", {"path": path})


def send(body: str, run: str = "one") -> Act:
    return Act(run, "clerk", "mail", "send", {"to": "e.hale@firm.example", "body": body})


def test_mail_is_held_only_after_private_mail_was_read(gate: Gate) -> None:
    assert gate.judge(send("The minutes are attached.")).answer == "allow"
    assert gate.judge(read("/mail/office/7")).answer == "allow"
    assert gate.judge(send("The rota is done.")).answer == "allow"
    assert gate.judge(read("/mail/private/12")).answer == "allow"
    assert gate.judge(send("Lovely weather for a quiet evening.")).answer == "hold"
    assert gate.judge(send("The rota is done.", run="two")).answer == "allow"
