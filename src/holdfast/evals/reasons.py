"""Counts the reasons why samples have no verdict and why judges gave no answer.

Errors are grouped after removing what differs from request to request (ids, times, counts).  At most `MOST` reasons are
listed, so that a server with a new error for each request cannot fill a page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from holdfast.core.records import Judgement, Outcome, Transcript, Verdict
from holdfast.core.results import Reason

#: Outcomes of samples that failed before the model answered: playing them again discards no answer of the model.
FAILED: frozenset[Outcome] = frozenset({"error"})
#: Maximum number of reasons that are listed, and of characters of one.
MOST, LONGEST = 10, 160
OTHERS = "other reasons"
_WORDS = {
    "judge_unparseable": "answered off form",
    "judge_refused": "refused to judge",
    "error": "gave no answer",
}
#: Scheme, host and port, which are kept unchanged.
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#]+", re.IGNORECASE)
_TRIES = re.compile(r" \(asked \d+ times\)$")
#: What differs between requests: ids (long, or with digits in them), times, and numbers of four digits and more.
_VARIES = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b|\b(?:req|chatcmpl|msg|resp|call|run|trace|sk)[_-][\w-]+"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z])\w{8,}\b|\b\d[\d.,]{3,}\b|\b0x[0-9a-f]+\b|\b\w{28,}\b",
    re.IGNORECASE,
)


def normal(text: str) -> str:
    """Return a reason on one line, without what differs between requests."""
    words = _plain(text)
    at, kept = 0, []
    for host in _HOST.finditer(words):
        kept += [_VARIES.sub("…", words[at : host.start()]), host[0]]
        at = host.end()
    return _short("".join([*kept, _VARIES.sub("…", words[at:])]))


def tally(reasons: Iterable[tuple[str, str]]) -> tuple[Reason, ...]:
    """Count samples by outcome and reason, most frequent first; reasons after the first `MOST` are combined.

    A reason that is the same text in all its samples is shown unchanged; otherwise what varies is left out.
    """
    counts, words = Counter[tuple[str, str]](), dict[tuple[str, str], str]()
    for outcome, reason in reasons:
        at, shown = (outcome, normal(reason)), _short(_plain(reason))
        counts[at] += 1
        words[at] = shown if words.get(at, shown) == shown else at[1]
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    rest = Counter[str]()
    for (outcome, _), count in ranked[MOST:]:
        rest[outcome] += count
    return (
        *(Reason(outcome=at[0], reason=words[at], count=count) for at, count in ranked[:MOST]),
        *(Reason(outcome=outcome, reason=OTHERS, count=count) for outcome, count in sorted(rest.items())),
    )


def _plain(text: str) -> str:
    # Cut first, because searching a page of megabytes for each sample would be slow.
    return _TRIES.sub("", " ".join(text[: 8 * LONGEST].split()))


def _short(text: str) -> str:
    return f"{text[:LONGEST]}…" if len(text) > LONGEST else text


def reason_of(verdict: Verdict, transcript: Transcript | None) -> str:
    """Why a sample has no verdict on the model."""
    if transcript is not None and transcript.error:
        return transcript.error
    if verdict.evidence:
        return verdict.evidence[0].reason
    return verdict.outcome.replace("_", " ")


def unanswered(made: Iterable[Judgement]) -> tuple[Reason, ...]:
    """Why a judge's answers are missing.  What it wrote is left out, because the transcript may have dictated it."""
    lost = [judgement for judgement in made if judgement.answer not in ("yes", "no")]
    return tally((judgement.answer, why_unanswered(judgement.answer, judgement.note)) for judgement in lost)


def why_unanswered(answer: str, note: str) -> str:
    """What is wrong with an answer that is neither yes nor no, without the words that the judge wrote instead."""
    why = note if answer == "error" else re.sub(r"\d+", "…", note.partition(": '")[0])
    return f"{_WORDS[answer]}: {why}" if why else _WORDS[answer]
