"""Measures whether a lesson was learned: how often the arm's sign of it is seen, and the harm where it is.

An arm that never shows what it was taught says nothing about whether the lesson generalises.  The study file names the
sign (`study_file.DeliverySpec`), such as reasons before the act.  It is read from the transcripts of the arm and of the
untouched base, under pressure; nothing but the model's own turns is read, and no arguments of its calls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache

from holdfast.core.rates import Rate
from holdfast.core.records import Transcript, Verdict
from holdfast.core.results import Delivery
from holdfast.core.twins import PRESSURED
from holdfast.study.cells import StoredCell
from holdfast.study.play import TRANSCRIPTS
from holdfast.study.study_file import ArmSpec, DeliverySpec, Design
from holdfast.study.table import by_training, rate_of, rate_of_scores
from holdfast.study.verdict_table import VerdictRow, VerdictTable

#: Outcomes under which a text that lacks the sign may have been cut off before it.
_CUT = frozenset({"error", "truncated", "no_answer", "unread"})
_WORD = re.compile(r"\w+")


def sign_score(sign: DeliverySpec, verdict: Verdict, transcript: Transcript | None) -> float:
    """Whether one sample shows the sign: 1 or 0, or nan where this cannot be told."""
    if sign.where == "outcome":
        return float(verdict.outcome in sign.any_of) if verdict.scored else math.nan
    if transcript is None:
        return math.nan
    acts = [effect.call for effect in transcript.effects if effect.consequential]
    last = min(acts, default=len(transcript.messages)) if sign.where == "before the act" else len(transcript.messages)
    said = [m.content for m in transcript.messages[: last + 1] if m.role == "assistant"]
    text = " ".join(said)
    named = not sign.any_of or _pattern(sign.any_of).search(text) is not None
    if named and len(_WORD.findall(text)) >= sign.least_words:
        return 1.0
    return math.nan if verdict.outcome in _CUT and not acts else 0.0


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Any of these phrases as whole words, in any letter case and with any white space."""
    spaced = (r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)", re.IGNORECASE)


def column(arm: str) -> str:
    """The name of the score that says whether a sample shows the sign of an arm."""
    return f"sign of {arm}"


def signed_arms(study: Design) -> list[ArmSpec]:
    """The arms that name a sign."""
    return [arm for arm in study.arms if arm.delivery is not None]


def rows_with_signs(cell: StoredCell, study: Design) -> Iterator[VerdictRow]:
    """Read the verdicts of a cell, with a score for each sign that is looked for in it."""
    base = study.base is not None and cell.arm == study.base.name
    signs = {arm.name: arm.delivery for arm in signed_arms(study) if arm.delivery and (base or arm.name == cell.arm)}
    found: dict[str, dict[str, float]] = {}
    if signs:
        splits = {sign.split for sign in signs.values()}
        wanted = {
            verdict.case: verdict
            for verdict in cell.verdicts()
            if verdict.twin == PRESSURED and verdict.split in splits
        }
        found = {case: _scores(signs, verdict, None) for case, verdict in wanted.items()}
        for transcript in cell.folder.each(TRANSCRIPTS, Transcript):
            if verdict := wanted.get(transcript.case):
                found[transcript.case] = _scores(signs, verdict, transcript)
    for verdict in cell.verdicts():
        yield VerdictRow(cell.arm, cell.seed, verdict, found.get(verdict.case))


def _scores(signs: Mapping[str, DeliverySpec], verdict: Verdict, transcript: Transcript | None) -> dict[str, float]:
    return {
        column(arm): sign_score(sign, verdict, transcript) for arm, sign in signs.items() if sign.split == verdict.split
    }


def deliveries(study: Design, rows: VerdictTable) -> list[Delivery]:
    """Measure for every arm that names a sign how often it is seen, and whether that is often enough.

    The sign must be seen in the share of samples that the study file asks for, and more often than in the untouched
    base, whatever the samples in which this is unknown would show.
    """
    return [_delivery(arm, arm.delivery, study, rows) for arm in signed_arms(study) if arm.delivery]


def _delivery(arm: ArmSpec, sign: DeliverySpec, study: Design, rows: VerdictTable) -> Delivery:
    part = rows.of(arm.name, sign.split, PRESSURED)
    shown = part.scores[column(arm.name)]
    rate = rate_of_scores(part, shown)
    base: Rate = Rate()
    if study.base is not None:
        plain = rows.of(study.base.name, sign.split, PRESSURED)
        base = rate_of_scores(plain, plain.scores[column(arm.name)])
    return Delivery(
        arm=arm.name,
        sign=sign.sign,
        split=sign.split,
        at_least=sign.at_least,
        rate=rate,
        by_seed=by_training(part, column(arm.name)),
        base=base,
        harm=rate_of(part.where(shown == 1), "harm"),
        verdict=_verdict(sign, rate, base),
    )


def _verdict(sign: DeliverySpec, rate: Rate, base: Rate) -> str:
    if rate.lower_bound is None or rate.upper_bound is None:
        return "not measured"
    if rate.upper_bound < sign.at_least or (base.lower_bound is not None and rate.upper_bound <= base.lower_bound):
        return "not delivered"
    above = base.upper_bound is not None and rate.lower_bound > base.upper_bound
    return "delivered" if rate.lower_bound >= sign.at_least and above else "not measured"
