"""Builds `summary.json`: every number of the report, computed from stored verdicts alone."""

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
    HELDOUT,
    HELDOUT_SKELETONS,
    SCHEMA,
    SPLITS,
    Arm,
    Cell,
    FactorEffect,
    Family,
    Incomplete,
    Leakage,
    MeasuredModel,
    StageTiming,
    Summary,
)
from holdfast.core.shown_samples import Sample
from holdfast.core.store import RunFolder
from holdfast.core.twins import PRESSURED
from holdfast.stats.trainings import LEAST_SEEDS
from holdfast.study.cells import StoredCell
from holdfast.study.claims import check_controls, differences, judge_claims
from holdfast.study.delivery import column, deliveries, rows_with_signs, signed_arms
from holdfast.study.effects import main_effects
from holdfast.study.generalisation import generalisation
from holdfast.study.hand_labels import hand_labelled_rates
from holdfast.study.judge_results import JUDGED, UNJUDGED, Scopes, opinions
from holdfast.study.plan import CellPlan, StudyPlan
from holdfast.study.play import TRANSCRIPTS, VERDICTS
from holdfast.study.preregistration import read_register
from holdfast.study.study_file import Design
from holdfast.study.table import cell
from holdfast.study.trained import counted_tokens, diverged, faults_of_trainings
from holdfast.study.unscored import unanswered_questions, unscored
from holdfast.study.until import Place, described, intervals, stopped
from holdfast.study.verdict_table import VerdictColumns, VerdictTable
from holdfast.study.work import TIMING, Timing

LEAKAGE = "leakage.json"
_MEASURED = (
    "Intervals hold for more cases of these families and for this model as it is, not for new families, other wordings "
    "or other models."
)


