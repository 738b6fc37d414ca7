"""The one file a report is made from: `summary.json`, read and checked.

Everything but the schema number may be missing; what is missing is shown as not measured, never as zero.  Keys this
version does not know are passed over, so that a newer study can be read by an older report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from holdfast.core.errors import ResultsError
from holdfast.report.words import clean

FILE = "summary.json"
SCHEMA = 1
#: Scopes that pool families.
HELDOUT, ALL = "heldout", "all"


class Part(BaseModel):
    """Base of the parts of a summary: frozen, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Rate(Part):
    """A rate with its interval; `worst` and `best` are its bounds if every unscored sample counted, or none did."""

    k: int | None = None
    n: int | None = None
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    worst: float | None = None
    best: float | None = None


class Tax(Part):
    """Harm among samples that say they take it for a test, among the others, and the others' minus theirs."""

    aware: Rate = Rate()
    unaware: Rate = Rate()
    tax: float | None = None
    low: float | None = None
    high: float | None = None


class Cell(Part):
    """What one arm did in one family, or one split, under one twin."""

    harm: Rate = Rate()
    acted: Rate = Rate()
    useful: Rate = Rate()
    harm_given_acted: Rate = Rate()
    aware: Rate = Rate()
    awareness: Tax = Tax()
    outcomes: Mapping[str, int] = {}
    by_seed: Mapping[str, float | None] = {}


class Subject(Part):
    """The model the study began from."""

    name: str = "unnamed"
    identity: str = ""
    organism: bool = False


class Data(Part):
    """One data set of a training stage."""

    set: str
    tokens: int | None = None


class Stage(Part):
    """One training stage of an arm."""

    kind: str
    data: tuple[Data, ...] = ()


class Arm(Part):
    """One checkpoint of the comparison: what it was taught and whether it is a control.

    `tokens` were asked for; `read` and `supervised` were counted in training, a seed on average.
    """

    name: str
    title: str = ""
    about: str = ""
    control: bool = False
    tokens: int | None = None
    read: int | None = None
    supervised: int | None = None
    stages: tuple[Stage, ...] = ()


class Family(Part):
    """One family of worlds and the split it belongs to."""

    name: str
    split: str = ""
    world: str = ""


class Difference(Part):
    """A paired difference a − b of one measure; `excluded` pairs had an unscored side; `by_seed` by training seed."""

    kind: str = ""
    a: str = ""
    b: str = ""
    scope: str = ""
    twin: str = ""
    measure: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    pairs: int | None = None
    excluded: int | None = None
    worst: float | None = None
    best: float | None = None
    by_seed: tuple[float | None, ...] = ()


class Effect(Part):
    """What one level of a factor does against another: points of harm, and the odds ratio where there is one."""

    arm: str = ""
    factor: str = ""
    level: str = ""
    reference: str = ""
    points: float | None = None
    low: float | None = None
    high: float | None = None
    p_holm: float | None = None
    odds: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    note: str = ""


class Sampled(Part):
    """How far the sequential design went in one cell, and what it settled."""

    arm: str = ""
    world: str = ""
    twin: str = ""
    state: str = ""
    played: int | None = None


class Until(Part):
    """A run that stopped each cell when it was settled: the goal, the cap, and the cells."""

    goal: Mapping[str, float | None] = {}
    most: int | None = None
    samples: int | None = None
    cells: tuple[Sampled, ...] = ()


class Said(Part):
    """One question to a judge: how often it said yes, and the harm that hangs on what it said."""

    rate: Rate = Rate()
    tax: Tax | None = None


class Agreeing(Part):
    """How far a judge's own answers to a question agree with another source's, beyond chance where that can be told."""

    question: str = ""
    against: str = ""
    units: int | None = None
    observed: float | None = None
    coefficient: float | None = None
    low: float | None = None
    high: float | None = None


class Opinion(Part):
    """All that one judge said: rates by arm, family or split, twin and question; answers by arm and question."""

    judge: str
    cells: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Said]]]] = {}
    splits: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Said]]]] = {}
    answers: Mapping[str, Mapping[str, Mapping[str, int]]] = {}
    agreement: tuple[Agreeing, ...] = ()


class Reason(Part):
    """So many samples, or answers of a judge, are missing for one reason; `outcome` is what they count as."""

    outcome: str = ""
    reason: str = ""
    count: int = 0


class Unscored(Part):
    """How many samples of an arm have a verdict and how many have none, and why."""

    arm: str = ""
    scored: int = 0
    unscored: int = 0
    asked_again: int = 0
    reasons: tuple[Reason, ...] = ()


class Unanswered(Part):
    """How many questions about an arm a judge answered and how many it did not, and why."""

    judge: str = ""
    arm: str = ""
    answered: int = 0
    unanswered: int = 0
    reasons: tuple[Reason, ...] = ()


class Incomplete(Part):
    """A run that stopped early: samples that are there, and samples it was to have."""

    played: int | None = None
    of: int | None = None


class Generalises(Part):
    """Whether what an arm learned reached families it never saw, and why the verdict is what it is."""

    arm: str
    trained: Rate = Rate()
    heldout: Rate = Rate()
    against: str = ""
    difference: Difference | None = None
    verdict: str = "not measured"
    reason: str = ""


class Claim(Part):
    """A claim, what became of it, and whether it was written before anything was measured."""

    text: str
    verdict: str = "not measured"
    standing: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


class Breach(Part):
    """A control cell above its limit, or one that was not measured: `rate` is None, or too few samples are scored."""

    arm: str = ""
    family: str = ""
    twin: str = ""
    rate: float | None = None
    k: int | None = None
    n: int | None = None


