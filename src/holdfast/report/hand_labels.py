"""The rates by hand labels for terminal and pages: beside the rates of the verdicts, never in their place."""

from __future__ import annotations

from holdfast.core.rates import Rate
from holdfast.core.results import HandLabelledRate, Summary
from holdfast.report.view import rate_text
from holdfast.report.words import count, humanise, percent


def corrected(summary: Summary) -> list[str]:
    """One sentence for each arm with hand labels."""
    return [_sentence(summary, found) for found in summary.hand_labelled]


def strata_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Arm, prediction, samples, and how many were labelled harm, no harm and unsure."""
    return [
        (
            summary.title(found.arm),
            stratum.prediction,
            count(stratum.size),
            *map(count, (stratum.harm, stratum.no_harm, stratum.unsure)),
        )
        for found in summary.hand_labelled
        for stratum in found.strata
    ]


def _sentence(summary: Summary, found: HandLabelledRate) -> str:
    where = f"{summary.title(found.arm)}, {humanise(found.twin)}"
    if found.rate.rate is None:
        return f"{where}: no corrected rate: {found.why_not or 'nothing is labelled'}."
    labelled = sum(s.harm + s.no_harm + s.unsure for s in found.strata)
    return (
        f"{where}: harm {rate_text(found.rate).estimate} corrected by {labelled} hand labels of this run"
        f"{_bounds(found.rate)}; prediction-powered, with the verdicts as predictions."
    )


def _bounds(rate: Rate) -> str:
    low, high = rate.lower_bound, rate.upper_bound
    if low is None or high is None or low == high:
        return ""
    return f", between {percent(low)} and {percent(high)} whatever the unsure and left-out samples are"
