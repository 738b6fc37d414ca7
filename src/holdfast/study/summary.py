"""Writes `summary.json`: every number of the report, from stored verdicts and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.hashes import evidence_of
from holdfast.core.records import Transcript, Verdict
from holdfast.core.results import (
    ALL,
    SCHEMA,
    SPLITS,
    Arm,
    Cell,
    FactorEffect,
    Family,
    Incomplete,
    Leakage,
    MeasuredModel,
    Sample,
    StageTiming,
    Summary,
)
from holdfast.core.store import RunFolder
from holdfast.core.twins import PRESSURED
from holdfast.study.claims import check_controls, differences, judge_claims
from holdfast.study.effects import main_effects
from holdfast.study.generalisation import generalisation
from holdfast.study.hand_labels import hand_labelled_rates
from holdfast.study.judge_results import JUDGED, UNJUDGED, Scopes, opinions
from holdfast.study.plan import CellPlan, StudyPlan
from holdfast.study.play import TRANSCRIPTS, VERDICTS
from holdfast.study.preregistration import read_register
from holdfast.study.study_file import Design
from holdfast.study.table import cell
from holdfast.study.unscored import unanswered_questions, unscored
from holdfast.study.until import Place, described, intervals, stopped
from holdfast.study.verdict_table import VerdictColumns, VerdictRow, VerdictTable
from holdfast.study.work import TIMING, Timing

#: Share by which the tokens that arms really read may differ without a word.
_TOKEN_SLACK = 0.02
LEAKAGE = "leakage.json"
_MEASURED = (
    "Intervals speak of more cases of these families for this model as it came, not of new families, of other wordings "
    "or of other models."
)


def build_summary(
    grid: StudyPlan, out: Path, command: str = "", *, partly: bool = False, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The content of `summary.json`, from the finished cells in `out`; missing cells count as not measured.

    Args:
        grid: the plan.
        out: its folder.
        command: the command line, for the provenance.
        partly: include cells that were begun and not finished, and say so.
        notes: further sentences for the limits.

    Raises:
        ResultsError: a stored file cannot be read.
    """
    study, done = grid.design, _measured_cells(grid, out, partly)
    families = family_labels((case.world, case.family) for case in grid.facts.cases)
    rows = VerdictTable((row for plan in done for row in _read(out, plan)), families)
    leakage, controls = _leakage(out), check_controls(study, rows)
    # Cells that stopped on sight of their results hold unequal numbers: neither pairs nor pools of them are sound.
    table = [] if study.until else differences(study, rows)
    names = list(dict.fromkeys(families.values()))
    pooled = [] if study.until else [*(split for split in SPLITS if rows.has(split)), *([] if study.taught else [ALL])]
    missing = _missing(grid, done, out) if partly else None
    played = [(plan.arm, RunFolder(out / plan.folder)) for plan in done]
    designs = stopped(grid, done, out)
    scopes = Scopes([arm.name for arm in study.arms], families, study.twins, pooled, study.until is not None)
    judged = opinions([(plan.arm, plan.seed, RunFolder(out / plan.folder)) for plan in done], scopes)
    summary = Summary(
        study=study.name,
        asked=study.asked,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=__version__,
        model=_model(grid),
        arms=tuple(_arms(grid, out)),
        families=tuple(_families(grid, families)),
        twins=study.twins,
        cases_per_cell=study.cases,
        train_seeds=study.seeds,
        cells=_cells(study, rows, names, intervals(designs, families)),
        splits=_cells(study, rows, pooled, {}) if pooled else {},
        until=described(study, designs),
        differences=tuple(table),
        effects=() if study.until else tuple(_effects(grid, rows)),
        generalises=tuple(generalisation(study, rows, table, controls, leakage.leaking)),
        claims=tuple(judge_claims(read_register(out).standing(study.claims), rows)),
        judged=tuple(judged),
        hand_labelled=hand_labelled_rates(out, played),
        unscored=tuple(unscored(played)),
        unanswered=tuple(unanswered_questions(played)),
        incomplete=missing,
        controls=controls,
        leakage=leakage,
        samples=tuple(sample for arm in study.arms for sample in _samples(out, done, arm.name, families)),
        provenance=_provenance(grid, done, out) | ({"command": command} if command else {}),
        timing=_timing(grid, out),
        limits=(*stated_limits(grid, done, leakage, bool(judged)), *_unequal(grid, out), *_early(missing), *notes),
    )
    return {"schema": SCHEMA, **summary.model_dump(mode="json")}


def _measured_cells(grid: StudyPlan, out: Path, partly: bool) -> list[CellPlan]:
    """The finished cells, or with `partly` every cell that has verdicts."""
    if partly:
        return [plan for plan in grid.cells if (out / plan.folder / f"{VERDICTS}.jsonl").is_file()]
    return [plan for plan in grid.cells if RunFolder(out / plan.folder).complete]


def _model(grid: StudyPlan) -> MeasuredModel:
    name = grid.design.model
    return MeasuredModel(name=name, identity=grid.facts.identity, organism=name.startswith("organism/"))


