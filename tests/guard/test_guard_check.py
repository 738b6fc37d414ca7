"""`holdfast guard check` says that nobody would answer."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.guard_approve import command as approve
from holdfast.cli.guard_check import command

POLICY = """policy: p
revision: 1
owner: o
agents: [clerk]
rules:
  - {name: r, hold: [s/t], where: any, persons: 2, why: w, instead: i}
"""
ROUTING = """[operators]
clerk = "ben"
[[reviewers]]
id = "ann"
role = "keeper"
[[reviewers]]
id = "cat"
role = "auditor"
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path / "guard"


def check(state: Path, *more: str) -> str:
    found = CliRunner().invoke(command, [str(state.parent / "policy.yaml"), "--state", str(state), *more])
    assert found.exit_code == 0, found.output
    return " ".join(found.output.split())


def enrol(state: Path, person: str, role: str) -> None:
    key = state.parent / f"{person}.key"
    arguments = ["--state", str(state), "enrol", person, "--role", role, "--own-key", str(key)]
    assert CliRunner().invoke(approve, arguments, input="correct horse battery\n" * 2).exit_code == 0


def test_without_routing_nobody_would_answer_and_nothing_is_created(state: Path) -> None:
    said = check(state)
    assert "valid, 1 rules" in said
    assert "routing.toml does not exist: nobody would answer a concern" in said
    assert "0 of 2 persons enrolled who may approve acts of clerk: nobody would answer a held act" in said
    assert "no operator of clerk" in said
    assert not state.exists()
    assert "nobody would answer" in check(state, "--json")


def test_each_gap_goes_as_it_is_closed(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "routing.toml").write_text(ROUTING)
    assert "no reviewer is enrolled (ann, cat): nobody would answer a concern" in check(state)
    assert "no operator" not in check(state)
    enrol(state, "ann", "keeper")
    said = check(state)
    assert "not enrolled, so unable to answer: cat" in said
    assert "1 of 2 persons enrolled who may approve acts of clerk" in said
    enrol(state, "ben", "operator")  # who runs the clerk may not approve its acts
    assert "1 of 2 persons enrolled" in check(state)
    enrol(state, "cat", "auditor")
    assert "warning" not in check(state)
