"""Export sets in the formats that TRL reads, as JSONL or Parquet for `datasets.load_dataset`.

messages            `messages`, `tools`                       chats that end with an assistant turn
prompt-completion   `prompt`, `completion`, `tools`           the same chats; the last turn is the completion
preference          `prompt`, `chosen`, `rejected`, `tools`   two sets that answer the same prompts
documents           `text`                                    documents only
rl                  `prompt`, `reward_kind`, `answer`, `tools`  chats that end with a user turn

All rows of a format have the same fields. `tools` is JSON text, which TRL parses. Arguments of calls are mappings; in
Parquet they have the type `Json` of `datasets`, because plain columns would give each call the arguments of all others.
Examples that do not fit the format are counted and left out, never changed.
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
from holdfast.data.readme import front_matter, markdown_table, table_section
from holdfast.models.chat_format import message_dicts, tool_dicts

Format = Literal["messages", "prompt-completion", "preference", "documents", "rl"]
FORMATS: tuple[Format, ...] = get_args(Format)
FileKind = Literal["jsonl", "parquet"]
Row = dict[str, Any]


class Exported(Record):
    """Summary of an export; `left` counts the examples that do not fit the format, by reason."""

    file: Path
    format: Format
    rows: int
    left: Mapping[str, int]


def export(source: Path, out: Path, form: Format, kind: FileKind = "jsonl", against: Path | None = None) -> Exported:
    """Write `train.jsonl` or `train.parquet` into the folder `out`, with `card.json` and `README.md`.

    Args:
        source: folder of a finished set or mixture.
        out: output folder, other than `source`.
        form: format of the rows; see the module docstring.
        kind: file type.
        against: for `preference`, the set with the rejected answers.

    Raises:
        InputError: no example fits, `out` is `source`, or `against` is missing or does not apply.
        ResultsError: the set is unfinished.
        PrerequisiteError: `kind` is Parquet and pyarrow is not installed.
        StoreError: the disk is full; no partly written file is left.
    """
    if (form == "preference") != (against is not None):
        what = (
            "'preference' needs a second set with the rejected answers"
            if against is None
            else f"a second set does not apply to the format '{form}'"
        )
        raise InputError(what, where=source, remedy="use --as preference together with --against SET")
    if out.resolve() == source.resolve():
        raise InputError("the output folder is the set itself", where=out, remedy="export into another folder")
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
    folder.card()  # raises if the set is unfinished
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
    """Pair chats of two sets with the same prompt and different answers; uses the first rejected answer per prompt."""
    answers: dict[int, Message] = {}
    for example in _each(worse):
        if _misfit(example) is None:
            answers.setdefault(_prompt(example), example.messages[-1])
    for example in _each(better):
        reason = _misfit(example)
        rejected = None if reason else answers.get(_prompt(example))
        if rejected is None:
            left[reason or "the prompt is not in the other set"] += 1
        elif rejected == example.messages[-1]:
            left["both sets have the same answer"] += 1
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
    return (
        None if example.messages and example.messages[-1].role == "assistant" else "does not end with an assistant turn"
    )


def _turns(messages: Iterable[Message]) -> list[Row]:
    return [_turn(shape) for shape in message_dicts(tuple(messages))]


def _turn(shape: Row) -> Row:
    # Missing fields are null, so that all turns have the same fields.
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
    """Build the README of an export: its counts, then the card of the source set."""
    counts = {"rows": done.rows, "format": done.format, "source": source.name}
    if against:
        counts |= {"rejected answers from": against.name}
    left = (
        markdown_table(("left out", "examples"), list(done.left.items())) if done.left else "No example was left out."
    )
    title = f"{source.name}, as {done.format}"
    head = front_matter(title, done.rows, [source.name, done.format], [done.file.name])
    origin = "".join(_origin(path) for path in (source, against) if path)
    return f"{head}\n\n{table_section('Counts', counts)}\n\n{left}\n{origin}"


def _origin(source: Path) -> str:
    """Return the body of a set's own card with headings one level deeper."""
    readme = source / "README.md"
    if not readme.is_file():
        return f"\nThe set '{source.name}' has no card, so its provenance is unknown.\n"
    body = readme.read_text(encoding="utf-8").partition("\n---\n")[2].strip()
    return "\n" + "\n".join(f"#{line}" if line.startswith("#") else line for line in body.splitlines()) + "\n"