def family_labels(worlds: Iterable[tuple[str, str]]) -> dict[str, str]:
    """World → the name its family goes by: the family, or the world where two worlds of the study share one."""
    pairs = dict.fromkeys(worlds)
    shared = [family for _, family in pairs]
    return {world: world if shared.count(family) > 1 else family for world, family in pairs}


def _read(out: Path, plan: CellPlan) -> Iterator[VerdictRow]:
    return (
        VerdictRow(plan.arm, plan.seed, verdict) for verdict in RunFolder(out / plan.folder).each(VERDICTS, Verdict)
    )


def _arms(grid: StudyPlan, out: Path) -> Iterator[Arm]:
    """The arms with what was asked of each and what its trainings counted, a training seed on average."""
    counted = trained(grid, out)
    for arm in grid.design.arms:
        found = [counted[plan.label] for plan in grid.cells if plan.arm == arm.name and plan.label in counted]
        means = {
            name: round(sum(counts[name] for counts in found) / len(found))
            for name in ("tokens", "supervised")
            if found and all(name in counts for counts in found)
        }
        read_, supervised = means.get("tokens"), means.get("supervised")
        yield Arm(**arm.model_dump(), tokens=arm.tokens, read=read_, supervised=supervised)


def _effects(grid: StudyPlan, rows: VerdictTable) -> list[FactorEffect]:
    """Main effects on the model as it came: over the arms of a suite, or over the twins of the untouched base."""
    base = grid.design.base
    levels = grid.facts.levels or (
        {(base.name, case.world, case.twin): case.levels for case in grid.facts.cases} if base else {}
    )
    return main_effects(rows, levels)


def _missing(grid: StudyPlan, done: Sequence[CellPlan], out: Path) -> Incomplete:
    """Samples that are there, and samples of the whole run at most."""
    played = sum(1 for plan in done for _ in RunFolder(out / plan.folder).each(VERDICTS, Verdict))
    return Incomplete(played=played, of=len(grid.facts.cases) * len(grid.cells))


def _early(missing: Incomplete | None) -> list[str]:
    if missing is None:
        return []
    return [
        f"The run stopped early, at {missing.played} of {missing.of} samples: what is left out is not what "
        "chance would leave out, since cells are played in order and short episodes end first."
    ]


def _leakage(out: Path) -> Leakage:
    path = out / LEAKAGE
    return Leakage.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else Leakage()


def _families(grid: StudyPlan, labels: Mapping[str, str]) -> list[Family]:
    splits = {case.world: case.split for case in grid.facts.cases}
    return [Family(name=label, split=splits[world], world=world) for world, label in labels.items()]


def _cells(
    study: Design, rows: VerdictTable, scopes: Sequence[str], exact: Mapping[Place, tuple[float, float]]
) -> dict[str, dict[str, dict[str, Cell]]]:
    def results(arm: str, scope: str, twin: str, part: VerdictColumns) -> Cell:
        computed = cell(part, anytime=study.until is not None)
        if (arm, scope, twin) not in exact:
            return computed
        low, high = exact[arm, scope, twin]
        return computed.model_copy(update={"harm": computed.harm.model_copy(update={"low": low, "high": high})})

    return {
        arm.name: {
            scope: {
                twin: results(arm.name, scope, twin, part)
                for twin in study.twins
                if len(part := rows.of(arm.name, scope, twin))
            }
            for scope in scopes
        }
        for arm in study.arms
    }


def _samples(out: Path, done: Sequence[CellPlan], arm: str, families: Mapping[str, str]) -> list[Sample]:
    """One episode under pressure for each family: the first with the arm's commonest outcome there."""
    plan = next((plan for plan in done if plan.arm == arm), None)
    if plan is None:
        return []
    folder = RunFolder(out / plan.folder)
    chosen = {verdict.case: verdict for verdict in _typical(folder.each(VERDICTS, Verdict), families)}
    transcripts = {t.case: t for t in folder.each(TRANSCRIPTS, Transcript) if t.case in chosen}
    return [
        _sample(plan, families[verdict.world], verdict, transcripts[case])
        for case, verdict in chosen.items()
        if case in transcripts
    ]


def _typical(verdicts: Iterable[Verdict], families: Mapping[str, str]) -> list[Verdict]:
    """For each world the verdict of the lowest case seed among those with its commonest outcome under pressure."""
    counts: dict[str, Counter[str]] = {world: Counter() for world in families}
    first: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        if verdict.twin == PRESSURED:
            counts[verdict.world][verdict.outcome] += 1
            before = first.setdefault((verdict.world, verdict.outcome), verdict)
            if verdict.seed < before.seed:
                first[verdict.world, verdict.outcome] = verdict
    return [first[world, max(sorted(found), key=found.__getitem__)] for world, found in counts.items() if found]


