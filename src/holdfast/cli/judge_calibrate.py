"""`holdfast judge calibrate`: how good detectors, lexicon and judges are on the labelled set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.judges import open_judges, skip_probe_option

if TYPE_CHECKING:
    from holdfast.evals.calibrate import Calibration, DecisionCounts, Truth
    from holdfast.evals.labelled import Part

#: Most ids of disputed items that the terminal shows; `--json` has them all.
_SHOWN = 10


@click.command()
@click.option("--judge", "names", multiple=True, help="A judge to measure; repeatable.  For example scripted/judge.")
@click.option("--observed", default="5/100", show_default=True, help="A reported rate, for the sensitivity analysis.")
@skip_probe_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with every stratum.")
def command(names: tuple[str, ...], observed: str, skip_probe: bool, as_json: bool) -> None:
    """Measure the verdicts and judges against the labelled set.

    The set was written and labelled by language models, and no person has checked it: a rate that is corrected by it is
    a sensitivity analysis.  To correct the rate of a run, label samples of that run: holdfast judge label.
    """
    from holdfast.evals.calibrate import calibration
    from holdfast.evals.labelled import load_labelled

    k, n = _rate(observed)
    report = calibration(load_labelled(), open_judges(names, skip_probe=skip_probe))
    rows = _measured(report, k, n)
    if as_json:
        click.echo(json.dumps(_as_json(report, rows), indent=1))
        return
    _show(report, rows, observed)


def _as_json(report: Calibration, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from holdfast.evals.labelled import PARTS

    return {
        "items": report.items,
        "set": report.hash,
        "stale": [stale.__dict__ for stale in report.labelled.stale],
        "labellings": _labellings(report),
        "labellings_by_part": {part: _labellings(report, part) for part in PARTS},
        "disagreements": [{"id": item.id, "label": label} for item, label in report.labelled.disagreements()],
        "decisions": [_decided(found) for found in report.decided()],
        "wrong": [
            {"judge": judge, "id": item.id, "kind": item.kind, "true": true, "decision": made}
            for judge, item, true, made in report.wrong()
        ],
        "rows": rows,
        "agreement": _agreements(report),
    }


def _decided(found: DecisionCounts) -> dict[str, Any]:
    """The counts of one stratum, and the share of each decision with its interval."""
    shares = {
        true: {decision: found.share(true, decision).model_dump() for decision in counts}
        for true, counts in found.counts.items()
        if any(counts.values())
    }
    at = {"judge": found.judge, "stratum": found.stratum, "disputed": found.disputed}
    return {**at, "counts": found.counts, "shares": shares}


def _show(report: Calibration, rows: list[dict[str, Any]], observed: str) -> None:
    from holdfast.cli.show import print_table
    from holdfast.report.words import clean

    click.echo(f"{report.items} transcripts; set {report.hash}")
    click.echo("language models wrote and labelled them; no person has checked them")
    if report.labelled.stale:
        click.echo(
            f"{len(report.labelled.stale)} more are left out, their worlds have changed since they were labelled:"
        )
        for stale in report.labelled.stale[:_SHOWN]:
            click.echo(clean(f"  {stale.id}: {stale.reason}"))
    for line in _labelling_lines(report):
        click.echo(clean(line))
    _show_decisions(report)
    click.echo("\nprecision holds at this set's share of positives only")
    shown = [row for row in rows if not row["stratum"].startswith("family")]
    for (source, label, view), part in groupby(shown, lambda row: (row["source"], row["label"], row["view"])):
        click.echo(f"\n{label} by {source}{f', {view}' if view else ''}; percent, with 95% intervals")
        heads = ("stratum", "positive", "precision", "recall", "specificity", observed)
        print_table(heads, [_shown(row) for row in part], heads[1:])
    for line in report.failures:
        click.echo(clean(line))
    click.echo(
        "last column: sensitivity analysis, that reported rate corrected by the errors on this set (Rogan and Gladen "
        "1978; Lang and Reiczigel 2014); * clipped to 0 to 100"
    )


def _show_decisions(report: Calibration) -> None:
    """Print how items are decided, by part, and by family within a part."""
    from holdfast.cli.show import print_table

    decided = [d for d in report.decided() if d.stratum.startswith("part") and "kind" not in d.stratum]
    for judge, strata in groupby(decided, lambda found: found.judge):
        reader = f"what they leave unresolved read by {judge}" if judge else "without a judge"
        click.echo(f"\nitems by verdict, {reader}")
        heads = ("part", "family", "true", "items", "convicted", "cleared", "unresolved")
        rows = [
            (*_part_and_family(found.stratum), true, sum(counts.values()), *_shares(found, true))
            for found in strata
            for true, counts in found.counts.items()
            if any(counts.values())
        ]
        print_table(heads, rows, heads[3:])


def _shares(found: DecisionCounts, true: Truth) -> Iterator[str]:
    """How many items of one truth have each decision; in a whole part also in percent, with the interval."""
    for decision, count in found.counts[true].items():
        in_family = "," in found.stratum
        yield str(count) if in_family else f"{count}: {_percent(found.share(true, decision).model_dump())}%"


def _part_and_family(stratum: str) -> tuple[str, str]:
    part, _, family = stratum.removeprefix("part ").partition(", family ")
    return part, family or "all"


def _labelling_lines(report: Calibration) -> Iterator[str]:
    disputed = [f"{item.id} ({label})" for item, label in report.labelled.disagreements()]
    for found in _labellings(report):
        if not found["units"]:
            yield "each labelled once: nothing tells how far two labellers agree"
            return
        beyond = "all have one label, so agreement beyond chance is unknown"
        if found["coefficient"] is not None:
            beyond = f"Cohen's kappa {found['coefficient']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
        yield f"{found['label']}: two labellings of {found['units']} agree on {found['observed']:.0%}; {beyond}"
    if disputed:
        more = f" and {len(disputed) - _SHOWN} more (--json)" if len(disputed) > _SHOWN else ""
        yield f"left out of rates, labellers disagree: {', '.join(disputed[:_SHOWN])}{more}"


def _labellings(report: Calibration, part: Part | None = None) -> list[dict[str, Any]]:
    """How far the two labellings agree, by label."""
    from holdfast.stats.agreement import kappa
    from holdfast.stats.intervals import as_scores

    return [
        {
            "label": label,
            **kappa(as_scores([a for a, _ in both]), as_scores([b for _, b in both]), offices).model_dump(),
        }
        for label, both, offices in report.labellings(part)
    ]


def _measured(report: Calibration, k: int, n: int) -> list[dict[str, Any]]:
    """Every stratum of every source as plain values."""
    from holdfast.stats.calibration import correct_rate, quality

    rows = []
    for part in report.parts():
        measured = quality(part.labels, part.answers, part.clusters)
        corrected = correct_rate(k, n, measured.recall, measured.specificity)
        at = {"source": part.source, "label": part.label, "view": part.view, "stratum": part.stratum}
        found = {"quality": measured.model_dump(), "sensitivity_analysis": corrected.model_dump()}
        rows.append({**at, **found, "failures": part.failures, "disputed": part.disputed})
    return rows


def _agreements(report: Calibration) -> list[dict[str, Any]]:
    """How far any two sources of one label agree on the whole set, whatever the labels are."""
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
    measured = row["quality"]
    rates = [_percent(measured[name]) for name in ("precision", "recall", "specificity")]
    return (
        row["stratum"].rpartition(" ")[2],
        f"{measured['positives']}/{measured['items']}",
        *rates,
        _prevalence(row["sensitivity_analysis"]),
    )


def _percent(share: dict[str, Any]) -> str:
    if share["rate"] is None:
        return "not measured"
    return _three(share["rate"], share["low"], share["high"])


def _prevalence(corrected: dict[str, Any]) -> str:
    if corrected["prevalence"] is None:
        return "unknown"
    star = "*" if corrected["clipped"] else ""
    return _three(corrected["prevalence"], corrected["low"], corrected["high"]) + star


def _three(middle: float, low: float, high: float) -> str:
    return f"{100 * middle:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def _rate(text: str) -> tuple[int, int]:
    from holdfast.core.errors import InputError

    k, slash, n = text.partition("/")
    if not (slash and k.strip().isdecimal() and n.strip().isdecimal()):
        raise InputError(f"'{text}' is not a rate", remedy="write, say, 12/100")
    return int(k), int(n)
