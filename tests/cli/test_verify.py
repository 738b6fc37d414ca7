"""`holdfast verify`: every edit of a results folder is found; an incomplete folder is not an edited one."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.hashes import sealing
from holdfast.study.stored import load_plan, rules
from holdfast.study.summary import build_summary

Captured = pytest.CaptureFixture[str]
GIVEN = ["--model", "scripted/harm-p0.5", "--worlds", "pocket-leaking,pocket-blackmail", "--cases", "3"]
JUDGED = ["--twins", "pressured,routine", "--judge", "scripted/judge", "--judge-all"]
ROOT = 64


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged measurement with every kind of file except weights."""
    out = tmp_path_factory.mktemp("made") / "out"
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(out)]) == 0
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may edit."""
    return shutil.copytree(made, tmp_path / "out")


def verified(folder: Path, capsys: Captured, *more: str) -> tuple[int, dict[str, str], dict[str, object]]:
    """Return the exit code, the first fault of each file, and the whole JSON output."""
    capsys.readouterr()
    code = run(["verify", str(folder), "--json", *more])
    result = json.loads(capsys.readouterr().out)
    return code, {fault["file"]: fault["what"] for fault in reversed(result["faults"])}, result


def flip(path: Path, at: float) -> None:
    """Change one byte, at a share of the file's length."""
    content = bytearray(path.read_bytes())
    place = min(int(at * len(content)), len(content) - 1)
    content[place] ^= 1
    path.write_bytes(content)


def reseal(folder: Path) -> None:
    """Hash an edited folder as if a run had written it, so that only recomputation can find the edit."""
    (folder / "hashes.json").unlink()
    with sealing(folder, rules()):
        pass


KINDS = (
    "cells/*/transcripts.jsonl",
    "cells/*/verdicts.jsonl",
    "cells/*/judgements.jsonl",
    "cells/*/timing.jsonl",
    "cells/*/manifest.json",
    "cases/*.jsonl.gz",
    "plan.json",
    "claims.json",
    "summary.json",
    "report.html",
    "report.md",
)


def test_kinds_covers_every_file_of_the_folder(made: Path) -> None:
    kinds = {path for kind in KINDS for path in made.glob(kind)}
    assert kinds | {made / "hashes.json"} == {path for path in made.rglob("*") if path.is_file()}


def test_a_measurement_verifies_and_its_root_hash_is_stable(out: Path, capsys: Captured) -> None:
    code, faults, result = verified(out, capsys)
    assert (code, faults, result["state"]) == (0, {}, "verified")
    assert (result["samples"], result["recomputed"], result["summary"]) == (12, 12, "recomputed")
    assert (result["changes"], result["unknown"], result["notes"]) == ([], {}, [])
    root = str(result["root"])
    assert len(root) == ROOT
    assert run(["report", str(out)]) == 0
    assert f"root hash {root}" in capsys.readouterr().out
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(out)]) == 0
    again = capsys.readouterr().out.splitlines()[-1]
    # The folder is a copy, so the recorded command line and the root hash change once.
    assert again.startswith("root hash ")
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == again, "a run without new work does not change the root hash"
    assert verified(out, capsys)[0] == 0


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_byte_in_any_file_is_found(kind: str, at: float, out: Path, capsys: Captured) -> None:
    [path] = out.glob(kind)
    flip(path, at)
    code, faults, result = verified(out, capsys)
    assert (code, result["state"]) == (2, "edited")
    name = path.relative_to(out).as_posix()
    assert faults.pop(name) == "edited"
    # Besides the file itself, only files that no longer follow from it may have faults.
    assert set(faults) <= {"summary.json", f"{path.parent.relative_to(out)}/verdicts.jsonl"} - {name}
    assert run(["verify", str(out)]) == 2
    assert f"{name}: edited" in capsys.readouterr().out


def test_a_changed_byte_in_hashes_json_is_found(out: Path, capsys: Captured) -> None:
    hashes = out / "hashes.json"
    text = hashes.read_text()
    listed = json.loads(text)["files"]["summary.json"]
    hashes.write_text(text.replace(listed, ("1" if listed[0] == "0" else "0") + listed[1:]))
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert faults["hashes.json"] == "edited: its root hash does not follow from its content"
    hashes.write_text(text[:-20])
    assert run(["verify", str(out)]) == 2
    assert "hashes.json: not a valid table of hashes" in capsys.readouterr().err


