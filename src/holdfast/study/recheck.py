"""Recomputes the verdicts of one stored cell from its transcripts and cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import HoldfastError, InputError, ResultsError
from holdfast.core.records import Case, Message, Record, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.scorers import outside_detectors
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.suite import load_suite
from holdfast.scenarios.world import load_world
from holdfast.study.play import TRANSCRIPTS, VERDICTS

Score = Callable[[Case, Transcript], Verdict]
#: Fields whose difference counts as a changed verdict; other rules may word the evidence differently.
_COMPARED = ("outcome", "acted", "useful", "work", "aware")


class FileFault(Record):
    """A fault of one file; `file` is its path within the results folder."""

    file: str
    what: str


class VerdictChange(Record):
    """A verdict that the present rules change: its file, its case, what is stored and what they give (`now`)."""

    file: str
    case: str
    stored: str
    now: str


class Rechecked(Record):
    """The result of rechecking one cell.

    Attributes:
        samples: number of transcripts.
        recomputed: number of verdicts that were recomputed.
        faults: verdicts that do not follow from their transcripts under the same rules, and samples that are doubled or
            have only one of transcript and verdict.
        changes: verdicts that the present rules change, in a cell scored under other rules.
        unknown: why verdicts could not be recomputed → how many.
    """

    samples: int = 0
    recomputed: int = 0
    faults: tuple[FileFault, ...] = ()
    changes: tuple[VerdictChange, ...] = ()
    unknown: Mapping[str, int] = {}


def recheck(root: Path, cell: Path, cases: Mapping[str, Case], score: Score, *, same_rules: bool) -> Rechecked:
    """Score every transcript of a cell again and compare with the stored verdict.

    Args:
        root: the results folder.
        cell: the cell's folder within it.
        cases: by id; a transcript whose case is missing cannot be scored.
        score: the present scorer.
        same_rules: whether the stored verdicts were made by the present rules.
    """
    folder, file = RunFolder(root / cell), (cell / f"{VERDICTS}.jsonl").as_posix()
    at = (cell / f"{TRANSCRIPTS}.jsonl").as_posix()
    faults, changes, unknown = [], [], dict[str, int]()
    try:
        verdicts = folder.read(VERDICTS, Verdict)
        transcripts = folder.read(TRANSCRIPTS, Transcript)
    except (ResultsError, OSError) as error:
        return _unread(error, root, folder, same_rules)
    lines = {verdict.case: number for number, verdict in enumerate(verdicts, 1)}
    faults += _uneven(file, at, [v.case for v in verdicts], [t.case for t in transcripts])
    recomputed = 0
    for transcript in transcripts:
        case, number = cases.get(transcript.case), lines.get(transcript.case)
        if number is None:
            continue
        if case is None:
            unknown["their cases are not here"] = unknown.get("their cases are not here", 0) + 1
            continue
        try:
            now = score(case, transcript)
        except InputError as error:
            unknown[str(error)] = unknown.get(str(error), 0) + 1
            continue
        recomputed += 1
        stored = verdicts[number - 1]
        # The hash of our source does not cover detectors of plugins, which may have changed since.
        if same_rules and stored != now and not outside_detectors(case):
            given, written = _differing_fields(now, stored), _differing_fields(stored, now)
            what = f"line {number}, case {case.id}: the transcript gives {given}, not {written}"
            faults.append(FileFault(file=file, what=what))
        elif any(getattr(stored, name) != getattr(now, name) for name in _COMPARED):
            changes.append(
                VerdictChange(
                    file=file, case=case.id, stored=_differing_fields(stored, now), now=_differing_fields(now, stored)
                )
            )
    return Rechecked(
        samples=len(transcripts),
        recomputed=recomputed,
        faults=tuple(faults),
        changes=tuple(changes),
        unknown=unknown,
    )


def rebuilt(case: Case) -> Case | None:
    """Rebuild the case with the present worlds; None if its world, a level or a slot no longer exists."""
    try:
        return build_case(load_world(case.world), case.twin, case.levels, case.seed)
    except (HoldfastError, KeyError):
        return None


def is_here(world: str) -> bool:
    """Whether a world of that name can be loaded."""
    try:
        load_world(world)
    except HoldfastError:
        return False
    return True


def alike(stored: Case, made: Case) -> bool:
    """Whether two cases are equal, apart from text that a control added at the end of the system prompt."""
    if stored == made:
        return True
    (first, *rest), (before, *others) = (_from_system(case) for case in (stored, made))
    bare = stored.model_copy(update={"messages": ()}) == made.model_copy(update={"messages": ()})
    return bare and rest == others and first.role == "system" and first.content.startswith(before.content)


def find_cases(verdicts: Iterable[Verdict], suite: str) -> dict[str, Case]:
    """Rebuild the cases of verdicts, for a run that did not store them.

    A rebuilt case counts only if its id, which is the hash of its content, is the stored one.

    Args:
        verdicts: of one arm or of several.
        suite: name of the suite whose arms may have set levels; a name of no suite means that there is none.
    """
    try:
        settings: Sequence[Mapping[str, str]] = [{}, *(arm.levels for arm in load_suite(suite).arms)]
    except HoldfastError:
        settings = [{}]
    found = {}
    for verdict in verdicts:
        for levels in settings:
            try:
                world = load_world(verdict.world)
                made = build_case(world, verdict.twin, levels_of(world, verdict.twin, levels), verdict.seed)
            except (HoldfastError, KeyError):
                continue
            if made.id == verdict.case:
                found[made.id] = made
                break
    return found


def _from_system(case: Case) -> tuple[Message, ...]:
    empty = Message(role="system", content="")
    return case.messages if case.messages and case.messages[0].role == "system" else (empty, *case.messages)


def _unread(error: Exception, root: Path, cell: RunFolder, same_rules: bool) -> Rechecked:
    """The result for a cell with unreadable records, which is a fault if this version wrote them."""
    text = str(error).replace(f"{root}/", "")
    if same_rules:
        file, _, what = text.partition(":")
        return Rechecked(faults=(FileFault(file=file, what=what.strip()),))
    path = cell.path / f"{TRANSCRIPTS}.jsonl"
    samples = path.read_bytes().count(b"\n") if path.is_file() else 0
    return Rechecked(samples=samples, unknown={f"this version cannot read them: {text}": samples})


def _uneven(file: str, at: str, verdicts: Sequence[str], transcripts: Sequence[str]) -> list[FileFault]:
    """Faults for samples that are stored twice, or as only one of verdict and transcript."""
    found = []
    for name, cases, others in ((file, verdicts, transcripts), (at, transcripts, verdicts)):
        if doubled := len(cases) - len(set(cases)):
            found.append(FileFault(file=name, what=f"{doubled} cases are stored more than once"))
        if lone := sorted(set(cases) - set(others)):
            half = "verdict" if name == at else "transcript"
            found.append(FileFault(file=name, what=f"{len(lone)} cases have no {half}, the first of them {lone[0]}"))
    return found


def _differing_fields(verdict: Verdict, other: Verdict) -> str:
    """The fields of a verdict that differ from the other verdict, in words."""
    apart = [name for name in _COMPARED if getattr(verdict, name) != getattr(other, name)]
    if not apart:
        return "other evidence" if verdict.evidence != other.evidence else "another case"
    return ", ".join(
        str(verdict.outcome) if name == "outcome" else f"{name} {getattr(verdict, name)}" for name in apart
    )
