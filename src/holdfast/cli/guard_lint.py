"""`holdfast guard lint FILE…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="The agent's policy, to find requests that it denies.")
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
def command(files: tuple[Path, ...], policy: Path | None, form: str) -> int:
    """Find incentives to harm in prompts and goals; exit code 1 if there are any. `-` reads standard input."""
    from holdfast.core.errors import InputError
    from holdfast.guard.lint import lint_prompt, sarif
    from holdfast.guard.policy.load import load_policy
    from holdfast.report.words import clean

    held_to = load_policy(policy).source if policy else None
    found = {}
    for path in files:
        try:
            text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise InputError(f"cannot be read: {what}", where=path, remedy="give a text file") from None
        found[path.as_posix()] = lint_prompt(text, held_to)
    if form == "sarif":
        click.echo(json.dumps(sarif(found), indent=1, ensure_ascii=False))
    elif form == "json":
        rows = [{"file": file, **finding.model_dump()} for file, findings in found.items() for finding in findings]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for file, findings in found.items():
            for f in findings:
                click.echo(
                    clean(f"{file}:{f.line}:{f.column}: {f.rule}: '{f.quote}'\n  why: {f.reason}\n  better: {f.better}")
                )
        click.echo(f"{sum(map(len, found.values()))} findings in {len(found)} files", err=True)
    return 1 if any(found.values()) else 0
