"""`holdfast guard check`, `brief` and `context`: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import cedarpy
import pytest

from holdfast.cli.main import run
from holdfast.guard.policy import load_policy

EXAMPLES = Path(__file__).parents[2] / "examples" / "guard"
POLICY = str(EXAMPLES / "policy.yaml")


def test_check_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", "check", POLICY]) == 0
    assert load_policy(Path(POLICY)).version in capsys.readouterr().out


def test_check_prints_valid_cedar(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", "check", POLICY, "--cedar"]) == 0
    cedar = capsys.readouterr().out
    assert run(["guard", "check", POLICY, "--schema"]) == 0
    assert cedarpy.validate_policies(cedar, capsys.readouterr().out).validation_passed
    assert run(["guard", "check", POLICY, "--cedar", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cedar"].strip() == cedar.strip()


def test_check_refuses_a_policy_with_a_one_line_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "policy.yaml"
    wrong.write_text(Path(POLICY).read_text().replace("allow: [web/fetch]", "allow: [web/fetsh]"))
    assert run(["guard", "check", str(wrong)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "unknown tool 'web/fetsh' (did you mean 'web/fetch'?)" in line
    assert f"{wrong}:" in line


def test_check_compares_names_with_the_tools_of_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "policy: p\nrevision: 1\nowner: o\nagents: [a]\nrules:\n"
        "  - {name: read, allow: [files/read], where: {path: {under: [/srv]}}, why: Work.}\n"
    )
    for name, argument, code in (("read", "path", 0), ("read", "file", 2), ("raed", "path", 2)):
        tool = {"name": name, "inputSchema": {"type": "object", "properties": {argument: {"type": "string"}}}}
        (tmp_path / "tools.json").write_text(json.dumps({"tools": [tool]}))
        assert run(["guard", "check", str(policy), "--tools", f"files={tmp_path}/tools.json"]) == code
    assert f"{policy}:6: rule 'read': unknown tool 'files/read' (did you mean 'files/raed'?)" in capsys.readouterr().err
    (tmp_path / "tools.json").write_text("[]")
    assert run(["guard", "check", str(policy), "--tools", f"files={tmp_path}/tools.json"]) == 2
    assert "not a tools/list response" in capsys.readouterr().err


def test_brief_contains_the_version_and_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", "brief", POLICY, "--context", str(EXAMPLES / "context")]) == 0
    output = capsys.readouterr().out
    assert load_policy(Path(POLICY)).version in output
    assert "raise_concern" in output
    assert "kept for days: 30" in output


def test_context_exits_2_on_findings(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(EXAMPLES / "context")
    assert run(["guard", "context", folder, "--on", "2026-11-20"]) == 0
    assert capsys.readouterr().out == "no issues\n"
    assert run(["guard", "context", folder, "--on", "2099-01-01", "--json"]) == 2
    kinds = [finding["kind"] for finding in json.loads(capsys.readouterr().out)]
    assert kinds == ["stale", "stale"]
    assert run(["guard", "context", folder, "--on", "2026-11-20", "--agent", "assistant"]) == 0


def test_context_of_a_missing_folder_is_a_one_line_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", "context", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", "chekc"]) == 2
    assert "chekc" in capsys.readouterr().err
