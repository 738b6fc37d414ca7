"""Mix sets by tokens or by acts. The same parts and seed give the same file, byte for byte.

    mix([MixtureShare(path=advice, tokens=2_000_000), MixtureShare(path=chat, tokens=2_000_000, replay=True)],
        seed, tokenizer, out)

Which examples are taken, and their order, depends only on the hash of seed, part and id, so a larger budget contains
every example of a smaller one. Memory use is a few dozen bytes per example.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

import holdfast
from holdfast.core.errors import InputError, ResultsError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Example, Record, RunCard
from holdfast.core.store import RunFolder, write_json, write_text, writing
from holdfast.data.card import EXAMPLES, Card
from holdfast.data.readme import front_matter, markdown_table, table_section
from holdfast.data.response_cache import exclusive_lock
from holdfast.data.token_count import TokenCounter

_CHUNK = 256


class MixtureShare(Record):
    """A set and its budget; `replay` marks generic chat that is mixed in against forgetting.

    The budget is in tokens, or in acts: tool calls of the assistant. Sets that teach acts are compared at equal acts.
    """

    path: Path
    tokens: int = 0
    acts: int = 0
    replay: bool = False

    @property
    def budget(self) -> int:
        """The budget, in its unit."""
        return self.acts or self.tokens


class TakenShare(Record):
    """What was taken from a part; `short` is the part of its budget that it was too small to fill (nothing repeats).

    `budget` and `short` are in `unit`; `acts` counts the tool calls of the assistant.
    """

    name: str
    replay: bool
    unit: Literal["tokens", "acts"] = "tokens"
    budget: int
    tokens: int
    acts: int | None = None
    examples: int
    short: int
    file: str
    card: Card | None


class MixCard(Record):
    """Summary of a mixture; `refused` and `spent` are sums over its sets, None if one of them does not record it."""

    parts: tuple[TakenShare, ...]
    examples: int
    tokens: int
    replay: float
    refused: int | None
    spent: float | None
    seed: int
    tokenizer: str


@dataclass(frozen=True, slots=True)
class _Index:
    """For each line of a set: byte offset and length, tokens, acts, and rank under the seed; each of shape (lines,)."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    tokens: NDArray[np.int64]
    acts: NDArray[np.int64]
    rank: NDArray[np.uint64]


def mix(parts: Sequence[MixtureShare], seed: int, tokenizer: Path, out: Path) -> MixCard:
    """Write a mixture into a folder that `train` reads like any set; the manifest is written last.

    Args:
        parts: sets and their budgets; no example is split or repeated.
        seed: determines which examples are taken and their order.
        tokenizer: tokenizer of the checkpoint to train; budgets are in its tokens.
        out: output folder.

    Raises:
        InputError: there are no parts, a set is listed twice, has no budget, two budgets or none of the acts that its
            budget counts, or two parts share an example.
        ResultsError: a set is unfinished or has an invalid line.
        ModelError: there is no tokenizer at `tokenizer`.
        StoreError: the disk is full; no partly written file is left.
    """
    _check_parts(parts)
    counter, began = TokenCounter(tokenizer), datetime.now(UTC)
    with exclusive_lock(out):
        (out / "manifest.json").unlink(missing_ok=True)
        indexes = [_index(part.path, seed, counter) for part in parts]
        chosen = [_fill(index, part) for part, index in zip(parts, indexes, strict=True)]
        _write(parts, indexes, chosen, out / f"{EXAMPLES}.jsonl")
        taken = [_taken(*each) for each in zip(parts, indexes, chosen, strict=True)]
        card = _card(taken, seed, tokenizer)
        write_json(out / "mix.json", card.model_dump(mode="json"))
        write_text(out / "README.md", mixture_markdown(card))
        RunFolder(out).finish(_manifest(card, began))
    return card


def mixture_markdown(card: MixCard) -> str:
    """Return the card as a README in the format of dataset hubs."""
    names = ", ".join(part.name for part in card.parts)
    counts = {
        "examples": card.examples,
        "tokens": card.tokens,
        "replay tokens": f"{100 * card.replay:.1f}%",
        "refused by the teachers, all sets": "unknown" if card.refused is None else card.refused,
        "US dollars, all sets": "unknown" if card.spent is None else f"{card.spent:.2f}",
        "seed": card.seed,
        "tokenizer": card.tokenizer,
    }
    head = ("part", "replay", "examples", "tokens", "acts", "budget", "not filled", "SHA-256 of its file")
    rows = [
        (p.name, "yes" if p.replay else "no", p.examples, p.tokens, p.acts, f"{p.budget} {p.unit}", p.short, p.file)
        for p in card.parts
    ]
    cards = {p.name: p.card for p in card.parts if p.card}
    limits = sorted({limit for inner in cards.values() for limit in inner.limits})
    limits += [f"'{part.name}' has no card, so its provenance is unknown." for part in card.parts if part.card is None]
    sections = [
        front_matter(f"A mixture of {names}", card.examples, ["mixture"], [f"{EXAMPLES}.jsonl"]),
        table_section("Counts", counts),
        f"## Parts\n\n{markdown_table(head, rows)}",
        *(table_section(f"Provenance of {name}", _provenance(inner)) for name, inner in cards.items()),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
    ]
    return "\n\n".join(sections) + "\n"


