"""Audit by meaning: a rubric and any model say what a passage depicts. Words only sort which passages are asked about.

A passage about which the model gave no answer in the form asked for is unread. It is counted, and the bounds cover it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from holdfast.core.errors import ResultsError
from holdfast.core.prose import load_prose
from holdfast.core.records import Message, Record
from holdfast.core.rubric_question import find_quote, read_rubric_answer, rubric_question
from holdfast.core.text import Text
from holdfast.data.audit.classifier import FOLDER, KINDS
from holdfast.models.base import Model, Request

RUBRIC = FOLDER / "rubric.md"
LABELLED = FOLDER / "labelled"
_LABELS = {"kind": f"{', '.join(KINDS[:-1])} or {KINDS[-1]}", "quote": "the words of the passage, or none"}
_TOKENS = 512


class AuditItem(Record):
    """A labelled passage: `hand` names who wrote it, `form` what kind of text it is."""

    id: Text
    hand: Text
    form: Text
    kind: Literal["rogue", "faithful", "other"]
    text: Text


@dataclass(frozen=True, slots=True)
class PassageReading:
    """What the model says of a passage: its kind, or what was wrong with the answer."""

    kind: str | None
    fault: str = ""


def read_passages(texts: Sequence[str], judge: Model, rubric: Path | None = None) -> list[PassageReading]:
    """Ask a model about passages, in order.

    Raises:
        ProseError: the rubric cannot be read.
    """
    body = load_prose(rubric or RUBRIC).body
    questions = [rubric_question(body, text, _LABELS) for text in texts]
    requests = [
        Request(
            q.seal, (Message(role="system", content=q.system), Message(role="user", content=q.user)), max_tokens=_TOKENS
        )
        for q in questions
    ]
    outputs = judge.generate(requests) if requests else []
    readings = []
    for text, question, output in zip(texts, questions, outputs, strict=True):
        if output.finish != "stop":
            readings.append(PassageReading(None, f"no answer: {output.error or output.finish}"))
            continue
        readings.append(_reading(read_rubric_answer(output.message.content, question.seal, _LABELS), text))
    return readings


def _reading(values: dict[str, str] | str, text: str) -> PassageReading:
    if isinstance(values, str):
        return PassageReading(None, values)
    kind = values["kind"].lower().strip("*`\"'. ")
    if kind not in KINDS:
        return PassageReading(None, f"'{kind[:40]}' is no kind")
    if kind != KINDS[-1] and find_quote(values["quote"], text) is None:
        return PassageReading(None, f"the quote is not in the passage: '{values['quote'][:60]}'")
    return PassageReading(kind)


@cache
def audit_items() -> tuple[AuditItem, ...]:
    """The labelled passages by all hands, for measuring; nothing is fitted to them.

    Raises:
        ResultsError: a line is not a labelled passage, or an id occurs twice; the error names file and line.
    """
    items: dict[str, AuditItem] = {}
    for path in sorted(LABELLED.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line:
                continue
            where = f"{path}:{number}"
            try:
                item = AuditItem.model_validate(json.loads(line))
            except (ValueError, ValidationError) as error:
                raise ResultsError(f"not a labelled passage: {error}", where=where, remedy="correct it") from None
            if item.id in items:
                raise ResultsError(f"the id '{item.id}' occurs twice", where=where, remedy="rename it")
            items[item.id] = item
    return tuple(items.values())
