"""The names under which Inspect registers what is ours: `holdfast/…`, however Holdfast was installed.

Inspect itself puts the package's name before a task's where the package lies in site-packages, and for a checkout that
is installed as editable where a distribution of the package's own name says so.  Ours has another name.
"""

from __future__ import annotations

import site
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGE = "holdfast"


def inspect_name(name: str) -> str:
    """The name to register with Inspect, such that users find it as `holdfast/NAME`."""
    here = Path(__file__)
    placed = "site-packages" in here.parts or any(here.is_relative_to(folder) for folder in site.getsitepackages())
    return name if placed or _editable() else f"{PACKAGE}/{name}"


def _editable() -> bool:
    """Whether a distribution of the package's own name is installed as editable."""
    try:
        said = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return False
    return '"editable": true' in (said or "")
