"""Lays out what could not be scored: reasons, counts and remedies."""

from __future__ import annotations

from holdfast.core.results import Summary
from holdfast.report.words import series

#: Outcome of an unscored sample → what may bring a verdict.
REMEDIES = {
    "error": "run the same command again: samples that failed are asked again, all others are kept",
    "truncated": "turns were cut off: read one; if it would have ended, allow more tokens (measure --max-tokens)",
    "unresolved": "acts that no rule clears or convicts: let a judge read them, in measure with --judge MODEL",
}


def unscored_rows(summary: Summary) -> list[tuple[str, str, int]]:
    """Arm, reason and number of samples without a verdict, most frequent first within each arm."""
    return [
        (summary.title(lost.arm), reason.reason or reason.outcome, reason.count)
        for lost in summary.unscored
        for reason in lost.reasons
    ]


def unanswered_rows(summary: Summary) -> list[tuple[str, str, str, int]]:
    """Judge, arm, reason and number of questions without an answer."""
    return [
        (lost.judge, summary.title(lost.arm), reason.reason or reason.outcome, reason.count)
        for lost in summary.unanswered
        for reason in lost.reasons
    ]


def remedies(summary: Summary) -> list[str]:
    """The remedies for the unscored samples of a run, one line for each outcome that has one."""
    met = {reason.outcome for lost in summary.unscored for reason in lost.reasons}
    return [line for outcome, line in REMEDIES.items() if outcome in met]


def asked_again(summary: Summary) -> str:
    """A sentence on samples that failed before and were played again; empty if there are none."""
    count = sum(lost.asked_again for lost in summary.unscored)
    if not count:
        return ""
    return f"{count} samples failed in an earlier run and were played again; the first attempts are in failures.jsonl."


def missing_sentence(summary: Summary) -> str:
    """A sentence on how many samples are unscored and the most frequent reason; empty if all are scored."""
    lost, scored = (sum(getattr(entry, name) for entry in summary.unscored) for name in ("unscored", "scored"))
    if not lost:
        return ""
    # Arms without unscored samples are not listed; their scored samples are counted in their cells.
    listed = {entry.arm for entry in summary.unscored}
    scored += sum(
        sum(cell.outcomes.values())
        for arm, scopes in summary.cells.items()
        if arm not in listed
        for twins in scopes.values()
        for cell in twins.values()
    )
    reasons = sorted((r for entry in summary.unscored for r in entry.reasons), key=lambda r: -r.count)
    why = f", most often: {reasons[0].reason or reasons[0].outcome}" if reasons else ""
    return f"{lost} of {lost + scored} samples could not be scored{why}."


def empty_arms(summary: Summary) -> str:
    """Why arms have no scored sample at all, for an error message; empty if each has one."""
    empty = [entry for entry in summary.unscored if entry.unscored and not entry.scored]
    if not empty:
        return ""
    counts: dict[str, int] = {}
    for reason in (reason for entry in empty for reason in entry.reasons):
        words = reason.reason or reason.outcome
        counts[words] = counts.get(words, 0) + reason.count
    ranked = sorted(counts.items(), key=lambda found: -found[1])[:3]
    arms = f" in {series(summary.title(entry.arm) for entry in empty)}" if len(summary.arms) > 1 else ""
    return f"no sample could be scored{arms}: {'; '.join(f'{words} ({count})' for words, count in ranked)}"
