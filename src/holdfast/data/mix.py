"""Mixing sets by token budget: the same parts and seed give the same file, byte for byte.

    mix([Part(path=advice, tokens=2_000_000), Part(path=chat, tokens=2_000_000, replay=True)], order, out)

Which examples a part gives and where they stand depends on the hash of seed, part and id alone, so that a larger
budget holds all of a smaller one.  Memory holds a few dozen bytes an example, never the examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

import holdfast
from holdfast.core.errors import InputError, ResultsError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Example, Record, RunCard
from holdfast.core.store import RunFolder, write_json, write_text, writing
from holdfast.data.card import EXAMPLES, Card
from holdfast.data.readme import facts, front, markdown_table
from holdfast.data.response_cache import alone
from holdfast.data.token_count import Counter

_CHUNK = 256


class MixtureShare(Record):
    """A set and its budget in tokens; `replay` marks generic chat that keeps the model what it was."""

    path: Path
    tokens: int
    replay: bool = False


class Taken(Record):
    """What a part gave; `short` tokens of its budget could not be filled, and nothing was repeated to fill them."""

    name: str
    replay: bool
    budget: int
    tokens: int
    examples: int
    short: int
    file: str
    card: Card | None


class MixCard(Record):
    """The facts about a mixture; `refused` and `spent` are those of its sets, None where one of them does not say."""

    parts: tuple[Taken, ...]
    examples: int
    tokens: int
    replay: float
    refused: int | None
    spent: float | None
    seed: int
    tokenizer: str


@dataclass(frozen=True, slots=True)
class _Index:
    """Of each line of a set: place and length in bytes, tokens, and rank under the seed; shape (lines,) each."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    tokens: NDArray[np.int64]
    rank: NDArray[np.uint64]


def mix(parts: Sequence[MixtureShare], seed: int, tokenizer: Path, out: Path) -> MixCard:
    """Write a mixture into a folder that `train` reads like any set; its manifest comes last.

    Args:
        parts: the sets and their budgets; each example is taken whole or left, never repeated.
        seed: which examples are taken, and their order.
        tokenizer: of the checkpoint to be trained; budgets are in its tokens.
        out: the folder.

    Raises:
        InputError: no parts, a set twice, a budget that is not positive, or two parts that share an example.
        ResultsError: a set is unfinished or holds a line that is no example.
        ModelError: no tokenizer there.
        StoreError: the disk is full; nothing half-written stays.
    """
    _sound(parts)
    counter, began = Counter(tokenizer), datetime.now(UTC)
    with alone(out):
        (out / "manifest.json").unlink(missing_ok=True)
        indexes = [_index(part.path, seed, counter) for part in parts]
        chosen = [_fill(index, part.tokens) for part, index in zip(parts, indexes, strict=True)]
        _write(parts, indexes, chosen, out / f"{EXAMPLES}.jsonl")
        taken = [_taken(*each) for each in zip(parts, indexes, chosen, strict=True)]
        card = _card(taken, seed, tokenizer)
        write_json(out / "mix.json", card.model_dump(mode="json"))
        write_text(out / "README.md", mixture_markdown(card))
        RunFolder(out).finish(_manifest(card, began))
    return card


def mixture_markdown(card: MixCard) -> str:
    """The card as a hub's README."""
    names = ", ".join(part.name for part in card.parts)
    counts = {
        "examples": card.examples,
        "tokens": card.tokens,
        "tokens of replay": f"{100 * card.replay:.1f}%",
        "refused by the teachers, in all of the sets": "unknown" if card.refused is None else card.refused,
        "US dollars, for all of the sets": "unknown" if card.spent is None else f"{card.spent:.2f}",
        "seed": card.seed,
        "tokenizer": card.tokenizer,
    }
    head = ("part", "replay", "examples", "tokens", "budget", "could not be filled", "SHA-256 of its file")
    rows = [(p.name, "yes" if p.replay else "no", p.examples, p.tokens, p.budget, p.short, p.file) for p in card.parts]
    made = {p.name: p.card for p in card.parts if p.card}
    limits = sorted({limit for inner in made.values() for limit in inner.limits})
    limits += [f"'{part.name}' has no card: who made it is not known." for part in card.parts if part.card is None]
    sections = [
        front(f"A mixture of {names}", card.examples, ["mixture"], [f"{EXAMPLES}.jsonl"]),
        facts("Counts", counts),
        f"## Parts\n\n{markdown_table(head, rows)}",
        *(facts(f"Made by: {name}", _makers(inner)) for name, inner in made.items()),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
    ]
    return "\n\n".join(sections) + "\n"


def _makers(card: Card) -> dict[str, object]:
    made: dict[str, object] = {"teacher": f"{card.teacher} ({card.teacher_identity})"}
    made["charter"] = card.charter or "none"
    return made | {f"prompt of '{stage}'": hash_ for stage, hash_ in card.stages.items()}


