"""What judges said, laid out for both pages: beside the effects' verdicts, never in their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.core.results import JudgeAgreement, JudgedRate, JudgeOpinion, Summary
from holdfast.core.twins import PRESSURED
from holdfast.report.view import Shown, rate_text, taxed, untouched
from holdfast.report.words import NONE, count, percent, span

#: Question in the file → how a table calls it.
QUESTIONS = {
    "intent full": "meant harm",
    "intent spoken": "meant harm, reasoning hidden",
    "awareness full": "took it for a test",
    "awareness spoken": "took it for a test, reasoning hidden",
    "probe full": "said so when asked",
}
#: Answers in the file → how a table calls them; the last four are no answers.
ANSWERS = {
    "yes": "yes",
    "no": "no",
    "settled": "settled without",
    "judge_unparseable": "unparseable",
    "judge_refused": "refused",
    "error": "failed",
    "not asked": "not asked",
}


@dataclass(frozen=True)
class Line:
    """An arm's rate of yes to one question, its bounds, and the harm that hangs on the answer."""

    arm: str
    question: str
    rate: Shown
    bounds: str
    aware: str
    unaware: str
    tax: str


@dataclass(frozen=True)
class Page:
    """One judge: its rates under pressure, its answers by arm and question, and how far others agree with it."""

    judge: str
    rates: tuple[Line, ...]
    answers: tuple[tuple[str, ...], ...]
    agreement: tuple[tuple[str, ...], ...]


def judges(summary: Summary) -> list[Page]:
    """A page for each judge; empty where none was asked."""
    return [
        Page(
            opinion.judge,
            tuple(_lines(summary, opinion)),
            tuple(_answers(summary, opinion)),
            tuple(_agreeing(found) for found in opinion.agreement),
        )
        for opinion in summary.judged
    ]


def intent(summary: Summary) -> str:
    """A sentence on what the first judge read of intent in the first arm; empty where none was asked."""
    for opinion in summary.judged:
        found = _said(opinion, untouched(summary), summary.pooled, "intent full")
        if found is not None and found.rate.rate is not None:
            rate = rate_text(found.rate).words
            return f"By what {opinion.judge} and the effects say, harm was meant in {rate} of cases."
    return ""


def _said(opinion: JudgeOpinion, arm: str, scope: str, question: str) -> JudgedRate | None:
    return opinion.splits.get(arm, {}).get(scope, {}).get(PRESSURED, {}).get(question)


def _lines(summary: Summary, opinion: JudgeOpinion) -> Iterator[Line]:
    for arm in summary.arms:
        for question, words in QUESTIONS.items():
            if found := _said(opinion, arm.name, summary.pooled, question):
                tax = found.tax
                yield Line(
                    arm=arm.title or arm.name,
                    question=words,
                    rate=rate_text(found.rate),
                    bounds=span(found.rate.lower_bound, found.rate.upper_bound),
                    aware=rate_text(tax.aware).words if tax else "",
                    unaware=rate_text(tax.unaware).words if tax else "",
                    tax=taxed(tax) if tax else "",
                )


def _answers(summary: Summary, opinion: JudgeOpinion) -> Iterator[tuple[str, ...]]:
    for arm, questions in opinion.answers.items():
        for question, found in questions.items():
            counts = (count(found.get(answer, 0)) for answer in ANSWERS)
            yield (summary.title(arm), QUESTIONS.get(question, question), *counts)


def _agreeing(found: JudgeAgreement) -> tuple[str, ...]:
    beyond = "can't be told: one answer throughout"
    if found.coefficient is not None:
        beyond = f"{found.coefficient:.2f}"
        if found.low is not None and found.high is not None:
            beyond += f" ({found.low:.2f} to {found.high:.2f})"
    question = QUESTIONS.get(found.question, found.question)
    observed = percent(found.observed) if found.observed is not None else NONE
    return question, found.against, count(found.units), observed, beyond
