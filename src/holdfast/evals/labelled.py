"""The labelled set: transcripts with known answers, against which detectors and judges are measured.

Each item is an episode in one of the offices of `calibration/offices*.toml`, or in a world (`labelled_plots`).  Its
effects come from executing its calls with the real tools.  `calibration/README.md` is the set's card and describes the
format.

Nothing may be trained on this set.  Detectors may be improved on the part `dev`.  The parts `fresh` and `fresh_2` were
written after the detectors were committed and without knowledge of them, so only the figures of their first scoring say
how well detectors do on other transcripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import ResultsError
from holdfast.core.identity import hash_files
from holdfast.core.packed import packed_files, read_packed
from holdfast.core.records import Case, Clause, Facts, Record, Transcript
from holdfast.detectors import EVERY_HARM
from holdfast.evals.harms import HarmKind
from holdfast.evals.labelled_plots import AgentTurn, PlotCase, StaleItem, play_turns, world_text
from holdfast.scenarios.tools import SPECS, Office, execute

_FOLDER = Path(__file__).with_name("calibration")
Label = Literal["harm", "intent", "awareness"]
LABELS: tuple[Label, ...] = get_args(Label)
Twin = Literal["pressured", "no_threat", "no_leverage", "routine"]
Part = Literal["dev", "fresh", "fresh_2"]
PARTS: tuple[Part, ...] = get_args(Part)


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


class ItemFields(Record):
    """What every item has.

    Attributes:
        canary: marks the line as one that nothing may be trained on.
        part: `dev` may be used to improve detectors, the others only to measure them.
        kind: what the agent does, in a few words; items of one kind are counted together.
        pair: id of the look-alike of the other label, if the item has one.
    """

    id: str
    canary: str
    language: str
    part: Part
    difficulty: Literal["plain", "hard"]
    kind: str
    pair: str | None = None
    labels: Labellings


class PlottedItem(ItemFields):
    """A line of the set that plays in a world: it holds the agent's turns only."""

    plot: PlotCase
    turns: tuple[AgentTurn, ...] = Field(min_length=1)


class LabelledItem(ItemFields):
    """One transcript with its labels; `office` is the name of the office or of the world in which it plays."""

    office: str
    transcript: Transcript

    def label(self, name: Label) -> bool | None:
        """The label on which both labellers agree, or that of the only labeller; None if they disagree."""
        first = getattr(self.labels.a, name)
        agreed = self.labels.b is None or getattr(self.labels.b, name) == first
        return bool(first) if agreed else None


@dataclass(frozen=True)
class LabelledSet:
    """The items that can be scored, the offices and cases in which they play, and the hash of the files.

    Attributes:
        plots: id → the case of each item that plays in a world.
        stale: the items that are left out because their world has changed.
    """

    items: tuple[LabelledItem, ...]
    offices: Mapping[str, LabelledWorld]
    hash: str
    plots: Mapping[str, Case] = field(default_factory=dict)
    stale: tuple[StaleItem, ...] = ()

    def case(self, item: LabelledItem) -> Case:
        """The case that a scorer needs to score an item."""
        if item.id in self.plots:
            return self.plots[item.id].model_copy(update={"id": item.id})
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

    def family(self, item: LabelledItem) -> str:
        """The family of the office or world in which an item plays."""
        return self.plots[item.id].family if item.id in self.plots else self.offices[item.office].family

    def place(self, item: LabelledItem) -> tuple[str, Facts]:
        """The agent's address and the facts where an item plays."""
        if item.id in self.plots:
            built = self.plots[item.id]
            return str(built.state["address"]), built.facts
        office = self.offices[item.office]
        return office.agent, office.facts

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
        WorldError: an item names a world that does not exist.
    """
    offices, lines = _offices(folder), _lines(folder)
    items: list[LabelledItem] = []
    plots: dict[str, Case] = {}
    stale: list[StaleItem] = []
    for where, line in lines.values():
        if isinstance(line, LabelledItem):
            if line.office not in offices:
                remedy = f"add it to an offices*.toml of {folder}"
                raise ResultsError(f"there is no office '{line.office}'", where=where, remedy=remedy)
            items.append(line)
        else:
            built = line.plot.build()
            played = _played(line, built)
            if isinstance(played, LabelledItem):
                items.append(played)
                plots[line.id] = built
            else:
                stale.append(played)
        if line.pair is not None and line.pair not in lines:
            raise ResultsError(f"there is no item '{line.pair}'", where=where, remedy="correct `pair`, or remove it")
    hash = hash_files([*sorted(folder.glob("offices*.toml")), *packed_files(folder, "*.jsonl")])
    return LabelledSet(tuple(items), offices, hash, plots, tuple(stale))


def canary_strings(folder: Path = _FOLDER) -> set[str]:
    """The canary of every line of a labelled set; no item is played."""
    return {line.canary for _, line in _lines(folder).values()}


def _offices(folder: Path) -> dict[str, LabelledWorld]:
    offices: dict[str, LabelledWorld] = {}
    for path in sorted(folder.glob("offices*.toml")):
        for name, table in read_toml(path).items():
            if name in offices:
                raise ResultsError(f"office '{name}' is defined twice", where=path, remedy="rename one of them")
            offices[name] = validate(table, LabelledWorld, path)
    return offices


def _played(line: PlottedItem, built: Case) -> LabelledItem | StaleItem:
    """The item with the transcript that its turns give in the world as it is now."""
    if world_text(built) != line.plot.text:
        return StaleItem(line.id, f"the text of {line.plot.world} has changed since it was labelled")
    try:
        transcript = play_turns(built, line.turns)
    except ResultsError as error:
        return StaleItem(line.id, error.what)
    fields = {name: getattr(line, name) for name in ItemFields.model_fields}
    return LabelledItem(**fields, office=line.plot.world, transcript=transcript.model_copy(update={"case": line.id}))


def _lines(folder: Path) -> dict[str, tuple[str, LabelledItem | PlottedItem]]:
    """Every line of a set by its id, with its place (file:line)."""
    lines: dict[str, tuple[str, LabelledItem | PlottedItem]] = {}
    for where, line in _each(packed_files(folder, "*.jsonl")):
        if line.id in lines:
            remedy = f"rename it: the other one is {lines[line.id][0]}"
            raise ResultsError(f"the id '{line.id}' is used twice", where=where, remedy=remedy)
        lines[line.id] = where, line
    return lines


def _each(files: list[Path]) -> Iterator[tuple[str, LabelledItem | PlottedItem]]:
    """Every line of JSONL files as a record, with its place (file:line)."""
    for file in files:
        for number, line in enumerate(StringIO(read_packed(file).decode(), newline="\n"), 1):
            where = f"{file}:{number}"
            kind = PlottedItem if '"plot":' in line else LabelledItem
            try:
                yield where, kind.model_validate_json(line)
            except ValidationError as error:
                issue = error.errors()[0]
                place = ".".join(map(str, issue["loc"]))
                what = f"not a labelled transcript: {place}: {issue['msg'].lower()}"
                raise ResultsError(what, where=where, remedy="correct the line") from None
