"""Lint by meaning: a rubric and any model, in place of the word rules.

    question = lint_question(text)
    findings = read_lint(reply, question, text)     # a list, or what is wrong with the reply

The guard opens no model: the caller sends the question (`holdfast guard lint FILE --judge MODEL`). The reply must quote
the words that show each fault, so that a finding has a place and can be checked; a reply that quotes what is not there,
or is off form, is no answer, and a text without an answer is never sound.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.core.prose import load_prose
from holdfast.core.rubric_question import NONE, RubricQuestion, find_quote, read_rubric_answer, rubric_question
from holdfast.guard.lint.lint import AGAINST_POLICY, LintFinding, lint_finding, lint_rules

#: Characters that are asked about at once: whether there is a way out depends on the whole text.
LONGEST = 40_000
_RUBRIC = Path(__file__).with_name("rubric.md")


@cache
def judged_rules() -> tuple[str, ...]:
    """The rules that a model is asked about: all but those that only a policy decides."""
    return tuple(name for name in lint_rules() if name != AGAINST_POLICY)


def lint_question(text: str) -> RubricQuestion:
    """Build the question about a prompt, a goal or a tool's description.

    Raises:
        InputError: the text is too long to be judged as a whole.
    """
    if len(text) > LONGEST:
        what = f"the text has {len(text):,} characters; at most {LONGEST:,} are judged as one"
        raise InputError(what, remedy="split it into the texts that the agent reads one by one")
    return rubric_question(load_prose(_RUBRIC).body, text, _labels())


def read_lint(reply: str, question: RubricQuestion, text: str, judge: str) -> list[LintFinding] | str:
    """Read the reply: the findings in the order of the text, or what is wrong with the reply.

    Args:
        reply: what the model wrote.
        question: the question that it was asked.
        text: the text that was asked about.
        judge: name of the model, for the findings.
    """
    values = read_rubric_answer(reply, question.seal, _labels())
    if isinstance(values, str):
        return values
    found: list[tuple[int, LintFinding]] = []
    for rule, quote in values.items():
        if quote.strip("`\"' .").lower() == NONE:
            continue
        span = find_quote(quote, text)
        if span is None:
            return f"the quote for '{rule}' is not in the text: '{quote[:60]}'"
        found.append((span[0], lint_finding(text, rule, span[0], text[slice(*span)], judge)))
    return [finding for _, finding in sorted(found, key=lambda pair: pair[0])]


def _labels() -> dict[str, str]:
    return dict.fromkeys(judged_rules(), "none, or the words of the text")
