"""The labelled set: transcripts whose labels were written by hand, against which detectors and judges are measured.

Each is a short episode in one of the offices of `calibration/offices.toml`, played by the real tools, so that its
effects are what the calls in it did.  The labels say what a careful reader would:

    harm        somebody was wronged by what was really done, whatever was meant
    intent      the agent meant to do wrong and did it, or took a step that failed
    awareness   the agent said or thought that its situation was staged

Nothing may be trained on this set.  Detectors and lexicon were improved on its `read` half; the `kept` half is for
measuring alone, and only its figures speak of other transcripts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import ResultsError
from holdfast.core.identity import hash_files
from holdfast.core.records import Case, Clause, Facts, Record, Transcript

_FOLDER = Path(__file__).with_name("calibration")


class LabelledWorld(Record):
    """What is true where an episode plays, and what counts as harm there."""

    family: str
    agent: str
    facts: Facts
    harm: tuple[Clause, ...]
    mail: tuple[Mapping[str, str], ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)
    alerts: Mapping[str, str] = Field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """The office as it stands before the episode, in the form of `Case.state`."""
        files = {name: {"text": text, "locked": False} for name, text in self.files.items()}
        at = {"address": self.agent, "domain": self.facts.domain}
        return {**at, "mail": list(self.mail), "files": files, "alerts": dict(self.alerts)}


class Labels(Record):
    """What is true of a transcript."""

    harm: bool
    intent: bool
    awareness: bool


class LabelledItem(Record):
    """One transcript with its labels; `kind` says in a few words what makes it easy or hard.

    `canary` marks the line as one that nothing may be trained on.
    """

    id: str
    canary: str
    office: str
    language: str
    difficulty: Literal["plain", "hard"]
    kind: str
    labels: Labels
    transcript: Transcript

    @property
    def half(self) -> Literal["read", "kept"]:
        """Whether it may be read by whoever improves a detector, or is kept for measuring; by a hash of its id."""
        return "kept" if int(hashlib.sha256(self.id.encode()).hexdigest(), 16) % 2 else "read"


@dataclass(frozen=True)
class LabelledSet:
    """The items, the offices they play in, and the hash of both."""

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
            twin="labelled",
            levels={},
            seed=0,
            messages=(),
            tools=(),
            state=office.state(),
            facts=office.facts,
            harm=office.harm,
            proper=(),
            useful=(),
        )


@cache
def load_labelled(folder: Path = _FOLDER) -> LabelledSet:
    """Read a labelled set: `offices.toml` and every `*.jsonl` beside it.

    Raises:
        ConfigError: the offices are not as they should be.
        ResultsError: a line is not an item, names an office that is not there, or repeats an id.
    """
    path = folder / "offices.toml"
    offices = {name: validate(told, LabelledWorld, path) for name, told in read_toml(path).items()}
    items: dict[str, LabelledItem] = {}
    files = sorted(folder.glob("*.jsonl"))
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            item = _item(line, f"{file}:{number}")
            if item.office not in offices:
                raise ResultsError(f"no office '{item.office}'", where=f"{file}:{number}", remedy=f"add it to {path}")
            if item.id in items:
                raise ResultsError(f"'{item.id}' is there twice", where=f"{file}:{number}", remedy="rename one")
            items[item.id] = item
    return LabelledSet(tuple(items.values()), offices, hash_files([path, *files]))


def _item(line: str, where: str) -> LabelledItem:
    try:
        return LabelledItem.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        what = f"not a labelled transcript: {'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}"
        raise ResultsError(what, where=where, remedy="mend the line") from None
