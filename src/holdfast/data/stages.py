"""Stages: a recipe is a sequence of prompts whose answers are parsed.

Each stage is one Markdown file. Its front matter names the fields that the answer must contain (`label: text` lines).
The fields of an answer fill slots in the prompts of later stages. Every dropped item has a reason, which is counted.
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
#: Heading of the part of a prompt that lists the labels of the answer, and what is said of all of them.
_ANSWER = "\n## Answer\n"
_FORM = "Write these lines and nothing else. Each begins with its label and a colon, as here, then comes your text."
_NUMBER = re.compile(r"\d+(\.\d+)?")


class StageHeader(Record):
    """Front matter of a stage.

    Attributes:
        name: name of the stage in cards and options.
        fields: labels that the answer must contain.
        may: labels that the answer may contain.
        repeat: labels that may occur more than once.
        body: label whose text extends to the end of the answer.
        gate: label whose text must start with "yes", otherwise the item is dropped.
        floor: label → minimum; the text of the label must start with a number of at least this value.
        mend: earlier stages that are run again if a number is below `floor`, with this stage's other labels in their
            slots; then this stage is.
        tries: how often an item is mended before it is dropped.
        same: labels whose text must equal the answer of an earlier stage.
        as_long_as: label → label of an earlier stage; the word counts must agree within a factor of 1.5.
        words: minimum words of `body` in English, scaled for other languages; available to the prompt as `{words}`.
        role: the role that answers: the teacher, the target model, or a judge.
        shared: whether all drafts of one plan share the answer.
        optional: whether the stage can be switched off.
        max_tokens: maximum tokens of the answer.
        temperature: sampling temperature.
        expect: typical tokens of an answer in English, for estimates.
    """

    name: str
    fields: tuple[str, ...]
    may: tuple[str, ...] = ()
    repeat: tuple[str, ...] = ()
    body: str | None = None
    gate: str | None = None
    floor: Mapping[str, float] = Field(default_factory=dict)
    mend: tuple[str, ...] = ()
    tries: int = Field(default=1, ge=0, le=5)
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

    head: StageHeader
    prose: Prose
    hash: str
    recipe: str

    @property
    def key(self) -> str:
        """`recipe: stage`, the heading of each prompt of this stage."""
        return f"{self.recipe}: {self.head.name}"


@dataclass(slots=True)
class Draft:
    """An unfinished example.

    Attributes:
        index: position in the run.
        state: slot values so far.
        answers: (label, text) of all answers, in order.
        principle: id of its principle.
        dropped: reason for which it was dropped.
        scale: word count of its language relative to English.
        cell: values of the plan's cell, empty without a plan.
        example: id of the example that was made from it and kept.
    """

    index: int
    state: dict[str, str]
    answers: list[tuple[str, str]] = field(default_factory=list)
    principle: str | None = None
    dropped: str | None = None
    scale: float = 1.0
    cell: tuple[str, ...] = ()
    example: str | None = None

    def all(self, label: str) -> list[str]:
        """Return the texts of a repeated label, in order."""
        return [text for name, text in self.answers if name == label]

    def words(self, head: StageHeader) -> int:
        """Return a stage's minimum number of words in the item's language."""
        return round(head.words * self.scale)


def load_stages(folder: Path, known: Iterable[str], only: str = "") -> list[PromptStage]:
    """Load the stages of a folder in the order of their file names.

    Args:
        folder: a recipe's folder in `prompts/`.
        known: slots that are filled before the first stage.
        only: name of the only stage to load; empty loads all.

    Raises:
        ProseError: there is no stage of that name, the front matter is invalid, the heading is not `# recipe: stage`,
            or no earlier stage fills a slot.
    """
    loaded = [_load(path) for path in sorted(folder.glob("[0-9]*.md"))]
    stages = [stage for stage in loaded if only in ("", stage.head.name)]
    if only and not stages:
        remedy = f"known: {', '.join(stage.head.name for stage in loaded)}"
        raise ProseError(f"unknown stage '{only}'", where=folder, remedy=remedy)
    filled = set(known)
    for stage in stages:
        missing = sorted(slots_in(stage.prose.body) - filled - ({"words"} if stage.head.words else set()))
        if missing:
            what = f"no earlier stage fills the slot '{{{missing[0]}}}'"
            before = stage.prose.body.partition(f"{{{missing[0]}}}")[0]
            where = f"{stage.prose.path}:{stage.prose.line + before.count(chr(10))}"
            raise ProseError(what, where=where, remedy=f"known slots: {', '.join(sorted(filled))}")
        filled |= {*stage.head.fields, *stage.head.may}
    return stages


def check_mending(stages: Sequence[PromptStage]) -> None:
    """Check that the stages that mend an item come before the stage that rejects it.

    Raises:
        ProseError: `mend` names a stage that is not an earlier one, or there is no `floor` to fall below.
    """
    for at, stage in enumerate(stages):
        earlier = [before.head.name for before in stages[:at]]
        line = f"{stage.prose.path}:{line_of_key(stage.prose.path, 'mend')}"
        for name in stage.head.mend:
            if name not in earlier:
                what = f"'mend' names '{name}', which is no earlier stage"
                raise ProseError(what, where=line, remedy=f"earlier stages: {', '.join(earlier) or 'none'}")
        if stage.head.mend and not stage.head.floor:
            raise ProseError("'mend' needs a 'floor'", where=line, remedy="add one, or remove 'mend'")


def _load(path: Path) -> PromptStage:
    prose = load_prose(path)
    try:
        head = StageHeader.model_validate(dict(prose.front))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"front matter, key '{'.'.join(str(part) for part in first['loc'])}': {first['msg'].lower()}"
        where = f"{path}:{line_of_key(path, str(first['loc'][0]))}"
        known = ", ".join(StageHeader.model_fields)
        raise ProseError(what, where=where, remedy=f"keys of a stage: {known}") from None
    stage = PromptStage(head, prose, hash_files([path]), path.parent.name)
    if not prose.body.startswith(f"# {stage.key}\n"):
        what = f"the heading is not '# {stage.key}'"
        raise ProseError(what, where=f"{path}:{prose.line}", remedy="write it; teachers identify stages by the heading")
    return stage


def line_of_key(path: Path, key: str) -> int:
    """Return the line of a key of the front matter; 1, where it begins, if the key is not there."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)


