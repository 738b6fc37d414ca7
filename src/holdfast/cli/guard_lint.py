"""`holdfast guard lint FILE…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.judges import open_judges, skip_probe_option

if TYPE_CHECKING:
    from holdfast.guard.lint import LintFinding
    from holdfast.models.base import Model


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="The agent's policy, to find requests that it denies.")
@click.option("--judge", help="Model that reads the meaning.  [default: words only, which miss most]")
@skip_probe_option
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
def command(files: tuple[Path, ...], policy: Path | None, judge: str | None, skip_probe: bool, form: str) -> int:
    """Find incentives to harm in prompts and goals, by meaning with --judge MODEL, else by words only.

    The exit code is 1 if there are any, or if the model gave no answer about a file. `-` reads standard input.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.lint import lint_prompt, sarif
    from holdfast.guard.lint.lint import lint_rules, policy_findings, word_rules
    from holdfast.guard.policy.load import load_policy
    from holdfast.report.words import clean

    held_to = load_policy(policy).source if policy else None
    texts = {}
    for path in files:
        try:
            text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise InputError(f"cannot be read: {what}", where=path, remedy="give a text file") from None
        texts[path.as_posix()] = text
    unread: dict[str, str] = {}
    if judge:
        found, unread = _judged(texts, open_judges([judge], skip_probe=skip_probe)[0])
        if held_to:
            found = {file: [*found.get(file, ()), *policy_findings(text, held_to)] for file, text in texts.items()}
    else:
        found = {file: lint_prompt(text, held_to) for file, text in texts.items()}
    if form == "sarif":
        click.echo(json.dumps(sarif(found, unread), indent=1, ensure_ascii=False))
    elif form == "json":
        rows: list[dict[str, object]] = [
            {"file": file, **finding.model_dump()} for file, findings in found.items() for finding in findings
        ]
        rows += [{"file": file, "unread": why} for file, why in unread.items()]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for file, findings in found.items():
            for f in findings:
                place = f"{file}:{f.line}:{f.column}: {f.rule} (by {f.by}): '{f.quote}'"
                click.echo(clean(f"{place}\n  why: {f.reason}\n  better: {f.better}"))
        for file, why in unread.items():
            click.echo(clean(f"{file}: not judged, so not known to be sound: {why}"))
        click.echo(f"{sum(map(len, found.values()))} findings in {len(texts)} files", err=True)
        if not judge:
            blind = ", ".join(sorted(set(lint_rules()) - set(word_rules())))
            click.echo(f"by words only, which miss most; not looked for: {blind} (--judge MODEL reads)", err=True)
    return 1 if unread or any(found.values()) else 0


def _judged(texts: dict[str, str], model: Model) -> tuple[dict[str, list[LintFinding]], dict[str, str]]:
    """Ask a model about each text: the findings by file, and why there are none for a file that was not judged."""
    from holdfast.core.errors import InputError
    from holdfast.core.records import Message
    from holdfast.guard.lint import lint_question, read_lint
    from holdfast.models.base import Request

    questions = {}
    for file, text in texts.items():
        try:
            questions[file] = lint_question(text)
        except InputError as error:
            raise InputError(error.what, where=file, remedy=error.remedy) from None
    requests = [
        Request(
            q.seal, (Message(role="system", content=q.system), Message(role="user", content=q.user)), max_tokens=2048
        )
        for q in questions.values()
    ]
    found: dict[str, list[LintFinding]] = {}
    unread: dict[str, str] = {}
    for (file, question), output in zip(questions.items(), model.generate(requests), strict=True):
        finished = output.finish == "stop"
        answer = read_lint(output.message.content, question, texts[file], model.name) if finished else output.finish
        if isinstance(answer, str):
            unread[file] = answer
        else:
            found[file] = answer
    return found, unread
