"""Writes the pages of a results folder, updates its hashes, and prints their paths and the root hash."""

from __future__ import annotations

from pathlib import Path

import click


def draw(folder: Path, *, every: bool = False) -> None:
    """Write both pages, hash them with the rest of the folder, and print the path and the root hash.

    Args:
        folder: the results folder.
        every: print the paths of both pages, as `holdfast report` does, not only the first.
    """
    from holdfast.core.hashes import amending
    from holdfast.report.page import write_report
    from holdfast.study.stored import rules

    with amending(folder, {"pages": rules()["pages"]}) as seal:
        pages = write_report(folder)
    for page in pages if every else pages[:1]:
        click.echo(page if every else page.resolve())
    if seal.root:
        click.echo(f"root hash {seal.root}")
