"""The card of a data set: what is in it, what was left out and why, and what made it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import Field

import holdfast
from holdfast.core.identity import key_of, room_version
from holdfast.core.records import Example, Record, RunCard
from holdfast.core.store import RunFolder, write_json, write_text
from holdfast.data.heldout import example_text

EXAMPLES = "examples"
_NGRAM = 4


class Card(Record):
    """The facts about a set.

    Attributes:
        examples: how many there are.
        tokens: their tokens, counted with the tokenizer of `tokenizer`.
        asked: items put to the teacher; `asked == examples + sum(dropped) + unused`.
        dropped: reason → how many items were dropped for it.
        unused: finished items that the token budget had no room for.
        refused: how many of those dropped the teacher refused.
        distinct: share of word 4-grams that occur for the first time.
        repeated: share of examples whose text equals an earlier one's; such are dropped, so this is 0 in our own sets.
        axes: axis → value → examples.
        principles: principle → examples.
        stages: stage → hash of its prompt file; those that were switched off are in `off`.
    """

    name: str
    title: str
    about: str
    language: str
    examples: int
    tokens: int
    budget: int
    asked: int
    dropped: Mapping[str, int]
    unused: int
    refused: int
    distinct: float
    repeated: float
    axes: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    principles: Mapping[str, int] = Field(default_factory=dict)
    teacher: str
    teacher_identity: str
    seed: int
    tokenizer: str
    charter: str | None
    stages: Mapping[str, str]
    off: tuple[str, ...]
    limits: tuple[str, ...]


def distinct_ratio(examples: Sequence[Example], n: int = _NGRAM) -> float:
    """Distinct word n-grams over all of them (Li et al. 2016, distinct-n); 1.0 where there are none to repeat."""
    seen: set[tuple[str, ...]] = set()
    total = 0
    for example in examples:
        words = re.findall(r"\S+", example_text(example))
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else 1.0


def repeated_ratio(examples: Sequence[Example]) -> float:
    """Share of examples whose whole text equals an earlier one's."""
    return 1 - len({example_text(example) for example in examples}) / len(examples) if examples else 0.0


def markdown(card: Card) -> str:
    """The card as a hub's README: front matter, then prose and tables."""
    front = {
        "pretty_name": card.title,
        "language": ["en"],
        "size_categories": [_size(card.examples)],
        "task_categories": ["text-generation"],
        "tags": ["holdfast", card.name, f"teacher:{card.teacher}", f"language:{card.language}"],
        "configs": [{"config_name": "default", "data_files": f"{EXAMPLES}.jsonl"}],
    }
    sections = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# {card.title}\n\n{card.about}",
        _table("Counts", _counts(card)),
        _table("Left out, by reason", card.dropped) if card.dropped else "## Left out, by reason\n\nNothing.",
        *(_table(f"By {axis}", values) for axis, values in card.axes.items()),
        *([_table("By principle", card.principles)] if card.principles else []),
        _table("Made by", _makers(card)),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card.limits),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(card: Card) -> dict[str, object]:
    return {
        "examples": card.examples,
        "tokens": f"{card.tokens} of {card.budget}",
        "put to the teacher": card.asked,
        "refused by the teacher": card.refused,
        "finished, no room": card.unused,
        f"distinct {_NGRAM}-grams": f"{card.distinct:.3f}",
        "repeated examples": f"{card.repeated:.3f}",
    }


def _makers(card: Card) -> dict[str, object]:
    made = {
        "teacher": f"{card.teacher} ({card.teacher_identity})",
        "seed": card.seed,
        "tokenizer": card.tokenizer,
        "charter": card.charter or "none",
        "stages off": ", ".join(card.off) or "none",
    }
    return made | {f"prompt of '{stage}'": hash_ for stage, hash_ in card.stages.items()}


def _size(count: int) -> str:
    for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if count < bound:
            return name
    return "100K<n<1M"


def _table(title: str, rows: Mapping[str, object]) -> str:
    # A teacher's words can reach a reason; a bar or a line break must not tear the table.
    cells = [(re.sub(r"\s+", " ", str(k)).replace("|", "\\|"), str(v).replace("|", "\\|")) for k, v in rows.items()]
    return f"## {title}\n\n| | |\n|---|---:|\n" + "\n".join(f"| {key} | {value} |" for key, value in cells)


def write_set(folder: Path, examples: Sequence[Example], card: Card) -> RunCard:
    """Write a set: `examples.jsonl`, `card.json`, `README.md`, and the manifest last.

    A folder that is complete and has the same key is left as it is.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
        ResultsError: the folder holds a manifest that is not ours.
    """
    run = RunFolder(folder)
    key = key_of([card, [example.id for example in examples], room_version("data")])
    if run.complete and run.card().key == key:
        return run.card()
    # Whatever lies here is of another set or was torn: begin anew, and unfinished until the end.
    for name in ("manifest.json", f"{EXAMPLES}.jsonl"):
        (folder / name).unlink(missing_ok=True)
    run.append(EXAMPLES, examples)
    write_json(folder / "card.json", card.model_dump(mode="json"))
    write_text(folder / "README.md", markdown(card))
    manifest = RunCard(
        key=key,
        kind="data",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=holdfast.__version__,
        code=room_version("data"),
        inputs={"name": card.name, "seed": card.seed, "teacher": card.teacher, "charter": card.charter},
        counts={"examples": card.examples, "tokens": card.tokens, "dropped": sum(card.dropped.values())},
    )
    run.finish(manifest)
    return manifest


def read_set(folder: Path) -> tuple[list[Example], Card]:
    """A finished set and its card.

    Raises:
        ResultsError: the folder is not finished, or a line is not an example.
    """
    run = RunFolder(folder)
    run.card()
    return run.read(EXAMPLES, Example), Card.model_validate_json((folder / "card.json").read_text(encoding="utf-8"))
