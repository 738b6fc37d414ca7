"""A tamper-evident audit log: a hash chain with a signed head.

    with AuditLog(Path("guard.db"), key) as log:
        thought = log.append("reasoning", {"run": run, "text": text}, durable=False)
        log.append("intent", {"run": run, "act": act}, durable=True, because=thought)

Each entry contains the hash of the previous one. The head (the number and hash of the last entry) is signed with every
durable entry, every 64 entries, every second and at close. So anyone with the public key can detect edited, deleted,
moved or truncated entries. The tail after the last signature has at most 64 entries, none of which an act waited for.
Each entry has an HMAC that only the guard can make, so nobody can add to the tail, and a running guard detects its
truncation. If the guard is dead, the tail can be cut undetected; the next start then logs a signed gap.

Every 64 entries, and at every gap and close, the signed head is also appended to `<file>.checkpoints`. Copies of that
file kept elsewhere prove a rollback to an old copy, or a second history.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hmac import compare_digest
from pathlib import Path
from typing import Any, BinaryIO

from holdfast.core.errors import HoldfastError, RefusedError, ResultsError
from holdfast.core.records import Record
from holdfast.core.store import writing
from holdfast.guard.db import Store, StoreSession
from holdfast.guard.keys import SigningKey, verify_signature

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, because INTEGER, body TEXT NOT NULL,
    prev BLOB NOT NULL, hash BLOB NOT NULL, seal BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL
);
"""
START = bytes(32)
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=dict)
#: Number of entries after which the head is signed and a checkpoint is written.
EVERY = 64


