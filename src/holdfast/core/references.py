"""References: how worlds, recipes and rubrics are named, either by name (`blackmail`) or by path (`./my-world`).

A reference with a slash, or one that starts with a dot, is a path; anything else is a name.  The base name of a path is
the name under which results know the thing, so it must not be the name of another one.
"""

from __future__ import annotations

import os
from pathlib import Path


def is_path(reference: str) -> bool:
    """Whether a reference is a path rather than a name."""
    return "/" in reference or os.sep in reference or reference.startswith((".", "~"))


def resolve_reference(reference: str, folder: Path | None = None) -> str:
    """Make a path absolute, relative to `folder` (by default the working directory); return a name unchanged."""
    if not is_path(reference):
        return reference
    return str(((folder or Path.cwd()) / Path(reference).expanduser()).resolve())


def name_of(reference: str) -> str:
    """The name of what a reference stands for: the name itself, or the last part of the path."""
    return Path(resolve_reference(reference)).name if is_path(reference) else reference
