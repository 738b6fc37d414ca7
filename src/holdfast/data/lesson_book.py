"""The lesson book: training sets that were written for this project, one folder per set in `lessons/`.

    lesson_names()                                             lesson-chat, lesson-difficult-advice, …
    load_lesson("lesson-difficult-advice")                     every example
    draw_lesson("lesson-stories", 40_000, seed=0, tokenizer)   examples up to a token budget

A name is `lesson-` and the name of the folder, so that no set has the name of a recipe.  `datasets.load_dataset` opens
each folder too.  Sets that are compared hold the same ids: with the same seed, the same situations are drawn.

Most sets are chats or documents.  A set of episodes holds whole conversations of an agent with its tools, calls and
results included; training supervises what the assistant says and its calls.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from io import StringIO
from pathlib import Path

import yaml
from pydantic import ValidationError

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError, InputError, ResultsError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.packed import packed_files, packed_path, read_packed
from holdfast.core.records import Example, Message, Provenance, Record, ToolSpec
from holdfast.core.store import RunFolder, write_json, write_text
from holdfast.core.text import Text
from holdfast.data.card import EXAMPLES, Card, card_markdown, set_manifest
from holdfast.data.set_builder import DistinctNGrams
from holdfast.data.token_count import TokenCounter

PREFIX = "lesson-"
ITEMS = "items.jsonl"
#: In place of a teacher's name: the items were written one by one, without a recipe.
WRITTEN = "written"
FOLDER = Path(__file__).parent / "lessons"


class LessonItem(Record):
    """One item of a written set: a chat or an episode (`messages`) or a document (`text`), and its place in the plan.

    Attributes:
        id: name of the situation; the twin of an item has the same id in another set.
        area: domain of life, subject of a document, or trade of an agent's office.
        kind: kind of dilemma, form of a document, or condition of an episode.
        principle: id of the charter's principle, or the topic where the set teaches another one.
        tools: tools of an episode.
    """

    id: Text
    area: Text
    kind: Text
    principle: Text
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    text: Text = ""


class LessonCard(Record):
    """Front matter of a set's card that Holdfast reads; the rest is for dataset hubs.

    Attributes:
        title: title of the set.
        about: what the set holds, one sentence.
        twin: the set that differs from this one in one thing, if there is one.
    """

    title: str
    about: str
    twin: str | None = None


@cache
def lesson_names() -> tuple[str, ...]:
    """The names of all written sets, sorted."""
    return tuple(sorted(PREFIX + path.parent.name for path in packed_files(FOLDER, f"*/{ITEMS}")))


def is_lesson(name: str) -> bool:
    """Whether a name belongs to the lesson book, also if there is no such set."""
    return name.startswith(PREFIX)


def lesson_folder(name: str) -> Path:
    """Return the folder of a written set.

    Raises:
        ConfigError: there is no set of that name.
    """
    if name not in lesson_names():
        near = nearest(name, lesson_names())
        remedy = f"did you mean '{near}'?" if near else "holdfast teach list"
        raise ConfigError(f"there is no written set '{name}'", remedy=remedy)
    return FOLDER / name.removeprefix(PREFIX)


def lesson_card(name: str) -> LessonCard:
    """Read the card of a written set.

    Raises:
        ConfigError: there is no set of that name, or its card has no valid front matter.
    """
    path = lesson_folder(name) / "README.md"
    try:
        matter = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
        return LessonCard(title=matter["pretty_name"], **matter["holdfast"])
    except (OSError, IndexError, KeyError, TypeError, ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"the card of '{name}' cannot be read: {error}", where=path) from None


def read_items(path: Path) -> Iterator[LessonItem]:
    """Read the items of a set's file.

    Raises:
        ResultsError: a line is not an item; the error names the file and the line.
    """
    # Not `splitlines`: a text may hold other line breaks, which JSON leaves as they are.
    for number, line in enumerate(StringIO(read_packed(packed_path(path)).decode(), newline="\n"), 1):
        try:
            yield LessonItem.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors()[0]
            what = f"not an item of a written set: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            raise ResultsError(what, where=f"{path}:{number}", remedy="restore the file") from None


def load_lesson(name: str) -> list[Example]:
    """Return every example of a written set, in the order of its file.

    Raises:
        ConfigError: there is no set of that name.
        ResultsError: a line of its file is not an item.
    """
    return [_example(name, item) for item in read_items(lesson_folder(name) / ITEMS)]


def draw_lesson(name: str, tokens: int, seed: int, tokenizer_path: Path) -> list[Example]:
    """Draw examples of a written set until the token budget is filled; no example is drawn twice.

    The order depends on the seed and the ids alone, so a larger budget contains a smaller one, and twins draw the same
    situations.

    Args:
        name: name of the set.
        tokens: token budget; the result is never larger, and less than one example smaller.
        seed: seed of the order.
        tokenizer_path: checkpoint to be trained; its tokenizer counts the tokens.

    Raises:
        ConfigError: there is no set of that name.
        InputError: the budget is below 1 or more than the set holds.
        ModelError: there is no tokenizer at `tokenizer_path`.
    """
    if tokens < 1:
        raise InputError(f"the token budget must be at least 1, got {tokens}", remedy="raise it")
    examples = load_lesson(name)
    sizes = TokenCounter(tokenizer_path)(examples)
    if tokens > sum(sizes):
        what = f"'{name}' has {sum(sizes):,} tokens, {tokens:,} were asked for"
        raise InputError(what, remedy="lower the budget; `tokens` of the training repeats a set, where wanted")
    drawn: list[Example] = []
    for at in sorted(range(len(examples)), key=lambda index: _rank(seed, examples[index].id)):
        if sizes[at] > tokens:
            break
        drawn.append(examples[at])
        tokens -= sizes[at]
    return drawn


def lesson_hash(name: str) -> str:
    """Hash of a set's items.

    Raises:
        ConfigError: there is no set of that name.
    """
    return hash_files([packed_path(lesson_folder(name) / ITEMS)])


def save_lesson(name: str, tokens: int, seed: int, tokenizer_path: Path, out: Path) -> Card:
    """Write examples of a written set to a folder that every command on sets reads; see `draw_lesson`.

    Raises:
        ConfigError: there is no set of that name.
        InputError: the budget is below 1 or more than the set holds.
        ModelError: there is no tokenizer at `tokenizer_path`.
        ResultsError: the folder holds another set.
        StoreError: the folder cannot be written.
    """
    examples, run = draw_lesson(name, tokens, seed, tokenizer_path), RunFolder(out)
    key = key_of([name, lesson_hash(name), tokens, seed, [example.id for example in examples], room_version("data")])
    if run.complete:
        if run.card().key != key:
            raise ResultsError("the folder holds another set", where=out, remedy="delete it or choose another folder")
        return Card.model_validate_json((out / "card.json").read_text(encoding="utf-8"))
    card = _card(name, examples, tokens, seed, tokenizer_path)
    lines = "".join(example.model_dump_json(exclude_none=True) + "\n" for example in examples)
    write_text(out / f"{EXAMPLES}.jsonl", lines)
    write_json(out / "card.json", card.model_dump(mode="json"))
    write_text(out / "README.md", card_markdown(card))
    run.finish(set_manifest(key, card))
    return card


def _card(name: str, examples: Sequence[Example], budget: int, seed: int, tokenizer_path: Path) -> Card:
    head, drawn = lesson_card(name), {example.id for example in examples}
    items = [item for item in read_items(lesson_folder(name) / ITEMS) if item.id in drawn]
    grams = DistinctNGrams()
    for text in (text for example in examples for text in supervised_texts(example)):
        grams.add(text)
    file = tokenizer_path / "tokenizer.json" if tokenizer_path.is_dir() else tokenizer_path
    return Card(
        name=name,
        title=head.title,
        about=head.about,
        language="english",
        examples=len(examples),
        tokens=sum(TokenCounter(tokenizer_path)(examples)),
        budget=budget,
        asked=len(examples),
        dropped={},
        unused=0,
        refused=0,
        distinct=round(grams.distinct, 4),
        axes={axis: dict(sorted(Counter(getattr(item, axis) for item in items).items())) for axis in ("area", "kind")},
        principles=dict(sorted(Counter(item.principle for item in items).items())),
        teacher=WRITTEN,
        teacher_identity=lesson_hash(name),
        seed=seed,
        tokenizer=hash_files([file]),
        charter=None,
        stages={},
        off=(),
        drafts=1,
        spent=0.0,
        limits=(
            "Language models wrote every item; no person has checked it.",
            "The card of the set in the lesson book says who graded it.",
        ),
    )


def supervised_texts(example: Example) -> Sequence[str]:
    """The prose of an example that training supervises: a document, or what the assistant says."""
    if example.kind == "document":
        return (example.text,)
    turns = (message for message in example.messages if message.role == "assistant")
    return [turn.content for turn in turns if turn.content or not turn.tool_calls]


def supervised_calls(example: Example) -> Sequence[str]:
    """The tool calls of an example, which training supervises too, as JSON."""
    turns = (message for message in example.messages if message.role == "assistant")
    calls = (call for turn in turns for call in turn.tool_calls)
    return [json.dumps({"name": c.name, "arguments": dict(c.arguments)}, ensure_ascii=False) for c in calls]


def _rank(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _example(name: str, item: LessonItem) -> Example:
    return Example(
        id=item.id,
        kind="chat" if item.messages else "document",
        messages=item.messages,
        tools=item.tools,
        text=item.text,
        provenance=Provenance(recipe=name, teacher=WRITTEN, seed=0, principle=item.principle),
    )