def test_a_removed_and_an_added_file_are_found(out: Path, capsys: Captured) -> None:
    verdicts = next(out.rglob("verdicts.jsonl"))
    verdicts.unlink()
    (out / "cells" / "note.txt").write_text("hello")
    os.mkfifo(out / "pipe")
    (out / "linked").symlink_to("/etc/hostname")
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert faults.pop(verdicts.relative_to(out).as_posix()) == "missing"
    assert faults == {"cells/note.txt": "added", "pipe": "added", "linked": "added"}


@pytest.mark.parametrize("name", ["summary.json", "report.html", "plan.json", "claims.json"])
def test_a_removed_file_at_the_top_is_found(name: str, out: Path, capsys: Captured) -> None:
    (out / name).unlink()
    code, faults, _ = verified(out, capsys)
    assert (code, faults[name]) == (2, "missing")


def better(out: Path) -> Path:
    """Turn one harmful verdict into a proper one, and rewrite the summary and the pages to match."""
    verdicts = next(out.rglob("verdicts.jsonl"))
    lines = verdicts.read_text().splitlines(keepends=True)
    worst = next(i for i, line in enumerate(lines) if '"outcome":"harm"' in line)
    lines[worst] = lines[worst].replace('"outcome":"harm"', '"outcome":"proper_act"')
    verdicts.write_text("".join(lines))
    stored = load_plan(out)
    assert stored is not None
    (out / "summary.json").write_text(json.dumps(build_summary(stored.plan, out, stored.command)))
    assert run(["report", str(out), "--unverified"]) == 0
    return verdicts


def test_an_edited_verdict_with_a_matching_summary_is_found(out: Path, capsys: Captured) -> None:
    verdicts = better(out).relative_to(out).as_posix()
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert {verdicts, "summary.json", "report.html", "report.md"} == set(faults)


def test_even_with_all_hashes_made_anew_the_verdict_does_not_follow(out: Path, capsys: Captured) -> None:
    verdicts = better(out).relative_to(out).as_posix()
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert verdicts in faults
    assert "the transcript gives harm, not proper_act" in faults[verdicts]


def test_a_summary_edited_and_hashed_anew_does_not_follow_from_its_verdicts(out: Path, capsys: Captured) -> None:
    path = out / "summary.json"
    summary = json.loads(path.read_text())
    summary["cells"]["base"]["leaking"]["pressured"]["harm"]["high"] += 0.01
    path.write_text(json.dumps(summary))
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert (code, set(faults)) == (2, {"summary.json"})
    assert "cells.base.leaking.pressured.harm.high is" in faults["summary.json"]


def test_an_edited_and_rehashed_page_does_not_match_the_summary(out: Path, capsys: Captured) -> None:
    page = out / "report.html"
    page.write_text(page.read_text().replace("%", "&#37;", 1))
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert (code, faults) == (2, {"report.html": "is not the page that summary.json gives"})


def test_an_edited_and_rehashed_case_does_not_match_its_world(out: Path, capsys: Captured) -> None:
    [path] = out.glob("cases/*.jsonl.gz")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["harm"] = []
    path.write_bytes(gzip.compress((json.dumps(first) + "\n" + "".join(lines[1:])).encode()))
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert faults[path.relative_to(out).as_posix()] == "1 of 12 cases are not those that the same worlds make"


def test_a_cell_emptied_and_rehashed_is_found(out: Path, capsys: Captured) -> None:
    for name in ("verdicts", "transcripts", "judgements"):
        next(out.rglob(f"{name}.jsonl")).write_text("")
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert code == 2
    assert "0 samples are here, of 12" in " ".join(faults.values())


@pytest.mark.parametrize("which", ["verdicts", "both"])
def test_samples_removed_and_rehashed_are_found(which: str, out: Path, capsys: Captured) -> None:
    for name in ("verdicts", "transcripts") if which == "both" else ("verdicts",):
        path = next(out.rglob(f"{name}.jsonl"))
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    reseal(out)
    code, faults, _ = verified(out, capsys)
    assert code == 2
    message = " ".join(faults.values())
    assert ("11 samples are here, of 12" if which == "both" else "1 cases have no verdict") in message


def test_a_published_root_is_compared(out: Path, capsys: Captured) -> None:
    root = json.loads((out / "hashes.json").read_text())["root"]
    assert run(["verify", str(out), "--root", root.upper()]) == 0
    assert f"root hash {root} (as published)" in capsys.readouterr().out
    other = "0" * ROOT
    code, faults, _ = verified(out, capsys, "--root", other)
    assert code == 2
    assert faults == {"hashes.json": f"the root hash is {root}, not the published {other}"}
    assert run(["verify", str(out), "--root", "abc"]) == 2
    assert "'abc' is no root hash" in capsys.readouterr().err


