"""The guard's SQLite database: atomic transactions, a clock that must not jump, and a list of live sessions.

Every process that opens the database holds a lock on a small file beside it until it exits. The next process to open
the database tries those locks: a free lock belongs to a process that died without closing.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from holdfast.core.errors import RefusedError, StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), wall REAL, uptime REAL, boot TEXT);
CREATE TABLE IF NOT EXISTS sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, opened REAL NOT NULL);
"""
#: Tolerated clock error: seconds, and a share of the elapsed time (a slewed clock gains at most 0.05%).
_DRIFT, _SLEW = 5.0, 0.001
_WINDOW, _SECOND = 0.01, 1.0
#: Seconds between two stored readings of the clock.
_READING = 1.0
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Store:
    """One writing connection to the database.

    A durable transaction is synced to disk before it returns. Other transactions are synced together within ten
    milliseconds; they survive the death of the process at once, but not yet a power failure.

    Args:
        path: the SQLite file; created if missing, readable only by its owner.

    Raises:
        RefusedError: other users may read or write the file.
        StoreError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._durable = False
        self._moment: float | None = None
        self._dirty = threading.Event()
        self._open = True
        with _translated_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            if path.stat().st_mode & 0o077:
                raise RefusedError("other users may read or write this file", where=path, remedy=f"chmod 600 {path}")
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._wal = os.open(path.with_name(path.name + "-wal"), os.O_RDONLY)
            _sync_folder(path.parent)
        self._syncing = threading.Thread(target=self._sync_in_groups, name="guard-sync", daemon=True)
        self._syncing.start()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run a transaction: everything written inside is committed, or nothing. A nested one joins the outer one.

        Raises:
            StoreError: the disk is full, the file is busy or broken, or the clock jumped.
        """
        with self._lock:
            if not self._open:
                raise StoreError("the guard's database is closed", where=self.path, remedy="open it again")
            self._durable |= durable
            if self._depth:
                yield self._db
                return
            self._depth = 1
            try:
                with _translated_errors(self.path):
                    self._db.execute("BEGIN IMMEDIATE")
                    try:
                        self._tick()
                        yield self._db
                        self._db.execute("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.Error):
                            self._db.execute("ROLLBACK")
                        self._ended(False)
                        raise
                    self._ended(True)
                durable, self._durable = self._durable, False
            finally:
                self._depth, self._durable, self._moment = 0, False, None
        # Outside the lock, so that concurrent durable writers share one sync.
        with _translated_errors(self.path):
            if durable:
                os.fsync(self._wal)
            else:
                self._dirty.set()

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Run a query and return its rows."""
        with self._lock, _translated_errors(self.path):
            return self._db.execute(query, values).fetchall()

    def close(self) -> None:
        """Sync and close the file."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._db.close()
        self._dirty.set()
        self._syncing.join()
        os.close(self._wal)

    def now(self) -> float:
        """Return the time in seconds since 1970; it is constant within a transaction.

        Raises:
            StoreError: the clock jumped since the last transaction.
        """
        return self._moment if self._moment is not None else self._read_clock()[0]

    def accept_clock(self) -> None:
        """Accept the current clock after a person has checked it."""
        with self._lock, _translated_errors(self.path):
            self._db.execute("DELETE FROM clock")

    def _read_clock(self) -> tuple[float, bool]:
        """Return seconds since 1970, and whether the stored reading is old enough to be replaced."""
        rows = self.read("SELECT * FROM clock")
        wall, uptime = time.time(), time.clock_gettime(_UPTIME)
        if not rows:
            return wall, True
        passed = uptime - rows[0]["uptime"] if rows[0]["boot"] == _boot() else None
        jump = wall - rows[0]["wall"] - (passed or 0)
        if passed is None:
            jump = min(jump, 0.0)
        if abs(jump) > _DRIFT + _SLEW * abs(passed or 0):
            way = "forward" if jump > 0 else "back"
            remedy = "correct it, or accept it with: holdfast guard approve clock"
            raise StoreError(f"the clock jumped {way} by {abs(jump):.0f} s", where=self.path, remedy=remedy)
        return wall, passed is None or passed > _READING

    def _tick(self) -> None:
        self._moment, old = self._read_clock()
        if old:
            reading = (self._moment, time.clock_gettime(_UPTIME), _boot())
            self._db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", reading)

    def _ended(self, done: bool) -> None:
        """Hook that subclasses run at the end of a transaction: committed (`done`) or rolled back."""

    def _rest(self) -> None:
        """Hook that subclasses run every second, in the sync thread."""

    def _sync_in_groups(self) -> None:
        rested = time.monotonic()
        while self._open:
            if self._dirty.wait(_SECOND):
                time.sleep(_WINDOW)
                self._dirty.clear()
                # A failing disk also fails the next durable write, and that stops the guard.
                with suppress(OSError):
                    os.fsync(self._wal)
            if time.monotonic() - rested >= _SECOND:
                rested = time.monotonic()
                self._rest()


class StoreSession:
    """A process that uses the store; `dead` lists the sessions that died without closing since the last start."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.transaction() as db:
            self.dead = [row["id"] for row in db.execute("SELECT id FROM sessions") if not self._lives(row["id"])]
            db.executemany("DELETE FROM sessions WHERE id = ?", [(i,) for i in self.dead])
            cursor = db.execute("INSERT INTO sessions (opened) VALUES (?)", (store.now(),))
            assert cursor.lastrowid is not None
            self.id = cursor.lastrowid
            self._file = os.open(self._path(self.id), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """End the session properly."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM sessions WHERE id = ?", (self.id,))
        self._path(self.id).unlink(missing_ok=True)
        os.close(self._file)

    def _path(self, session: int) -> Path:
        return self._store.path.with_name(f"{self._store.path.name}.live-{session}")

    def _lives(self, session: int) -> bool:
        try:
            file = os.open(self._path(session), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        self._path(session).unlink(missing_ok=True)
        return False


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Translate errors of SQLite and of the operating system into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        message = str(error)
        if "full" in message:
            raise StoreError(
                "the disk is full", where=path, remedy="free some space; until then every act is denied"
            ) from None
        if "locked" in message:
            remedy = "find the process and end it"
            raise StoreError("another process has locked this file", where=path, remedy=remedy) from None
        what = f"the guard's database cannot be used: {message}"
        raise StoreError(what, where=path, remedy="repair it; until then every act is denied") from None
    except OSError as error:
        what = f"cannot write: {error.strerror}"
        raise StoreError(what, where=path, remedy="repair this; until then every act is denied") from None


def _sync_folder(folder: Path) -> None:
    # A new file is durable only after its folder is synced.
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


@cache
def _boot() -> str:
    """Return the id of the current boot, or an empty string if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
