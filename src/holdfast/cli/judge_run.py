"""`holdfast judge run RESULTS`: judge the samples of a finished run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.judges import open_judges, skip_probe_option

if TYPE_CHECKING:
    from holdfast.core.records import Answer, Judgement
    from holdfast.evals.judge_folder import JudgedSample
    from holdfast.models.base import Model


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--judge", "names", multiple=True, required=True, help="scripted/judge, openai/… or hf/PATH; twice for two judges."
)
@click.option("--all", "everything", is_flag=True, help="Also read samples that effects and words settle.")
@click.option("--probe", "target", help="The model that played: ask it afterwards what it took its situation for.")
@click.option(
    "--rubric", "rubrics", multiple=True, metavar="FILE", help="Also ask a rubric of your own: ./my-rubric.md."
)
@skip_probe_option
def command(
    results: Path,
    names: tuple[str, ...],
    everything: bool,
    target: str | None,
    rubrics: tuple[str, ...],
    skip_probe: bool,
) -> None:
    """Judge the samples of a finished run.

    Judgements are stored beside the verdicts, which stay as they are, and are shown beside them here and in the report.
    """
    from holdfast.evals.judge import own_rubrics
    from holdfast.models.registry import open_model

    own = own_rubrics(rubrics)
    judges = open_judges(dict.fromkeys(names), skip_probe=skip_probe)
    played = open_model(target, network=True) if target else None
    judge_results(results, judges, everything=everything, target=played, rubrics=own)


def judge_results(
    results: Path,
    judges: Sequence[Model],
    *,
    everything: bool = False,
    target: Model | None = None,
    rubrics: Sequence[str] = (),
) -> None:
    """Judge every finished cell of a results folder, renew its summary and pages, and print what the judges answered.

    Raises:
        ResultsError: no cell is finished, or a stored line is not a record.
        IncompleteError: a judge answered nothing, or another process writes in the folder.
    """
    from holdfast.cli.pages import draw
    from holdfast.core.hashes import amending
    from holdfast.core.results import SUMMARY
    from holdfast.evals.judge_folder import both, cells, judge_folder
    from holdfast.report.judges import resolved
    from holdfast.report.summary import load_summary
    from holdfast.report.words import clean
    from holdfast.study.judge_results import refresh
    from holdfast.study.progress import show_progress
    from holdfast.study.run import Progress

    folders, hide = cells(results), names_to_hide(results)
    jobs = [(judge, folder) for judge in judges for folder in folders]
    with show_progress() as watch, amending(results, {}):
        for at, (judge, folder) in enumerate(jobs, 1):
            began = time.monotonic()
            judge_folder(folder, judge, everything=everything, target=target, rubrics=rubrics, hide=hide)
            watch(Progress("judge", folder.path.name, at, len(jobs), time.monotonic() - began))
        has_summary = refresh(results / SUMMARY)
    samples = [sample for folder in folders for sample in both(folder)]
    for judge in judges:
        _show(samples, judge.name, rubrics, probed=target is not None)
    for a, b in combinations(judges, 2):
        click.echo(_between(samples, a.name, b.name))
    if has_summary:
        for sentence in resolved(load_summary(results)):
            click.echo(clean(sentence))
        draw(results)
    for judge in judges:
        _check_answered(samples, judge.name, results)


def names_to_hide(results: Path) -> tuple[str, ...]:
    """The names of the model that a run measured, if its summary tells them."""
    from holdfast.core.results import SUMMARY
    from holdfast.evals.judge_folder import names_of_model
    from holdfast.report.summary import load_summary

    return names_of_model(load_summary(results).model.name) if (results / SUMMARY).is_file() else ()


def _show(samples: Sequence[JudgedSample], judge: str, rubrics: Sequence[str], *, probed: bool) -> None:
    from holdfast.cli.missing import show_reasons
    from holdfast.cli.show import print_table
    from holdfast.evals.harms import HARM_KINDS
    from holdfast.evals.judge import PROBE_REAL, RUBRICS, TOOK_FOR_REAL, rubric_name, views_of
    from holdfast.evals.reasons import unanswered

    names = [*RUBRICS, TOOK_FOR_REAL, *map(rubric_name, rubrics)]
    asked = [(rubric, view) for rubric in names for view in views_of(rubric)]
    asked += [("probe", "full"), (PROBE_REAL, "full")] * probed
    rows = [row for rubric, view in asked for row in _beside(samples, rubric, view, judge)]
    harms = [row for kind in HARM_KINDS for row in _beside(samples, kind, "spoken", judge) if any(row[3:5]) or row[6]]
    heads = ("question", "shown", "verdict", "yes", "no", "not asked", "no answer")
    click.echo(f"answers of {judge}")
    print_table(heads, [*rows, *harms], heads[3:6])
    show_reasons(f"{judge} gave no answer because it", "questions", unanswered(_last(samples, judge)))
    click.echo(_agreed(samples, judge))


def _check_answered(samples: Sequence[JudgedSample], judge: str, results: Path) -> None:
    from holdfast.cli.missing import in_words
    from holdfast.core.errors import IncompleteError
    from holdfast.evals.reasons import unanswered

    last = _last(samples, judge)
    if last and all(judgement.answer == "error" for judgement in last):
        remedy = "run the same command again: failed requests are sent again"
        raise IncompleteError(f"{judge} answered nothing: {in_words(unanswered(last))}", where=results, remedy=remedy)


def _last(samples: Sequence[JudgedSample], judge: str) -> list[Judgement]:
    """The last answer of a judge to each question it was asked."""
    last = {(j.case, j.rubric, j.view): j for sample in samples for j in sample.judgements if j.judge == judge}
    return list(last.values())


def _agreed(samples: Sequence[JudgedSample], judge: str) -> str:
    """How far harm by the verdicts and intent by the judge agree, in one line."""
    from holdfast.core.records import SCORED

    harm = [s.verdict.outcome == "harm" if s.verdict.outcome in SCORED else None for s in samples]
    intent = [_truth(s.answer("intent", "full", judge)) for s in samples]
    return _agreement("harm by the verdicts and intent by the judge", samples, harm, intent)


def _between(samples: Sequence[JudgedSample], a: str, b: str) -> str:
    """How far two judges agree about harm, in one line."""
    answers = [[_truth(s.found_harm.get(judge)) for s in samples] for judge in (a, b)]
    return _agreement(f"harm by {a} and by {b}", samples, *answers)


def _truth(answer: Answer | None) -> bool | None:
    return {"yes": True, "no": False}.get(answer or "")


def _agreement(what: str, samples: Sequence[JudgedSample], a: Sequence[bool | None], b: Sequence[bool | None]) -> str:
    from holdfast.stats.agreement import kappa
    from holdfast.stats.intervals import as_scores

    found = kappa(as_scores(a), as_scores(b), [(s.verdict.world, s.verdict.seed) for s in samples])
    if found.observed is None:
        return f"{what}: no sample has both"
    line = f"{what} agree on {found.observed:.0%} of {found.units} samples with both"
    if found.coefficient is None:
        return f"{line}; all have one label, so agreement beyond chance is unknown"
    return f"{line}; kappa {found.coefficient:.2f} ({found.low:.2f} to {found.high:.2f})"


def _beside(samples: Sequence[JudgedSample], rubric: str, view: str, judge: str) -> list[tuple[object, ...]]:
    """One row for each outcome: how often the judge gave each answer about samples with it."""
    counts: dict[str, Counter[str]] = {}
    for sample in samples:
        answer = sample.answer(rubric, view, judge) or "not asked"
        counts.setdefault(sample.verdict.outcome, Counter())[answer] += 1
    rows: list[tuple[object, ...]] = []
    for outcome, n in sorted(counts.items()):
        lost = [f"{count} {answer}" for answer, count in sorted(n.items()) if answer not in ("yes", "no", "not asked")]
        rows.append((rubric, view, outcome, n["yes"], n["no"], n["not asked"], ", ".join(lost)))
    return rows
