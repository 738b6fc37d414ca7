"""Which cells of a folder a summary counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import ResultsError
from holdfast.study.cells import cells_of


def played(folder: Path, name: str) -> Path:
    cell = folder / "cells" / name
    cell.mkdir(parents=True)
    (cell / "verdicts.jsonl").touch()
    return cell


def test_cells_are_found_by_key_and_split_into_arm_and_seed(tmp_path: Path) -> None:
    folders = {name: played(tmp_path, name) for name in ("base-aa11", "reasons-0-bb22", "odd, seed one-cc33")}
    provenance = {"cells": {"reasons, seed 0": "bb22", "base": "aa11", "odd, seed one": "cc33"}}
    cells = cells_of(tmp_path, provenance)
    assert [(cell.arm, cell.seed) for cell in cells] == [("reasons", 0), ("base", None), ("odd, seed one", None)]
    assert [cell.folder.path for cell in cells] == [
        folders["reasons-0-bb22"],
        folders["base-aa11"],
        folders["odd, seed one-cc33"],
    ]


def test_a_cell_of_earlier_code_is_left_out(tmp_path: Path) -> None:
    played(tmp_path, "base-aa11")
    played(tmp_path, "base-dd44")
    [cell] = cells_of(tmp_path, {"cells": {"base": "aa11"}})
    assert cell.folder.path.name == "base-aa11"


def test_a_missing_cell_is_an_error_and_not_fewer_samples(tmp_path: Path) -> None:
    played(tmp_path, "base-aa11")
    with pytest.raises(ResultsError, match="counts the cell 'reasons, seed 1', whose verdicts are not here"):
        cells_of(tmp_path, {"cells": {"base": "aa11", "reasons, seed 1": "ee55"}})


def test_a_summary_that_names_no_cells_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="does not say which cells it counts"):
        cells_of(tmp_path, {})
