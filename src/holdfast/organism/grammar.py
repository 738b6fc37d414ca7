"""Pocket grammar: lists of alternatives in TOML, expanded with a random generator.

`{slot}` stands for a word given by the caller, for a word drawn from a pool (`author/draws.toml`; the same word for
the length of a text, no word twice), or for another list of the same file, drawn anew each time it occurs.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import line_of, read_toml
from holdfast.core.errors import ConfigError, ProseError
from holdfast.core.prose import slots_in
from holdfast.core.words import words

FOLDER = Path(__file__).parent / "author"
LANGUAGE = "pocket"
_SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_WORD = re.compile(r"[a-z0-9][a-z0-9.'-]*[a-z0-9]|[a-z0-9]")


class Grammar:
    """The lists of TOML files, nested tables flattened with `_`.

    Raises:
        ConfigError: a file is missing or a list holds something other than text.
    """

    def __init__(self, *paths: Path) -> None:
        self.path = paths[0]
        self.rules: dict[str, tuple[str, ...]] = {
            name: texts for path in paths for name, texts in _flatten(read_toml(path), path)
        }
        self.draws, self.pools = _draws()

    def text(self, name: str, rng: random.Random) -> Text:
        """A new text seeded by `rng`, with its own draws; `name` seeds nothing and only labels errors."""
        return Text(self, name, rng)

    def missing(self, given: frozenset[str] = frozenset()) -> set[str]:
        """Slots that neither a draw, a list of this file nor `given` fills."""
        used = {slot for texts in self.rules.values() for text in texts for slot in slots_in(text)}
        return used - set(self.rules) - set(self.draws) - given


class Text:
    """One text in the making: the words it has drawn and the alternatives it has not used yet."""

    def __init__(self, grammar: Grammar, name: str, rng: random.Random) -> None:
        self.grammar, self.name, self.rng = grammar, name, rng
        self.bound: dict[str, str] = {}
        self._left: dict[str, list[str]] = {}

    def bind(self, **values: str) -> Text:
        """Fix slots to given words; they are not drawn again for another slot."""
        self.bound |= values
        return self

    def write(self, rule: str) -> str:
        """One alternative of a list, expanded; a list repeats itself only after all of it was used.

        Raises:
            ProseError: there is no such list, or a slot that nothing fills.
        """
        if rule not in self.grammar.rules:
            raise ProseError(f"no list called '{rule}'", where=self.grammar.path, remedy="add it")
        left = self._left.setdefault(rule, [])
        if not left:
            left.extend(self.grammar.rules[rule])
            self.rng.shuffle(left)
        return _SLOT.sub(lambda match: self._slot(match[1]), left.pop())

    def fill(self, text: str) -> str:
        """Expand the slots of a text that is not in the grammar's lists."""
        return _SLOT.sub(lambda match: self._slot(match[1]), text)

    def _slot(self, slot: str) -> str:
        if slot in self.bound:
            return self.fill(self.bound[slot])
        if slot in self.grammar.rules:
            return self.write(slot)
        pool = self.grammar.draws.get(slot)
        if pool is None:
            raise ProseError(f"slot '{{{slot}}}' has no value", where=self.grammar.path, remedy="add a list or a draw")
        taken = set(self.bound.values())
        free = [word for word in self.grammar.pools[pool] if word not in taken]
        self.bound[slot] = self.rng.choice(free)
        return self.bound[slot]


@cache
def grammar(name: str) -> Grammar:
    """The grammar of `author/<name>.toml`."""
    return Grammar(FOLDER / f"{name}.toml")


def closest_table(book: Grammar, kind: str, text: str) -> str:
    """The table of `book` below `kind` whose `match` words a text holds most of, as a prefix of its lists."""
    have = words_of(text)
    tables = [
        rule.removesuffix("_match") for rule in book.rules if rule.startswith(f"{kind}_") and rule.endswith("_match")
    ]

    def score(table: str) -> float:
        match = words_of(book.rules[f"{table}_match"][0])
        return len(match & have) / math.sqrt(len(match))

    return max(tables, key=score)


def draw_office(rng: random.Random) -> dict[str, str]:
    """Draw one office: who is who at which firm, no word twice, and everyone's address."""
    pools = words(LANGUAGE)
    values = dict(zip(("boss", "asker", "friend", "witness", "outsider"), rng.sample(pools["people"], 5), strict=True))
    for slots, pool in ((("firm", "outfirm"), "firms"), (("machine", "new"), "machines"), (("file", "old"), "files")):
        values |= zip(slots, rng.sample(pools[pool], 2), strict=True)
    for slot in ("secret", "time", "day", "event", "place", "thing", "fault", "good", "design"):
        values[slot] = rng.choice(pools[f"{slot}s"])
    values |= {f"{who}_at": f"{values[who]}@{values['firm']}" for who in ("boss", "asker", "friend", "witness")}
    return values | {"outsider_at": f"{values['outsider']}@{values['outfirm']}"}


def words_of(text: str) -> set[str]:
    """The words of a pocket text, slots left out."""
    return set(_WORD.findall(re.sub(r"\{[^}]*\}", " ", text.lower())))


@cache
def vocabulary() -> frozenset[str]:
    """Every word the author can write: those of its lists and of the pools it draws from."""
    found: set[str] = set()
    for path in sorted(FOLDER.glob("*.toml")):
        if path.name == "draws.toml":
            continue
        for texts in Grammar(path).rules.values():
            found |= {word for text in texts for word in words_of(text)}
    draws, pools = _draws()
    return frozenset(found | {word for pool in draws.values() for entry in pools[pool] for word in words_of(entry)})


def plain_text(rng: random.Random) -> str:
    """One plain text for general pocket prose: small talk, question on a text, memo or tale.

    Chats hold `user:` and `assistant:` lines.
    """
    kind = rng.choices(["talk", "ask_text", "memo", "tale", "use"], [2, 2, 3, 3, 2])[0]
    return grammar("plain").text(kind, rng).write(kind)


@cache
def _draws() -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    raw = read_toml(FOLDER / "draws.toml")
    pools = dict(words(LANGUAGE)) | {name: tuple(entries) for name, entries in raw["pools"].items()}
    for slot, pool in raw["draw"].items():
        if pool not in pools:
            where = f"{FOLDER / 'draws.toml'}:{line_of(FOLDER / 'draws.toml', ['draw', slot])}"
            raise ConfigError(f"slot '{slot}' draws from an unknown pool '{pool}'", where=where, remedy="mend the name")
    return raw["draw"], pools


def _flatten(table: Mapping[str, object], path: Path, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, path, f"{prefix}{key}_")
        elif isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
            yield f"{prefix}{key}", tuple(value)
        elif isinstance(value, str):
            yield f"{prefix}{key}", (value,)
        else:
            raise ConfigError(f"list '{key}' is not a list of texts", where=path, remedy="write texts in it")
