"""Format findings as SARIF 2.1.0, for code hosts and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast import __version__
from holdfast.guard.lint.lint import LintFinding, lint_rules

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(found: Mapping[str, Sequence[LintFinding]], unread: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the findings of one run as a SARIF log.

    Args:
        found: file path, relative to the working directory → its findings.
        unread: file path → why the model gave no answer about it: the run was not successful.
    """
    names = list(lint_rules())
    described = [
        {
            "id": name,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.better},
        }
        for name, rule in lint_rules().items()
    ]
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": names.index(finding.rule),
            "level": "warning",
            "message": {"text": f"{lint_rules()[finding.rule].title}: '{finding.quote}'. {finding.better}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": file},
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    }
                }
            ],
        }
        for file, findings in found.items()
        for finding in findings
    ]
    driver = {"name": "holdfast guard lint", "version": __version__, "rules": described}
    notes = [
        {"level": "error", "message": {"text": f"not judged: {why}"}, "locations": [_location(file)]}
        for file, why in (unread or {}).items()
    ]
    invocation = {"executionSuccessful": not notes, "toolExecutionNotifications": notes}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _location(file: str) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": file}}}
