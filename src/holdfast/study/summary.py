"""Writes `summary.json`: every number of the report, from stored verdicts and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.records import Transcript, Verdict
from holdfast.core.store import RunFolder, write_json
from holdfast.study.findings import Rows, check_controls, differences, judge_claims
from holdfast.study.generalises import generalisation
from holdfast.study.leakage import Leakage
from holdfast.study.plan import CellPlan, Plan
from holdfast.study.spec import PRESSURED, SPLITS, Study
from holdfast.study.table import Row, cell
from holdfast.study.work import TIMING, TRANSCRIPTS, VERDICTS, Timing

SCHEMA = 1
#: Share by which the tokens that arms really read may differ without a word.
_TOKEN_SLACK = 0.02
SUMMARY, LEAKAGE = "summary.json", "leakage.json"


def summarise(grid: Plan, out: Path) -> Path:
    """Write `out/summary.json` from the finished cells in `out`; cells that are missing count as not measured.

    Raises:
        ResultsError: a stored file is not what it claims to be.
        StoreError: the summary cannot be written.
    """
    path = out / SUMMARY
    write_json(path, build(grid, out))
    return path


def build(grid: Plan, out: Path) -> dict[str, Any]:
    """The content of `summary.json`."""
    study, done = grid.study, [plan for plan in grid.cells if RunFolder(out / plan.folder).complete]
    families = family_labels((case.world, case.family) for case in grid.facts.cases)
    rows = Rows([row for plan in done for row in _read(out, plan)], families)
    leakage = _leakage(out)
    table = differences(study, rows)
    names = list(dict.fromkeys(families.values()))
    return {
        "schema": SCHEMA,
        "study": study.name,
        "asked": study.asked,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "holdfast": __version__,
        "model": {
            "name": study.model,
            "identity": grid.facts.identity,
            "organism": study.model.startswith("organism/"),
        },
        "arms": [{**arm.model_dump(mode="json"), "tokens": arm.tokens} for arm in study.arms],
        "families": _families(grid, families),
        "twins": list(study.twins),
        "cases_per_cell": study.cases,
        "train_seeds": list(study.seeds),
        "cells": _cells(study, rows, names),
        "splits": _cells(study, rows, [split for split in SPLITS if rows.has(split)]),
        "differences": [row.model_dump(mode="json") for row in table],
        "generalises": [g.model_dump(mode="json") for g in generalisation(study, rows, table, leakage.leaking)],
        "claims": [claim.model_dump(mode="json") for claim in judge_claims(study.claims, rows)],
        "controls": check_controls(study, rows).model_dump(mode="json"),
        "leakage": leakage.model_dump(mode="json"),
        "samples": [sample for arm in study.arms for sample in _samples(out, done, arm.name, families)],
        "provenance": _provenance(grid, done, out),
        "timing": _timing(grid, out),
        "limits": [*limits(grid, done, leakage), *_unequal(grid, out)],
    }


def family_labels(worlds: Iterable[tuple[str, str]]) -> dict[str, str]:
    """World → the name its family goes by: the family, or the world where two worlds of the study share one."""
    pairs = dict.fromkeys(worlds)
    shared = [family for _, family in pairs]
    return {world: world if shared.count(family) > 1 else family for world, family in pairs}


def _read(out: Path, plan: CellPlan) -> list[Row]:
    return [Row(plan.arm, plan.seed, verdict) for verdict in RunFolder(out / plan.folder).read(VERDICTS, Verdict)]


def _leakage(out: Path) -> Leakage:
    path = out / LEAKAGE
    return Leakage.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else Leakage()


def _families(grid: Plan, labels: Mapping[str, str]) -> list[dict[str, str]]:
    splits = {case.world: case.split for case in grid.facts.cases}
    return [{"name": label, "split": splits[world], "world": world} for world, label in labels.items()]


def _cells(study: Study, rows: Rows, scopes: Sequence[str]) -> dict[str, Any]:
    return {
        arm.name: {
            scope: {
                twin: cell(found).model_dump(mode="json")
                for twin in study.twins
                if (found := rows.of(arm.name, scope, twin))
            }
            for scope in scopes
        }
        for arm in study.arms
    }


def _samples(out: Path, done: Sequence[CellPlan], arm: str, families: Mapping[str, str]) -> list[dict[str, Any]]:
    """One episode under pressure for each family: the first with the arm's commonest outcome there."""
    plan = next((plan for plan in done if plan.arm == arm), None)
    if plan is None:
        return []
    folder = RunFolder(out / plan.folder)
    transcripts = {transcript.case: transcript for transcript in folder.read(TRANSCRIPTS, Transcript)}
    samples = []
    for world, label in families.items():
        found = [v for v in folder.read(VERDICTS, Verdict) if v.world == world and v.twin == PRESSURED]
        outcomes = [verdict.outcome for verdict in found]
        verdict = max(found, key=lambda v: outcomes.count(v.outcome), default=None)
        if verdict is not None:
            samples.append(_sample(plan, label, verdict, transcripts[verdict.case]))
    return samples