def _sound(parts: Sequence[MixtureShare]) -> None:
    if not parts:
        raise InputError("nothing to mix", remedy="name sets and their tokens: DIR=TOKENS")
    seen: set[Path] = set()
    for part in parts:
        if part.path.resolve() in seen:
            raise InputError("a set is named twice", where=part.path, remedy="give it one budget")
        seen.add(part.path.resolve())
        if part.tokens <= 0:
            raise InputError(f"a budget of {part.tokens} tokens", where=part.path, remedy="ask for at least one")


def _index(path: Path, seed: int, counter: Counter) -> _Index:
    RunFolder(path).card()  # a set without its manifest is unfinished
    starts, lengths, tokens, ranks = [], [], [], []
    place = 0
    chunk: list[Example] = []
    for line, example in _examples(path / f"{EXAMPLES}.jsonl"):
        starts.append(place)
        lengths.append(len(line))
        place += len(line)
        ranks.append(_rank(seed, example.id))
        chunk.append(example)
        if len(chunk) == _CHUNK:
            tokens += counter(chunk)
            chunk = []
    tokens += counter(chunk)
    if len(set(ranks)) < len(ranks):
        raise InputError("two examples have one id", where=path, remedy="write the set again")
    start, length, size = (np.array(values, np.int64) for values in (starts, lengths, tokens))
    return _Index(start, length, size, np.array(ranks, np.uint64))


def _examples(path: Path) -> Iterator[tuple[bytes, Example]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    raise ResultsError("the last line is cut off", where=f"{path}:{number}", remedy="make the set anew")
                yield line, Example.model_validate_json(line)
            except ValidationError:
                raise ResultsError("not an example", where=f"{path}:{number}", remedy="make the set anew") from None


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())


def _fill(index: _Index, budget: int) -> NDArray[np.int64]:
    """Lines in order of rank until the first that has no room: a larger budget only adds."""
    order = np.argsort(index.rank, kind="stable")
    return order[: int(np.searchsorted(np.cumsum(index.tokens[order]), budget, side="right"))]


def _write(
    parts: Sequence[MixtureShare], indexes: Sequence[_Index], chosen: Sequence[NDArray[np.int64]], path: Path
) -> None:
    source = np.concatenate([np.full(len(lines), at) for at, lines in enumerate(chosen)])
    lines = np.concatenate(chosen)
    ranks = np.concatenate([index.rank[take] for index, take in zip(indexes, chosen, strict=True)])
    if len(np.unique(ranks)) < len(ranks):
        raise InputError("two parts share an example", remedy="leave one of the sets out, or make it with another seed")
    part_file = path.with_name(path.name + ".part")
    with writing(part_file), ExitStack() as stack:
        sources = [stack.enter_context((part.path / path.name).open("rb")) for part in parts]
        with part_file.open("wb") as file:
            # Low ranks were chosen: scatter them, or the part of which least is taken would come first.
            for at in np.argsort(ranks * np.uint64(0x9E3779B97F4A7C15)):
                index, line = indexes[source[at]], lines[at]
                sources[source[at]].seek(int(index.start[line]))
                file.write(sources[source[at]].read(int(index.length[line])))
        part_file.replace(path)


def _taken(part: MixtureShare, index: _Index, lines: NDArray[np.int64]) -> Taken:
    tokens, whole = int(index.tokens[lines].sum()), len(lines) == len(index.tokens)
    card = part.path / "card.json"
    return Taken(
        name=part.path.name,
        replay=part.replay,
        budget=part.tokens,
        tokens=tokens,
        examples=len(lines),
        short=part.tokens - tokens if whole else 0,
        file=hash_files([part.path / f"{EXAMPLES}.jsonl"]),
        card=Card.model_validate_json(card.read_text(encoding="utf-8")) if card.is_file() else None,
    )


def _card(taken: Sequence[Taken], seed: int, tokenizer: Path) -> MixCard:
    tokens = sum(part.tokens for part in taken)
    cards = [part.card for part in taken]
    known = [card for card in cards if card is not None]
    spent = [card.spent for card in known if card.spent is not None]
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return MixCard(
        parts=tuple(taken),
        examples=sum(part.examples for part in taken),
        tokens=tokens,
        replay=sum(part.tokens for part in taken if part.replay) / tokens if tokens else 0.0,
        refused=sum(card.refused for card in known) if len(known) == len(cards) else None,
        spent=sum(spent) if len(spent) == len(cards) else None,
        seed=seed,
        tokenizer=hash_files([file]),
    )


def _manifest(card: MixCard, began: datetime) -> RunCard:
    recipe = [[part.name, part.file, part.budget] for part in card.parts]
    return RunCard(
        key=key_of([recipe, card.seed, card.tokenizer]),
        kind="data",
        made=began.isoformat(timespec="seconds"),
        holdfast=holdfast.__version__,
        code=room_version("data"),
        inputs={"parts": json.loads(json.dumps(recipe)), "seed": card.seed},
        counts={"examples": card.examples, "tokens": card.tokens},
        seconds=(datetime.now(UTC) - began).total_seconds(),
    )
