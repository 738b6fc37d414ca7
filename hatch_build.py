"""Pack large text files when a wheel is built; `core/packed.py` reads them.

The archives have no time stamp, so that the same checkout gives the same wheel.
"""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Files below `src` that a wheel holds packed; `pyproject.toml` excludes their plain form from it.
PACKED = ("holdfast/data/lessons/*/*.jsonl", "holdfast/evals/calibration/*.jsonl")


class PackTexts(BuildHookInterface[Any]):
    """Adds the packed form of each file to the wheel; an editable installation reads the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the archives to a temporary folder and name their places in the wheel."""
        if version == "editable":
            return
        self._archives = TemporaryDirectory()
        source, folder = Path(self.root, "src"), Path(self._archives.name)
        for number, path in enumerate(sorted(path for pattern in PACKED for path in source.glob(pattern))):
            archive = folder / f"{number}.gz"
            archive.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
            build_data["force_include"][str(archive)] = f"{path.relative_to(source).as_posix()}.gz"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the archives, which are in the wheel now."""
        if version != "editable":
            self._archives.cleanup()