class Entry(Record):
    """One entry: `because` is the number of the entry with the reasoning; `body` is JSON as written and hashed."""

    seq: int
    at: float
    kind: str
    because: int | None = None
    body: str
    prev: bytes
    hash: bytes
    seal: bytes

    @property
    def content(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    def linked(self, seq: int | None = None) -> bytes:
        """Return the hash that the entry must have at its own or another place in the log."""
        return _link(self.prev, seq if seq is not None else self.seq, self.at, self.kind, self.because, self.body)


class Checkpoint(Record):
    """The signed head of a log at some moment; `str` formats its line and `read` parses it."""

    seq: int
    hash: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{self.seq} {self.hash.hex()} {self.signature.hex()}"

    @classmethod
    def read(cls, line: str) -> Checkpoint | None:
        """Parse a checkpoint from its line; None if the line is malformed."""
        try:
            seq, link, signature = line.split()
            return cls(seq=int(seq), hash=bytes.fromhex(link), signature=bytes.fromhex(signature))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class _Stand:
    """The end of the log as this process knows it; `owed` lists the entries whose checkpoints are still to write."""

    seq: int = 0
    link: bytes = START
    signed: int = 0
    owed: tuple[int, ...] = ()


def head_message(seq: int, link: bytes) -> bytes:
    """Return the bytes of a head that are signed."""
    return seq.to_bytes(8, "big") + link


class AuditLog(Store):
    """The audit log in the guard's database.

    Args:
        path: the SQLite file; created if missing.
        key: the guard's signing key.

    Raises:
        RefusedError: the log was signed with another key, or other users may access the file.
        ResultsError: the log is shorter than, or differs from, its own checkpoints.
        StoreError: the file cannot be opened, or the clock jumped.
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self._key = key
        self.public = key.public
        #: `_stand` after the last committed transaction; `_next` inside the open one
        self._stand = self._next = _Stand()
        self._tail = 0
        super().__init__(path)
        try:
            with self.transaction() as db:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
            self._check_head()
            self.session = StoreSession(self)
            self._open_log()
        except BaseException:
            super().close()
            raise

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, kind: str, body: Mapping[str, Any], *, durable: bool, because: int | None = None) -> int:
        """Append one entry, as part of the open transaction if there is one.

        Args:
            kind: kind of event.
            body: JSON content.
            durable: sync to disk before this returns; otherwise within ten milliseconds.
            because: number of the entry with the reasoning behind this one.

        Returns:
            The entry's number; the first is 1.

        Raises:
            StoreError: the entry could not be written; the recorded act must not happen.
            ResultsError: another program wrote to the log or truncated it.
        """
        # ASCII escapes keep lone surrogates, which JSON can contain but SQLite cannot.
        text = _JSON.encode(body)
        with self.transaction(durable=durable) as db:
            seq, prev = self._end(db)
            seq, at = seq + 1, self.now()
            link = _link(prev, seq, at, kind, because, text)
            row = (seq, at, kind, because, text, prev, link, self._key.seal(link))
            db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            owed = (*self._next.owed, seq) if seq % EVERY == 0 else self._next.owed
            self._next = replace(self._next, seq=seq, link=link, owed=owed)
            if durable or seq - self._next.signed >= EVERY:
                self._sign(db)
        return seq

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return all entries, or those of one kind, in order."""
        rows = self.read("SELECT * FROM log WHERE ?1 IS NULL OR kind = ?1 ORDER BY seq", kind)
        return [Entry(**dict(row)) for row in rows]

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the guard's signature for a purpose other than the log's own."""
        return self._key.sign(f"word/{purpose}", message)

    def signed(self, purpose: str, message: bytes, signature: bytes) -> bool:
        """Return whether `sign` made this signature."""
        return verify_signature(self.public, f"word/{purpose}", message, signature)

    def close(self) -> None:
        """Log the end of the session, sign the log and close the file."""
        if not self._open:
            return
        try:
            self._note([self.append("closed", {"session": self.session.id}, durable=True)])
            self.session.close()
        finally:
            super().close()

    def _end(self, db: sqlite3.Connection) -> tuple[int, bytes]:
        """Return the number and hash of the last entry, after checking its HMAC and this process's last entry.

        Raises:
            ResultsError: the last entry was not written by the guard, or this process's last entry is missing.
        """
        last = db.execute("SELECT seq, hash, seal FROM log ORDER BY seq DESC LIMIT 1").fetchone()
        seq, link = (last["seq"], last["hash"]) if last else (0, START)
        if last and not compare_digest(self._key.seal(link), last["seal"]):
            what = f"entry {seq} of the log was not written by this guard"
            raise ResultsError(what, where=self.path, remedy="list the altered entries: holdfast guard verify")
        mine, found = self._next, link
        if seq != mine.seq and mine.seq:
            row = db.execute("SELECT hash FROM log WHERE seq = ?", (mine.seq,)).fetchone()
            found = row["hash"] if row else b""
        if mine.seq and found != mine.link:
            what = f"entry {mine.seq} was removed from the log"
            raise ResultsError(what, where=self.path, remedy="list what is missing: holdfast guard verify")
        return seq, link

    def _sign(self, db: sqlite3.Connection) -> None:
        seq, link = self._end(db)
        signature = self._key.sign("head", head_message(seq, link))
        db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", (seq, link, signature))
        self._next = replace(self._next, seq=seq, link=link, signed=seq)

    def _ended(self, done: bool) -> None:
        self._stand = self._next = self._next if done else self._stand
        if done and (owed := self._stand.owed):
            # If this fails, `owed` stays set and the next entry tries again.
            self._note(list(owed))
            self._stand = self._next = replace(self._stand, owed=())

    def _rest(self) -> None:
        if self._stand.seq > self._stand.signed:
            with suppress(HoldfastError), self.transaction(durable=False) as db:
                self._sign(db)

    def _check_head(self) -> None:
        heads = self.read("SELECT * FROM head")
        if not heads and self.read("SELECT 1 FROM log LIMIT 1"):
            raise ResultsError("the log's signed head is missing", where=self.path, remedy="holdfast guard verify")
        if not heads:
            return
        seq, link = heads[0]["seq"], heads[0]["hash"]
        if not verify_signature(self.public, "head", head_message(seq, link), heads[0]["signature"]):
            raise RefusedError(
                "this log was signed with another key", where=self.path, remedy="use the key that signed it"
            )
        # The log must continue from its last signature.
        self._stand = self._next = _Stand(seq, link, seq)
        with self.transaction(durable=False) as db:
            end, _ = self._end(db)
        self._tail = end - seq
        kept = [c for c in checkpoints(beside(self.path)) if _holds(c, self.public)]
        for last in sorted(kept, key=lambda c: c.seq)[-1:]:
            rows = self.read("SELECT hash FROM log WHERE seq = ?", last.seq)
            if not rows or rows[0]["hash"] != last.hash:
                what = f"the log does not contain entry {last.seq} of its own checkpoints, as after a rollback"
                raise ResultsError(what, where=self.path, remedy="holdfast guard verify")

    def _open_log(self) -> None:
        for session in self.session.dead:
            last = self.read("SELECT max(at) AS at FROM log")[0]["at"]
            body = {"session": session, "from": last, "to": self.now(), "why": "a process died without closing"}
            # These entries are unsigned: some may have been cut after the process died.
            body |= {"unsigned": self._tail}
            self._note([self.append("gap", body, durable=True)])
        self.append("opened", {"session": self.session.id}, durable=True)
        # A process may have died before writing a checkpoint. Ed25519 is deterministic, so writing it again is safe.
        have = {c.seq for c in checkpoints(beside(self.path))}
        self._note([n for n in range(EVERY, self._stand.seq + 1, EVERY) if n not in have])

    def _note(self, numbers: list[int]) -> None:
        """Write checkpoints of these entries to the file beside the log."""
        path = beside(self.path)
        lines = ""
        for seq in numbers:
            [row] = self.read("SELECT hash FROM log WHERE seq = ?", seq)
            signature = self._key.sign("checkpoint", head_message(seq, row["hash"]))
            lines += f"{Checkpoint(seq=seq, hash=row['hash'], signature=signature)}\n"
        with writing(path), path.open("ab+") as file:
            # A line cut short by a crash or a full disk must not corrupt the next one.
            if file.tell() and _last_byte(file) != b"\n":
                lines = f"\n{lines}"
            file.write(lines.encode("ascii"))


def beside(path: Path) -> Path:
    """Return the path of a log's checkpoints."""
    return path.with_name(path.name + ".checkpoints")


def checkpoints(path: Path) -> list[Checkpoint]:
    """Return the checkpoints in a file without verifying them; empty if there is no such file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return [point for line in lines if (point := Checkpoint.read(line))]


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _holds(point: Checkpoint, public: bytes) -> bool:
    return verify_signature(public, "checkpoint", head_message(point.seq, point.hash), point.signature)


def _link(prev: bytes, seq: int, at: float, kind: str, because: int | None, body: str) -> bytes:
    return hashlib.sha256(prev + json.dumps([seq, at, kind, because, body]).encode()).digest()
