"""The register of names: no two persons, agents or roles that exist or existed may look alike.

    Names(store).note([*person_names("ann", "Ann Ito"), agent_name("clerk"), role_name("safety reviewer")])

Names are compared by `ids.likeness`. The register keeps every name for ever, so a name that was once used cannot be
given to somebody else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from holdfast.core.errors import RefusedError
from holdfast.core.identity import canonical
from holdfast.detectors.confusables import unseen
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.ids import ID_FORM, is_id, likeness

Bearer = Literal["person", "agent", "role"]

_SCHEMA = """CREATE TABLE IF NOT EXISTS names (
    kind TEXT NOT NULL, owner TEXT NOT NULL, text TEXT NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (kind, owner, text)
);
CREATE INDEX IF NOT EXISTS logged_enrolments ON log (seq) WHERE kind = 'enrolled'"""
_ENROLLED = "SELECT body FROM log WHERE kind = 'enrolled' ORDER BY seq"


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name and its bearer: `owner` is the id of the person or agent, or the role itself."""

    kind: Bearer
    owner: str
    text: str

    def __str__(self) -> str:
        return f"the {self.kind} '{self.owner}'" + (f" ('{self.text}')" if self.text != self.owner else "")


def person_names(person: str, display: str = "") -> list[KnownName]:
    """Return a person's id and name for display as names."""
    return [KnownName("person", person, text) for text in dict.fromkeys((person, display or person))]


def agent_name(agent: str) -> KnownName:
    """Return an agent's id as a name."""
    return KnownName("agent", agent, agent)


def role_name(role: str) -> KnownName:
    """Return a role as a name."""
    return KnownName("role", role, role)


class Names:
    """The register of names in the guard's database. The guard signs each entry, so an inserted one is ignored.

    Args:
        store: the guard's audit log.
    """

    def __init__(self, store: AuditLog) -> None:
        self._store = store
        with store.transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def known(self) -> list[KnownName]:
        """Return every registered name; persons also from the log, so that a row deleted from the file stays known."""
        rows = self._store.read("SELECT * FROM names ORDER BY rowid")
        found = [KnownName(row["kind"], row["owner"], row["text"]) for row in rows if self._ours(row)]
        for row in self._store.read(_ENROLLED):
            given = json.loads(row["body"])["credential"]
            found += person_names(given["person"], given.get("name", ""))
            found.append(role_name(given["role"]))
        return list(dict.fromkeys(found))

    def note(self, names: Iterable[KnownName]) -> None:
        """Register names. A name that is registered already for the same bearer is skipped.

        Raises:
            RefusedError: a name has not the form that it must have, or looks like the name of another bearer.
        """
        with self._store.transaction(durable=False) as db:
            known = self.known()
            for name in names:
                if name in known:
                    continue
                check_form(name)
                refuse_alike(name, known)
                known.append(name)
                signature = self._store.sign("name", _signed(name.kind, name.owner, name.text))
                db.execute(
                    "INSERT OR REPLACE INTO names VALUES (?, ?, ?, ?)", (name.kind, name.owner, name.text, signature)
                )

    def _ours(self, row: sqlite3.Row) -> bool:
        signature = row["signature"]
        statement = _signed(row["kind"], row["owner"], row["text"])
        return isinstance(signature, bytes) and self._store.signed("name", statement, signature)


def check_form(name: KnownName) -> None:
    """Check the form of a name.

    Raises:
        RefusedError: an id is not an id, or a name for display or a role is empty, too long or not printable.
    """
    if name.kind != "role" and not is_id(name.owner):
        what = f"'{_plain(name.owner)}' is not an id of {'an agent' if name.kind == 'agent' else 'a person'}"
        raise RefusedError(what, where=name.kind, remedy=f"use {ID_FORM}")
    text = name.text
    if not text.isprintable() or any(map(unseen, text)) or len(text) > 100 or not likeness(text):
        raise RefusedError(
            f"the {name.kind}'s name is empty, too long or not printable",
            where=_plain(text)[:40],
            remedy="give a plain name of at most 100 characters",
        )


def refuse_alike(name: KnownName, known: Collection[KnownName]) -> None:
    """Refuse a name that looks like one of another bearer.

    Raises:
        RefusedError: it does.
    """
    key = likeness(name.text)
    for other in known:
        if likeness(other.text) == key and not _same_bearer(name, other):
            remedy = "choose a name that nobody can confuse with it"
            raise RefusedError(f"the name looks like that of {other}", where=_plain(name.text), remedy=remedy)


def _same_bearer(name: KnownName, other: KnownName) -> bool:
    if (other.kind, other.owner) == (name.kind, name.owner):
        return True
    # A person enrolled by an earlier version, whose name is not an id, may enrol again under the id that looks like it.
    # Approvals compare persons by likeness, so both count as one.
    older = name.kind == other.kind == "person" and not is_id(other.owner)
    return older and likeness(other.owner) == likeness(name.owner)


def _signed(kind: str, owner: str, text: str) -> bytes:
    return canonical([kind, owner, text]).encode()


def _plain(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode() if not text.isprintable() or not text.isascii() else text
