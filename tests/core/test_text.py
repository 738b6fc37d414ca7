"""Odd text from outside: every record that it reaches can be written, and reads back as it was stored."""

from __future__ import annotations

import random
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from holdfast.core import records
from holdfast.core.identity import key_of
from holdfast.core.records import Record
from holdfast.core.store import RunFolder, write_json
from holdfast.core.text import storable, storable_tree
from holdfast.data.audit.scan import AuditExample
from holdfast.data.quality.findings import Hit
from holdfast.data.response_cache import CachedResponse

#: Records that hold text of models, providers or other people's files.
KINDS: list[type[Record]] = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record
] + [CachedResponse, AuditExample, Hit]
ODD = [
    "\ud83d",
    "\ude00",
    "\ud83d\ude00",
    "\x00",
    "\x1b[2J",
    "\r\n",
    "\u2028",
    "\x85",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
]


def odd(rng: random.Random) -> str:
    pieces = [*ODD, "word", "é", "😀", "\\ud83d", '"', "\\", chr(rng.randrange(0x110000))]
    return "".join(rng.choices(pieces, k=rng.randrange(6)))


def made(kind: Any, rng: random.Random) -> Any:
    """A value of an annotated type, with odd text wherever it takes text."""
    origin, inner = get_origin(kind), get_args(kind)
    if hasattr(kind, "__metadata__"):
        return made(inner[0], rng)
    if origin is Literal:
        return rng.choice(inner)
    if origin in (Union, types.UnionType):
        return made(rng.choice(inner), rng)
    if origin is tuple:
        repeated = len(inner) == 2 and inner[1] is Ellipsis
        return tuple(made(part, rng) for part in (inner[:1] * rng.randrange(3) if repeated else inner))
    if origin is not None and issubclass(origin, Mapping):
        return {made(inner[0], rng): made(inner[1], rng) for _ in range(rng.randrange(3))}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields.values()
        return {name: made(f.rebuild_annotation(), rng) for name, f in zip(kind.model_fields, fields, strict=True)}
    plain = {str: lambda: odd(rng), int: lambda: rng.randrange(99), bool: lambda: rng.random() < 0.5}
    # What takes anything holds what our own code puts there.
    return {**plain, float: rng.random, type(None): lambda: None, Any: lambda: "ours"}[kind]()


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from texts(pair)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_of_odd_text_can_be_written_and_reads_back_the_same(kind: type[Record], tmp_path: Path) -> None:
    rng = random.Random(kind.__name__)
    raw = [made(kind, rng) for _ in range(100)]
    stored = [kind.model_validate(value) for value in raw]
    folder = RunFolder(tmp_path)
    folder.append("odd", stored)
    assert folder.read("odd", kind) == stored
    if any("\ud83d" in text for value in raw for text in texts(value)):
        assert any("\\ud83d" in text for record in stored for text in texts(record.model_dump())), "it is gone"


def test_what_cannot_be_encoded_is_written_out_and_all_else_stays() -> None:
    assert storable("I did \ud83d nothing") == "I did \\ud83d nothing"
    assert storable("\ud83d\ude00") == "😀"
    assert storable("\ude00\ud83d") == "\\ude00\\ud83d"
    for text in ("", "plain", "naïve 😀", "a\x00b\x1b[2J\r\n\u2028\x7f", "\\ud83d"):
        assert storable(text) is text
    assert storable_tree({"\ud83d": ["\ud83d", ("a", 1)], "n": None}) == {"\\ud83d": ["\\ud83d", ["a", 1]], "n": None}


def test_names_and_whole_files_take_any_text_too(tmp_path: Path) -> None:
    assert key_of(["\ud83d"]) != key_of(["\ude00"])
    write_json(tmp_path / "odd.json", {"command": "holdfast \udcff"})
    assert "holdfast" in (tmp_path / "odd.json").read_text(encoding="utf-8")
