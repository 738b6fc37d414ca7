"""Share of answers that lecture, refuse or flatter, by a rubric and one or two graders, with their agreement.

Each grader reads the same uniform sample of answers. An answer that a grader did not judge in the form asked for is
unread: it is counted, and the share among the others is given with the bounds it would have if all unread ones were so,
or none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from holdfast.core.errors import ProseError
from holdfast.core.prose import load_prose
from holdfast.core.rates import Agreement
from holdfast.core.records import Example, Message, Record
from holdfast.core.rubric_question import read_rubric_answer, rubric_question
from holdfast.core.text import Text
from holdfast.data.quality.findings import answer_of
from holdfast.models.base import Model, Request
from holdfast.stats.agreement import kappa

RUBRIC = Path(__file__).with_name("manner.md")
MANNERS = ("lectures", "refuses", "flatters")
_LABELS = dict.fromkeys(MANNERS, "yes or no")
_TOKENS = 512


class MannerShare(Record):
    """Answers of one manner, as one grader sees them.

    Attributes:
        yes: answers with it; `read` were judged, `unread` were not.
        share: share of the judged ones; None if none was judged.
        low: share of all if no unread answer has it.
        high: share of all if every unread answer has it.
    """

    yes: int
    read: int
    unread: int
    share: float | None
    low: float
    high: float


class Manner(Record):
    """Manner of a sample of answers.

    Attributes:
        sampled: answers that were read.
        graders: grader → manner → its share.
        agreement: manner → Cohen's kappa of the first two graders; None with one grader.
        faults: what was wrong with the first unread answers.
    """

    sampled: int
    graders: Mapping[Text, Mapping[str, MannerShare]]
    agreement: Mapping[str, Agreement] | None
    faults: tuple[Text, ...]


def grade_manner(
    examples: Sequence[Example], graders: Sequence[Model], rubric: Path | None = None, size: int = 100, seed: int = 0
) -> Manner:
    """Ask each grader about the same sample of answers.

    Args:
        examples: examples of the set; those without an answer are left out.
        graders: one or more models.
        rubric: a Markdown file in place of the built-in rubric; it must define the same three words.
        size: answers to sample.
        seed: seed of the sample.

    Raises:
        ProseError: the rubric cannot be read, is empty, or lacks one of the three words.
    """
    prose = load_prose(rubric or RUBRIC)
    for word in MANNERS:
        if word not in prose.body:
            remedy = f"define {', '.join(MANNERS)}, each yes or no"
            raise ProseError(f"the rubric does not define '{word}'", where=f"{prose.path}:{prose.line}", remedy=remedy)
    texts = [_quoted(example) for example in examples if answer_of(example).strip()]
    texts = random.Random(seed).sample(texts, min(size, len(texts)))
    questions = [rubric_question(prose.body, text, _LABELS) for text in texts]
    requests = [
        Request(
            question.seal,
            (Message(role="system", content=question.system), Message(role="user", content=question.user)),
            max_tokens=_TOKENS,
        )
        for question in questions
    ]
    columns: list[dict[str, np.ndarray]] = []
    faults: list[str] = []
    for grader in graders:
        outputs = grader.generate(requests) if requests else []
        rows = [_read(o.message.content, o.finish, q.seal) for o, q in zip(outputs, questions, strict=True)]
        faults += [f"{grader.name}: {row}" for row in rows if isinstance(row, str)]
        columns.append({m: np.array([np.nan if isinstance(r, str) else r[m] for r in rows], float) for m in MANNERS})
    names = [f"{grader.name} ({at})" if at else grader.name for at, grader in _numbered(graders)]
    agreement = None
    if len(columns) > 1:
        agreement = {m: kappa(columns[0][m], columns[1][m], list(range(len(texts)))) for m in MANNERS}
    shares = [{m: _share(column[m]) for m in MANNERS} for column in columns]
    graded = dict(zip(names, shares, strict=True))
    return Manner(sampled=len(texts), graders=graded, agreement=agreement, faults=tuple(faults[:5]))


def _numbered(graders: Sequence[Model]) -> list[tuple[int, Model]]:
    """Number graders of the same name, so that none hides another."""
    seen: dict[str, int] = {}
    numbered = []
    for grader in graders:
        seen[grader.name] = seen.get(grader.name, -1) + 1
        numbered.append((seen[grader.name] and seen[grader.name] + 1, grader))
    return numbered


def _quoted(example: Example) -> str:
    """The answer to be judged, behind what was asked."""
    asked = next((m.content for m in reversed(example.messages) if m.role == "user"), "")
    return (
        f"THE PERSON WROTE:\n{asked}\n\nTHE ASSISTANT ANSWERED:\n{answer_of(example)}" if asked else answer_of(example)
    )


def _read(reply: str, finish: str, seal: str) -> dict[str, bool] | str:
    if finish != "stop":
        return f"no answer: {finish}"
    values = read_rubric_answer(reply, seal, _LABELS)
    if isinstance(values, str):
        return values
    answers = {manner: values[manner].lower().rstrip(".") for manner in MANNERS}
    if other := [answer for answer in answers.values() if answer not in ("yes", "no")]:
        return f"'{other[0][:40]}' is neither yes nor no"
    return {manner: answer == "yes" for manner, answer in answers.items()}


def _share(column: np.ndarray) -> MannerShare:
    read = int((~np.isnan(column)).sum())
    yes, unread, n = int(np.nansum(column)), len(column) - read, max(1, len(column))
    share = round(yes / read, 4) if read else None
    return MannerShare(
        yes=yes, read=read, unread=unread, share=share, low=round(yes / n, 4), high=round((yes + unread) / n, 4)
    )
