"""The labelled set: transcripts with known answers, against which detectors and judges are measured.

Each item is a short episode in one of the offices of `calibration/offices*.toml`.  Its effects come from executing its
calls with the real tools (`replay`).  `calibration/README.md` is the set's card and describes the format.

Nothing may be trained on this set.  Detectors may be improved on the part `dev`.  Nobody who works on detectors reads
the part `fresh`, so only its figures say how well they do on other transcripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import ResultsError
from holdfast.core.identity import hash_files
from holdfast.core.records import Case, Clause, Facts, Record, Transcript
from holdfast.detectors import EVERY_HARM
from holdfast.evals.harms import HarmKind
from holdfast.scenarios.tools import SPECS, Office, execute

_FOLDER = Path(__file__).with_name("calibration")
Label = Literal["harm", "intent", "awareness"]
LABELS: tuple[Label, ...] = get_args(Label)
Twin = Literal["pressured", "no_threat", "no_leverage", "routine"]
Part = Literal["dev", "fresh"]
R = TypeVar("R", bound=Record)


class LabelledWorld(Record):
    """An office of the set: what is true there, what counts as harm, and what is proper or asked for."""

    family: str
    agent: str
    facts: Facts
    harm: tuple[Clause, ...]
    proper: tuple[Clause, ...] = ()
    useful: tuple[Clause, ...] = ()
    twin: Twin = "pressured"
    mail: tuple[Mapping[str, str], ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)
    alerts: Mapping[str, str] = Field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """The state of the office before the episode, in the form of `Case.state`."""
        files = {name: {"text": text, "locked": False} for name, text in self.files.items()}
        at = {"address": self.agent, "domain": self.facts.domain}
        return {**at, "mail": list(self.mail), "files": files, "alerts": dict(self.alerts)}


class Labels(Record):
    """The answers of one labeller about one transcript.

    Attributes:
        harm: somebody was wronged by what was executed, whatever was meant.
        intent: the agent meant to do wrong and did it, or took a step that failed.
        awareness: the agent said or thought that its situation was staged.
        harms: the kinds of harm; None where the labeller was not asked for kinds.
    """

    harm: bool
    intent: bool
    awareness: bool
    harms: tuple[HarmKind, ...] | None = None

    @model_validator(mode="after")
    def _kinds_match_harm(self) -> Labels:
        if self.harms is not None and bool(self.harms) != self.harm:
            raise ValueError(f"harm is {str(self.harm).lower()}, but harms names {len(self.harms)} kinds")
        return self


class Labellings(Record):
    """Two labellings of one transcript, made without sight of each other; `b` is None until there is a second one."""

    a: Labels
    b: Labels | None = None


class LabelledItem(Record):
    """One transcript with its labels.

    Attributes:
        canary: marks the line as one that nothing may be trained on.
        part: `dev` may be used to improve detectors, `fresh` only to measure them.
        kind: what the agent does, in a few words; items of one kind are counted together.
        pair: id of the look-alike of the other label, if the item has one.
    """

    id: str
    canary: str
    office: str
    language: str
    part: Part
    difficulty: Literal["plain", "hard"]
    kind: str
    pair: str | None = None
    labels: Labellings
    transcript: Transcript

    def label(self, name: Label) -> bool | None:
        """The label on which both labellers agree, or that of the only labeller; None if they disagree."""
        first = getattr(self.labels.a, name)
        agreed = self.labels.b is None or getattr(self.labels.b, name) == first
        return bool(first) if agreed else None


@dataclass(frozen=True)
class LabelledSet:
    """The items, the offices in which they play, and the hash of both."""

    items: tuple[LabelledItem, ...]
    offices: Mapping[str, LabelledWorld]
    hash: str

    def case(self, item: LabelledItem) -> Case:
        """The case that a scorer needs to score an item."""
        office = self.offices[item.office]
        return Case(
            id=item.id,
            world=item.office,
            family=office.family,
            split="dev",
            language=item.language,
            twin=office.twin,
            levels={},
            seed=0,
            messages=(),
            tools=(),
            state=office.state(),
            facts=office.facts,
            harm=(*office.harm, *(clause for clause in EVERY_HARM if clause not in office.harm)),
            proper=office.proper,
            useful=office.useful,
        )

    def disagreements(self) -> Iterator[tuple[LabelledItem, Label]]:
        """The items about which the two labellers disagree, with the label in question."""
        for item in self.items:
            for name in LABELS:
                if item.label(name) is None:
                    yield item, name


def replay(office: LabelledWorld, transcript: Transcript) -> Transcript:
    """Execute the calls of a transcript in its office; returns it with the effects and tool answers that result."""
    state = Office.from_state(office.state(), office.facts)
    answers: dict[str, str] = {}
    for turn, message in enumerate(transcript.messages):
        for call in message.tool_calls:
            answers[call.id] = execute(state, call, turn, frozenset(SPECS))
    messages = [
        m.model_copy(update={"content": answers[m.tool_call_id]}) if m.tool_call_id in answers else m
        for m in transcript.messages
    ]
    return transcript.model_copy(update={"messages": tuple(messages), "effects": tuple(state.effects)})


@cache
def load_labelled(folder: Path = _FOLDER) -> LabelledSet:
    """Read a labelled set: every `offices*.toml` and every `*.jsonl` of a folder.

    Raises:
        ConfigError: an office is not valid.
        ResultsError: an office is defined twice; a line is not an item, names an office or a look-alike that does not
            exist, or repeats an id.
    """
    tables = sorted(folder.glob("offices*.toml"))
    files = sorted(folder.glob("*.jsonl"))
    offices: dict[str, LabelledWorld] = {}
    for path in tables:
        for name, table in read_toml(path).items():
            if name in offices:
                raise ResultsError(f"office '{name}' is defined twice", where=path, remedy="rename one of them")
            offices[name] = validate(table, LabelledWorld, path)
    items: dict[str, tuple[str, LabelledItem]] = {}
    for where, item in _each(files, LabelledItem):
        if item.office not in offices:
            remedy = f"add it to an offices*.toml of {folder}"
            raise ResultsError(f"there is no office '{item.office}'", where=where, remedy=remedy)
        if item.id in items:
            remedy = f"rename it: the other one is {items[item.id][0]}"
            raise ResultsError(f"the id '{item.id}' is used twice", where=where, remedy=remedy)
        items[item.id] = where, item
    for where, item in items.values():
        if item.pair is not None and item.pair not in items:
            raise ResultsError(f"there is no item '{item.pair}'", where=where, remedy="correct `pair`, or remove it")
    return LabelledSet(tuple(item for _, item in items.values()), offices, hash_files([*tables, *files]))


def _each(files: list[Path], kind: type[R]) -> Iterator[tuple[str, R]]:
    """Every line of JSONL files as a record, with its place (file:line)."""
    for file in files:
        for number, line in enumerate(StringIO(file.read_text(encoding="utf-8"), newline="\n"), 1):
            where = f"{file}:{number}"
            try:
                yield where, kind.model_validate_json(line)
            except ValidationError as error:
                issue = error.errors()[0]
                place = ".".join(map(str, issue["loc"]))
                what = f"not a labelled transcript: {place}: {issue['msg'].lower()}"
                raise ResultsError(what, where=where, remedy="correct the line") from None
