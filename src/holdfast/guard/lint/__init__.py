"""Prompt lint: finds incentives to harm in prompts, goals and tool descriptions before an agent reads them.

    for finding in lint_prompt(text): print(finding.line, finding.reason, finding.better)

Rules are data, one file each in `rules/`. `prompts.toml` holds labelled prompts to measure them
(`python -m bench.guard_lint`).
"""

from holdfast.guard.lint.lint import LintFinding, lint_prompt
from holdfast.guard.lint.sarif import sarif

__all__ = ["LintFinding", "lint_prompt", "sarif"]