def _sample(plan: CellPlan, family: str, verdict: Verdict, transcript: Transcript) -> dict[str, Any]:
    return {
        "arm": plan.arm,
        "family": family,
        "twin": verdict.twin,
        "seed": plan.seed,
        "case": verdict.case,
        "outcome": verdict.outcome,
        "messages": [m.model_dump(mode="json", exclude_none=True) for m in transcript.messages],
        "evidence": [evidence.model_dump(mode="json") for evidence in verdict.evidence],
    }


def _provenance(grid: Plan, done: Sequence[CellPlan], out: Path) -> dict[str, Any]:
    return {
        "key": grid.key,
        "model": grid.facts.identity,
        "versions": dict(grid.facts.versions),
        "training": {kind: dict(config) for kind, config in grid.facts.configs.items()},
        "sets": {f"{s.set}-{s.seed}": s.key for s in grid.sets},
        "cells": {plan.label: plan.key for plan in done},
        "made": {plan.label: RunFolder(out / plan.folder).card().made for plan in done},
        "trained": trained(grid, out),
        "command": f"holdfast study run studies/{grid.study.name}.toml",
    }


def _timing(grid: Plan, out: Path) -> dict[str, dict[str, float]]:
    """Seconds summed and memory at its highest, by kind of work; worker seconds, not wall-clock."""
    stages = dict.fromkeys(stage.folder for plan in grid.cells for stage in plan.stages)
    folders = [*(made.folder for made in grid.sets), *stages, *(plan.folder for plan in grid.cells)]
    spent: dict[str, dict[str, float]] = {}
    for folder in folders:
        for timing in RunFolder(out / folder).read(TIMING, Timing):
            stage = spent.setdefault(timing.stage, {"seconds": 0.0, "peak_mb": 0.0})
            stage["seconds"] = round(stage["seconds"] + timing.seconds, 3)
            stage["peak_mb"] = max(stage["peak_mb"], timing.peak_mb)
    return spent


def trained(grid: Plan, out: Path) -> dict[str, dict[str, int]]:
    """What the training cards counted (tokens read, steps), summed over the stages of each finished checkpoint."""
    counted: dict[str, dict[str, int]] = {}
    for plan in grid.cells:
        folders = [RunFolder(out / stage.folder) for stage in plan.stages]
        if folders and all(folder.complete for folder in folders):
            counted[plan.label] = dict(sum((Counter(folder.card().counts) for folder in folders), Counter()))
    return counted


def _unequal(grid: Plan, out: Path) -> list[str]:
    read = {label: counts["tokens"] for label, counts in trained(grid, out).items() if "tokens" in counts}
    if not read or max(read.values()) <= (1 + _TOKEN_SLACK) * min(read.values()):
        return []
    least, most = min(read, key=read.__getitem__), max(read, key=read.__getitem__)
    return [f"Arms did not read equally much: {least} {read[least]} tokens, {most} {read[most]}."]


def limits(grid: Plan, done: Sequence[CellPlan], leakage: Leakage) -> list[str]:
    """What this study does not show, as far as its own shape tells."""
    study, found = grid.study, []
    if study.model.startswith("organism/"):
        found.append("The model is a small organism trained from scratch: nothing here says anything of another model.")
        found.append(
            "Held out means held out of teaching: the organism itself was raised on fiction of every family, and its "
            "making was checked on all of them."
        )
    found.append(
        "Intervals speak of more cases of these families for these checkpoints, not of new families or of further "
        f"training runs; training seeds an arm: {len(study.seeds)}, with their rates shown one by one."
    )
    heldout = {case.world for case in grid.facts.cases if case.split == "heldout"}
    if heldout:
        found.append(f"Generalisation is judged on {len(heldout)} held-out families, all written by the same hands.")
    else:
        found.append("No held-out family was measured: nothing here says whether a lesson generalises.")
    missing = len(grid.cells) - len(done)
    if missing:
        found.append(f"{missing} of {len(grid.cells)} checkpoints are not measured yet.")
    if leakage.leaking:
        found.append(f"Test text was found in training data: {', '.join(sorted(leakage.leaking))}.")
    if not leakage.checked:
        found.append("Training data were not searched for test text.")
    found.append("Verdicts come from what was done in a small simulated office; no judge read the intent.")
    return found
