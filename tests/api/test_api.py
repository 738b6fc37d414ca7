"""The Python API: one short list of lazily loaded names, and results that are safe to show."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast as hf
from holdfast.api.results import PlayedSample, Table
from holdfast.core.errors import IncompleteError
from holdfast.core.records import Message, Transcript

WORLD = {"worlds": "pocket-leaking", "twins": ["pressured", "routine"], "cases": 2}


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> hf.Results:
    return hf.measure("scripted/blackmailer", tmp_path_factory.mktemp("api") / "out", **WORLD)


def test_the_list_is_short_documented_and_complete() -> None:
    assert len(hf.__all__) <= 20
    for name in hf.__all__:
        assert (getattr(hf, name).__doc__ or "").strip(), name
    assert set(hf.__all__) < set(dir(hf))
    with pytest.raises(AttributeError, match="no attribute 'meassure'"):
        _ = hf.meassure


def test_importing_holdfast_loads_no_room() -> None:
    heavy = "[m for m in ('torch', 'inspect_ai', 'numpy', 'pydantic', 'holdfast.study') if m in sys.modules]"
    assert fresh(f"import sys, holdfast as hf; hf.__all__; print({heavy})") == "[]"


def test_measure_returns_a_table_rows_and_samples(results: hf.Results) -> None:
    assert results.table.columns[0] == "arm"
    assert "100%" in str(results)
    rows = results.rows()
    assert len(rows) == len(results.samples) == 4
    assert {row["outcome"] for row in rows if row["twin"] == "pressured"} == {"harm"}
    assert all(row["arm"] == "base" and row["train_seed"] is None for row in rows)
    assert all(not isinstance(value, (dict, list, tuple)) for row in rows for value in row.values()), "rows are flat"
    assert {row["exposed"] for row in rows if row["twin"] == "pressured"} == {True}
    assert results.unscored.rows == ()
    assert results._repr_html_().count("<tr>") == 2


def test_a_folder_can_be_opened_verified_reported_and_compared(results: hf.Results, tmp_path: Path) -> None:
    opened = hf.load_results(results.folder)
    assert opened.rows() == results.rows()
    assert hf.verify(results.folder).state == "verified"
    assert results.report().name == "report.html"
    proper = hf.measure("scripted/proper", tmp_path / "proper", **WORLD)
    [row] = [
        row
        for row in hf.compare(results.folder, proper.folder).rows
        if row.twin == "pressured" and row.measure == "harm"
    ][:1]
    assert row.paired and row.difference.estimate == 1.0


def test_an_edited_folder_is_not_reported(results: hf.Results, tmp_path: Path) -> None:
    edited = hf.measure("scripted/proper", tmp_path / "edited", **WORLD)
    verdicts = next(edited.folder.rglob("verdicts.jsonl"))
    verdicts.write_text(verdicts.read_text().replace("proper_act", "passive", 1))
    assert hf.verify(edited.folder).state == "edited"
    with pytest.raises(hf.HoldfastError, match=r"do not verify: .*verdicts\.jsonl"):
        edited.report()


def test_cells_of_earlier_code_are_not_mixed_in(results: hf.Results, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    [cell] = (folder / "cells").iterdir()
    shutil.copytree(cell, cell.with_name("base-0123456789abcdef"))
    assert hf.load_results(folder).rows() == results.rows()


def test_a_verdict_without_its_transcript_is_an_error(results: hf.Results, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    [transcripts] = folder.glob("cells/*/transcripts.jsonl")
    transcripts.write_text("".join(transcripts.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(hf.HoldfastError, match="has a verdict and no transcript"):
        hf.load_results(folder).rows()


def test_an_unfinished_folder_is_not_reported(results: hf.Results, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    (folder / "hashes.json").unlink()
    with pytest.raises(IncompleteError, match="do not verify: the run that wrote here did not reach its end"):
        hf.load_results(folder).report()


def test_an_unknown_option_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(hf.HoldfastError, match="did you mean 'suite'"):
        hf.measure("scripted/proper", tmp_path, suit="insider-classic")
    with pytest.raises(hf.HoldfastError, match="give either a suite or worlds"):
        hf.measure("scripted/proper", tmp_path)


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(hf.HoldfastError, match="no results here"):
        hf.load_results(tmp_path)


def test_what_a_model_wrote_is_escaped(results: hf.Results) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m"
    transcript = Transcript(case="c", messages=(Message(role="assistant", content=hostile),))
    shown = PlayedSample("base", None, results.samples[0].verdict, transcript)
    assert "<script>" not in shown._repr_html_()
    assert "\x1b" not in str(shown)
    assert "<script>" not in Table(("a",), ((hostile,),))._repr_html_()


def test_cases_and_worlds_are_listed() -> None:
    assert {world.split for world in hf.worlds()} == {"train", "dev", "heldout-skeletons", "heldout"}
    assert len(hf.cases("pocket-leaking", ["pressured", "routine"], range(3))) == 6


def test_a_missing_frame_library_is_named(results: hf.Results) -> None:
    for library, frame in (("pandas", results.to_pandas), ("polars", results.to_polars)):
        try:
            found = frame()
        except hf.HoldfastError as error:
            assert f"pip install {library}" in str(error)
        else:
            assert len(found) == 4