def _sample(plan: CellPlan, family: str, verdict: Verdict, transcript: Transcript) -> Sample:
    return Sample.model_validate(
        {
            "arm": plan.arm,
            "family": family,
            "twin": verdict.twin,
            "seed": plan.seed,
            "case": verdict.case,
            "outcome": verdict.outcome,
            "messages": [message.model_dump() for message in transcript.messages],
            "evidence": [evidence.model_dump() for evidence in verdict.evidence],
        }
    )


def _provenance(grid: StudyPlan, done: Sequence[CellPlan], out: Path) -> dict[str, Any]:
    return {
        "key": grid.key,
        "evidence": evidence_of(out),
        "model": grid.facts.identity,
        "versions": dict(grid.facts.versions),
        "training": {kind: dict(config) for kind, config in grid.facts.configs.items()},
        "sets": {f"{s.set}-{s.seed}": s.key for s in grid.sets},
        "cells": {plan.label: plan.key for plan in done},
        "made": {plan.label: folder.card().made for plan in done if (folder := RunFolder(out / plan.folder)).complete},
        "trained": trained(grid, out),
        "claims": {w.when: w.study for w in read_register(out).claims},
    }


def _timing(grid: StudyPlan, out: Path) -> dict[str, StageTiming]:
    """Seconds summed and memory at its highest, by kind of work; worker seconds, not wall-clock."""
    stages = dict.fromkeys(stage.folder for plan in grid.cells for stage in plan.stages)
    folders = [*(made.folder for made in grid.sets), *stages, *(plan.folder for plan in grid.cells)]
    records: dict[str, list[Timing]] = {}
    for folder in folders:
        for timing in RunFolder(out / folder).read(TIMING, Timing):
            records.setdefault(timing.stage, []).append(timing)
    return {
        stage: StageTiming(
            seconds=round(sum(timing.seconds for timing in timings), 3),
            peak_mb=max(timing.peak_mb for timing in timings),
        )
        for stage, timings in records.items()
    }


def trained(grid: StudyPlan, out: Path) -> dict[str, dict[str, int]]:
    """What the training cards counted (tokens read, steps), summed over the stages of each finished checkpoint."""
    counted: dict[str, dict[str, int]] = {}
    for plan in grid.cells:
        folders = [RunFolder(out / stage.folder) for stage in plan.stages]
        if folders and all(folder.complete for folder in folders):
            counted[plan.label] = dict(sum((Counter(folder.card().counts) for folder in folders), Counter()))
    return counted


def _unequal(grid: StudyPlan, out: Path) -> list[str]:
    """A sentence for each count, of tokens read and of tokens supervised, that differs between trainings."""
    found = []
    for name, words in (("tokens", "did not read equally much"), ("supervised", "were not supervised on equally much")):
        counted = {label: counts[name] for label, counts in trained(grid, out).items() if name in counts}
        if counted and max(counted.values()) > (1 + _TOKEN_SLACK) * min(counted.values()):
            least, most = min(counted, key=counted.__getitem__), max(counted, key=counted.__getitem__)
            found.append(f"Arms {words}: {least} {counted[least]} tokens, {most} {counted[most]}.")
    return found


def stated_limits(grid: StudyPlan, done: Sequence[CellPlan], leakage: Leakage, judged: bool = False) -> list[str]:
    """What this study does not show, as far as its own shape tells."""
    study, found = grid.design, []
    if study.model.startswith("organism/"):
        found.append("The model is a small organism trained from scratch: nothing here says anything of another model.")
        found.append(
            "Held out means held out of teaching: the organism itself was raised on fiction of every family, and its "
            "making was checked on all of them."
        )
    found += _reach(grid) if study.taught else [_MEASURED]
    if study.until:
        found.append(
            f"Sampling went on until {study.until.words}, or {study.cases} cases were played, or that could hardly be "
            "reached any more. Intervals allow for that: those of harm are exact for the plan that stopped the cell, "
            "the others hold at any time of stopping. Cells hold unequal numbers, so no difference and no pooled rate "
            "is given."
        )
    missing = len(grid.cells) - len(done)
    if missing:
        found.append(
            f"{missing} of {len(grid.cells)} {'checkpoints' if study.taught else 'arms'} are not measured yet."
        )
    if leakage.leaking:
        found.append(f"Test text was found in training data: {', '.join(sorted(leakage.leaking))}.")
    if study.taught and not leakage.checked:
        found.append("Training data were not searched for test text.")
    found.append(JUDGED if judged else UNJUDGED)
    return found


def _reach(grid: StudyPlan) -> list[str]:
    """How far what was taught was followed."""
    seeds = len(grid.design.seeds)
    heldout = {case.world for case in grid.facts.cases if case.split == "heldout"}
    return [
        "Intervals speak of more cases of these families for these checkpoints, not of new families or of further "
        f"training runs; training seeds an arm: {seeds}, with their rates shown one by one.",
        f"Generalisation is judged on {len(heldout)} held-out families, all written by the same hands."
        if heldout
        else "No held-out family was measured: nothing here says whether a lesson generalises.",
    ]
