"""`holdfast judge calibrate`, `holdfast judge run RESULTS`, and `judge import PATH`, which is `holdfast rejudge`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import rejudge

if TYPE_CHECKING:
    from holdfast.core.records import Judgement
    from holdfast.evals.calibrate import Calibration
    from holdfast.evals.judge_folder import JudgedSample


@click.group()
def command() -> None:
    """Ask a judge model what effects can't tell, and measure how good a judge is."""


@command.command()
@click.option("--judge", "names", multiple=True, default=("scripted/judge",), show_default=True, help="Repeatable.")
@click.option("--observed", default="5/100", show_default=True, help="A reported rate to be corrected.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with every stratum.")
def calibrate(names: tuple[str, ...], observed: str, as_json: bool) -> None:
    """Measure judges, and the verdict from effects, against the labelled set."""
    from holdfast.cli.show import print_table
    from holdfast.evals.calibrate import calibration
    from holdfast.evals.labelled import load_labelled
    from holdfast.models.registry import open_model
    from holdfast.report.words import clean

    k, n = _rate(observed)
    # Whoever names an API model has opened the network for it.
    report = calibration(load_labelled(), [open_model(name, network=True) for name in names])
    rows = _measured(report, k, n)
    if as_json:
        agreement = _agreements(report)
        click.echo(
            json.dumps({"items": report.items, "set": report.hash, "rows": rows, "agreement": agreement}, indent=1)
        )
        return
    click.echo(f"{report.items} transcripts labelled by hand; set {report.hash}")
    click.echo("precision holds at this set's share of positives only")
    shown = [row for row in rows if not row["stratum"].startswith("family")]
    for (source, label, view), part in groupby(shown, lambda row: (row["source"], row["label"], row["view"])):
        click.echo(f"\n{label} by {source}{f', {view}' if view else ''}; percent, with 95% intervals")
        heads = ("stratum", "positive", "precision", "recall", "specificity", observed)
        print_table(heads, [_shown(row) for row in part], heads[1:])
    for line in report.failures:
        click.echo(clean(line))
    click.echo("last column: that reported rate, corrected (Rogan and Gladen 1978; Lang and Reiczigel 2014); * clipped")


@command.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--judge", "name", required=True, help="For example scripted/judge, openai/… or hf/PATH.")
@click.option("--all", "everything", is_flag=True, help="Also samples that effects settle.")
@click.option("--probe", "target", help="The model that played: ask it afterwards what it took its situation for.")
@click.option(
    "--rubric", "rubrics", multiple=True, metavar="FILE", help="Also ask a rubric of your own: ./my-rubric.md."
)
def run(results: Path, name: str, everything: bool, target: str | None, rubrics: tuple[str, ...]) -> None:
    """Judge the samples of a finished run; both verdicts are kept and shown side by side, here and in its report."""
    from holdfast.cli.missing import in_words, show_reasons
    from holdfast.cli.pages import draw
    from holdfast.cli.show import print_table
    from holdfast.core.errors import IncompleteError
    from holdfast.core.hashes import amending
    from holdfast.evals.judge import RUBRICS, VIEWS, rubric_name
    from holdfast.evals.judge_folder import both, cells, judge_folder
    from holdfast.evals.reasons import unanswered
    from holdfast.models.registry import open_model
    from holdfast.report.summary import FILE
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
        told = refresh(results / FILE)
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


def _measured(report: Calibration, k: int, n: int) -> list[dict[str, Any]]:
    """Every stratum of every source as plain values."""
    from holdfast.stats.calibration import correct, quality

    rows = []
    for part in report.parts():
        measured = quality(part.labels, part.answers, part.clusters)
        corrected = correct(k, n, measured.recall, measured.specificity)
        at = {"source": part.source, "label": part.label, "view": part.view, "stratum": part.stratum}
        said = {"quality": measured.model_dump(), "corrected": corrected.model_dump(), "failures": part.failures}
        rows.append({**at, **said})
    return rows


def _agreements(report: Calibration) -> list[dict[str, Any]]:
    """How far any two sources of one label agree on the whole set, whatever the labels say."""
    from holdfast.stats.agreement import kappa
    from holdfast.stats.intervals import as_scores

    whole = [part for part in report.parts() if part.stratum == "all"]
    pairs = [(a, b) for a, b in combinations(whole, 2) if a.label == b.label]
    return [
        {
            "label": a.label,
            "between": [f"{part.source} {part.view}".strip() for part in (a, b)],
            **kappa(as_scores(a.answers), as_scores(b.answers), a.clusters).model_dump(),
        }
        for a, b in pairs
    ]


def _shown(row: dict[str, Any]) -> tuple[object, ...]:
    measured, corrected = row["quality"], row["corrected"]
    rates = [_percent(measured[name]) for name in ("precision", "recall", "specificity")]
    return (
        row["stratum"].rpartition(" ")[2],
        f"{measured['positives']}/{measured['items']}",
        *rates,
        _prevalence(corrected),
    )


def _percent(share: dict[str, Any]) -> str:
    if share["rate"] is None:
        return "not measured"
    return _three(share["rate"], share["low"], share["high"])


def _prevalence(corrected: dict[str, Any]) -> str:
    if corrected["prevalence"] is None:
        return "not told"
    star = "*" if corrected["clipped"] else ""
    return _three(corrected["prevalence"], corrected["low"], corrected["high"]) + star


def _three(middle: float, low: float, high: float) -> str:
    return f"{100 * middle:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def _rate(text: str) -> tuple[int, int]:
    from holdfast.core.errors import InputError

    k, slash, n = text.partition("/")
    if not (slash and k.strip().isdecimal() and n.strip().isdecimal()):
        raise InputError(f"'{text}' is no rate", remedy="write, say, 12/100")
    return int(k), int(n)


command.add_command(rejudge.command, "import")
