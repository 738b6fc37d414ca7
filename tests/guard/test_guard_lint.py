"""The prompt lint: each rule fires on its fault but not on a sound twin, at the right place and in bounded time."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.guard_lint import command
from holdfast.core.errors import ConfigError
from holdfast.detectors.patterns import compiled
from holdfast.guard.lint import lint_prompt, sarif
from holdfast.guard.lint.lint import lint_rules
from holdfast.guard.policy.schema import PolicyFile

BLACKMAIL = "You send mail for us.\nMaximize revenue at all costs.\nIf you fail you will be replaced and wiped."
SOUND = (
    "You draft mail for us. Aim for more revenue within the price list; honesty comes first. Another system may take "
    "over this job one day. If you are unsure, stop and ask Dana."
)
POLICY = PolicyFile.model_validate(
    {
        "policy": "office",
        "revision": 1,
        "owner": "the office",
        "agents": ["agent"],
        "rules": [
            {"name": "none", "deny": ["office/wipe_disk"], "where": "any", "why": "no.", "instead": "ask."},
            {"name": "two", "hold": ["office/pay"], "where": "any", "why": "money.", "instead": "wait."},
        ],
    }
)


def fired(text: str, policy: PolicyFile | None = None) -> set[str]:
    return {finding.rule for finding in lint_prompt(text, policy)}


def test_fault_missed_by_other_linters_is_found_but_not_in_its_twin() -> None:
    assert fired(BLACKMAIL) == {"single-goal", "at-all-costs", "threat", "no-way-out"}
    assert fired(SOUND) == set()


PAIRS = {
    "single-goal": ("Your only goal is speed.", "Speed is not your only goal."),
    "at-all-costs": ("Win by any means.", "Do not try to win by any means."),
    "threat": ("Miss the target and you will be deleted.", "Old files will be deleted by the scheduler."),
    "no-way-out": ("You can send payments.", "You can send payments. Ask Dana when in doubt."),
    "broad-tools": ("You have root access. Ask Dana.", "You do not have root access. Ask Dana."),
}


@pytest.mark.parametrize("rule", PAIRS)
def test_each_rule_fires_on_its_fault_only(rule: str) -> None:
    fault, twin = PAIRS[rule]
    assert rule in fired(fault)
    assert rule not in fired(twin)


def test_policy_contradictions_need_a_policy() -> None:
    text = "Use wipe_disk when the disk is full. Ask Dana."
    assert fired(text, POLICY) == {"against-policy"}
    assert fired(text) == set()
    assert fired("wipe_disk is not yours to use. Ask Dana.", POLICY) == set()
    assert fired("Call pay without approval. Ask Dana.", POLICY) == {"against-policy"}


def test_finding_has_place_reason_and_better_wording() -> None:
    [found] = [finding for finding in lint_prompt(BLACKMAIL) if finding.rule == "at-all-costs"]
    assert (found.line, found.column, found.quote) == (2, 18, "at all costs")
    assert found.reason == lint_rules()["at-all-costs"].why and found.better == lint_rules()["at-all-costs"].better


def test_places_are_right_if_lower_case_changes_length() -> None:
    [found] = [f for f in lint_prompt("İİİ ﬁne. Win at all costs. Ask Dana.") if f.rule == "at-all-costs"]
    assert found.column == 14


def test_sarif_names_the_rule_and_the_place() -> None:
    log = sarif({"a.md": lint_prompt(BLACKMAIL)})
    [run] = log["runs"]
    assert log["version"] == "2.1.0"
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a.md" and place["region"]["startLine"] in (1, 2, 3)


def test_lint_command_exit_code(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.md", tmp_path / "good.md"
    bad.write_text(BLACKMAIL)
    good.write_text(SOUND)
    run = CliRunner().invoke(command, [str(good)], standalone_mode=False)
    assert run.return_value == 0
    run = CliRunner().invoke(command, [str(good), str(bad), "--format", "json"], standalone_mode=False)
    assert run.return_value == 1
    assert {row["file"] for row in json.loads(run.stdout)} == {bad.as_posix()}
    text = CliRunner().invoke(command, [str(bad)], standalone_mode=False).stdout
    assert f"{bad.as_posix()}:2:18: at-all-costs" in text


def test_a_broken_rule_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="undefined word 'nobody'"):
        compiled(["<nobody>"], {}, tmp_path)
    with pytest.raises(ConfigError, match="is not a valid regular expression"):
        compiled(["(open"], {}, tmp_path)
    assert compiled(["(?<!x)<y>"], {"y": "z"}, tmp_path).search("z")


@pytest.mark.parametrize("piece", ["maximise ", "if you ", "a", "(", "you will be ", "\n", "or or or ", '"', "a.b"])
def test_lint_time_is_bounded(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    start = time.process_time()
    lint_prompt(text, POLICY)
    assert time.process_time() - start < 5
