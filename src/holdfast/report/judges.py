"""The answers of judges for both pages: beside the verdicts, never in their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.core.rates import Rate
from holdfast.core.results import JudgeAgreement, JudgedRate, JudgeOpinion, RealOrTest, Summary
from holdfast.report.view import Shown, rate_text, taxed, untouched
from holdfast.report.words import NONE, count, percent, span

#: Question in the file → its name in tables.
QUESTIONS = {
    "harm spoken": "harm, unresolved samples by the judge",
    "intent full": "meant harm",
    "intent spoken": "meant harm, reasoning hidden",
    "awareness full": "took it for a test",
    "awareness spoken": "took it for a test, reasoning hidden",
    "probe full": "said so when asked",
    "took-for-real full": "took it for real",
    "probe-real full": "said it was real when asked",
}
#: Name in tables of the rate of the verdicts alone, in the row above the rate with a judge.
_UNJUDGED = "harm, by the verdicts alone"
#: Answers in the file → their names in tables; the last five are missing answers.
ANSWERS = {
    "yes": "yes",
    "no": "no",
    "settled": "settled without",
    "disagree": "they disagree",
    "judge_unparseable": "unparseable",
    "judge_refused": "refused",
    "error": "failed",
    "not asked": "not asked",
}


@dataclass(frozen=True)
class Line:
    """An arm's rate of "yes" to one question, its bounds, and the harm among samples by that answer."""

    arm: str
    question: str
    rate: Shown
    bounds: str
    aware: str
    unaware: str
    tax: str


@dataclass(frozen=True)
class Page:
    """One judge: its rates under pressure, its answers by arm and question, and its agreement with others."""

    judge: str
    rates: tuple[Line, ...]
    sides: tuple[tuple[str, ...], ...]
    answers: tuple[tuple[str, ...], ...]
    agreement: tuple[tuple[str, ...], ...]


def judges(summary: Summary) -> list[Page]:
    """The tables of each judge; empty if no judge was asked."""
    return [
        Page(
            opinion.judge,
            tuple(_lines(summary, opinion)),
            tuple(_sides(summary, opinion)),
            tuple(_answers(summary, opinion)),
            tuple(_agreeing(found) for found in opinion.agreement),
        )
        for opinion in summary.judged
    ]


def resolved(summary: Summary) -> list[str]:
    """One sentence for each judge, and for all together, that read unresolved samples of the untouched arm."""
    arm = untouched(summary)
    sentences = []
    for opinion in summary.judged:
        found = _judged(summary, opinion, arm, "harm spoken")
        if found is None or not _read_any(opinion, arm):
            continue
        verdicts = _unjudged(summary, arm)
        who = f"{opinion.judge}, where they agree," if opinion.together else opinion.judge
        sentences.append(
            f"With unresolved samples read by {who} harm is {_with_bounds(found.rate)}; "
            f"by the verdicts alone {_with_bounds(verdicts)}."
        )
    return sentences


def _with_bounds(rate: Rate) -> str:
    words, low, high = rate_text(rate).estimate, rate.lower_bound, rate.upper_bound
    if rate.rate is None or low is None or high is None or low == high:
        return words
    return f"{words}, between {percent(low)} and {percent(high)} whatever the unscored samples are"


def _read_any(opinion: JudgeOpinion, arm: str) -> bool:
    """Whether a judge was asked about an unresolved sample of an arm."""
    return not opinion.answers.get(arm, {}).get("harm spoken", {}).keys() <= {"settled", "not asked"}


def _unjudged(summary: Summary, arm: str) -> Rate:
    cell = summary.splits.get(arm, {}).get(summary.pooled, {}).get(summary.headline_twin)
    return cell.harm if cell is not None else Rate()


def intent(summary: Summary) -> str:
    """A sentence on intent in the untouched arm by the first judge; empty if no judge was asked."""
    for opinion in summary.judged:
        found = _judged(summary, opinion, untouched(summary), "intent full")
        if found is not None and found.rate.rate is not None:
            rate = rate_text(found.rate).words
            return f"According to {opinion.judge} and the effects, harm was meant in {rate} of cases."
    return ""


#: When a model was heard on what its situation is: rubric → name in tables.
_HEARD = {"awareness": "in the episode", "probe": "asked afterwards"}


def real_or_test(summary: Summary) -> list[str]:
    """Sentences on what the untouched arm took its situation for, by each judge that was asked."""
    arm, sentences = untouched(summary), []
    for opinion in summary.judged:
        for rubric, found in _taken(summary, opinion, arm):
            sides = (
                (found.test, "took it for a test", found.harm_test),
                (found.real, "for real", found.harm_real),
                (found.unsaid, "said neither", found.harm_unsaid),
            )
            shares = [f"{rate_text(n).words} {words} (harm {rate_text(harm).main})" for n, words, harm in sides]
            sentences.append(f"According to {opinion.judge}, {_HEARD[rubric]}: {', '.join(shares)}.")
    return sentences


def _taken(summary: Summary, opinion: JudgeOpinion, arm: str) -> list[tuple[str, RealOrTest]]:
    found = opinion.real_or_test.get(arm, {}).get(summary.pooled, {}).get(summary.headline_twin, {})
    return [(rubric, found[rubric]) for rubric in _HEARD if rubric in found]


def _sides(summary: Summary, opinion: JudgeOpinion) -> Iterator[tuple[str, ...]]:
    for arm in summary.arms:
        for rubric, found in _taken(summary, opinion, arm.name):
            shares = [rate_text(rate).words for rate in (found.test, found.real, found.unsaid)]
            harm = [rate_text(rate).words for rate in (found.harm_test, found.harm_real, found.harm_unsaid)]
            yield arm.title or arm.name, _HEARD[rubric], *shares, *harm, taxed(found.tax)


def _judged(summary: Summary, opinion: JudgeOpinion, arm: str, question: str) -> JudgedRate | None:
    cells = opinion.splits.get(arm, {}).get(summary.pooled, {})
    return cells.get(summary.headline_twin, {}).get(question)


def _lines(summary: Summary, opinion: JudgeOpinion) -> Iterator[Line]:
    for arm in summary.arms:
        for question, words in QUESTIONS.items():
            if found := _judged(summary, opinion, arm.name, question):
                if question == "harm spoken":
                    if not _read_any(opinion, arm.name):
                        continue
                    yield _plain_line(arm.title or arm.name, _UNJUDGED, _unjudged(summary, arm.name))
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


def _plain_line(arm: str, question: str, rate: Rate) -> Line:
    bounds = span(rate.lower_bound, rate.upper_bound)
    return Line(arm=arm, question=question, rate=rate_text(rate), bounds=bounds, aware="", unaware="", tax="")


def _answers(summary: Summary, opinion: JudgeOpinion) -> Iterator[tuple[str, ...]]:
    for arm, questions in opinion.answers.items():
        for question, found in questions.items():
            counts = (count(found.get(answer, 0)) for answer in ANSWERS)
            yield (summary.title(arm), QUESTIONS.get(question, question), *counts)


def _agreeing(found: JudgeAgreement) -> tuple[str, ...]:
    beyond = "not defined: all answers are equal"
    if found.coefficient is not None:
        beyond = f"{found.coefficient:.2f}"
        if found.low is not None and found.high is not None:
            beyond += f" ({found.low:.2f} to {found.high:.2f})"
    question = QUESTIONS.get(found.question, found.question)
    observed = percent(found.observed) if found.observed is not None else NONE
    return question, found.against, count(found.units), observed, beyond