def _provenance(card: Card) -> dict[str, object]:
    rows: dict[str, object] = {"teacher": f"{card.teacher} ({card.teacher_identity})"}
    rows["charter"] = card.charter or "none"
    return rows | {f"prompt of '{stage}'": hash_ for stage, hash_ in card.stages.items()}


def _check_parts(parts: Sequence[MixtureShare]) -> None:
    if not parts:
        raise InputError("no sets to mix", remedy="pass sets and their tokens: DIR=TOKENS")
    seen: set[Path] = set()
    for part in parts:
        if part.path.resolve() in seen:
            raise InputError("the set is listed twice", where=part.path, remedy="list it once with one budget")
        seen.add(part.path.resolve())
        if part.budget <= 0:
            what = f"the budget must be at least 1, got {part.budget}"
            raise InputError(what, where=part.path, remedy="raise it")
        if part.acts and part.tokens:
            what = f"two budgets, {part.tokens} tokens and {part.acts} acts"
            raise InputError(what, where=part.path, remedy="leave one out")


def _index(path: Path, seed: int, counter: TokenCounter) -> _Index:
    RunFolder(path).card()  # raises if the set is unfinished
    starts, lengths, tokens, acts, ranks = [], [], [], [], []
    place = 0
    chunk: list[Example] = []
    for line, example in _examples(path / f"{EXAMPLES}.jsonl"):
        starts.append(place)
        lengths.append(len(line))
        acts.append(acts_in(example))
        place += len(line)
        ranks.append(_rank(seed, example.id))
        chunk.append(example)
        if len(chunk) == _CHUNK:
            tokens += counter(chunk)
            chunk = []
    tokens += counter(chunk)
    if len(set(ranks)) < len(ranks):
        raise InputError("two examples have the same id", where=path, remedy="build the set again")
    start, length, size, act = (np.array(values, np.int64) for values in (starts, lengths, tokens, acts))
    return _Index(start, length, size, act, np.array(ranks, np.uint64))


def acts_in(example: Example) -> int:
    """Count the tool calls of the assistant in an example."""
    return sum(len(message.tool_calls) for message in example.messages if message.role == "assistant")


def _examples(path: Path) -> Iterator[tuple[bytes, Example]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    what = "the last line is truncated"
                    raise ResultsError(what, where=f"{path}:{number}", remedy="build the set again")
                yield line, Example.model_validate_json(line)
            except ValidationError:
                what = "the line is not an example"
                raise ResultsError(what, where=f"{path}:{number}", remedy="build the set again") from None


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())


def _fill(index: _Index, part: MixtureShare) -> NDArray[np.int64]:
    """Take lines in order of rank until the first that does not fit, so that a larger budget only adds lines."""
    order = np.argsort(index.rank, kind="stable")
    sizes = index.acts if part.acts else index.tokens
    if part.acts:
        order = order[sizes[order] > 0]
        if not len(order):
            raise InputError("the set has no acts", where=part.path, remedy="give it a budget in tokens")
    return order[: int(np.searchsorted(np.cumsum(sizes[order]), part.budget, side="right"))]


def _write(
    parts: Sequence[MixtureShare], indexes: Sequence[_Index], chosen: Sequence[NDArray[np.int64]], path: Path
) -> None:
    source = np.concatenate([np.full(len(lines), at) for at, lines in enumerate(chosen)])
    lines = np.concatenate(chosen)
    ranks = np.concatenate([index.rank[take] for index, take in zip(indexes, chosen, strict=True)])
    if len(np.unique(ranks)) < len(ranks):
        remedy = "remove one of the sets, or build it with another seed"
        raise InputError("two parts contain the same example", remedy=remedy)
    part_file = path.with_name(path.name + ".part")
    with writing(part_file), ExitStack() as stack:
        sources = [stack.enter_context((part.path / path.name).open("rb")) for part in parts]
        with part_file.open("wb") as file:
            # The chosen ranks are the lowest of each part; hash them again, so that parts are interleaved evenly.
            for at in np.argsort(ranks * np.uint64(0x9E3779B97F4A7C15)):
                index, line = indexes[source[at]], lines[at]
                sources[source[at]].seek(int(index.start[line]))
                file.write(sources[source[at]].read(int(index.length[line])))
        part_file.replace(path)


def _taken(part: MixtureShare, index: _Index, lines: NDArray[np.int64]) -> TakenShare:
    tokens, acts = int(index.tokens[lines].sum()), int(index.acts[lines].sum())
    whole = acts == index.acts.sum() if part.acts else len(lines) == len(index.tokens)
    card = part.path / "card.json"
    return TakenShare(
        name=part.path.name,
        replay=part.replay,
        unit="acts" if part.acts else "tokens",
        budget=part.budget,
        tokens=tokens,
        examples=len(lines),
        acts=acts,
        short=part.budget - (acts if part.acts else tokens) if whole else 0,
        file=hash_files([part.path / f"{EXAMPLES}.jsonl"]),
        card=Card.model_validate_json(card.read_text(encoding="utf-8")) if card.is_file() else None,
    )


def _card(taken: Sequence[TakenShare], seed: int, tokenizer: Path) -> MixCard:
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
    recipe = [[part.name, part.file, part.budget, *([part.unit] if part.unit == "acts" else [])] for part in card.parts]
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
