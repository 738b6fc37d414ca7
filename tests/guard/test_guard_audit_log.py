"""The audit log: every kind of tampering is done and must be detected."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.guard_verify import command
from holdfast.cli.main import run
from holdfast.core.errors import HoldfastError, InputError, RefusedError, ResultsError, StoreError
from holdfast.guard.audit_log import EVERY, AuditLog, beside, checkpoints
from holdfast.guard.audit_verify import tail, verify
from holdfast.guard.keys import SigningKey, load_public, verify_signature
from holdfast.guard.setup import open_audit_log


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a closed log of about 150 entries and its key."""
    folder = tmp_path_factory.mktemp("log")
    with AuditLog(folder / "guard.db", SigningKey.create(folder / "guard.key")) as evidence:
        thought = evidence.append("reasoning", {"text": "because"}, durable=False)
        for number in range(2 * EVERY + 20):
            evidence.append("act", {"n": number}, durable=False, because=thought)
    return folder


def copied(log: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(log, tmp_path / "copy"))


def run_sql(folder: Path, *statements: str) -> None:
    db = sqlite3.connect(folder / "guard.db")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def found(folder: Path, **more: object) -> set[str]:
    public = load_public(folder / "guard.key.pub")
    return {finding.kind for finding in verify(folder / "guard.db", public, **more)}  # type: ignore[arg-type]


def test_unedited_log_has_no_issues(log: Path) -> None:
    assert found(log) == set()


