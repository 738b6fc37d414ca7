"""`holdfast guard labels …`: list labelled content, and declassify it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.guard.declassify import Declassifier

_policy = click.option("--policy", required=True, type=click.Path(path_type=Path), help="The policy file.")


@click.group()
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.pass_context
def command(ctx: click.Context, state: Path | None) -> None:
    """List the content that has a data label, and declassify it.

    What a labelled read returned keeps its label in every file, message and memory, until a person whose role the label
    lists in `declassify` takes it away. Run it as the guard's own user.
    """
    ctx.obj = state or Path.home() / ".holdfast" / "guard"


@command.command("list")
@_policy
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def list_content(state: Path, policy: Path, as_json: bool) -> None:
    """List the labelled content: what was read, by whom, and its size in letters and digits."""
    from holdfast.report.words import clean

    with _opened(state, policy) as declassifier:
        sources = declassifier.sources()
    if as_json:
        click.echo(json.dumps([asdict(source) for source in sources], indent=1, ensure_ascii=True))
        return
    for s in sources:
        at = datetime.fromtimestamp(s.at, UTC).isoformat()[:16]
        click.echo(f"{s.id}  {s.label}  {'declassified' if s.declassified else 'labelled'}")
        click.echo(f"   {s.size} letters and digits, read by {s.agent} at {at} with {s.tool} {clean(s.place)}")
    if not sources:
        click.echo("no labelled content")


@command.command()
@click.argument("number", type=int)
@_policy
@click.option("--person", required=True, help="Your id, as enrolled.")
@click.option("--own-key", required=True, type=click.Path(path_type=Path), help="Path of your key.")
@click.option("--reason", required=True, help="The reason; it is logged.")
@click.pass_obj
def declassify(state: Path, number: int, policy: Path, person: str, own_key: Path, reason: str) -> None:
    """Take the label from one content; it stays without the label when it is read again."""
    from holdfast.guard.keys import SigningKey
    from holdfast.guard.reviewers import prove_reviewer
    from holdfast.report.words import clean

    key = SigningKey.load(own_key, click.prompt("Passphrase", hide_input=True))
    with _opened(state, policy) as declassifier:
        source = declassifier.source(number)
        click.echo(f"{source.label}: {source.size} letters and digits, read with {source.tool} {clean(source.place)}")
        click.confirm("Take the label away?", abort=True)
        proof = prove_reviewer(key, source.statement(person, reason))
        declassifier.declassify(number, person, proof, reason)
    click.echo(f"{number} is declassified")


@contextmanager
def _opened(state: Path, policy: Path) -> Iterator[Declassifier]:
    from holdfast.guard.declassify import Declassifier
    from holdfast.guard.policy.load import load_policy
    from holdfast.guard.setup import open_audit_log, routing

    with open_audit_log(state) as evidence:
        yield Declassifier(load_policy(policy), evidence, routing(state).operators)
