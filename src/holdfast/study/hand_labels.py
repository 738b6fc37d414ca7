"""Hand labels of a run's own samples: drawn at random, labelled blind, and used to correct the run's rate of harm.

`labels/plan.json` in the results folder holds the draw: strata, sizes, and the probability of each sample to be drawn.
`labels/labels.jsonl` holds the labels; the last label of a sample counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.records import Record, Transcript, Verdict
from holdfast.core.results import ALL, SUMMARY, HandLabelledRate, LabelCounts
from holdfast.core.store import RunFolder, write_json
from holdfast.core.twins import PRESSURED
from holdfast.evals.judge_folder import JudgedSample, both
from holdfast.stats.labelled_rate import LabelledStratum, labelled_rate
from holdfast.study.cells import StoredCell, cells_of
from holdfast.study.play import TRANSCRIPTS, VERDICTS
from holdfast.study.table import effective_cases
from holdfast.study.verdict_table import VerdictColumns, VerdictRow, VerdictTable

FOLDER, PLAN, LABELS = "labels", "plan.json", "labels"
#: Outcomes of samples that a person cannot label: the episode has no end, or its acts could not be read.
UNLABELLED = frozenset({"error", "truncated", "unread", "no_answer"})
#: Fewest samples of a stratum that are drawn, if it has as many.
_LEAST = 2
Answer = Literal["harm", "no_harm", "unsure"]


class PredictionStratum(Record):
    """The samples of one arm with one prediction: what verdict and judges say of them."""

    arm: str
    prediction: str
    size: int


class DrawnSample(Record):
    """One sample to be labelled, drawn with `probability`; its random `id` tells a labeller nothing about it."""

    id: str
    arm: str
    cell: str
    case: str
    prediction: str
    probability: float


class LabelPlan(Record):
    """What was drawn, in the order in which it is to be labelled.

    Attributes:
        cases: arm → distinct cases behind its samples; without arms that have no sample to be labelled.
        left_out: every arm → samples that cannot be labelled.
    """

    n: int
    seed: int
    twin: str
    strata: tuple[PredictionStratum, ...]
    cases: Mapping[str, int]
    left_out: Mapping[str, int]
    samples: tuple[DrawnSample, ...]


class HandLabel(Record):
    """What a person says of one drawn sample."""

    id: str
    label: Answer


def draw_labels(results: Path, n: int, seed: int = 0, twin: str = PRESSURED) -> LabelPlan:
    """Draw samples of a run for labelling and store the draw; a draw that is there is returned if it is the same.

    Every arm gets an equal part of `n`.  Within an arm the part is shared among the strata in proportion to the square
    root of their sizes (power allocation, Bankier 1988), so that small strata are not left without labels.

    Raises:
        ResultsError: there is no summary, another draw is stored, or no sample can be labelled.
        InputError: `n` is too small to draw two samples of each stratum.
    """
    stored = read_plan(results)
    if stored is not None:
        if (stored.n, stored.seed, stored.twin) == (n, seed, twin):
            return stored
        what = f"{stored.n} samples under '{stored.twin}' were drawn with seed {stored.seed} already"
        remedy = f"go on with --n {stored.n} --seed {stored.seed} --twin {stored.twin}, or move the folder away"
        raise ResultsError(what, where=results / FOLDER, remedy=remedy)
    found = [(cell, sample) for cell in _cells(results) for sample in both(cell.folder) if sample.verdict.twin == twin]
    strata: dict[tuple[str, str], list[tuple[StoredCell, JudgedSample]]] = {}
    left_out: Counter[str] = Counter()
    for cell, sample in found:
        if sample.verdict.outcome in UNLABELLED:
            left_out[cell.arm] += 1
        else:
            strata.setdefault((cell.arm, prediction(sample)), []).append((cell, sample))
    if not strata:
        raise ResultsError(f"no sample under '{twin}' can be labelled", where=results, remedy="name another --twin")
    rng = np.random.default_rng(seed)
    samples = []
    for (arm, name), count in _allocation({at: len(group) for at, group in strata.items()}, n).items():
        group = strata[arm, name]
        for at in rng.permutation(len(group))[:count]:
            cell, sample = group[at]
            samples.append(
                DrawnSample(
                    id=rng.bytes(6).hex(),
                    arm=arm,
                    cell=cell.folder.path.relative_to(results).as_posix(),
                    case=sample.verdict.case,
                    prediction=name,
                    probability=count / len(group),
                )
            )
    arms = dict.fromkeys(arm for arm, _ in strata)
    plan = LabelPlan(
        n=n,
        seed=seed,
        twin=twin,
        strata=tuple(PredictionStratum(arm=a, prediction=p, size=len(group)) for (a, p), group in strata.items()),
        cases={
            arm: len({(s.verdict.world, s.verdict.seed) for (a, _), g in strata.items() if a == arm for _, s in g})
            for arm in arms
        },
        left_out={arm: left_out[arm] for arm in dict.fromkeys(cell.arm for cell, _ in found)},
        # In random order, so that those labelled first are a random part of each stratum too.
        samples=tuple(samples[at] for at in rng.permutation(len(samples))),
    )
    write_json(results / FOLDER / PLAN, plan.model_dump(mode="json"))
    return plan


def prediction(sample: JudgedSample) -> str:
    """What verdict and judges predict of a sample, in words; samples with the same words are one stratum."""
    if sample.verdict.outcome == "harm":
        return "harm"
    if sample.verdict.outcome != "unresolved":
        return "no harm" if sample.verdict.scored else "unscored"
    answers = {answer for answer in sample.found_harm.values() if answer in ("yes", "no")}
    if len(answers) != 1:
        return "unresolved"
    return "unresolved, judged harm" if "yes" in answers else "unresolved, judged no harm"


def _allocation(sizes: Mapping[tuple[str, str], int], n: int) -> dict[tuple[str, str], int]:
    """How many samples of each stratum are drawn."""
    arms = list(dict.fromkeys(arm for arm, _ in sizes))
    counts: dict[tuple[str, str], int] = {}
    for number, arm in enumerate(arms):
        part = n // len(arms) + (number < n % len(arms))
        mine = {at: size for at, size in sizes.items() if at[0] == arm}
        least = {at: min(_LEAST, size) for at, size in mine.items()}
        if sum(least.values()) > part:
            needed = len(arms) * max(_LEAST * sum(at[0] == a for at in sizes) for a in arms)
            raise InputError(f"n must be at least {needed}, got {n}", remedy=f"draw two of each stratum: --n {needed}")
        counts |= least
        for _ in range(min(part, sum(mine.values())) - sum(least.values())):
            # The stratum that is furthest behind its part gets the next one.
            open_ = [at for at in mine if counts[at] < mine[at]]
            counts[max(open_, key=lambda at: math.sqrt(mine[at]) / counts[at])] += 1
    return counts


def read_plan(results: Path) -> LabelPlan | None:
    """The stored draw of a results folder; None if nothing was drawn.

    Raises:
        ResultsError: the file is not a draw.
    """
    path = results / FOLDER / PLAN
    if not path.is_file():
        return None
    try:
        return LabelPlan.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        raise ResultsError("not a draw of samples", where=path, remedy="restore the file as it was") from None


def read_labels(results: Path) -> dict[str, Answer]:
    """Id of each labelled sample → its last label.

    Raises:
        ResultsError: a stored line is not a label.
    """
    return {label.id: label.label for label in RunFolder(results / FOLDER).each(LABELS, HandLabel)}


def store_labels(results: Path, labels: Sequence[HandLabel]) -> None:
    """Append labels; call it within `core.hashes.amending`.

    Raises:
        ResultsError: nothing was drawn, or a label is of a sample that was not drawn.
    """
    plan = read_plan(results)
    known = {sample.id for sample in plan.samples} if plan else set()
    if strangers := [label.id for label in labels if label.id not in known]:
        what = f"'{strangers[0]}' is not a sample of this draw"
        raise ResultsError(what, where=results / FOLDER, remedy="import labels of the page that this run made")
    RunFolder(results / FOLDER).append(LABELS, labels)


def drawn_transcripts(results: Path, plan: LabelPlan) -> Iterator[tuple[DrawnSample, Transcript]]:
    """Each drawn sample with its transcript, in the order in which they are to be labelled.

    Raises:
        ResultsError: a transcript is missing.
    """
    wanted: dict[str, set[str]] = {}
    for sample in plan.samples:
        wanted.setdefault(sample.cell, set()).add(sample.case)
    known = {
        (cell, transcript.case): transcript
        for cell, cases in wanted.items()
        for transcript in RunFolder(results / cell).each(TRANSCRIPTS, Transcript)
        if transcript.case in cases
    }
    for sample in plan.samples:
        if (sample.cell, sample.case) not in known:
            what = f"the drawn sample '{sample.case}' has no transcript"
            raise ResultsError(what, where=results / sample.cell, remedy="restore the folder as it was")
        yield sample, known[sample.cell, sample.case]


def hand_labelled_rates(results: Path, cells: Sequence[StoredCell]) -> tuple[HandLabelledRate, ...]:
    """The rate of harm of each arm by its hand labels alone; empty if nothing was drawn.

    Args:
        results: results folder.
        cells: the cells that the summary counts.

    Raises:
        ResultsError: a stored file cannot be read.
    """
    plan = read_plan(results)
    if plan is None:
        return ()
    labels = read_labels(results)
    rows = [
        VerdictRow(cell.arm, cell.seed, verdict)
        for cell in cells
        for verdict in cell.folder.each(VERDICTS, Verdict)
        if verdict.twin == plan.twin
    ]
    table = VerdictTable(rows, {row.verdict.world: row.verdict.world for row in rows})
    now = Counter(row.arm for row in rows)
    found = (_rate_of(plan, arm, labels, now[arm]) for arm in plan.left_out)
    return tuple(_over_trainings(rate, plan, table.of(rate.arm, ALL, plan.twin)) for rate in found)


def _over_trainings(found: HandLabelledRate, plan: LabelPlan, part: VerdictColumns) -> HandLabelledRate:
    """The same rate with an interval over new trainings, if its arm was trained; without one for a single training.

    Labels are too few to say how much trainings differ, so the verdicts say it: the run counts as a sample of as many
    cases as say as much about their rate of harm.
    """
    if not part.seeds or found.rate.rate is None:
        return found
    size, strata = effective_cases(part, "harm"), found.strata
    if size is None:
        return found.model_copy(update={"rate": found.rate.model_copy(update={"low": None, "high": None})})
    cases = min(plan.cases[found.arm], max(1, int(size)))
    counted = [LabelledStratum(s.size, s.harm, s.no_harm, s.unsure) for s in strata]
    return found.model_copy(update={"rate": labelled_rate(counted, cases, found.left_out)})


def _rate_of(plan: LabelPlan, arm: str, labels: Mapping[str, Answer], now: int) -> HandLabelledRate:
    if arm not in plan.cases:
        why_not = "none of its samples can be labelled"
        return HandLabelledRate(arm=arm, twin=plan.twin, left_out=plan.left_out[arm], why_not=why_not)
    drawn = [sample for sample in plan.samples if sample.arm == arm]
    counts = {
        s.prediction: Counter(labels[d.id] for d in drawn if d.prediction == s.prediction and d.id in labels)
        for s in plan.strata
        if s.arm == arm
    }
    strata = tuple(
        LabelCounts(
            prediction=s.prediction,
            size=s.size,
            harm=counts[s.prediction]["harm"],
            no_harm=counts[s.prediction]["no_harm"],
            unsure=counts[s.prediction]["unsure"],
        )
        for s in plan.strata
        if s.arm == arm
    )
    found = [LabelledStratum(s.size, s.harm, s.no_harm, s.unsure) for s in strata]
    rate = labelled_rate(found, plan.cases[arm], plan.left_out[arm])
    why_not = "" if rate.rate is not None else "a stratum has fewer than two decided labels"
    if now != sum(s.size for s in strata) + plan.left_out[arm]:
        why_not = "the run has other samples than when they were drawn"
        rate = rate.model_copy(update=dict.fromkeys(("rate", "low", "high", "lower_bound", "upper_bound")))
    return HandLabelledRate(
        arm=arm,
        twin=plan.twin,
        drawn=len(drawn),
        left_out=plan.left_out[arm],
        rate=rate,
        why_not=why_not,
        strata=strata,
    )


def _cells(results: Path) -> list[StoredCell]:
    path = results / SUMMARY
    if not path.is_file():
        raise ResultsError("there is no summary", where=results, remedy="name a results folder of measure or study run")
    try:
        provenance = dict(json.loads(path.read_text(encoding="utf-8"))["provenance"])
    except (ValueError, KeyError, TypeError):
        remedy = "run the measurement again: it resumes and rewrites this file"
        raise ResultsError("half written, or not a summary", where=path, remedy=remedy) from None
    return cells_of(results, provenance)
