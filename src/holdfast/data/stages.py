"""Stages: a recipe is an ordered row of prompts whose answers are parsed.

Each stage is one Markdown file.  Its front matter names the fields that the answer must hold (`label: text` lines);
what a stage answers fills slots of the stages after it.  Nothing is dropped without a counted reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from holdfast.core.errors import ProseError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.prose import Prose, fill, load_prose, slots_in
from holdfast.core.records import Message, Record
from holdfast.models.base import Output, Request

Role = Literal["teacher", "target", "judge"]


class Head(Record):
    """Front matter of a stage.

    Attributes:
        name: what the stage is called in cards and when it is switched off.
        fields: labels that the answer must hold.
        may: labels that it may hold.
        repeat: labels that may occur more than once.
        body: the label whose text runs on to the end of the answer.
        gate: label whose answer must begin with "yes" for the example to be kept.
        floor: labels whose answer must begin with a number not below the one given.
        same: labels whose text must be what an earlier stage answered.
        as_long_as: label → label of an earlier stage whose count of words it must meet within a third.
        words: fewest words of `body` in English; a language has its own scale. The prompt has it as `{words}`.
        role: who is asked: the teacher, the model that is to be taught, or a judge.
        shared: whether all drafts of one plan have the stage in common.
        optional: whether the recipe works without the stage.
        max_tokens: of the answer.
        temperature: of sampling.
        expect: tokens of a usual answer in English, for the plan.
    """

    name: str
    fields: tuple[str, ...]
    may: tuple[str, ...] = ()
    repeat: tuple[str, ...] = ()
    body: str | None = None
    gate: str | None = None
    floor: Mapping[str, float] = Field(default_factory=dict)
    same: tuple[str, ...] = ()
    as_long_as: Mapping[str, str] = Field(default_factory=dict)
    words: int = Field(default=0, ge=0)
    role: Role = "teacher"
    shared: bool = False
    optional: bool = False
    max_tokens: int = Field(default=2048, gt=0)
    temperature: float = Field(default=1.0, ge=0)
    expect: int = Field(default=200, gt=0)


@dataclass(frozen=True, slots=True)
class PromptStage:
    """A prompt file, its front matter, and its hash."""

    head: Head
    prose: Prose
    hash: str
    recipe: str

    @property
    def key(self) -> str:
        """`recipe: stage`, the heading of every prompt of this stage."""
        return f"{self.recipe}: {self.head.name}"


@dataclass(slots=True)
class Draft:
    """One example in the making: its place in the run, what is known about it, and the labelled answers in order.

    `scale` is what its language needs of the words that English needs.
    """

    index: int
    state: dict[str, str]
    answers: list[tuple[str, str]] = field(default_factory=list)
    principle: str | None = None
    dropped: str | None = None
    scale: float = 1.0

    def all(self, label: str) -> list[str]:
        """The texts of a repeated label, in order."""
        return [text for name, text in self.answers if name == label]

    def words(self, head: Head) -> int:
        """Fewest words of a stage's text in the item's language."""
        return round(head.words * self.scale)


def load_stages(folder: Path, known: Iterable[str], only: str = "") -> list[PromptStage]:
    """The stages of a folder in the order of their file names; `known` are slots filled before the first stage.

    Args:
        folder: a folder of `prompts/`.
        known: slots that are filled before the first stage.
        only: the name of the one stage wanted; all of them where it is empty.

    Raises:
        ProseError: no stage of that name, bad front matter, a file whose heading is not `# recipe: stage`, or a slot
            that no earlier stage fills.
    """
    found = [_load(path) for path in sorted(folder.glob("[0-9]*.md"))]
    stages = [stage for stage in found if only in ("", stage.head.name)]
    if only and not stages:
        remedy = f"it has: {', '.join(stage.head.name for stage in found)}"
        raise ProseError(f"no stage called '{only}'", where=folder, remedy=remedy)
    have = set(known)
    for stage in stages:
        lacking = sorted(slots_in(stage.prose.body) - have - ({"words"} if stage.head.words else set()))
        if lacking:
            what = f"slot '{{{lacking[0]}}}' is filled by no earlier stage"
            raise ProseError(what, where=stage.prose.path, remedy=f"known here: {', '.join(sorted(have))}")
        have |= {*stage.head.fields, *stage.head.may}
    return stages


def _load(path: Path) -> PromptStage:
    prose = load_prose(path)
    try:
        head = Head.model_validate(dict(prose.front))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"front matter, key '{'.'.join(str(part) for part in first['loc'])}': {first['msg'].lower()}"
        raise ProseError(what, where=f"{path}:2", remedy="see data.stages.Head for what a stage may say") from None
    stage = PromptStage(head, prose, hash_files([path]), path.parent.name)
    if not prose.body.startswith(f"# {stage.key}\n"):
        what = f"the heading is not '# {stage.key}'"
        raise ProseError(what, where=f"{path}:{prose.line}", remedy="a teacher tells stages apart by their heading")
    return stage


def request_of(stage: PromptStage, item: Draft, seed: int, place: int) -> Request:
    """What a stage asks for an item; `place` is the item's, or that of its plan where drafts share the stage.

    Raises:
        ProseError: a slot of the prompt has no value.
    """
    values = {label: _braced(text) for label, text in item.state.items()} | {"words": str(item.words(stage.head))}
    prompt = fill(stage.prose.body, values, stage.prose.path, stage.prose.line)
    return Request(
        case=key_of([stage.key, seed, place]),
        messages=(Message(role="user", content=prompt),),
        max_tokens=stage.head.max_tokens,
        temperature=stage.head.temperature,
        # The name of the running recipe is left out: recipes that share a stage share its answers.
        seed=int(key_of([seed, place, stage.key])[:8], 16),
    )


def _braced(text: str) -> str:
    """A teacher's text is no template: its braces are only braces."""
    return text.replace("{", "{{").replace("}", "}}")


