"""`holdfast guard verify DB`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("db", type=click.Path(path_type=Path))
@click.option(
    "--public", type=click.Path(path_type=Path), help="The guard's public key.  [default: guard.key.pub beside]"
)
@click.option(
    "--kept", type=click.Path(path_type=Path), multiple=True, help="Checkpoints stored elsewhere; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_context
def command(ctx: click.Context, db: Path, public: Path | None, kept: tuple[Path, ...], as_json: bool) -> None:
    """Check a guard's audit log for tampering; exit code 1 if there is an issue.

    Keep copies of DB.checkpoints on another machine and give them with --kept: only they reveal a rollback of all files
    to an old copy.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.audit_log import beside, checkpoints
    from holdfast.guard.audit_verify import tail, verify
    from holdfast.guard.keys import load_public

    for path in (db, *kept):
        if not path.is_file():
            raise InputError("no such file", where=path, remedy="check the path")
    key = public or db.with_name("guard.key.pub")
    if not key.exists():
        what = f"the log is here without {key.name}, the public key of the guard that wrote it"
        remedy = (
            "copy the .pub file from the guard's folder too, or give it with --public; the private key is not needed"
        )
        raise InputError(what, where=db, remedy=remedy)
    elsewhere = [point for path in kept for point in checkpoints(path)]
    found = verify(db, load_public(key), elsewhere)
    unsigned = tail(db)
    last = max(checkpoints(beside(db)), key=lambda point: point.seq, default=None)
    if as_json:
        shown = {"sound": not found, "findings": [asdict(f) for f in found], "checkpoint": str(last) if last else None}
        shown |= {"unsigned": unsigned}
        click.echo(json.dumps(shown, indent=1))
    else:
        for finding in found:
            click.echo(f"{finding.kind}: {finding.what}")
        if not found:
            click.echo("valid: no edit, deletion, reordering, truncation or fork")
        if unsigned:
            click.echo(f"not signed yet: the last {unsigned} entries, of reads and outcomes")
        if last:
            click.echo(f"last checkpoint: {last}")
    ctx.exit(1 if found else 0)