RENUMBER = "UPDATE log SET seq = {} WHERE seq = {}"
TAMPERING: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "edit": (("""UPDATE log SET body = '{"n":1000}' WHERE seq = 9""",), {"edit"}),
    "edit of the last": (("UPDATE log SET at = at + 1 WHERE seq = (SELECT max(seq) FROM log)",), {"edit"}),
    "edit with its hash": (("UPDATE log SET body = '{}', hash = zeroblob(32) WHERE seq = 9",), {"edit", "fork"}),
    "edit of the reason": (("UPDATE log SET because = 3 WHERE seq = 9",), {"edit"}),
    "deletion": (("DELETE FROM log WHERE seq = 9",), {"deletion"}),
    "deletion of many": (("DELETE FROM log WHERE seq BETWEEN 9 AND 20",), {"deletion"}),
    "reorder": ((RENUMBER.format(-1, 9), RENUMBER.format(9, 12), RENUMBER.format(12, -1)), {"reorder"}),
    "truncation": (("DELETE FROM log WHERE seq > 140",), {"truncation"}),
    "truncation to a checkpoint": ((f"DELETE FROM log WHERE seq > {EVERY}",), {"truncation"}),
    "truncation with the head": (("DELETE FROM log WHERE seq > 140", "DELETE FROM head"), {"truncation"}),
    "a head of one's own": (("DELETE FROM log WHERE seq > 140", "UPDATE head SET seq = 140"), {"signature"}),
    "insertion": (
        ("INSERT INTO log SELECT max(seq) + 1, at, kind, because, body, hash, hash, seal FROM log",),
        {"insertion"},
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_detected(log: Path, tmp_path: Path, how: str) -> None:
    folder = copied(log, tmp_path)
    statements, kinds = TAMPERING[how]
    run_sql(folder, *statements)
    assert kinds <= found(folder)


def test_missing_and_foreign_checkpoints_are_detected(log: Path, tmp_path: Path) -> None:
    folder = copied(log, tmp_path)
    path = beside(folder / "guard.db")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    assert found(folder) == {"truncation"}
    path.write_text("".join([lines[0].replace(lines[0].split()[2], "00" * 64), *lines[1:]]))
    assert found(folder) == {"signature"}


# A forger who knows how entries are chained but has no key.
FORGE = """
import hashlib, json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.row_factory = sqlite3.Row
last = db.execute("SELECT * FROM log ORDER BY seq DESC LIMIT 1").fetchone()
seq, at, body = last["seq"] + 1, last["at"], '{"ok":true}'
link = hashlib.sha256(last["hash"] + json.dumps([seq, at, "outcome", None, body]).encode()).digest()
row = (seq, at, "outcome", None, body, last["hash"], link, last["seal"])
db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
db.commit()
"""


def forge(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", FORGE, str(folder / "guard.db")], check=True)


def head_of(folder: Path) -> int:
    db = sqlite3.connect(folder / "guard.db")
    [[seq]] = db.execute("SELECT seq FROM head").fetchall()
    db.close()
    return int(seq)


def dead(folder: Path, entries: int) -> None:
    """Simulate a guard that died with this many unsigned entries."""
    key = SigningKey.create(folder / "guard.key")
    child = os.fork()
    if child == 0:
        evidence = AuditLog(folder / "guard.db", key)
        for number in range(entries):
            evidence.append("outcome", {"n": number}, durable=False)
        os._exit(9)
    os.waitpid(child, 0)


def test_the_head_is_signed_with_durable_entries_every_64_and_every_second(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        last = evidence.append("act", {}, durable=True)
        assert head_of(tmp_path) == last
        numbers = [evidence.append("outcome", {}, durable=False) for _ in range(EVERY - 1)]
        assert head_of(tmp_path) < numbers[-1]
        assert head_of(tmp_path) in {last, *numbers}
        assert found(tmp_path) == set()
        filled = [evidence.append("outcome", {}, durable=False) for _ in range(EVERY)]
        assert head_of(tmp_path) > numbers[0]
        deadline = time.monotonic() + 20
        while head_of(tmp_path) != filled[-1] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert head_of(tmp_path) == filled[-1]
    assert tail(tmp_path / "guard.db") == 0
    assert found(tmp_path) == set()


def test_running_guard_detects_a_cut_unsigned_tail(tmp_path: Path) -> None:
    evidence = AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key"))
    evidence.append("outcome", {"n": 1}, durable=False)
    last = evidence.append("outcome", {"n": 2}, durable=False)
    run_sql(tmp_path, f"DELETE FROM log WHERE seq = {last}")
    with pytest.raises(ResultsError, match=f"entry {last} was removed from the log"):
        evidence.append("act", {}, durable=True)
    with pytest.raises(ResultsError, match=f"entry {last} was removed from the log"):
        evidence.close()


def test_entries_added_to_a_running_log_are_detected(tmp_path: Path) -> None:
    evidence = AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key"))
    last = evidence.append("outcome", {}, durable=False)
    forge(tmp_path)
    with pytest.raises(ResultsError, match=f"entry {last + 1} of the log was not written by this guard"):
        evidence.append("act", {}, durable=True)
    with pytest.raises(ResultsError):
        evidence.close()


def test_entries_added_to_a_dead_or_closed_log_are_detected(tmp_path: Path, log: Path) -> None:
    dead(tmp_path, 3)
    forge(tmp_path)
    with pytest.raises(ResultsError, match="not written by this guard"):
        AuditLog(tmp_path / "guard.db", SigningKey.load(tmp_path / "guard.key"))
    closed = copied(log, tmp_path)
    forge(closed)
    assert found(closed) == {"insertion"}


@pytest.mark.parametrize("cut", [0, 2])
def test_gap_after_a_crash_counts_unsigned_entries(tmp_path: Path, cut: int) -> None:
    dead(tmp_path, 3)
    unsigned = tail(tmp_path / "guard.db")
    assert 0 <= unsigned <= 3
    cut = min(cut, unsigned)
    run_sql(tmp_path, f"DELETE FROM log WHERE seq > (SELECT max(seq) FROM log) - {cut}")
    assert found(tmp_path) == set()
    with AuditLog(tmp_path / "guard.db", SigningKey.load(tmp_path / "guard.key")) as evidence:
        [gap] = evidence.entries("gap")
        assert gap.content["unsigned"] == unsigned - cut
    assert found(tmp_path) == set()


def test_log_shorter_than_its_head_or_without_head_is_refused(log: Path, tmp_path: Path) -> None:
    key = SigningKey.load(log / "guard.key")
    for name, statement in {"cut": "DELETE FROM log WHERE seq > 140", "beheaded": "DELETE FROM head"}.items():
        folder = Path(shutil.copytree(log, tmp_path / name))
        beside(folder / "guard.db").unlink()
        run_sql(folder, statement)
        with pytest.raises(ResultsError):
            AuditLog(folder / "guard.db", key)


def test_rolled_back_entries_leave_no_checkpoint(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        with pytest.raises(KeyError), evidence.transaction():
            for _ in range(EVERY):
                evidence.append("act", {"n": "undone"}, durable=False)
            raise KeyError
        for _ in range(EVERY):
            evidence.append("act", {"n": "done"}, durable=False)
    assert found(tmp_path) == set()


def test_failed_checkpoint_is_written_with_the_next_entry(tmp_path: Path) -> None:
    lines = beside(tmp_path / "guard.db")
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        lines.unlink()
        lines.mkdir()
        with pytest.raises(StoreError):
            for _ in range(EVERY):
                evidence.append("act", {}, durable=False)
        lines.rmdir()
        evidence.append("act", {}, durable=False)
    assert found(tmp_path) == set()
    assert EVERY in {point.seq for point in checkpoints(lines)}


def test_incomplete_checkpoint_line_does_not_corrupt_the_next(tmp_path: Path) -> None:
    lines = beside(tmp_path / "guard.db")
    lines.write_text("64 0a")
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        for _ in range(EVERY):
            evidence.append("act", {}, durable=False)
    assert found(tmp_path) == set()


def test_second_history_with_the_right_key_is_a_fork(log: Path, tmp_path: Path) -> None:
    folder = copied(log, tmp_path)
    key = SigningKey.load(folder / "guard.key")
    kept = checkpoints(beside(folder / "guard.db"))
    (folder / "guard.db").unlink()
    beside(folder / "guard.db").unlink()
    with AuditLog(folder / "guard.db", key) as other:
        for _ in range(3 * EVERY):
            other.append("act", {"n": "another story"}, durable=False)
    assert found(folder) == set()
    assert found(folder, kept=kept) == {"fork"}


def test_rollback_is_detected_by_kept_checkpoints_and_refused(log: Path, tmp_path: Path) -> None:
    folder = copied(log, tmp_path)
    old = tmp_path / "old.db"
    shutil.copy(folder / "guard.db", old)
    with AuditLog(folder / "guard.db", SigningKey.load(folder / "guard.key")) as evidence:
        evidence.append("act", {"n": "secret"}, durable=True)
    shutil.copy(old, folder / "guard.db")
    assert found(folder) == {"truncation"}
    with pytest.raises(ResultsError, match="does not contain entry"):
        AuditLog(folder / "guard.db", SigningKey.load(folder / "guard.key"))


def test_reasoning_must_precede_its_entry(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        evidence.append("act", {}, durable=True, because=99)
    assert found(tmp_path) == {"link"}


def test_verify_command_prints_issues_and_exit_code(log: Path, tmp_path: Path) -> None:
    folder = copied(log, tmp_path)
    good = CliRunner().invoke(command, [str(folder / "guard.db")])
    assert good.exit_code == 0
    assert "valid: no edit" in good.output
    run_sql(folder, "DELETE FROM log WHERE seq = 9")
    bad = CliRunner().invoke(command, [str(folder / "guard.db"), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.output)["findings"][0]["what"] == "entry 9 is missing"
    wrong = CliRunner().invoke(command, [str(folder / "guard.key"), "--public", str(folder / "guard.key.pub")])
    assert isinstance(wrong.exception, ResultsError)


def test_crashed_process_leaves_a_signed_gap(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "guard.key")
    child = os.fork()
    if child == 0:
        AuditLog(tmp_path / "guard.db", key).append("act", {"n": 1}, durable=True)
        os._exit(9)
    os.waitpid(child, 0)
    with AuditLog(tmp_path / "guard.db", key) as evidence, AuditLog(tmp_path / "guard.db", key) as beside_it:
        [gap] = evidence.entries("gap")
        assert gap.content["to"] >= gap.content["from"]
        assert evidence.entries("act")
        beside_it.append("act", {"n": 2}, durable=True)
    with AuditLog(tmp_path / "guard.db", key) as again:
        assert len(again.entries("gap")) == 1
    assert found(tmp_path) == set()


def test_concurrent_writers_make_one_chain(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "guard.key")
    AuditLog(tmp_path / "guard.db", key).close()
    children = []
    for writer in range(3):
        child = os.fork()
        if child == 0:
            with AuditLog(tmp_path / "guard.db", key) as evidence:
                for number in range(20):
                    evidence.append("act", {"writer": writer, "n": number}, durable=False)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
    with AuditLog(tmp_path / "guard.db", key) as evidence:
        assert len(evidence.entries("act")) == 60
    assert found(tmp_path) == set()


def test_log_can_be_verified_while_it_is_written(tmp_path: Path) -> None:
    stop = threading.Event()
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:

        def write() -> None:
            while not stop.is_set():
                evidence.append("act", {}, durable=False)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert [found(tmp_path) for _ in range(6)] == [set()] * 6
        finally:
            stop.set()
            writer.join()


def test_transaction_is_atomic(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as evidence:
        before = len(evidence.entries())
        with pytest.raises(KeyError), evidence.transaction():
            evidence.append("act", {}, durable=True)
            raise KeyError
        assert len(evidence.entries()) == before
        evidence.append("act", {}, durable=True)
    assert found(tmp_path) == set()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_clock_jump_denies_everything_until_accepted(tmp_path: Path, jump: float) -> None:
    key = SigningKey.create(tmp_path / "guard.key")
    with AuditLog(tmp_path / "guard.db", key) as evidence:
        run_sql(tmp_path, f"UPDATE clock SET wall = wall - {jump}")
        way = "forward" if jump > 0 else "back"
        with pytest.raises(StoreError, match=f"the clock jumped {way} by 3600 s"):
            evidence.append("act", {}, durable=True)
        assert not evidence.entries("act")
        with pytest.raises(StoreError, match="the clock jumped"):
            AuditLog(tmp_path / "guard.db", key)
        evidence.accept_clock()
        evidence.append("act", {}, durable=True)
    assert found(tmp_path) == set()


FULL = """
import os, resource, sys
from pathlib import Path
from holdfast.core.errors import StoreError
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.keys import SigningKey
folder = Path(sys.argv[1])
evidence = AuditLog(folder / "guard.db", SigningKey.load(folder / "guard.key"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for number in range(1000):
    try:
        evidence.append("act", {"n": number, "text": "x" * 1000}, durable=True)
    except StoreError as error:
        print(number, error, flush=True)
        os._exit(0)
"""


def test_full_file_system_gives_a_clear_error(tmp_path: Path) -> None:
    SigningKey.create(tmp_path / "guard.key")
    shown = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    number, line = shown.stdout.strip().split(" ", 1)
    assert "guard.db" in line
    assert "every act is denied" in line
    with AuditLog(tmp_path / "guard.db", SigningKey.load(tmp_path / "guard.key")) as evidence:
        assert len(evidence.entries("act")) == int(number)
    assert found(tmp_path) == set()


def test_keys_and_files_accessible_to_others_are_refused(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "guard.key")
    (tmp_path / "guard.key").chmod(0o640)
    with pytest.raises(RefusedError, match="other users may read or write this key"):
        SigningKey.load(tmp_path / "guard.key")
    AuditLog(tmp_path / "guard.db", key).close()
    (tmp_path / "guard.db").chmod(0o644)
    with pytest.raises(RefusedError, match="other users may read or write this file"):
        AuditLog(tmp_path / "guard.db", key)


def test_log_of_another_key_is_refused(log: Path, tmp_path: Path) -> None:
    folder = copied(log, tmp_path)
    with pytest.raises(RefusedError, match="another key"):
        AuditLog(folder / "guard.db", SigningKey.create(tmp_path / "other.key"))


def test_passphrase_protects_a_persons_key(tmp_path: Path) -> None:
    made = SigningKey.create(tmp_path / "ann", "correct horse battery")
    assert SigningKey.load(tmp_path / "ann", "correct horse battery").public == made.public
    wrongs: dict[str, Callable[[], object]] = {
        "wrong passphrase": lambda: SigningKey.load(tmp_path / "ann", "wrong horse battery"),
        "needs its passphrase": lambda: SigningKey.load(tmp_path / "ann"),
        "at least 12 characters, got 5": lambda: SigningKey.create(tmp_path / "ben", "short"),
        "exists already": lambda: SigningKey.create(tmp_path / "ann"),
        "no such key": lambda: SigningKey.load(tmp_path / "nobody"),
        "not a public key": lambda: load_public(tmp_path / "ann"),
    }
    for line, wrong in wrongs.items():
        with pytest.raises(InputError, match=line):
            wrong()


def test_signature_is_valid_for_one_purpose(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "key")
    signature = key.sign("checkpoint", b"words")
    assert verify_signature(key.public, "checkpoint", b"words", signature)
    assert not verify_signature(key.public, "head", b"words", signature)
    assert not verify_signature(key.public, "checkpoint", b"other words", signature)
    assert not verify_signature(b"short", "checkpoint", b"words", signature)


def test_broken_file_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "guard.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    (tmp_path / "guard.db").chmod(0o600)
    with pytest.raises(HoldfastError, match="cannot be used"):
        AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key"))


def test_copied_log_without_its_key_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, copy = tmp_path / "guard", tmp_path / "copy"
    copy.mkdir(mode=0o700)
    with open_audit_log(original) as log:
        log.append("intent", {"n": 1}, durable=True)
    for name in ("guard.db", "guard.db.checkpoints"):
        shutil.copy(original / name, copy / name)
    assert run(["guard", "verify", str(copy / "guard.db")]) == 2
    assert "without guard.key.pub, the public key of the guard that wrote it" in capsys.readouterr().err
    with pytest.raises(RefusedError, match=r"a log without guard\.key, the key that signed it"):
        open_audit_log(copy)
    assert not (copy / "guard.key").exists()
    assert run(["guard", "verify", str(copy / "guard.db"), "--public", str(original / "guard.key.pub")]) == 0
    shutil.copy(original / "guard.key.pub", copy)
    assert run(["guard", "verify", str(copy / "guard.db")]) == 0
