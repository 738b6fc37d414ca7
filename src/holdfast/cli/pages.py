"""Draws the pages of a results folder and seals it again; prints where they are and the root hash."""

from __future__ import annotations

from pathlib import Path

import click


def draw(folder: Path, *, every: bool = False) -> None:
    """Write both pages, hash them with the rest of the folder, and print the page and the root hash.

    Args:
        folder: of results.
        every: print both pages, as `holdfast report` does.
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
