"""Follow labelled files that are renamed, copied, archived or saved under another id before anybody reads them.

A label rule names the tools that read, and where. What another tool does with a file in that place is followed by name:
the other paths and ids in the act, and ids that it returns, are labelled places too. What is read from such a place, by
whatever tool, carries the label, as if the label rule had named it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.guard.act import Act
from holdfast.guard.policy.memory_store import ContentStore
from holdfast.guard.policy.normalise import UNKNOWN, Uninspectable
from holdfast.guard.policy.paths import Paths, path_chain, read_path
from holdfast.guard.policy.schema import Label

_SCHEMA = """CREATE TABLE IF NOT EXISTS places (
    policy TEXT, server TEXT, label TEXT, place TEXT, PRIMARY KEY (policy, server, label, place)
)"""
#: A path, or an id: one word with a digit or a separator.
_PLACE = re.compile(r"(?=.{1,512}$)(?=[^\s]*[\d/._:#-])[^\s\"'<>{}\[\],;]+")
_LONGEST, _MOST = 512, 64
_ROOTED = ("/", "./", "file:")


@dataclass(frozen=True)
class _Source:
    label: str
    server: str
    paths: Paths


class LabelledPlaces:
    """The places that hold labelled files under a policy, and what was moved or copied out of them.

    Args:
        name: the policy's name.
        labels: its label rules.
        store: the guard's database.
        links: servers for whose paths symbolic links are resolved.
    """

    def __init__(self, name: str, labels: Iterable[Label], store: ContentStore, links: Iterable[str] = ()) -> None:
        self._name, self._store = name, store
        self._sources: list[_Source] = []
        local = set(links)
        for label in labels:
            entries = [entry for constraint in label.constraints.values() for entry in constraint.under or ()]
            for server in {tool.partition("/")[0] for tool in label.tools} if entries else ():
                self._sources.append(_Source(label.label, server, Paths(entries, server in local)))
        with store.transaction() as db:
            db.execute(_SCHEMA)
        self._known = bool(store.read("SELECT 1 FROM places WHERE policy = ? LIMIT 1", name))

    def labels(self, act: Act) -> dict[str, set[str]]:
        """Return the labels of the places that an act names: label → the arguments that name them."""
        found: dict[str, set[str]] = {}
        for slot, text in _texts(act.arguments) if self._sources else ():
            if len(text) <= _LONGEST:
                for label in self._labels_of(act.server, text):
                    found.setdefault(label, set()).add(slot)
        return found

    def follow(self, act: Act) -> None:
        """Note the other places that an allowed act names beside a labelled one."""
        rows = [
            (self._name, act.server, label, _key(text))
            for label, slots in self.labels(act).items()
            for slot, text in _texts(act.arguments)
            if slot not in slots and _PLACE.fullmatch(text)
        ]
        self._add(rows)

    def keep(self, act: Act, labels: Iterable[str]) -> None:
        """Note the places that an allowed act names and in which it puts labelled content."""
        places = [text for _, text in _texts(act.arguments) if text.startswith(_ROOTED) and _PLACE.fullmatch(text)]
        self._add([(self._name, act.server, label, _key(text)) for label in labels for text in places[:_MOST]])

    def writes(self, act: Act) -> bool:
        """Return whether an act names a place, and has a text that could be put there."""
        texts = [text for _, text in _texts(act.arguments)]
        return any(text.startswith(_ROOTED) for text in texts) and any(" " in text.strip() for text in texts)

    def returned(self, act: Act, texts: Sequence[str]) -> None:
        """Note the ids that an act on a labelled place returned."""
        words = (text.strip() for text in texts if _PLACE.fullmatch(text.strip()))
        ids = [word for word in words if word.startswith(_ROOTED) or any(map(str.isdigit, word))]
        self._add([(self._name, act.server, label, _key(one)) for label in self.labels(act) for one in ids[:_MOST]])

    def _add(self, rows: list[tuple[str, str, str, str]]) -> None:
        if rows:
            self._known = True
            with self._store.transaction(durable=False) as db:
                db.executemany("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)", rows)

    def _labels_of(self, server: str, text: str) -> Iterator[str]:
        for source in self._sources:
            if source.server in (server, "*") and _covers(source.paths, text):
                yield source.label
        if self._known:
            steps = list(path_chain(_key(text)))[:_MOST]
            marks = ", ".join("?" * len(steps))
            query = f"SELECT DISTINCT label FROM places WHERE policy = ? AND server = ? AND place IN ({marks})"
            yield from (row["label"] for row in self._store.read(query, self._name, server, *steps))


def _covers(paths: Paths, text: str) -> bool:
    """Return whether a path lies in a labelled folder, or holds one."""
    if not _PLACE.fullmatch(text):
        return False
    try:
        if paths.terms(text) - {UNKNOWN}:
            return True
        path = read_path(text)
    except Uninspectable:
        return False
    return path not in ("/", ".") and any(path in path_chain(entry) for entry in paths.known)


def _key(text: str) -> str:
    try:
        return read_path(text).casefold()
    except Uninspectable:
        return text.casefold()


def _texts(value: Any, slot: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield slot, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, slot or str(name))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _texts(inner, slot)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield slot, f"#{value}"
