"""Stores the plan and the cases of a run in its results folder, so that the results can be verified later.

`plan.json` and `cases/….jsonl.gz` are written before anything is played.  With them and the transcripts, verdicts can
be recomputed on a machine whose worlds have changed since, or that never had these worlds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.core.errors import ResultsError
from holdfast.core.identity import room_version, source_commit
from holdfast.core.records import Case, Record
from holdfast.core.store import write_json, writing
from holdfast.study.plan import CellPlan, PlanInputs, StudyPlan
from holdfast.study.study_file import Design

PLAN, CASES = "plan.json", "cases"
FORMAT = 2
#: The rooms whose source decides cases, verdicts, summaries and pages; a test checks that none is missing.
ROOMS: Mapping[str, tuple[str, ...]] = {
    "cases": ("core", "detectors", "models", "scenarios"),
    "verdicts": ("core", "detectors", "evals", "models", "scenarios"),
    "summary": ("core", "detectors", "evals", "models", "scenarios", "stats", "study"),
    "pages": ("core", "report"),
}
#: Maximum bytes of one stored case, unpacked; a longer line is refused as no case.
_MOST = 64 * 2**20


class Levels(Record):
    """The levels that an arm of a suite sets in one world and twin, by factor."""

    arm: str
    world: str
    twin: str
    levels: Mapping[str, str]


class StoredPlan(Record):
    """The content of `plan.json`: all inputs of a summary beside the files of the cells.

    Attributes:
        cases: arm → name of the file of its cases.
        notes: sentences for the limits of the report.
        commit: git commit of the code, if it ran from a checkout.
    """

    format: int
    design: Design
    identity: str
    configs: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    levels: tuple[Levels, ...]
    cells: tuple[CellPlan, ...]
    cases: Mapping[str, str]
    command: str = ""
    notes: tuple[str, ...] = ()
    commit: str = ""


@dataclass(frozen=True)
class Stored:
    """A stored plan with the cases of its first arm, and the other inputs of its summary."""

    plan: StudyPlan
    cases: Mapping[str, str]
    command: str
    notes: tuple[str, ...]


def rules() -> dict[str, str]:
    """Hash the present source of the rooms that decide cases, verdicts, summaries and pages."""
    return {name: room_version(*rooms) for name, rooms in ROOMS.items()}


def store_plan(plan: StudyPlan, out: Path, command: str = "", notes: Sequence[str] = ()) -> dict[str, str]:
    """Write `plan.json` and the cases of every arm.

    Returns:
        Arm → name of the file that holds its cases.

    Raises:
        StoreError: they cannot be written.
    """
    cases = {arm.name: plan.cases_of(arm.name) for arm in plan.design.arms}
    named: dict[int, str] = {}
    for some in cases.values():
        # The arms of a study share one list, which is written once.
        named.setdefault(id(some), _store_cases(some, out))
    files = {arm: named[id(some)] for arm, some in cases.items()}
    facts = plan.facts
    levels = [
        Levels(arm=arm, world=world, twin=twin, levels=found) for (arm, world, twin), found in facts.levels.items()
    ]
    stored = StoredPlan(
        format=FORMAT,
        design=plan.design,
        identity=facts.identity,
        configs=facts.configs,
        versions=facts.versions,
        levels=tuple(levels),
        cells=plan.cells,
        cases=files,
        command=command,
        notes=tuple(notes),
        commit=source_commit(),
    )
    write_json(out / PLAN, stored.model_dump(mode="json"))
    return files


def refuse_other_code(plan: StudyPlan, out: Path) -> None:
    """Refuse to resume a study by other code than started it: its checkpoints could not be compared with the new ones.

    A folder without a plan, or whose plan cannot be read, is not refused here.

    Raises:
        ResultsError: the code that makes data, trains or measures has changed since.
    """
    path = out / PLAN
    if not plan.design.taught or not path.is_file():
        return
    try:
        stored = StoredPlan.model_validate_json(path.read_bytes())
    except ValidationError:
        return
    before, now = stored.versions, plan.facts.versions
    changed = [name for name in now if before.get(name) != now[name]]
    played, trained = any(out.glob("cells/*/*")), any(out.glob("checkpoints/*/*"))
    if changed and (played or (trained and changed != ["measure"])):
        at = f"check out commit {stored.commit}" if stored.commit else f"use the version of holdfast that wrote {PLAN}"
        what = f"this study was started by other code: {', '.join(changed)} changed"
        again = ", or move cells/ away to measure the same checkpoints again" if changed == ["measure"] else ""
        remedy = f"{at} to resume it, or run into another folder: --out FOLDER{again}"
        raise ResultsError(what, where=out, remedy=remedy)


def load_plan(out: Path) -> Stored | None:
    """Read the plan of a results folder; None if it has none, as folders of older versions.

    Raises:
        ResultsError: `plan.json` or the cases it names cannot be read.
    """
    path = out / PLAN
    if not path.is_file():
        return None
    try:
        stored = StoredPlan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        what = f"not a plan that this version reads: '{where}'"
        raise ResultsError(what, where=path, remedy="use the version of holdfast that wrote it") from None
    first = stored.cases.get(stored.cells[0].arm) if stored.cells else None
    cases = list(read_cases(out, first)) if first else []
    levels = {(at.arm, at.world, at.twin): at.levels for at in stored.levels}
    facts = PlanInputs(stored.identity, cases, stored.configs, stored.versions, levels)
    return Stored(StudyPlan(stored.design, facts, stored.cells), stored.cases, stored.command, stored.notes)


def read_cases(out: Path, name: str) -> Iterator[Case]:
    """Read the cases of one file.

    Raises:
        ResultsError: the file is missing, or a line is no case.
    """
    path = out / CASES / name
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(_MOST):
                number += 1
                yield Case.model_validate_json(line)
    except (OSError, EOFError, zlib.error) as error:
        why = "the file is missing" if isinstance(error, FileNotFoundError) else "not a readable gzip file"
        raise ResultsError(why, where=path, remedy="restore it from a copy of the folder") from None
    except ValidationError:
        what = "not a case that this version reads"
        raise ResultsError(what, where=f"{path}:{number}", remedy="use the version of holdfast that wrote it") from None


def write_summary(path: Path, made: dict[str, Any]) -> None:
    """Write a summary; if only its date would change, the existing file and its hash stay.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        before = None
    if not isinstance(before, dict) or before | {"made": None} != _plain(made) | {"made": None}:
        write_json(path, made)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """The value after a round trip through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(value))
    return found


def _store_cases(cases: Sequence[Case], out: Path) -> str:
    """Write cases under a name that is the hash of their text; an existing file stays."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(_line(case))
    name = f"{digest.hexdigest()[:16]}.jsonl.gz"
    path = out / CASES / name
    if not path.is_file():
        part = path.with_name(f"{name}.part")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without name and time in the gzip header, equal cases give equal files.
            with part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
                for case in cases:
                    file.write(_line(case))
            part.replace(path)
    return name


def _line(case: Case) -> bytes:
    return case.model_dump_json().encode() + b"\n"