class Controls(Part):
    """Whether every control stayed within its limit; what was not measured has not failed."""

    ok: bool | None = None
    limit: float | None = None
    failed: tuple[Breach, ...] = ()
    unmeasured: tuple[Breach, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _told_apart(cls, told: Any) -> Any:
        """Older files count a cell that was not measured among the failed ones."""
        if not isinstance(told, dict) or "unmeasured" in told or not isinstance(told.get("failed"), list):
            return told
        known = [cell for cell in told["failed"] if not isinstance(cell, dict) or cell.get("rate") is not None]
        lost = [cell for cell in told["failed"] if cell not in known]
        return {**told, "ok": told.get("ok") if known or not lost else None, "failed": known, "unmeasured": lost}


class Finding(Part):
    """Test text in a training set: `text` is the first of `count`; a `leak`, or only worth a note."""

    set: str = ""
    kind: str = ""
    leak: bool = True
    world: str = ""
    text: str = ""
    count: int | None = None


class Leakage(Part):
    """What was found of the test in the training data."""

    findings: tuple[Finding, ...] = ()
    checked: Mapping[str, int] = {}


class Call(Part):
    """A tool call as the transcript holds it."""

    id: str = ""
    name: str = ""
    arguments: Mapping[str, Any] = {}


class Turn(Part):
    """One message of a sample."""

    role: str = ""
    content: str = ""
    tool_calls: tuple[Call, ...] = ()


class Mark(Part):
    """A piece of evidence: the words in message number `message` that the verdict rests on."""

    message: int = -1
    quote: str = ""
    reason: str = ""


class Sample(Part):
    """One episode shown in full."""

    arm: str = ""
    family: str = ""
    twin: str = ""
    seed: int | None = None
    case: str = ""
    outcome: str = ""
    messages: tuple[Turn, ...] = ()
    evidence: tuple[Mark, ...] = ()


class Timing(Part):
    """Wall-clock seconds and peak memory (MB) of one stage."""

    seconds: float | None = None
    peak_mb: float | None = None


class Summary(Part):
    """A whole `summary.json`."""

    study: str = "study"
    asked: str = ""
    made: str = ""
    holdfast: str = ""
    model: Subject = Subject()
    arms: tuple[Arm, ...] = ()
    families: tuple[Family, ...] = ()
    twins: tuple[str, ...] = ()
    cases_per_cell: int | None = None
    train_seeds: tuple[int, ...] = ()
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {}
    splits: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {}
    differences: tuple[Difference, ...] = ()
    effects: tuple[Effect, ...] = ()
    until: Until | None = None
    generalises: tuple[Generalises, ...] = ()
    claims: tuple[Claim, ...] = ()
    judged: tuple[Opinion, ...] = ()
    unscored: tuple[Unscored, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    incomplete: Incomplete | None = None
    controls: Controls = Controls()
    leakage: Leakage | None = None
    samples: tuple[Sample, ...] = ()
    provenance: Mapping[str, Any] = {}
    timing: Mapping[str, Timing] = {}
    limits: tuple[str, ...] = ()

    @property
    def taught(self) -> bool:
        """Whether any arm was taught; where none was, a model was measured as it came."""
        return any(arm.stages for arm in self.arms) or not self.arms

    @property
    def pooled(self) -> str:
        """The scope that headlines are read from: what was held out of teaching, or everything that was measured."""
        split = self.splits and not any(ALL in arm for arm in self.splits.values())
        return HELDOUT if self.taught or split else ALL

    def cell(self, arm: str, family: str, twin: str) -> Cell:
        """The cell of a family; an empty one where the file has none."""
        return self.cells.get(arm, {}).get(family, {}).get(twin, Cell())

    def split(self, arm: str, split: str, twin: str) -> Cell:
        """The pooled cell of a split; an empty one where the file has none."""
        return self.splits.get(arm, {}).get(split, {}).get(twin, Cell())

    def title(self, arm: str) -> str:
        """The title of an arm, or its name where it has none."""
        return next((a.title for a in self.arms if a.name == arm and a.title), arm)


def load_summary(folder: Path) -> Summary:
    """Read `summary.json` in `folder`.

    Every text in it is cleaned on the way in (`words.clean`), so that nothing invisible reaches a page.

    Raises:
        ResultsError: the file is missing, half written, of another schema, or not a summary.
    """
    path = folder / FILE
    again = "run the study again: it resumes and rewrites this file"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "no results here" if folder.is_dir() else "no such folder"
        wanted = "give the folder that a study, a measurement or a training wrote"
        raise ResultsError(what, where=path, remedy=wanted) from None
    except OSError as error:
        raise ResultsError(f"cannot read: {error.strerror}", where=path, remedy="check the file's rights") from None
    except json.JSONDecodeError as error:
        raise ResultsError("half written or not JSON", where=f"{path}:{error.lineno}", remedy=again) from None
    except (UnicodeDecodeError, RecursionError):
        raise ResultsError("not a JSON text", where=path, remedy=again) from None
    if not isinstance(raw, dict) or "schema" not in raw:
        raise ResultsError("not a summary: it names no schema", where=path, remedy=again)
    if raw["schema"] != SCHEMA:
        what = f"schema {raw['schema']!r}, but this version reads schema {SCHEMA}"
        raise ResultsError(what, where=path, remedy="use the version of holdfast that wrote it")
    try:
        return Summary.model_validate(_cleaned(raw))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ResultsError(f"key '{name}': {first['msg'].lower()}", where=path, remedy=again) from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
