"""The run store under kill, torn lines and a full disk: what was whole stays, what was not is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.core.errors import ResultsError, StoreError
from holdfast.core.records import Evidence, RunCard
from holdfast.core.store import RunFolder, write_json, write_text

CARD = RunCard(key="k", kind="cell", made="2020-01-01", holdfast="0", code="c", inputs={})


def rows(first: int, count: int) -> list[Evidence]:
    return [Evidence(message=i, quote="q", reason="r") for i in range(first, first + count)]


def test_records_are_appended_and_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.read("rows", Evidence) == []
    assert folder.append("rows", rows(0, 2)) == 2
    folder.append("rows", rows(2, 1))
    assert folder.read("rows", Evidence) == rows(0, 3)
    assert not folder.complete
    with pytest.raises(ResultsError, match="incomplete"):
        folder.card()
    folder.finish(CARD)
    assert folder.complete
    assert folder.card() == CARD


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append("rows", rows(0, 2))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    assert folder.read("rows", Evidence) == rows(0, 1)
    folder.append("rows", rows(5, 1))
    assert folder.read("rows", Evidence) == [*rows(0, 1), *rows(5, 1)]


def test_a_file_of_one_torn_line_is_empty(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"mess')
    assert RunFolder(tmp_path).read("rows", Evidence) == []
    RunFolder(tmp_path).append("rows", rows(0, 1))
    assert RunFolder(tmp_path).read("rows", Evidence) == rows(0, 1)


def test_a_wrong_line_in_the_middle_is_refused_by_its_number(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append("rows", rows(0, 1))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("not a record\n")
    folder.append("rows", rows(1, 1))
    with pytest.raises(ResultsError, match=r"rows\.jsonl:2: not a Evidence record"):
        folder.read("rows", Evidence)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ResultsError, match="not a Holdfast manifest"):
        folder.card()


WRITER = """
import sys
from pathlib import Path
from holdfast.core.records import Evidence
from holdfast.core.store import RunFolder
number = 0
while True:
    RunFolder(Path(sys.argv[1])).append("rows", [Evidence(message=number, quote="q" * 5000, reason="r")])
    number += 1
"""


def test_a_killed_writer_leaves_whole_records(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    path, deadline = tmp_path / "rows.jsonl", time.monotonic() + 60
    while not (path.exists() and path.stat().st_size > 50_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    found = RunFolder(tmp_path).read("rows", Evidence)
    assert [row.message for row in found] == list(range(len(found)))
    RunFolder(tmp_path).append("rows", rows(len(found), 1))
    assert len(RunFolder(tmp_path).read("rows", Evidence)) == len(found) + 1


def test_a_full_disk_is_one_clear_line_and_the_old_records_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append("rows", rows(0, 1))
    # /dev/full answers every write with the operating system's own ENOSPC.
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="the disk is full") as caught:
        folder.append("full", rows(0, 1))
    assert caught.value.exit_code == 4
    assert "run again" in caught.value.remedy
    assert folder.read("rows", Evidence) == rows(0, 1)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from holdfast.core.errors import StoreError
from holdfast.core.store import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except StoreError as error:
    print(error)
"""


def test_a_file_that_does_not_fit_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_text(path, "old")
    shown = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert "summary.json: the file size limit is reached" in shown.stdout
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        RunFolder(tmp_path / "file" / "run").append("rows", rows(0, 1))
    with pytest.raises(StoreError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})