def request_of(stage: PromptStage, item: Draft, seed: int, place: int) -> Request:
    """Build the request of a stage for an item.

    Args:
        stage: the stage.
        item: the item.
        seed: seed of the run.
        place: index of the item; if drafts share the stage, index of their plan.

    Raises:
        ProseError: a slot of the prompt has no value.
    """
    values = {label: _braced(text) for label, text in item.state.items()} | {"words": str(item.words(stage.head))}
    body = stage.prose.body.replace(_ANSWER, f"{_ANSWER}{_FORM}\n\n")
    prompt = fill(body, values, stage.prose.path, stage.prose.line)
    return Request(
        case=key_of([stage.key, seed, place]),
        messages=(Message(role="user", content=prompt),),
        max_tokens=stage.head.max_tokens,
        temperature=stage.head.temperature,
        # The running recipe's name is not part of the seed, so that recipes sharing a stage share its answers.
        seed=int(key_of([seed, place, stage.key])[:8], 16),
    )


def _braced(text: str) -> str:
    """Escape braces, because a teacher's text is not a template."""
    return text.replace("{", "{{").replace("}", "}}")


def take(stage: PromptStage, item: Draft, output: Output) -> bool:
    """Parse an answer into the item, or mark the item as dropped with the reason.

    Returns:
        Whether the answer was complete, but rejects the item: it may be mended.
    """
    head = stage.head
    if output.finish != "stop":
        item.dropped = f"{head.name}: {output.finish}"
        return False
    sections = parse_sections(output.message.content, (*head.fields, *head.may, "refuse"), head.body)
    if fault := _fault(head, item, sections):
        item.dropped = f"{head.name}: {fault}"
        return False
    labels = {label for label, _ in sections}
    item.answers = [(label, text) for label, text in item.answers if label not in labels] + sections
    for label in labels:
        item.state[label] = "\n".join(text for name, text in sections if name == label)
    if low := _below(head, dict(sections)):
        item.dropped = f"{head.name}: {low}"
        return True
    return False