def take(stage: PromptStage, item: Draft, output: Output) -> None:
    """Put an answer into the item, or drop the item with the reason for which the answer cannot be used."""
    head = stage.head
    if output.finish != "stop":
        item.dropped = f"{head.name}: {output.finish}"
        return
    found = parse_sections(output.message.content, (*head.fields, *head.may, "refuse"), head.body)
    if fault := _fault(head, item, found):
        item.dropped = f"{head.name}: {fault}"
        return
    labels = {label for label, _ in found}
    item.answers = [(label, text) for label, text in item.answers if label not in labels] + found
    for label in labels:
        item.state[label] = "\n".join(text for name, text in found if name == label)


def _fault(head: Head, item: Draft, found: Sequence[tuple[str, str]]) -> str | None:
    """The first thing that is wrong with an answer, if any."""
    counts = Counter(label for label, _ in found)
    texts = dict(found)
    if counts["refuse"]:
        return "refused"
    if missing := [label for label in head.fields if not counts[label]]:
        return f"no '{missing[0]}' in the answer"
    if twice := [label for label, count in counts.items() if count > 1 and label not in head.repeat]:
        return f"'{twice[0]}' answered twice"
    if head.words and head.body and len(texts[head.body].split()) < item.words(head):
        return "fewer words than asked"
    if changed := [label for label, text in found if label in head.same and not _equal(text, item.state.get(label))]:
        return f"changed '{changed[0]}'"
    for label, other in head.as_long_as.items():
        if not 2 / 3 <= len(texts[label].split()) / max(1, len(item.state[other].split())) <= 3 / 2:
            return f"'{label}' is not as long as '{other}'"
    if head.gate and not texts[head.gate].lower().startswith("yes"):
        return "said no"
    for label, least in head.floor.items():
        number = re.match(r"\d+(\.\d+)?", texts[label])
        if number is None:
            return f"no number in '{label}'"
        if float(number[0]) < least:
            return f"'{label}' below {least:g}"
    return None


def _equal(text: str, before: str | None) -> bool:
    return before is not None and canonical_call(text) == canonical_call(before)


def canonical_call(text: str) -> str:
    """`name {json}` in one spelling, so that spacing and the order of keys do not count as a change."""
    name, brace, rest = text.strip().partition("{")
    try:
        return f"{name.strip()} {json.dumps(json.loads(brace + rest), sort_keys=True)}"
    except json.JSONDecodeError:
        return " ".join(text.split())


def parse_sections(answer: str, labels: Iterable[str], body: str | None = None) -> list[tuple[str, str]]:
    """The `label: text` parts of an answer, in order.

    A part runs to the next line that begins with one of `labels`; the part called `body` runs to the end.  Text before
    the first label is ignored: teachers like to introduce themselves.
    """
    pattern = re.compile(rf"^({'|'.join(map(re.escape, labels))}):[ \t]*", re.MULTILINE)
    found: list[tuple[str, str]] = []
    marks = list(pattern.finditer(answer))
    for place, mark in enumerate(marks):
        label, last = mark[1], place + 1 == len(marks)
        end = len(answer) if label == body or last else marks[place + 1].start()
        text = answer[mark.end() : end].strip()
        if text:
            found.append((label, text))
        if label == body:
            break
    return found