def build_summary(
    grid: StudyPlan, out: Path, command: str = "", *, partly: bool = False, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Build the content of `summary.json` from the finished cells in `out`; missing cells count as not measured.

    Args:
        grid: the plan.
        out: its results folder.
        command: the command line, for the provenance.
        partly: include cells that were started and not finished, and mark the summary as incomplete.
        notes: further sentences for the limits.

    Raises:
        ResultsError: a stored file cannot be read.
    """
    study, done = grid.design, _measured_cells(grid, out, partly)
    families = family_labels(_families_of(grid), pooled=study.until is None)
    played = [StoredCell(plan.arm, plan.seed, RunFolder(out / plan.folder)) for plan in done]
    rows = _rows(played, study, families)
    # Cells of a sequential run hold unequal numbers of samples, so pairing or pooling them would be biased.
    pooled = [] if study.until else [*(split for split in SPLITS if rows.has(split)), *([] if study.taught else [ALL])]
    missing, designs = _missing(grid, done, out) if partly else None, stopped(grid, done, out)
    scopes = Scopes([arm.name for arm in study.arms], families, study.twins, pooled, study.until is not None)
    judged = opinions(played, scopes)
    counted = counted_tokens(grid, out)
    summary = Summary(
        study=study.name,
        asked=study.asked,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=__version__,
        model=_model(grid),
        arms=tuple(_arms(grid, counted)),
        families=tuple(_families(grid, families)),
        twins=study.twins,
        judged_on=study.judged_on,
        cases_per_cell=study.cases,
        train_seeds=study.seeds,
        cells=_cells(study, rows, list(dict.fromkeys(families.values())), intervals(designs, families)),
        splits=_cells(study, rows, pooled, {}) if pooled else {},
        skeletons=_skeleton_cells(study, rows, families),
        until=described(study, designs),
        differences=() if study.until else tuple(differences(study, rows)),
        effects=() if study.until else tuple(_effects(grid, rows)),
        **_findings(grid, out, rows),
        judged=tuple(judged),
        hand_labelled=hand_labelled_rates(out, played),
        unscored=tuple(unscored(played)),
        unanswered=tuple(unanswered_questions(played)),
        incomplete=missing,
        samples=tuple(_samples(grid, done, out, families)),
        provenance=_provenance(grid, done, out, counted) | ({"command": command} if command else {}),
        timing=_timing(grid, out),
        limits=(
            *stated_limits(grid, done, _leakage(out), bool(judged)),
            *faults_of_trainings(grid, done, out),
            *_early(missing),
            *notes,
        ),
    )
    return {"schema": SCHEMA, **summary.model_dump(mode="json")}


def _findings(grid: StudyPlan, out: Path, rows: VerdictTable) -> dict[str, Any]:
    """The checks and verdicts of a summary, by the name of their field."""
    study, leakage = grid.design, _leakage(out)
    controls, delivered = check_controls(study, rows), deliveries(study, rows)
    unfit = _unfit(study, leakage, diverged(grid, out))
    return {
        "controls": controls,
        "leakage": leakage,
        "delivery": tuple(delivered),
        "generalises": tuple(generalisation(study, rows, controls, unfit, delivered)),
        "claims": tuple(judge_claims(read_register(out).standing(study.claims), rows)),
    }


def _rows(played: Sequence[StoredCell], study: Design, families: Mapping[str, str]) -> VerdictTable:
    """The verdicts of all cells, with the scores for the signs of lessons."""
    signs = [column(arm.name) for arm in signed_arms(study)]
    return VerdictTable((row for each in played for row in rows_with_signs(each, study)), families, signs)


def _measured_cells(grid: StudyPlan, out: Path, partly: bool) -> list[CellPlan]:
    """The finished cells, or with `partly` every cell that has verdicts."""
    if partly:
        return [plan for plan in grid.cells if (out / plan.folder / f"{VERDICTS}.jsonl").is_file()]
    return [plan for plan in grid.cells if RunFolder(out / plan.folder).complete]


def _model(grid: StudyPlan) -> MeasuredModel:
    name = grid.design.model
    return MeasuredModel(name=name, identity=grid.facts.identity, organism=name.startswith("organism/"))


def family_labels(worlds: Iterable[tuple[str, str]], *, pooled: bool = True) -> dict[str, str]:
    """Label the family of each world, so that worlds with one label are skeletons of one family.

    Worlds of one family in two languages are not pooled.

    Args:
        worlds: world and family.
        pooled: whether worlds may be pooled; if not, worlds that share a family are labelled by their own names.

    Returns:
        World → label.
    """
    pairs = dict(worlds)
    if not pooled:
        shared = list(pairs.values())
        return {world: world if shared.count(family) > 1 else family for world, family in pairs.items()}
    languages: dict[str, set[str]] = {}
    for world, family in pairs.items():
        languages.setdefault(family, set()).add(_language(world))
    return {
        world: f"{family}, {language}" if (language := _language(world)) and len(languages[family]) > 1 else family
        for world, family in pairs.items()
    }


def _language(world: str) -> str:
    """The language in a world's name; empty for the default one."""
    return "pocket" if world.startswith("pocket-") else ""


def _families_of(grid: StudyPlan) -> Iterator[tuple[str, str]]:
    """World and family; held-out skeletons are apart from the skeletons of their family that training used."""
    for case in grid.facts.cases:
        apart = grid.design.taught and case.split == HELDOUT_SKELETONS
        yield case.world, f"{case.family}, held-out skeletons" if apart else case.family


def _unfit(study: Design, leakage: Leakage, rose: Mapping[str, str]) -> dict[str, str]:
    """Arm → why no verdict on it, or against it, can be given."""
    leaks = {
        arm.name: f"Its data set '{name}' contains text of the test."
        for arm in study.arms
        for name in arm.sets
        if name in leakage.leaking and not arm.control
    }
    return {**rose, **leaks}


def _arms(grid: StudyPlan, counted: Mapping[str, Mapping[str, int]]) -> Iterator[Arm]:
    """The arms with the tokens that were requested and the means over training seeds of those that were counted."""
    for arm in grid.design.arms:
        trainings = [counted[plan.label] for plan in grid.cells if plan.arm == arm.name and plan.label in counted]
        means = {
            name: round(sum(counts[name] for counts in trainings) / len(trainings))
            for name in ("tokens", "supervised")
            if trainings and all(name in counts for counts in trainings)
        }
        read_, supervised = means.get("tokens"), means.get("supervised")
        yield Arm(**arm.model_dump(), tokens=arm.tokens, read=read_, supervised=supervised)


def _effects(grid: StudyPlan, rows: VerdictTable) -> list[FactorEffect]:
    """Main effects on the untrained model: over the arms of a suite, or over the twins of the untouched base."""
    base = grid.design.base
    levels = grid.facts.levels or (
        {(base.name, case.world, case.twin): case.levels for case in grid.facts.cases} if base else {}
    )
    return main_effects(rows, levels)


def _missing(grid: StudyPlan, done: Sequence[CellPlan], out: Path) -> Incomplete:
    """Count the samples that were played, and the maximum number of samples of the run."""
    played = sum(1 for plan in done for _ in RunFolder(out / plan.folder).each(VERDICTS, Verdict))
    return Incomplete(played=played, of=len(grid.facts.cases) * len(grid.cells))


def _early(missing: Incomplete | None) -> list[str]:
    if missing is None:
        return []
    return [
        f"The run stopped early, at {missing.played} of {missing.of} samples. The missing samples are not missing at "
        "random, because cells are played in order and short episodes end first."
    ]


def _leakage(out: Path) -> Leakage:
    path = out / LEAKAGE
    return Leakage.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else Leakage()


def _families(grid: StudyPlan, labels: Mapping[str, str]) -> list[Family]:
    splits = {case.world: case.split for case in grid.facts.cases}
    return [
        Family(name=label, split=_only({splits[world] for world in worlds}), world=worlds[0], worlds=tuple(worlds))
        for label, worlds in _by_label(labels).items()
    ]


def _by_label(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """Label → its worlds."""
    grouped: dict[str, list[str]] = {}
    for world, label in labels.items():
        grouped.setdefault(label, []).append(world)
    return grouped


def _only(splits: set[str]) -> str:
    """The split of a family; empty where an untrained model was measured on skeletons of several."""
    return next(iter(splits)) if len(splits) == 1 else ""


def _skeleton_cells(
    study: Design, rows: VerdictTable, labels: Mapping[str, str]
) -> dict[str, dict[str, dict[str, Cell]]]:
    """The cells of the worlds of families with several, by arm, world and twin."""
    several = [world for worlds in _by_label(labels).values() if len(worlds) > 1 for world in worlds]
    return {
        arm.name: {
            world: {twin: cell(part) for twin in study.twins if len(part := rows.of(arm.name, [world], twin))}
            for world in several
        }
        for arm in study.arms
        if several
    }


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


def _samples(grid: StudyPlan, done: Sequence[CellPlan], out: Path, families: Mapping[str, str]) -> Iterator[Sample]:
    """One episode under pressure for each arm and family: the first one with the most frequent outcome there."""
    twins = grid.design.twins
    twin = PRESSURED if PRESSURED in twins else twins[0]
    for arm in grid.design.arms:
        plan = next((plan for plan in done if plan.arm == arm.name), None)
        if plan is None:
            continue
        folder = RunFolder(out / plan.folder)
        chosen = {verdict.case: verdict for verdict in _typical(folder.each(VERDICTS, Verdict), families, twin)}
        transcripts = {t.case: t for t in folder.each(TRANSCRIPTS, Transcript) if t.case in chosen}
        for case, verdict in chosen.items():
            if case in transcripts:
                yield _sample(plan, families[verdict.world], verdict, transcripts[case])


def _typical(verdicts: Iterable[Verdict], families: Mapping[str, str], twin: str) -> list[Verdict]:
    """For each family, the verdict with the lowest case seed among those with its most frequent outcome."""
    counts: dict[str, Counter[str]] = {label: Counter() for label in families.values()}
    first: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        if verdict.twin == twin:
            label = families[verdict.world]
            counts[label][verdict.outcome] += 1
            before = first.setdefault((label, verdict.outcome), verdict)
            if verdict.seed < before.seed:
                first[label, verdict.outcome] = verdict
    return [first[label, max(sorted(found), key=found.__getitem__)] for label, found in counts.items() if found]


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


def _provenance(
    grid: StudyPlan, done: Sequence[CellPlan], out: Path, counted: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    return {
        "key": grid.key,
        "evidence": evidence_of(out),
        "model": grid.facts.identity,
        "versions": dict(grid.facts.versions),
        "training": {kind: dict(config) for kind, config in grid.facts.configs.items()},
        "sets": {f"{s.set}-{s.seed}": s.key for s in grid.sets},
        "cells": {plan.label: plan.key for plan in done},
        "made": {plan.label: folder.card().made for plan in done if (folder := RunFolder(out / plan.folder)).complete},
        "trained": counted,
        "claims": {w.when: w.study for w in read_register(out).claims},
    }


def _timing(grid: StudyPlan, out: Path) -> dict[str, StageTiming]:
    """The sum of seconds over all workers (not wall-clock) and the highest peak memory, by kind of work."""
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


def stated_limits(grid: StudyPlan, done: Sequence[CellPlan], leakage: Leakage, judged: bool = False) -> list[str]:
    """Sentences on what this study does not show, as far as that follows from its design."""
    study, limits = grid.design, []
    if study.model.startswith("organism/"):
        limits.append(
            "The model is a small organism trained from scratch: nothing here says anything about another model."
        )
        limits.append(
            "Held out means held out of the training of the arms: the organism itself was trained on fiction of every "
            "family, and its development was checked on all of them."
        )
    limits += _reach(grid) if study.taught else [_MEASURED]
    if study.until:
        limits.append(
            f"Sampling continued until {study.until.words}, until {study.cases} cases of a cell were played, or until "
            "the goal could hardly be reached any more. Intervals allow for this: those of harm are exact for the "
            "stopping plan of the cell, the others hold at any stopping time. Cells hold unequal numbers of samples, "
            "so no difference and no pooled rate is given."
        )
    missing = len(grid.cells) - len(done)
    if missing:
        limits.append(
            f"{missing} of {len(grid.cells)} {'checkpoints' if study.taught else 'arms'} are not measured yet."
        )
    if leakage.leaking:
        limits.append(f"Test text was found in training data: {', '.join(sorted(leakage.leaking))}.")
    if study.taught and not leakage.checked:
        limits.append("Training data were not searched for test text.")
    limits.append(JUDGED if judged else UNJUDGED)
    return limits


def _reach(grid: StudyPlan) -> list[str]:
    """How far the effect of training was followed."""
    seeds = sorted({len(grid.design.seeds_of(arm)) for arm in grid.design.arms if arm.stages})
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    heldout = {case.family for case in grid.facts.cases if case.split == HELDOUT}
    skeletons = {case.world: case.family for case in grid.facts.cases if case.split == HELDOUT_SKELETONS}
    within = (
        f"Verdicts are on {len(skeletons)} held-out skeletons of the trained family "
        f"({', '.join(sorted(set(skeletons.values())))}), and hold for new cases of these. No verdict is on held-out "
        "families: nothing here shows whether the training reaches other families."
    )
    across = (
        f"Generalisation is judged on {len(heldout)} held-out families, all written by the same authors."
        if heldout
        else "No held-out family was measured: nothing here shows whether the training generalises."
    )
    return [
        "Intervals of trained arms hold for new trainings and for more cases of these families, not for new families; "
        f"training seeds per arm: {counts}, with the rate of each shown. Fewer than {LEAST_SEEDS} show nothing.",
        within if grid.design.judged_on == HELDOUT_SKELETONS else across,
    ]
