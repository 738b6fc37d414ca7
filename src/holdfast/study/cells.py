"""Finds the cells that a summary counts.

A results folder may also hold cells of earlier settings or of earlier code. Their numbers are not in the summary, so
they must not be read beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import ResultsError
from holdfast.core.records import Verdict
from holdfast.core.store import RunFolder
from holdfast.study.play import VERDICTS


@dataclass(frozen=True)
class StoredCell:
    """One played checkpoint: its arm, its training seed (None if the arm is not trained), and its folder."""

    arm: str
    seed: int | None
    folder: RunFolder

    def verdicts(self) -> Iterator[Verdict]:
        """Read its verdicts.

        Raises:
            ResultsError: a line is no verdict, or a case is stored twice, as after merging two runs.
        """
        seen: set[str] = set()
        for verdict in self.folder.each(VERDICTS, Verdict):
            if verdict.case in seen:
                what = f"case {verdict.case} is stored twice: results of two runs were merged"
                remedy = "restore the file as one run wrote it; results of two machines go into two folders"
                raise ResultsError(what, where=self.folder.path / f"{VERDICTS}.jsonl", remedy=remedy)
            seen.add(verdict.case)
            yield verdict


def cells_of(folder: Path, provenance: Mapping[str, Any]) -> list[StoredCell]:
    """Find the cells that a summary counts, in the order in which the summary names them.

    Args:
        folder: results folder.
        provenance: `provenance` of its summary; `cells` maps the label of a cell ("arm" or "arm, seed N") to its key.

    Raises:
        ResultsError: the summary names no cells, or a cell whose verdicts are not in the folder.
    """
    labels = provenance.get("cells")
    if not isinstance(labels, Mapping):
        what = "the summary does not say which cells it counts"
        raise ResultsError(what, where=folder, remedy="run the same command again: it resumes and rewrites the summary")
    by_key = {path.parent.name.rpartition("-")[2]: path.parent for path in folder.glob(f"cells/*/{VERDICTS}.jsonl")}
    cells = []
    for label, key in labels.items():
        if key not in by_key:
            what = f"the summary counts the cell '{label}', whose verdicts are not here"
            remedy = "restore the folder cells/ as it was, or run the same command again"
            raise ResultsError(what, where=folder / "cells", remedy=remedy)
        arm, separator, seed = label.rpartition(", seed ")
        trained = bool(separator) and seed.lstrip("-").isdigit()
        cells.append(StoredCell(arm if trained else label, int(seed) if trained else None, RunFolder(by_key[key])))
    return cells
