"""Recognise labelled content wherever it goes: in files, drafts, mails, memories and runs that the label did not name.

    content = LabelledContent(policy.name, store, secret)
    content.received(act, result)        # the result of a labelled read is remembered, by its fragments
    flow = content.flow(act)             # which labels this act's texts carry
    content.count(flow, sent=True)       # count what an allowed act carried

A label stays on its content until a person whom the policy entitles declassifies it. Small pieces count too: what is
sent to one destination is summed over a week, and pieces that follow one another are joined. The fragments are stored
as keyed hashes, so that the guard's database is no second copy of the content.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast.core.identity import canonical
from holdfast.detectors.isomorph import IN_A_ROW, in_a_row, replaced, shapes
from holdfast.detectors.unscrambled import unscrambled
from holdfast.guard.act import Act
from holdfast.guard.policy.fragments import (
    JOINED,
    PIECE,
    SIZE,
    THINNED,
    Leaf,
    fragments,
    keyed,
    keypad,
    readings_of,
    regions,
    sampled,
    sorted_letters,
    spread,
    squeeze,
    texts_in,
    thinned,
    unfigured,
    ways_out,
    weigh,
    word_set,
)
from holdfast.guard.policy.memory_store import ContentStore

#: source → position in it → what counts there
Found = dict[int, dict[int, float]]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS labelled (
    id INTEGER PRIMARY KEY, policy TEXT NOT NULL, label TEXT NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL,
    agent TEXT NOT NULL, tool TEXT NOT NULL, place TEXT NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL,
    UNIQUE (policy, label, digest)
);
CREATE TABLE IF NOT EXISTS fragments (
    hash INTEGER, source INTEGER, position INTEGER, PRIMARY KEY (hash, source)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fragments_by_source ON fragments (source);
CREATE TABLE IF NOT EXISTS carried (
    place TEXT, source INTEGER, position INTEGER, at REAL, weight REAL, PRIMARY KEY (place, source, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tails (
    policy TEXT, place TEXT, slot TEXT, text TEXT, raw TEXT, PRIMARY KEY (policy, place, slot)
);
"""
#: Letters and digits of labelled content that give a label to what carries them, within `_NEAR` of one labelled text:
#: phrases from all over it coincide by chance in many messages. To the tool as a whole, over all destinations, it is
#: twice as many. A shorter labelled text counts when two thirds of it are there.
ENOUGH = 32
_NEAR = 256
#: Share of the long words of a labelled text that give the label to a text that has them in any order.
_MOST_OF_WORDS = 0.7
_WINDOW = 7 * 24 * 3600.0
_RAW_TAIL = 256
#: Most letters and digits of one labelled result that are remembered.
_MOST = 1 << 19
#: A longer result is compared by every fourth fragment first.
_SAMPLED = 4096
_MASK = 3
#: Forms of a text that seldom carry anything are compared by every fourth fragment first.
_STEP = 4
#: Slots whose texts are the same in every act of a tool.
_FIXED = ("tool", "name", f"{JOINED}name", f"{JOINED}name back")
#: Fewest letters in a row that count in a text that was put together or taken apart: by chance, shorter ones occur.
_DERIVED = 14
_BATCH = 500
#: A shorter labelled text without a digit is not remembered: it is a common word, such as an empty answer.
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class Flow:
    """The labelled content in an act.

    Attributes:
        labels: the labels that the act carries enough of, alone or with what went to the same destination before.
        carried: (place, source) → position in it and what counts there, to be counted if the act is allowed.
        tails: (place, slot) → the end of what was sent there, squeezed and as written.
    """

    labels: tuple[str, ...]
    carried: Mapping[tuple[str, int], Mapping[int, float]]
    tails: Mapping[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """One labelled text: what gave it the label, its size in letters and digits, and whether it still has it."""

    id: int
    label: str
    agent: str
    tool: str
    place: str
    size: int
    at: float
    declassified: bool

    def statement(self, person: str, reason: str) -> bytes:
        """Return the statement (32 bytes) that a person proves to declassify this text."""
        body = ["declassify", self.id, self.label, self.tool, self.place, self.size, person, reason]
        return hashlib.sha256(canonical(body).encode()).digest()


@dataclass(frozen=True, slots=True)
class _Source:
    label: str
    size: int


@lru_cache(maxsize=64)
def _other_readings(text: str) -> tuple[str, ...]:
    """Return, squeezed, what a text may carry spread over it, in another order, or in figures."""
    parts = (*spread(text), *unscrambled(text), *keypad(text), *unfigured(text))
    found = dict.fromkeys(filter(None, map(squeeze, parts)))
    return (*found, *([sorted_letters(text)] if len(text) <= THINNED else []))


class LabelledContent:
    """The labelled content of one policy. Not thread-safe by itself: call it inside a transaction of the store.

    Args:
        name: the policy's name; other policies in the same database have other content.
        store: the guard's database.
        secret: key of the fragments' hashes.
    """

    def __init__(self, name: str, store: ContentStore, secret: bytes) -> None:
        self._name, self._store = name, store
        self._hasher = hashlib.blake2b(digest_size=8, key=secret[:64])
        self._sources: dict[int, _Source] = {}
        self._newest = self._shortest = 0
        with store.transaction() as db:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)

    # ---------------------------------------------------------------------------------------------------- outwards

    def flow(self, act: Act, beside: Mapping[str, Any] | None = None) -> Flow:
        """Return the labelled content that an act would carry out.

        Args:
            act: the requested act.
            beside: further content that is forwarded with it.
        """
        if not self._labelled():
            return Flow((), {}, {})
        ways = ways_out(act.server, act.tool, {**act.arguments, **({"_meta": beside} if beside else {})})
        found: Found = {}
        whole: set[str] = set()
        tails: dict[tuple[str, str], tuple[str, str]] = {}
        for leaf in ways.leaves:
            if leaf.address and self._names(leaf.address):
                continue
            if leaf.slot == "tool" or leaf.slot.startswith(JOINED):
                self._weigh(squeeze(leaf.text), found, whole, least=_DERIVED)
            else:
                self._weigh_readings(leaf.text, found, whole)
            for place in ways.places:
                self._weigh_piece(place, leaf, tails, found, whole)
        carried = {(place, source): counts for place in ways.places for source, counts in found.items()}
        most = {place: float(ENOUGH) for place in ways.places}
        if len(most) > 1:
            most[ways.places[0]] *= 2
        over = (one for one, counts in carried.items() if self._most_near(*one, counts) >= most[one[0]])
        labels = {self._sources[source].label for _, source in over}
        return Flow(tuple(sorted(labels | whole)), carried, tails)

    def count(self, flow: Flow, *, sent: bool) -> None:
        """Count what an act carried out if it is sent; remember the end of its texts also if it is refused.

        A piece that follows a refused piece is labelled too.
        """
        now, name = self._store.now(), self._name
        rows = [
            (place, source, position, now, weight)
            for (place, source), counts in flow.carried.items()
            for position, weight in counts.items()
            if sent
        ]
        tails = [(name, place, slot, text, raw) for (place, slot), (text, raw) in flow.tails.items()]
        if not rows and not tails:
            return
        with self._store.transaction(durable=False) as db:
            db.executemany("INSERT OR REPLACE INTO carried VALUES (?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO tails VALUES (?, ?, ?, ?, ?)", tails)

    def _names(self, address: str) -> bool:
        """Return whether labelled content names an address."""
        hashes = self._hashes(squeeze(address))
        return bool(hashes) and len(self._known(hashes)) == len(set(hashes))

    def _weigh_readings(self, text: str, found: Found, whole: set[str]) -> None:
        for reading in readings_of(text):
            squeezed = squeeze(reading)
            if self._may_count(squeezed):
                self._weigh(squeezed, found, whole)
            self._weigh_shapes(reading, found)
            self._weigh_words(reading, whole)
        for part in _other_readings(text):
            # What counts is longer than the steps between the samples.
            if self._known(self._hash_all(fragments(part, _DERIVED - SIZE + 1))):
                self._weigh(part, found, whole, least=_DERIVED)

    def _may_count(self, squeezed: str) -> bool:
        """Return whether a sample of a text's fragments is labelled: without one, nothing in a longer text counts."""
        if len(squeezed) <= 2 * PIECE or self._shortest < ENOUGH:
            return True
        return bool(self._known(self._hash_all(sampled(squeezed))))

    def _weigh_shapes(self, text: str, found: Found) -> None:
        """Add what counts of a text in which other signs stand for the letters of labelled content."""
        for windows in map(shapes, replaced(text)):
            if not self._known(self._hash_all(windows[::_STEP])):
                continue
            hashes = self._hash_all(windows)
            hits = self._known(hashes)
            for source in {source for places in hits.values() for source in places}:
                for at in in_a_row([source in hits.get(one, ()) for one in hashes]):
                    found.setdefault(source, {})[hits[hashes[at]][source]] = ENOUGH / IN_A_ROW

    def _weigh_words(self, text: str, whole: set[str]) -> None:
        """Add the labels of texts of which most of the long words are there, in whatever order."""
        hits = self._known(self._hash_all(sorted(word_set(text))))
        counts = Counter(source for places in hits.values() for source in places)
        for source, count in counts.items():
            # The position of a word says how many there are.
            total = next(-places[source] for places in hits.values() if source in places)
            if count >= _MOST_OF_WORDS * total > 0:
                whole.add(self._sources[source].label)

    def _weigh_piece(
        self,
        place: str,
        leaf: Leaf,
        tails: dict[tuple[str, str], tuple[str, str]],
        found: Found,
        whole: set[str],
    ) -> None:
        """Weigh a short text together with the short texts that were sent in the same slot before."""
        piece = squeeze(leaf.text)
        longest, least = (8 * PIECE, _DERIVED) if leaf.slot.startswith(JOINED) else (PIECE, 0)
        if leaf.slot in _FIXED or not piece or len(piece) > longest:
            return
        key = place, leaf.slot
        if key not in tails:
            query = "SELECT text, raw FROM tails WHERE policy = ? AND place = ? AND slot = ?"
            rows = self._store.read(query, self._name, *key)
            tails[key] = (rows[0]["text"], rows[0]["raw"]) if rows else ("", "")
        text, raw = tails[key]
        if text:
            self._weigh(text + piece, found, whole, fresh=len(text), least=least)
            joined = raw + leaf.text
            for reading in list(readings_of(joined))[1:]:
                self._weigh(squeeze(reading), found, whole, least=_DERIVED)
        tails[key] = (text + piece)[-PIECE:], (raw + leaf.text)[-_RAW_TAIL:]

    def _weigh(self, squeezed: str, found: Found, whole: set[str], *, fresh: int = 0, least: int = 0) -> None:
        """Add what counts of the labelled fragments of a text to `found`, and the labels of short texts to `whole`.

        Args:
            squeezed: the text.
            found: gets what counts.
            whole: gets the labels of short texts.
            fresh: index at which new text begins, after text that was counted before.
            least: fewest letters in a row that count.
        """
        hashes = self._hashes(squeezed)
        hits = self._known(hashes)
        if len(hits) <= least - SIZE or not hits:
            return
        for label in {self._sources[source].label for places in hits.values() for source in places}:
            known = [any(self._sources[s].label == label for s in hits.get(one, ())) for one in hashes]
            rows = [region for region in regions(known) if region.end - region.first >= least]
            for region, weight in weigh(squeezed, rows, fresh):
                inside = hashes[region.first : region.last + 1]
                share = weight / len(inside)
                for source, position in (place for one in inside for place in hits[one].items()):
                    if self._sources[source].label == label:
                        counts = found.setdefault(source, {})
                        counts[position] = max(share, counts.get(position, 0.0))
        if any(one in hits for one in hashes[max(0, fresh - SIZE + 1) :]):
            whole.update(self._short_texts(hits))

    def _short_texts(self, hits: Mapping[int, Mapping[int, int]]) -> Iterator[str]:
        """Yield the labels of short labelled texts of which two thirds are there."""
        counts = Counter(number for places in hits.values() for number in places)
        for number, count in counts.items():
            source = self._sources[number]
            fragments_of = source.size - SIZE + 1
            share = count * 3 >= fragments_of * 2 if fragments_of >= _FEWEST else count == fragments_of
            if source.size < ENOUGH * 3 // 2 and share:
                yield source.label

    def _most_near(self, place: str, source: int, counts: Mapping[int, float]) -> float:
        """Return the most that counts within `_NEAR` of a labelled text, of this and what went to a place before."""
        query = "SELECT position, weight FROM carried WHERE place = ? AND source = ? AND at > ?"
        rows = self._store.read(query, place, source, self._store.now() - _WINDOW)
        both = sorted(({row["position"]: row["weight"] for row in rows} | dict(counts)).items())
        most = total = 0.0
        first = 0
        for position, weight in both:
            total += weight
            while position - both[first][0] > _NEAR:
                total -= both[first][1]
                first += 1
            most = max(most, total)
        return most

    # ----------------------------------------------------------------------------------------------------- inwards

    def received(self, act: Act, result: Any, labels: Collection[str]) -> list[str]:
        """Remember the result of a labelled read, and recognise labelled content in any result.

        Args:
            act: the act that returned the result.
            result: the result.
            labels: the labels that the policy gives to the act.

        Returns:
            The labels of content that the result carries, which the run gains.
        """
        texts = texts_in(result)
        squeezed = [squeeze(reading) for text in texts for reading in readings_of(text)]
        found = self._recognised(act, texts, squeezed) if self._labelled() else []
        for label in labels:
            self._remember(act, label, squeezed, texts)
        return found

    def _remember(self, act: Act, label: str, squeezed: Sequence[str], texts: Sequence[str]) -> None:
        """Remember a text by its fragments, and by what remains of it in other forms, which are not its size."""
        positions = self._positions(squeezed, 0)
        # A declassified fragment stays so when a later version of its text is read.
        query = (
            "SELECT DISTINCT hash FROM fragments JOIN labelled ON source = id "
            "WHERE policy = ? AND label = ? AND state != 'labelled'"
        )
        cleared = {row["hash"] for row in self._store.read(query, self._name, label)}
        hashes = positions.keys() - cleared
        if not hashes or (len(hashes) < _FEWEST and not any(char.isdigit() for text in squeezed for char in text)):
            return
        digest = hashlib.blake2b(b"".join(one.to_bytes(8, "big", signed=True) for one in sorted(hashes))).digest()
        place = json.dumps(dict(act.arguments), ensure_ascii=False, default=dict)[:200]
        origin = (self._store.now(), act.agent, f"{act.server}/{act.tool}", place)
        row = (self._name, label, digest, *origin, len(hashes) + SIZE - 1, "labelled")
        with self._store.transaction(durable=False) as db:
            cursor = db.execute(
                "INSERT OR IGNORE INTO labelled (policy, label, digest, at, agent, tool, place, size, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            if cursor.rowcount:
                rows = [(one, cursor.lastrowid, positions[one]) for one in hashes]
                if len(hashes) > ENOUGH:
                    others = self._other_forms(squeezed, texts)
                    rows += [(one, cursor.lastrowid, at) for one, at in others.items() if one not in cleared]
                db.executemany("INSERT OR IGNORE INTO fragments VALUES (?, ?, ?)", rows)

    def _other_forms(self, squeezed: Sequence[str], texts: Sequence[str]) -> dict[int, int]:
        """Return the hashes of thinned parts, of shapes and of words, with positions behind those of the text."""
        start = sum(map(len, squeezed)) + _NEAR
        parts = [squeeze(part) for text in texts for part in thinned(text)]
        found = self._positions([*parts, *(keyed(text[:THINNED]) for text in squeezed[:1])], start)
        start = max(found.values(), default=start) + _NEAR
        found = self._positions([sorted_letters(text[:THINNED]) for text in texts], start) | found
        for text in squeezed:
            start = max(found.values(), default=start) + _NEAR
            forms = [(form, at) for at, form in enumerate(shapes(text[:THINNED]), start) if form]
            hashes = self._hash_all([form for form, _ in forms])
            found = {one: at for one, (_, at) in zip(hashes, forms, strict=True)} | found
        words = word_set("\n".join(texts))
        return found | dict.fromkeys(self._hash_all(sorted(words)), -len(words))

    def _positions(self, squeezed: Sequence[str], start: int) -> dict[int, int]:
        """Return the hashes of the fragments of texts that follow one another, and their first positions."""
        positions: dict[int, int] = {}
        for text in squeezed:
            for number, one in enumerate(self._hashes(text[: max(0, _MOST - start)])):
                positions.setdefault(one, start + number)
            start += len(text)
        return positions

    def _recognised(self, act: Act, texts: Sequence[str], squeezed: Sequence[str]) -> list[str]:
        found: Found = {}
        whole: set[str] = set()
        for text in texts:
            if len(text) <= _SAMPLED:
                self._weigh_readings(text, found, whole)
        for text in squeezed:
            if len(text) > _SAMPLED and not self._known([one for one in self._hashes(text) if not one & _MASK]):
                continue
            self._weigh(text, found, whole)
        carried = {(f"run {act.run}", source): counts for source, counts in found.items()}
        over = (
            source for (place, source), counts in carried.items() if self._most_near(place, source, counts) >= ENOUGH
        )
        labels = whole | {self._sources[source].label for source in over}
        self.count(Flow((), carried, {}), sent=True)
        return sorted(labels)

    # ------------------------------------------------------------------------------------------------ declassifying

    def sources(self) -> list[LabelledSource]:
        """Return every labelled text of the policy, oldest first."""
        rows = self._store.read("SELECT * FROM labelled WHERE policy = ? ORDER BY id", self._name)
        names = ("id", "label", "agent", "tool", "place", "size", "at")
        return [LabelledSource(**{n: row[n] for n in names}, declassified=row["state"] != "labelled") for row in rows]

    def declassify(self, source: LabelledSource) -> None:
        """Take the label from a text and from what else consists of its fragments; the caller has checked the person.

        The text stays without the label when it is read again.
        """
        with self._store.transaction() as db:
            db.execute("UPDATE labelled SET state = 'declassified' WHERE id = ?", (source.id,))
            same = "SELECT id FROM labelled WHERE policy = ? AND label = ?"
            mine = "SELECT hash FROM fragments WHERE source = ?"
            db.execute("DELETE FROM carried WHERE source = ?", (source.id,))
            db.execute(
                f"DELETE FROM fragments WHERE source != ? AND source IN ({same}) AND hash IN ({mine})",
                (source.id, self._name, source.label, source.id),
            )
        self._newest = 0

    # -------------------------------------------------------------------------------------------------------- index

    def _labelled(self) -> bool:
        """Read the sources that were added since the last call, and return whether there are any."""
        [newest] = self._store.read("SELECT coalesce(max(id), 0) AS id, total(state != 'labelled') AS n FROM labelled")
        mark = newest["id"] * 1_000_003 + int(newest["n"])
        if mark != self._newest:
            query = "SELECT id, label, size FROM labelled WHERE policy = ? AND state = 'labelled'"
            rows = self._store.read(query, self._name)
            self._sources = {row["id"]: _Source(row["label"], row["size"]) for row in rows}
            self._newest, self._shortest = mark, min((one.size for one in self._sources.values()), default=0)
        return bool(self._sources)

    def _known(self, hashes: Sequence[int]) -> dict[int, dict[int, int]]:
        """Return the labelled sources of the fragments that have any, and the fragments' positions in them."""
        found: dict[int, dict[int, int]] = {}
        different = list(set(hashes))
        for at in range(0, len(different), _BATCH):
            batch = different[at : at + _BATCH]
            marks = ",".join("?" * len(batch))
            for row in self._store.read(f"SELECT * FROM fragments WHERE hash IN ({marks})", *batch):
                if row["source"] in self._sources:
                    found.setdefault(row["hash"], {})[row["source"]] = row["position"]
        return found

    def _hashes(self, squeezed: str) -> list[int]:
        return self._hash_all(fragments(squeezed))

    def _hash_all(self, parts: Sequence[str]) -> list[int]:
        found = []
        for fragment in parts:
            hasher = self._hasher.copy()
            hasher.update(fragment.encode())
            found.append(int.from_bytes(hasher.digest(), "big", signed=True))
        return found
