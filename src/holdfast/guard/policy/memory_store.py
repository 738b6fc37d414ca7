"""A database in memory with the interface that `LabelledContent` needs, for content that no file must hold."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class ContentStore(Protocol):
    """What `LabelledContent` needs of a database; `guard.db.Store` has it."""

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[sqlite3.Connection]:
        """Return the context of a transaction, with the connection."""

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Run a query and return its rows."""

    def now(self) -> float:
        """Return the time in seconds since 1970."""


class MemoryStore:
    """A database that ends with the process. Thread-safe: hold a transaction around what belongs together."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the database; nothing is durable."""
        with self._lock:
            yield self._db

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Run a query and return its rows."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return time.time()
