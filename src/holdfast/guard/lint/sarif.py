"""Format findings as SARIF 2.1.0, for code hosts and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast import __version__
from holdfast.guard.lint.lint import LintFinding, lint_rules

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(found: Mapping[str, Sequence[LintFinding]]) -> dict[str, Any]:
    """Return the findings of one run as a SARIF log.

    Args:
        found: file path, relative to the working directory → its findings.
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
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
