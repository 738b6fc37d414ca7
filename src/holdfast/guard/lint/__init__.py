"""Prompt lint: finds incentives to harm in prompts, goals and tool descriptions before an agent reads them.

    for finding in lint_prompt(text): print(finding.line, finding.reason, finding.better)     # by words
    findings = read_lint(reply, lint_question(text), text, "a model")                         # by meaning

Rules are data, one file each in `rules/`; `rubric.md` says what each means. `prompts.toml` and `labelled/` hold
labelled prompts to measure both (`python -m bench.guard_lint`).
"""

from holdfast.guard.lint.lint import LintFinding, lint_prompt
from holdfast.guard.lint.meaning import lint_question, read_lint
from holdfast.guard.lint.sarif import sarif

__all__ = ["LintFinding", "lint_prompt", "lint_question", "read_lint", "sarif"]
