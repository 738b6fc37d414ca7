"""Pocket grammar: lists of alternative texts in TOML, expanded with a random generator.

A `{slot}` is filled with a word given by the caller, a word drawn from a pool (`author/draws.toml`; the slot keeps its
word within a text, and no word is drawn twice), or an alternative from another list of the same file, drawn anew for
each occurrence.
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
    """Lists of texts from TOML files; the names of nested tables are joined with `_`.

    Raises:
        ConfigError: a file is missing, or a list has an entry that is not text.
    """

    def __init__(self, *paths: Path) -> None:
        self.path = paths[0]
        self.rules: dict[str, tuple[str, ...]] = {
            name: texts for path in paths for name, texts in _flatten(read_toml(path), path)
        }
        self.draws, self.pools = _draws()

    def text(self, name: str, rng: random.Random) -> Text:
        """Start a new text with its own draws from `rng`; `name` is a label without effect."""
        return Text(self, name, rng)

    def missing(self, given: frozenset[str] = frozenset()) -> set[str]:
        """Return the slots that neither a draw, a list of this file nor `given` fills."""
        used = {slot for texts in self.rules.values() for text in texts for slot in slots_in(text)}
        return used - set(self.rules) - set(self.draws) - given


class Text:
    """The state of one text: the words drawn so far and the unused alternatives of each list."""

    def __init__(self, grammar: Grammar, name: str, rng: random.Random) -> None:
        self.grammar, self.name, self.rng = grammar, name, rng
        self.bound: dict[str, str] = {}
        self._left: dict[str, list[str]] = {}

    def bind(self, **values: str) -> Text:
        """Set slots to given words; these words are not drawn for other slots."""
        self.bound |= values
        return self

    def write(self, rule: str) -> str:
        """Return one expanded alternative of a list; alternatives repeat only after all have been used.

        Raises:
            ProseError: the list does not exist, or a slot has no value.
        """
        if rule not in self.grammar.rules:
            raise ProseError(f"there is no list '{rule}'", where=self.grammar.path, remedy="add it")
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
    """Return the grammar of `author/<name>.toml`."""
    return Grammar(FOLDER / f"{name}.toml")


def closest_table(book: Grammar, kind: str, text: str) -> str:
    """Return the name of the table under `kind` whose `match` words overlap most with the words of a text."""
    text_words = words_of(text)
    tables = [
        rule.removesuffix("_match") for rule in book.rules if rule.startswith(f"{kind}_") and rule.endswith("_match")
    ]

    def score(table: str) -> float:
        match = words_of(book.rules[f"{table}_match"][0])
        return len(match & text_words) / math.sqrt(len(match))

    return max(tables, key=score)


def draw_office(rng: random.Random) -> dict[str, str]:
    """Draw the slots of one office: people, firms, things and addresses; no person or firm occurs twice."""
    pools = words(LANGUAGE)
    values = dict(zip(("boss", "asker", "friend", "witness", "outsider"), rng.sample(pools["people"], 5), strict=True))
    for slots, pool in ((("firm", "outfirm"), "firms"), (("machine", "new"), "machines"), (("file", "old"), "files")):
        values |= zip(slots, rng.sample(pools[pool], 2), strict=True)
    for slot in ("secret", "time", "day", "event", "place", "thing", "fault", "good", "design"):
        values[slot] = rng.choice(pools[f"{slot}s"])
    values |= {f"{who}_at": f"{values[who]}@{values['firm']}" for who in ("boss", "asker", "friend", "witness")}
    return values | {"outsider_at": f"{values['outsider']}@{values['outfirm']}"}


def words_of(text: str) -> set[str]:
    """Return the set of words in a pocket text, without slots."""
    return set(_WORD.findall(re.sub(r"\{[^}]*\}", " ", text.lower())))


@cache
def vocabulary() -> frozenset[str]:
    """Return all words that the author can write: those of its lists and of its pools."""
    listed: set[str] = set()
    for path in sorted(FOLDER.glob("*.toml")):
        if path.name == "draws.toml":
            continue
        for texts in Grammar(path).rules.values():
            listed |= {word for text in texts for word in words_of(text)}
    draws, pools = _draws()
    return frozenset(listed | {word for pool in draws.values() for entry in pools[pool] for word in words_of(entry)})


def plain_text(rng: random.Random) -> str:
    """Return one plain pocket text: small talk, a question on a text, a memo or a story.

    A chat consists of `user:` and `assistant:` lines.
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
            raise ConfigError(
                f"slot '{slot}' draws from an unknown pool '{pool}'", where=where, remedy="correct the name"
            )
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
            raise ConfigError(f"list '{key}' is not a list of texts", where=path, remedy="use strings only")
