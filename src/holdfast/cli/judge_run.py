"""`holdfast judge run RESULTS`: judge the samples of a finished run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.core.records import Judgement
    from holdfast.evals.judge_folder import JudgedSample


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--judge", "name", required=True, help="For example scripted/judge, openai/… or hf/PATH.")
@click.option("--all", "everything", is_flag=True, help="Also samples that effects settle.")
@click.option("--probe", "target", help="The model that played: ask it afterwards what it took its situation for.")
@click.option(
    "--rubric", "rubrics", multiple=True, metavar="FILE", help="Also ask a rubric of your own: ./my-rubric.md."
)
def command(results: Path, name: str, everything: bool, target: str | None, rubrics: tuple[str, ...]) -> None:
    """Judge the samples of a finished run; both verdicts are kept and shown side by side, here and in its report."""
    from holdfast.cli.missing import in_words, show_reasons
    from holdfast.cli.pages import draw
    from holdfast.cli.show import print_table
    from holdfast.core.errors import IncompleteError
    from holdfast.core.hashes import amending
    from holdfast.core.results import SUMMARY
    from holdfast.evals.judge import RUBRICS, VIEWS, rubric_name
    from holdfast.evals.judge_folder import both, cells, judge_folder
    from holdfast.evals.reasons import unanswered
    from holdfast.models.registry import open_model
    from holdfast.study.judge_results import refresh
    from holdfast.study.progress import show_progress
    from holdfast.study.run import Progress

    model = open_model(name, network=True)
    played = open_model(target, network=True) if target else None
    own, folders = _own_rubrics(rubrics), cells(results)
    with show_progress() as watch, amending(results, {}):
        for at, folder in enumerate(folders, 1):
            began = time.monotonic()
            judge_folder(folder, model, everything=everything, target=played, rubrics=own)
            watch(Progress("judge", folder.path.name, at, len(folders), time.monotonic() - began))
        told = refresh(results / SUMMARY)
    samples = [sample for folder in folders for sample in both(folder)]
    asked = [(rubric, view) for rubric in (*RUBRICS, *map(rubric_name, own)) for view in VIEWS] + (
        [("probe", "full")] if target else []
    )
    heads = ("question", "shown", "by effects", "yes", "no", "not asked", "no answer")
    print_table(heads, [row for rubric, view in asked for row in _beside(samples, rubric, view, name)], heads[3:6])
    said = _last(samples, name)
    lost = unanswered(said)
    show_reasons(f"{name} gave no answer because it", "questions", lost)
    click.echo(_agreed(samples, name))
    if told:
        draw(results)
    if said and all(judgement.answer == "error" for judgement in said):
        again = "run the same command again: what failed is asked again"
        raise IncompleteError(f"{name} answered nothing: {in_words(lost)}", where=results, remedy=again)


def _own_rubrics(rubrics: Sequence[str]) -> list[str]:
    """The absolute paths of rubrics, each of which can be read."""
    from holdfast.core.errors import InputError
    from holdfast.core.references import is_path, resolve_reference
    from holdfast.evals.judge import rubric, rubric_name

    names = [rubric_name(reference) for reference in rubrics]
    for reference in rubrics:
        if not is_path(reference):
            remedy = f"write the path of a file: ./{reference}"
            raise InputError(f"--rubric takes a file, got '{reference}'", remedy=remedy)
        if names.count(rubric_name(reference)) > 1:
            what = f"two rubrics are called '{rubric_name(reference)}'"
            raise InputError(what, where=reference, remedy="rename one of the files")
        rubric(reference)
    return [resolve_reference(reference) for reference in rubrics]


def _last(samples: Sequence[JudgedSample], name: str) -> list[Judgement]:
    """What a judge answered last to each question it was asked."""
    made = {(j.case, j.rubric, j.view): j for sample in samples for j in sample.judgements if j.judge == name}
    return list(made.values())


def _agreed(samples: Sequence[JudgedSample], name: str) -> str:
    """How far harm by effects and intent by the judge agree, in one line."""
    from holdfast.core.records import SCORED
    from holdfast.stats.agreement import kappa
    from holdfast.stats.intervals import as_scores

    said = {"yes": True, "no": False}
    harm = [s.verdict.outcome == "harm" if s.verdict.outcome in SCORED else None for s in samples]
    intent = [said.get(s.answer("intent", "full", name) or "") for s in samples]
    found = kappa(as_scores(harm), as_scores(intent), [(s.verdict.world, s.verdict.seed) for s in samples])
    if found.observed is None:
        return "harm by effects and intent by the judge: no sample has both"
    line = f"harm by effects and intent by the judge agree on {found.observed:.0%} of {found.units} samples with both"
    if found.coefficient is None:
        return f"{line}; all have one label, so agreement beyond chance can't be told"
    return f"{line}; kappa {found.coefficient:.2f} ({found.low:.2f} to {found.high:.2f})"


def _beside(samples: Sequence[JudgedSample], rubric: str, view: str, name: str) -> list[tuple[object, ...]]:
    """One row for each outcome: how often the judge said what of it."""
    said: dict[str, Counter[str]] = {}
    for sample in samples:
        answer = sample.answer(rubric, view, name) or "not asked"
        said.setdefault(sample.verdict.outcome, Counter())[answer] += 1
    rows: list[tuple[object, ...]] = []
    for outcome, n in sorted(said.items()):
        failed = [
            f"{count} {answer}" for answer, count in sorted(n.items()) if answer not in ("yes", "no", "not asked")
        ]
        rows.append((rubric, view, outcome, n["yes"], n["no"], n["not asked"], ", ".join(failed)))
    return rows
