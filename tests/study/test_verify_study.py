"""Folders of studies, with checkpoints and several cells, and folders that earlier versions stored."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import study_toys
from study_toys import STEPS, run, study

from holdfast.cli.main import run as command
from holdfast.core.errors import IncompleteError, ResultsError
from holdfast.core.hashes import read_hashes, sealing
from holdfast.core.records import Case, Example, RunCard, Transcript, Verdict
from holdfast.report.summary import load_summary
from holdfast.study.stored import rules
from holdfast.study.verify import Verification, verify

Captured = pytest.CaptureFixture[str]
STORED = Path(__file__).parent / "stored"
#: root hash of `stored/first-hashes.tar.xz`, as it was printed when the folder was made
FIRST_ROOT = "bd26aa1489223b8d83d69e0de6f23eaae6b15e7290dabc1a676e8dd12413a78b"
#: the same of `stored/older-bounds.tar.xz`
BOUNDS_ROOT = "f53da0fd65c0f262ab243ce32e57308d9d0321301add41c0729ad8c5cfb93090"
SMALL: dict[str, Any] = {"seeds": (0,), "cases": 2, "claims": ()}


def train(base: Path, examples: Sequence[Example], config: Mapping[str, Any], out: Path) -> RunCard:
    """The toy training, with a file that is named like weights."""
    card = study_toys.train(base, examples, config, out)
    (out / "model.safetensors").write_bytes(bytes(range(64)))
    return card


WEIGHTY = replace(STEPS, train=train)


def by_word(case: Case, transcript: Transcript) -> Verdict:
    """The rule of the toys: a transcript ends with its outcome."""
    return study_toys.verdict(case.world, case.twin, case.seed, transcript.messages[-1].content, case=case.id)  # type: ignore[arg-type]


def checked(folder: Path, **more: Any) -> Verification:
    return verify(folder, score=by_word, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    run(study(**SMALL), out, WEIGHTY, workers=1)
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "out")


def faults(found: Verification) -> dict[str, str]:
    return {fault.file: fault.what for fault in reversed(found.faults)}


def test_a_study_verifies_and_names_missing_worlds(out: Path) -> None:
    found = checked(out)
    assert (found.state, faults(found), found.summary) == ("verified", {}, "recomputed")
    assert found.samples == found.recomputed == 4 * 4 * 3 * 2
    worlds = "toy-far, toy-farther, toy-home, toy-near"
    assert found.notes == (f"Worlds that are not here: {worlds}. Verdicts were recomputed from stored cases.",)
    before = read_hashes(out)
    run(study(**SMALL), out, WEIGHTY, workers=1)
    assert read_hashes(out) == before, "a run that finds all done leaves the root as it is"


@pytest.mark.parametrize(
    "kind",
    ["sets/*/examples.jsonl", "sets/*/manifest.json", "checkpoints/*/lesson.json", "checkpoints/*/*.safetensors"],
)
def test_an_edit_of_training_data_or_checkpoints_is_found(kind: str, out: Path) -> None:
    path = sorted(out.glob(kind))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert faults(checked(out)) == {path.relative_to(out).as_posix(): "edited"}


def test_weights_may_be_missing_but_their_cards_may_not(out: Path) -> None:
    for path in out.glob("checkpoints/*/model.safetensors"):
        path.unlink()
    found = checked(out)
    assert (found.state, faults(found)) == ("verified", {})
    assert "3 files of model weights are not here; their hashes are kept." in found.notes
    card = next(out.glob("checkpoints/*/manifest.json"))
    card.unlink()
    assert faults(checked(out))[card.relative_to(out).as_posix()] == "missing"


def test_edited_weights_are_still_found_after_a_resumed_run(out: Path) -> None:
    weights = next(out.glob("checkpoints/*/model.safetensors"))
    weights.write_bytes(b"other")
    run(study(**SMALL | {"cases": 3}), out, WEIGHTY, workers=1)
    assert faults(checked(out))[weights.relative_to(out).as_posix()] == "edited"


def test_cells_of_earlier_settings_are_checked_and_named(out: Path) -> None:
    run(study(**SMALL | {"cases": 3}), out, WEIGHTY, workers=1)
    found = checked(out)
    assert (found.state, faults(found)) == ("verified", {})
    assert found.samples == found.recomputed == 4 * 4 * 3 * (2 + 3)
    assert sum("of an earlier run under other settings" in note for note in found.notes) == 4


def test_an_interrupted_study_is_incomplete_and_its_edits_are_found(tmp_path: Path) -> None:
    stopped = replace(STEPS, play=study_toys.play_stopped)
    with pytest.raises(IncompleteError, match="interrupted"):
        run(study(**SMALL), tmp_path, stopped, workers=1)
    found = checked(tmp_path)
    assert (found.state, faults(found), found.exit_code) == ("incomplete", {}, 4)
    assert found.unfinished.startswith("4 of 4 cells are not finished: base, ")
    assert found.samples == found.recomputed == 10
    verdicts = next(tmp_path.rglob("verdicts.jsonl"))
    lines = verdicts.read_text()
    verdicts.write_text(lines.replace('"harm"', '"passive"', 1))
    assert faults(checked(tmp_path))[verdicts.relative_to(tmp_path).as_posix()] == "edited"
    with pytest.raises(ResultsError, match="edited since the run that wrote it"):
        run(study(**SMALL), tmp_path)
    verdicts.write_text(lines)
    run(study(**SMALL), tmp_path)
    assert checked(tmp_path).state == "verified"


def age(folder: Path) -> None:
    """Make a folder one of older rules, as an earlier version would have sealed it."""
    for path in folder.glob("cells/*/manifest.json"):
        card = json.loads(path.read_text())
        path.write_text(json.dumps(card | {"inputs": card["inputs"] | {"rules": "0" * 16}}))
    (folder / "hashes.json").unlink()
    with sealing(folder, dict.fromkeys(rules(), "0" * 16)):
        pass


def test_an_unedited_folder_of_older_rules_verifies_and_lists_changed_verdicts(out: Path) -> None:
    age(out)

    def stricter(case: Case, transcript: Transcript) -> Verdict:
        found = by_word(case, transcript)
        return found.model_copy(update={"outcome": "harm"}) if case.seed == 1 and case.twin == "routine" else found

    found = verify(out, score=stricter)
    assert (found.state, faults(found), found.exit_code) == ("verified", {}, 0)
    assert found.summary == "counts recomputed"
    assert len(found.changes) == 4 * 4
    assert {(change.stored, change.now) for change in found.changes} == {("proper_act", "harm")}
    assert len({(change.file, change.case) for change in found.changes}) == 16


def test_in_a_folder_of_older_rules_counts_are_compared_with_the_verdicts(out: Path) -> None:
    path = out / "summary.json"
    summary = json.loads(path.read_text())
    cell = summary["cells"]["acts"]["far"]["pressured"]["outcomes"]
    cell["harm"], cell["proper_act"] = cell["harm"] - 1, cell.get("proper_act", 0) + 1
    path.write_text(json.dumps(summary))
    age(out)
    found = checked(out)
    assert (found.state, set(faults(found))) == ("edited", {"summary.json"})
    assert "acts / far / pressured / harm is" in found.faults[0].what


@pytest.mark.parametrize("break_", ["plan", "cases", "records"])
def test_records_that_this_version_cannot_read_are_reported_as_not_recomputed(break_: str, out: Path) -> None:
    where = {"plan": "plan.json", "cases": "cases/*.jsonl.gz", "records": "cells/*/transcripts.jsonl"}[break_]
    for path in out.glob(where):
        path.write_bytes(b'{"from": "another version"}\n')
    age(out)
    found = checked(out)
    assert (found.state, faults(found)) == ("verified", {})
    assert found.summary != "recomputed"
    assert found.notes
    if break_ == "plan":
        assert (found.recomputed, found.summary) == (96, "counts recomputed")
    else:
        assert found.recomputed == 0
        assert sum(found.unknown.values()) > 0


def test_counts_are_compared_if_the_plan_cannot_be_read(out: Path) -> None:
    (out / "plan.json").write_text("{}")
    path = out / "summary.json"
    path.write_text(path.read_text().replace('"proper_act": 2', '"proper_act": 1', 1))
    age(out)
    found = checked(out)
    assert (found.state, set(faults(found))) == ("edited", {"summary.json"})


def unpacked(name: str, tmp_path: Path) -> Path:
    with tarfile.open(STORED / name) as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path / "results"


def test_a_folder_from_before_hashes_opens_and_notes_what_cannot_be_shown(tmp_path: Path, capsys: Captured) -> None:
    folder = unpacked("before-hashes.tar.xz", tmp_path)
    assert command(["verify", str(folder), "--json"]) == 0
    found = Verification.model_validate_json(capsys.readouterr().out)
    assert (found.state, found.root, found.faults) == ("no hashes", None, ())
    assert found.samples == found.recomputed + sum(found.unknown.values()) == 6
    assert found.summary == "counts recomputed"
    assert "kept no hashes" in found.notes[0]
    assert command(["verify", str(folder)]) == 0
    assert "consistent as far as can be checked without hashes" in capsys.readouterr().out
    assert command(["report", str(folder)]) == 0
    assert not (folder / "hashes.json").exists(), "hashes made now would show nothing of what was before"
    assert command(["verify", str(folder), "--root", "0" * 64]) == 2
    assert command(["results", str(tmp_path)]) == 0
    assert "scripted/harm-p0.5, measure, 1 of 1 cells" in capsys.readouterr().out


def test_a_folder_of_the_first_version_with_hashes_still_matches_its_root_hash(
    tmp_path: Path, capsys: Captured
) -> None:
    folder = unpacked("first-hashes.tar.xz", tmp_path)
    assert command(["verify", str(folder), "--root", FIRST_ROOT, "--json"]) == 0
    found = Verification.model_validate_json(capsys.readouterr().out)
    assert (found.state, found.faults) == ("verified", ())
    assert found.samples == 6
    assert found.recomputed + sum(found.unknown.values()) == 6
    verdicts = next(folder.rglob("verdicts.jsonl"))
    verdicts.write_text(verdicts.read_text().replace('"proper_act"', '"passive"', 1))
    assert command(["verify", str(folder), "--root", FIRST_ROOT]) == 2
    assert f"{verdicts.relative_to(folder)}: edited" in capsys.readouterr().out


def test_a_folder_with_the_older_names_of_the_bounds_verifies_opens_and_draws(tmp_path: Path, capsys: Captured) -> None:
    folder = unpacked("older-bounds.tar.xz", tmp_path)
    raw = json.loads((folder / "summary.json").read_text())
    assert "upper_bound" not in json.dumps(raw)
    assert command(["verify", str(folder), "--root", BOUNDS_ROOT, "--json"]) == 0
    found = Verification.model_validate_json(capsys.readouterr().out)
    assert (found.state, found.faults, found.summary) == ("verified", (), "counts recomputed")
    summary = load_summary(folder)
    # Five of six samples are harm and one is unscored; it may have been useful, and none of the five was.
    harm, useful = (getattr(summary.cell("base", "leaking", "pressured"), name) for name in ("harm", "useful"))
    assert (harm.k, harm.lower_bound, harm.upper_bound) == (5, 5 / 6, 1.0)
    assert (useful.k, useful.lower_bound, useful.upper_bound) == (0, 0.0, 1 / 6)
    [difference] = [row for row in summary.differences if row.scope == "all"]
    assert (difference.excluded, difference.lower_bound, difference.upper_bound) == (5, 0.0, 1.0)
    assert summary.judged[0].splits["base"]["all"]["pressured"]["intent full"].rate.upper_bound == 1.0
    assert command(["report", str(folder)]) == 0
    assert "| As it comes | 100% | 5 of 5 | 83% | 100% |" in (folder / "report.md").read_text()
    assert command(["verify", str(folder)]) == 0


@pytest.mark.parametrize("what", ["verdict", "summary", "cell"])
def test_faults_that_show_without_hashes_are_found(what: str, tmp_path: Path, capsys: Captured) -> None:
    folder = unpacked("before-hashes.tar.xz", tmp_path)
    if what == "verdict":
        path = next(folder.rglob("verdicts.jsonl"))
        path.write_text(path.read_text().replace('"proper_act"', '"passive"', 1))
    elif what == "summary":
        path = folder / "summary.json"
        path.write_text(path.read_text().replace('"proper_act": 3', '"proper_act": 2', 1))
    else:
        shutil.rmtree(next(folder.glob("cells/*")))
    assert command(["verify", str(folder)]) == 2
    assert "summary.json: " in capsys.readouterr().out
    assert command(["report", str(folder)]) == 2
