"""Verify an audit log. `verify` needs only the file and the guard's public key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ResultsError
from holdfast.guard.audit_log import EVERY, START, Checkpoint, Entry, beside, checkpoints, head_message
from holdfast.guard.keys import verify_signature

#: Entries about a process's start and end; they are signed at once.
_SESSIONS = {"opened", "closed", "gap"}


@dataclass(frozen=True, slots=True)
class LogIssue:
    """One inconsistency in a log.

    Attributes:
        kind: `edit`, `deletion`, `reorder`, `insertion`, `truncation`, `fork`, `signature` or `link`.
        seq: number of the entry.
        what: description of the issue.
    """

    kind: str
    seq: int
    what: str


def verify(path: Path, public: bytes, kept: Sequence[Checkpoint] = ()) -> list[LogIssue]:
    """Return every edit, deletion, reordering, truncation or fork of a log; an empty list means that none was found.

    Replacing the log and its checkpoints by an old copy is detected only with `kept`, checkpoints that the verifier
    saved earlier.

    Args:
        path: the guard's SQLite file.
        public: the guard's public key, 32 bytes.
        kept: checkpoints stored elsewhere, in addition to those in the log's own file.

    Raises:
        ResultsError: the file is not a guard's log.
    """
    # Checkpoints are read first, so that entries written by a running guard meanwhile cause no issue.
    own = checkpoints(beside(path))
    entries, head = _read(path)
    found = [*_chain(entries), *_links(entries), *_end(entries, head, public)]
    found += _checkpoints(entries, [*own, *kept], public)
    noted = {point.seq for point in checkpoints(beside(path))}
    last = head.seq if head else len(entries)
    due = range(EVERY, last + 1, EVERY)
    # A running guard may not have written the newest checkpoint yet.
    missing = [seq for seq in (due[:-1] if _live(entries) else due) if seq not in noted]
    found += [LogIssue("truncation", seq, f"the checkpoint of entry {seq} is missing") for seq in missing]
    return sorted(set(found), key=lambda f: (f.seq, f.kind, f.what))


def tail(path: Path) -> int:
    """Return the number of entries at the end of a log that are not signed yet, and so cannot be verified.

    Raises:
        ResultsError: the file is not a guard's log.
    """
    entries, head = _read(path)
    return sum(entry.seq > (head.seq if head else 0) for entry in entries)


def _read(path: Path) -> tuple[list[Entry], Checkpoint | None]:
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        db.row_factory = sqlite3.Row
        try:
            db.execute("BEGIN")  # read both tables in one snapshot
            entries = [Entry(**dict(row)) for row in db.execute("SELECT * FROM log ORDER BY seq, rowid")]
            heads = [Checkpoint(**dict(r)) for r in db.execute("SELECT seq, hash, signature FROM head")]
        finally:
            db.close()
    except (sqlite3.Error, ValueError) as error:
        what = f"not a guard's log: {str(error).splitlines()[0]}"
        raise ResultsError(what, where=path, remedy="give guard.db in the folder of holdfast guard run") from None
    return entries, heads[0] if heads else None


def _chain(entries: Sequence[Entry]) -> Iterator[LogIssue]:
    prev, expected = START, 1
    broken = [entry for entry in entries if entry.linked() != entry.hash]
    for entry in entries:
        if entry.seq < expected:
            yield LogIssue("fork", entry.seq, f"entry {entry.seq} occurs twice")
            continue
        if entry.seq > expected:
            gone = f"entry {expected} is" if entry.seq == expected + 1 else f"entries {expected} to {entry.seq - 1} are"
            yield LogIssue("deletion", expected, f"{gone} missing")
        elif entry.prev != prev and entry.linked() == entry.hash:
            yield LogIssue("fork", entry.seq, f"entry {entry.seq} has the hash of a different predecessor")
        expected, prev = entry.seq + 1, entry.hash
    for entry in broken:
        origin = next((other.seq for other in broken if entry.linked(other.seq) == entry.hash), None)
        if origin is None:
            yield LogIssue("edit", entry.seq, f"entry {entry.seq} was edited: its hash does not match")
        else:
            yield LogIssue("reorder", entry.seq, f"entry {entry.seq} was written as entry {origin}")


def _links(entries: Sequence[Entry]) -> Iterator[LogIssue]:
    numbers = {entry.seq for entry in entries}
    for entry in entries:
        if entry.because is not None and (entry.because >= entry.seq or entry.because not in numbers):
            yield LogIssue(
                "link", entry.seq, f"entry {entry.seq} refers to entry {entry.because}, which does not precede it"
            )


def _end(entries: Sequence[Entry], head: Checkpoint | None, public: bytes) -> Iterator[LogIssue]:
    last = entries[-1].seq if entries else 0
    if head is None:
        yield LogIssue("truncation", last, "the signed head is missing")
        return
    if not verify_signature(public, "head", head_message(head.seq, head.hash), head.signature):
        yield LogIssue("signature", head.seq, "the head is not signed with this key")
    if last < head.seq:
        yield LogIssue("truncation", last + 1, f"the log ends at entry {last}, but its signed head is entry {head.seq}")
    tail = [entry for entry in entries if entry.seq > head.seq]
    if len(tail) > EVERY or (tail and not _live(entries)) or any(entry.kind in _SESSIONS for entry in tail):
        yield LogIssue("insertion", head.seq + 1, f"entries after {head.seq} were never signed")
    if any(entry.seq == head.seq and entry.hash != head.hash for entry in entries):
        yield LogIssue("edit", head.seq, f"entry {head.seq} differs from the one that was signed")


def _live(entries: Sequence[Entry]) -> bool:
    """Return whether a process may still be writing or died without closing; only those leave unsigned entries."""
    return sum(1 if entry.kind == "opened" else -1 for entry in entries if entry.kind in _SESSIONS) > 0


def _checkpoints(entries: Sequence[Entry], points: Sequence[Checkpoint], public: bytes) -> Iterator[LogIssue]:
    links = {entry.seq: entry.hash for entry in entries}
    last = max(links, default=0)
    for point in points:
        if not verify_signature(public, "checkpoint", head_message(point.seq, point.hash), point.signature):
            yield LogIssue("signature", point.seq, f"the checkpoint of entry {point.seq} is not signed with this key")
        elif point.seq > last:
            yield LogIssue("truncation", last + 1, f"a checkpoint covers entry {point.seq}, but the log ends at {last}")
        elif links.get(point.seq, point.hash) != point.hash:
            yield LogIssue(
                "fork", point.seq, f"a checkpoint has another hash for entry {point.seq}: the log has two histories"
            )
