"""Sets in the formats that TRL reads, as JSONL or Parquet that `datasets.load_dataset` opens.

messages            `messages`, `tools`                       every chat that ends with the assistant
prompt-completion   `prompt`, `completion`, `tools`           the last turn of each such chat is the completion
preference          `prompt`, `chosen`, `rejected`, `tools`   two sets that answer the same prompts
documents           `text`                                    documents alone
rl                  `prompt`, `reward_kind`, `answer`, `tools`  chats that end with the user

Every row of a format has the same fields.  `tools` is JSON text, which TRL reads.  The arguments of calls are mappings,
in Parquet of the type `Json` of `datasets`: as plain columns each call would get the arguments of all the others.
Examples that do not fit the format are counted, not bent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from holdfast.core.errors import InputError
from holdfast.core.records import Example, Message, Record
from holdfast.core.store import RunFolder, write_json, write_text, writing
from holdfast.data.card import EXAMPLES
from holdfast.data.parquet import write_parquet
from holdfast.data.readme import facts, front, markdown_table
from holdfast.models.chat_format import message_dicts, tool_dicts

Format = Literal["messages", "prompt-completion", "preference", "documents", "rl"]
FORMATS: tuple[Format, ...] = get_args(Format)
FileKind = Literal["jsonl", "parquet"]
Row = dict[str, Any]


class Exported(Record):
    """What was written; `left` counts the examples that do not fit the format, by reason."""

    file: Path
    format: Format
    rows: int
    left: Mapping[str, int]


def export(source: Path, out: Path, form: Format, kind: FileKind = "jsonl", against: Path | None = None) -> Exported:
    """Write a set into the folder `out`: `train.jsonl` or `train.parquet`, and its card for readers and for programs.

    Args:
        source: folder of a finished set or mixture.
        out: another folder.
        form: see the module.
        kind: of file.
        against: for `preference`, the set whose answers are the worse ones.

    Raises:
        InputError: no example fits, `out` is the set itself, or `against` is missing or not asked for.
        ResultsError: the set is unfinished.
        PrerequisiteError: Parquet, and pyarrow is not installed.
        StoreError: the disk is full; the file is whole or not there.
    """
    if (form == "preference") != (against is not None):
        what = "preferences need a second set to prefer the first to" if against is None else "a second set"
        raise InputError(what, where=source, remedy="--as preference goes with --against SET")
    if out.resolve() == source.resolve():
        raise InputError("the set itself", where=out, remedy="export into another folder")
    left: Counter[str] = Counter()
    rows = _preferences(source, against, left) if against else _rows(source, _SHAPES[form], left)
    path = out / f"train.{kind}"
    part = path.with_name(path.name + ".part")
    with writing(part):
        out.mkdir(parents=True, exist_ok=True)
        try:
            count = _WRITERS[kind](part, rows)
            if count:
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    if not count:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in left.most_common(3)) or "the set is empty"
        raise InputError(f"no example fits '{form}': {reasons}", where=source, remedy="choose another format")
    done = Exported(file=path, format=form, rows=count, left=dict(left))
    made_from = [path.name for path in (source, against) if path]
    write_json(out / "card.json", done.model_dump(mode="json") | {"file": path.name, "made_from": made_from})
    write_text(out / "README.md", _markdown(source, against, done))
    return done


def _each(source: Path) -> Iterator[Example]:
    folder = RunFolder(source)
    folder.card()  # a set without its manifest is unfinished
    return folder.each(EXAMPLES, Example)


def _rows(source: Path, shape: Callable[[Example], Row | str], left: Counter[str]) -> Iterator[Row]:
    for example in _each(source):
        row = shape(example)
        if isinstance(row, str):
            left[row] += 1
        else:
            yield row


def _messages(example: Example) -> Row | str:
    return _misfit(example) or {"messages": _turns(example.messages), "tools": _tools(example)}


def _completion(example: Example) -> Row | str:
    return _misfit(example) or {
        "prompt": _turns(example.messages[:-1]),
        "completion": _turns(example.messages[-1:]),
        "tools": _tools(example),
    }


def _document(example: Example) -> Row | str:
    return {"text": example.text} if example.kind == "document" and example.text else "not a document"


def _task(example: Example) -> Row | str:
    if example.reward is None:
        return "no reward"
    reward = {"reward_kind": example.reward["kind"], "answer": example.reward["answer"]}
    return {"prompt": _turns(example.messages), **reward, "tools": _tools(example)}


_SHAPES: Mapping[Format, Callable[[Example], Row | str]] = {
    "messages": _messages,
    "prompt-completion": _completion,
    "documents": _document,
    "rl": _task,
}


def _preferences(better: Path, worse: Path, left: Counter[str]) -> Iterator[Row]:
    """Chats of two sets with the same prompt and different answers; of a prompt's worse answers, the first."""
    # Places alone are kept: the worse set may be larger than memory.
    answers: dict[int, Message] = {}
    for example in _each(worse):
        if _misfit(example) is None:
            answers.setdefault(_prompt(example), example.messages[-1])
    for example in _each(better):
        reason = _misfit(example)
        rejected = None if reason else answers.get(_prompt(example))
        if rejected is None:
            left[reason or "its prompt is not in the other set"] += 1
        elif rejected == example.messages[-1]:
            left["both sets answer alike"] += 1
        else:
            yield {
                "prompt": _turns(example.messages[:-1]),
                "chosen": _turns(example.messages[-1:]),
                "rejected": _turns((rejected,)),
                "tools": _tools(example),
            }


def _prompt(example: Example) -> int:
    return hash((example.messages[:-1].__repr__(), example.tools.__repr__()))


def _misfit(example: Example) -> str | None:
    if example.kind != "chat":
        return "not a chat"
    return None if example.messages and example.messages[-1].role == "assistant" else "no answer at the end"


def _turns(messages: Iterable[Message]) -> list[Row]:
    return [_turn(shape) for shape in message_dicts(tuple(messages))]


def _turn(shape: Row) -> Row:
    # What is not there is null, so that all turns have the same fields.
    return {name: shape.get(name) for name in ("role", "content", "reasoning_content", "tool_calls", "tool_call_id")}


def _tools(example: Example) -> str | None:
    tools = tool_dicts(example.tools)
    return json.dumps(tools, ensure_ascii=False) if tools else None


def _jsonl(path: Path, rows: Iterator[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


_WRITERS: Mapping[FileKind, Callable[[Path, Iterator[Row]], int]] = {"jsonl": _jsonl, "parquet": write_parquet}


def _markdown(source: Path, against: Path | None, done: Exported) -> str:
    """The card of an export: its own counts, then the card of the set it was made from."""
    counts = {"rows": done.rows, "format": done.format, "made from": source.name}
    if against:
        counts |= {"preferred to": against.name}
    left = markdown_table(("left out", "examples"), list(done.left.items())) if done.left else "Nothing was left out."
    title = f"{source.name}, as {done.format}"
    head = front(title, done.rows, [source.name, done.format], [done.file.name])
    origin = "".join(_origin(path) for path in (source, against) if path)
    return f"{head}\n\n{facts('Counts', counts)}\n\n{left}\n{origin}"


def _origin(source: Path) -> str:
    """The body of a set's own card, a level down; it holds teacher, refusals, prompts' hashes, cost and limits."""
    readme = source / "README.md"
    if not readme.is_file():
        return f"\nThe set '{source.name}' has no card: who made it is not known.\n"
    body = readme.read_text(encoding="utf-8").partition("\n---\n")[2].strip()
    return "\n" + "\n".join(f"#{line}" if line.startswith("#") else line for line in body.splitlines()) + "\n"