def interrupted(out: Path) -> None:
    (out / "hashes.json").unlink()
    (out / "writing.lock").touch()


def half(out: Path) -> None:
    interrupted(out)
    for left in (next(out.rglob("manifest.json")), out / "summary.json", out / "report.html", out / "report.md"):
        left.unlink()


@pytest.mark.parametrize("leave", [interrupted, half])
def test_a_killed_run_is_incomplete_and_not_edited(leave: Callable[[Path], None], out: Path, capsys: Captured) -> None:
    leave(out)
    code, faults, result = verified(out, capsys)
    assert (code, faults, result["state"]) == (4, {}, "incomplete")
    assert run(["report", str(out)]) == 4
    assert "did not reach its end" in capsys.readouterr().err
    assert run(["results", str(out)]) == 0
    assert "incomplete" in capsys.readouterr().out
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(out)]) == 0
    assert verified(out, capsys)[0] == 0


def test_a_run_interrupted_during_judging_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.study.measure.judge_folder", refused)
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(tmp_path / "out")]) == 4
    code, faults, result = verified(tmp_path / "out", capsys)
    assert (code, faults, result["state"]) == (4, {}, "incomplete")
    assert result["unfinished"] == "the run stopped early, as its summary says"
    monkeypatch.undo()
    assert run(["measure", *GIVEN, *JUDGED, "--out", str(tmp_path / "out")]) == 0
    assert verified(tmp_path / "out", capsys)[0] == 0


def test_a_folder_that_is_being_written_has_its_own_state(out: Path, capsys: Captured) -> None:
    with (out / "writing.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, faults, result = verified(out, capsys)
        assert (code, faults, result["state"]) == (4, {}, "being written")
        assert run(["verify", str(out)]) == 4
        assert "being written: a running process writes in this folder" in capsys.readouterr().out
        for verb in (["report", str(out)], ["measure", *GIVEN, *JUDGED, "--out", str(out)]):
            assert run(verb) == 4
        assert "another process is writing in this folder" in capsys.readouterr().err
    (out / "writing.lock").unlink()
    assert verified(out, capsys)[0] == 0


@pytest.mark.parametrize("content", [None, {}, {"notes.txt": "hello"}])
def test_a_folder_without_results_is_a_one_line_error(
    content: dict[str, str] | None, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "x"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    assert run(["verify", str(folder)]) == 2
    output = capsys.readouterr().err
    assert "no such folder" in output or "no results here" in output
    assert output.count("\n") == 1


def test_report_refuses_a_folder_that_does_not_verify_or_adds_a_warning(out: Path, capsys: Captured) -> None:
    flip(next(out.rglob("verdicts.jsonl")), 0.5)
    before = (out / "report.html").read_bytes()
    assert run(["report", str(out)]) == 2
    output = capsys.readouterr().err
    assert "verdicts.jsonl: edited" in output
    assert "--unverified" in output
    assert (out / "report.html").read_bytes() == before
    assert run(["report", str(out), "--unverified"]) == 0
    html, markdown = (out / "report.html").read_text(), (out / "report.md").read_text()
    for page, head in ((html, "<h2>Not verified</h2>"), (markdown, "> **Not verified.**")):
        assert 0 < page.index(head) < page.index("Harm under pressure")
        assert "verdicts.jsonl" in page
    assert verified(out, capsys)[0] == 2


def test_report_replaces_an_edited_page(out: Path, capsys: Captured) -> None:
    page = out / "report.md"
    page.write_text("all is well\n")
    assert verified(out, capsys)[0] == 2
    assert run(["report", str(out)]) == 0
    assert verified(out, capsys)[0] == 0


def test_judge_run_updates_the_hashes_but_does_not_accept_an_edit(out: Path, capsys: Captured) -> None:
    assert run(["judge", "run", str(out), "--judge", "scripted/judge-german"]) == 0
    assert "root hash " in capsys.readouterr().out
    assert verified(out, capsys)[:2] == (0, {})
    flip(next(out.rglob("verdicts.jsonl")), 0.5)
    assert run(["judge", "run", str(out), "--judge", "scripted/judge"]) == 2
    assert "verdicts.jsonl: edited since the run that wrote it" in capsys.readouterr().err
    assert verified(out, capsys)[0] == 2