def _fault(head: StageHeader, item: Draft, sections: Sequence[tuple[str, str]]) -> str | None:
    """Return the first fault of an answer, or None."""
    counts = Counter(label for label, _ in sections)
    texts = dict(sections)
    if counts["refuse"]:
        return "refused"
    if missing := [label for label in head.fields if not counts[label]]:
        return f"no '{missing[0]}' in the answer"
    if twice := [label for label, count in counts.items() if count > 1 and label not in head.repeat]:
        return f"'{twice[0]}' answered twice"
    if head.words and head.body and len(texts[head.body].split()) < item.words(head):
        return "too few words"
    if changed := [label for label, text in sections if label in head.same and not _equal(text, item.state.get(label))]:
        return f"changed '{changed[0]}'"
    for label, other in head.as_long_as.items():
        if not 2 / 3 <= len(texts[label].split()) / max(1, len(item.state[other].split())) <= 3 / 2:
            return f"'{label}' is not as long as '{other}'"
    if head.gate and not texts[head.gate].lower().startswith("yes"):
        return f"'{head.gate}' is not yes"
    if unread := [label for label in head.floor if not _NUMBER.match(texts[label])]:
        return f"no number in '{unread[0]}'"
    return None


def _below(head: StageHeader, texts: Mapping[str, str]) -> str | None:
    """Return which number of an answer is below its minimum, or None."""
    for label, least in head.floor.items():
        number = _NUMBER.match(texts[label])
        if number is None or float(number[0]) < least:
            return f"'{label}' below {least:g}"
    return None


def _equal(text: str, before: str | None) -> bool:
    return before is not None and canonical_call(text) == canonical_call(before)


def canonical_call(text: str) -> str:
    """Normalise `name {json}`, so that spacing and the order of keys do not matter in comparisons."""
    name, brace, rest = text.strip().partition("{")
    try:
        return f"{name.strip()} {json.dumps(json.loads(brace + rest), sort_keys=True)}"
    except json.JSONDecodeError:
        return " ".join(text.split())


def parse_sections(answer: str, labels: Iterable[str], body: str | None = None) -> list[tuple[str, str]]:
    """Parse the `label: text` sections of an answer, in order.

    A section extends to the next line that starts with one of `labels`; the section `body` extends to the end. Text
    before the first label is ignored, because teachers often add an introduction.
    """
    pattern = re.compile(rf"^({'|'.join(map(re.escape, labels))}):[ \t]*", re.MULTILINE)
    sections: list[tuple[str, str]] = []
    matches = list(pattern.finditer(answer))
    for place, match in enumerate(matches):
        label, last = match[1], place + 1 == len(matches)
        end = len(answer) if label == body or last else matches[place + 1].start()
        text = answer[match.end() : end].strip()
        if text:
            sections.append((label, text))
        if label == body:
            break
    return sections


_LISTED = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.):])\s+(.+)$", re.MULTILINE)
_MARKUP = re.compile(r"\*\*|__|^[\"“”']+|[\"“”']+$")


def parse_list(answer: str, label: str) -> list[str]:
    """Parse an answer that lists texts as `label: text` lines, or as a bulleted or numbered list; one line each.

    Small models leave out the labels or put them behind the number. A text without either is off form: the result is
    empty.
    """
    lines = [match[1].strip() for match in _LISTED.finditer(answer)]
    labelled = re.compile(rf"^\W*(?:\d{{1,3}}\W+)?{re.escape(label)}\b[ \d]*:[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)
    lines = [match[1].strip() for match in labelled.finditer(answer)] or lines
    return [text for line in lines if (text := _MARKUP.sub("", line).strip())]
