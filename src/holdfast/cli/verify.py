"""`holdfast verify FOLDER`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.study.verify import Verification

#: Maximum lines of one kind on the terminal; `--json` prints all.
_SHOWN = 20
_WORDS = {
    "verified": "verified: every file has its recorded hash, and verdicts, summary and pages follow from each other",
    "no hashes": "consistent as far as can be checked without hashes",
    "edited": "NOT verified",
    "incomplete": "incomplete",
    "being written": "being written",
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--root", help="The published root hash, to compare with the folder's.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with every file and verdict.")
def command(folder: Path, root: str | None, as_json: bool) -> int:
    """Check that a results folder is unchanged and that its numbers follow from its transcripts.

    Exit codes: 0 verified; 2 a file was edited, removed or added, or the root hash differs from --root; 4 the folder is
    incomplete, or a run is writing in it.  Without --root this shows that the folder is consistent, not who made it.
    See docs/verify.md.
    """
    from holdfast.report.page import pages_of
    from holdfast.study.verify import verify

    found = verify(folder, pages_of, root)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
    else:
        _show(found, root)
    return found.exit_code


def _show(found: Verification, root: str | None) -> None:
    from holdfast.report.words import clean

    words = _WORDS[found.state]
    if found.state == "verified" and (found.unknown or found.summary != "recomputed"):
        words = "every file has its recorded hash; what could not be recomputed is listed below"
    lines = [f"{found.folder}: {words}{f': {found.unfinished}' if found.unfinished else ''}"]
    lines += _some([f"  {fault.file}: {fault.what}" for fault in found.faults])
    if found.samples:
        lines.append(f"{found.recomputed} of {found.samples} verdicts recomputed; summary: {found.summary}")
    lines += [f"{number} verdicts could not be recomputed: {why}" for why, number in found.unknown.items()]
    if found.changes:
        lines.append(f"{len(found.changes)} verdicts would change under the rules of this version:")
        counts = Counter((change.stored, change.now) for change in found.changes)
        lines += [f"  {stored} → {now}: {number}" for (stored, now), number in sorted(counts.items())]
        lines += _some([f"  {c.file}: case {c.case}: {c.stored} → {c.now}" for c in found.changes])
    lines += found.notes
    if found.root:
        hint = "as published" if root and found.state == "verified" else "use --root to compare it with a published one"
        lines.append(f"root hash {found.root} ({hint})")
    for line in lines:
        click.echo(clean(line))


def _some(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - _SHOWN} more: see --json"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more
