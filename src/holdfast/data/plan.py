"""What a set will cost and how long it will take, before anything is asked.

Tokens are those that the stages expect of English, or, where a folder holds answers to the same stages already, the
means over those: make a small set first and plan the large one on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.core.prose import slots_in
from holdfast.core.records import Record
from holdfast.data.recipes import Recipe
from holdfast.data.response_cache import responses_of
from holdfast.data.stages import PromptStage, Role
from holdfast.models.prices import Money, known_price

#: characters of a token of English, and how an answer comes where nothing is known: a second, and then so many tokens
_CHARACTERS = 4
_SECONDS, _TOKENS_A_SECOND = 1.0, 50.0


class StageCost(Record):
    """One stage: tokens of one request, requests for one record, and on how many answers that is measured."""

    stage: str
    model: str
    tokens_in: float
    tokens_out: float
    requests: float
    measured: int


class SetPlan(Record):
    """What a set takes.

    Attributes:
        records: items to be put to the teacher; `examples` of them are expected to be kept.
        dollars: of all requests; `dollars_per_record` of one item through all stages.  Both are None where no price is
            known for one of the models.
        hours: at `at_once` requests at a time, where each takes a second and a fiftieth of a second a token.
        measured: whether every stage's tokens are measured.
    """

    recipe: str
    tokens: int
    records: int
    examples: int
    requests: int
    tokens_in: int
    tokens_out: int
    dollars: Money | None
    dollars_per_record: Money | None
    hours: float
    at_once: int
    measured: bool
    stages: tuple[StageCost, ...]


def estimate_set(
    recipe: Recipe,
    tokens: int,
    names: Mapping[Role, str],
    *,
    measured: Path | None = None,
    prices: Path | None = None,
    batch: bool = False,
    at_once: int = 64,
) -> SetPlan:
    """Plan a set.

    Args:
        recipe: what is to be made.
        tokens: the budget.
        names: role → model; a role that has none is the teacher's.
        measured: a folder of `sets.teach` whose ledger and card are taken for measurements.
        prices: a file of prices that comes before ours.
        batch: whether requests go through the provider's batch interface.
        at_once: requests out at a time.

    Raises:
        InputError: the budget is not positive.
    """
    if tokens <= 0:
        raise InputError(f"a budget of {tokens} tokens", remedy="ask for at least one")
    stages = _stages(recipe, names, measured)
    size, kept = expected(recipe, measured)
    examples = math.ceil(tokens / size)
    records = math.ceil(examples / kept)
    record = _dollars(stages, prices, batch)
    seconds = sum((_SECONDS + s.tokens_out / _TOKENS_A_SECOND) * s.requests for s in stages) * records / at_once
    return SetPlan(
        recipe=recipe.name,
        tokens=tokens,
        records=records,
        examples=examples,
        requests=math.ceil(sum(s.requests for s in stages) * records),
        tokens_in=round(sum(s.tokens_in * s.requests for s in stages) * records),
        tokens_out=round(sum(s.tokens_out * s.requests for s in stages) * records),
        dollars=None if record is None else round(record * records, 4),
        dollars_per_record=None if record is None else round(record, 6),
        hours=round(seconds / 3600, 4),
        at_once=at_once,
        measured=all(s.measured for s in stages),
        stages=tuple(stages),
    )


def _dollars(stages: Sequence[StageCost], prices: Path | None, batch: bool) -> Money | None:
    """What one record costs through all stages; None where no price is known for one of the models."""
    total = Money(0)
    for stage in stages:
        tokens = round(stage.tokens_in), round(stage.tokens_out)
        cost = known_price(stage.model, *tokens, table=prices, batch=batch)
        if cost is None:
            return None
        total += cost * Money(str(stage.requests))
    return total


def _stages(recipe: Recipe, names: Mapping[Role, str], measured: Path | None) -> list[StageCost]:
    lengths = _lengths(recipe)
    found = []
    for stage in recipe.stages:
        read = sum(lengths.get(slot, 0.0) for slot in slots_in(stage.prose.body))
        read += len(stage.prose.body) / _CHARACTERS
        written = stage.head.expect * recipe.scale
        rows = [row for row in responses_of(measured, stage.key) if row.finish != "error"] if measured else []
        if rows:
            read, written = (sum(row.tokens[i] for row in rows) / len(rows) for i in (0, 1))
        found.append(
            StageCost(
                stage=stage.key,
                model=names.get(stage.head.role, names["teacher"]),
                tokens_in=round(read, 1),
                tokens_out=round(written, 1),
                requests=1 / recipe.drafts if stage.head.shared else 1,
                measured=len(rows),
            )
        )
    return found


def _lengths(recipe: Recipe) -> dict[str, float]:
    """Tokens that a slot's text has on average."""
    lengths = {"language": len(recipe.note) / _CHARACTERS}
    lengths |= {axis: _mean(values) for axis, values in recipe.axes.items()}
    lengths |= {factor: _mean([value]) for factor, value in recipe.fixed.items()}
    lengths |= {"principle": _mean([p.text for p in recipe.principles])}
    lengths |= {"reasons": _mean([p.reasons for p in recipe.principles])}
    for stage in recipe.stages:
        lengths |= {label: _share(stage, label) * recipe.scale for label in (*stage.head.fields, *stage.head.may)}
    return lengths


def _share(stage: PromptStage, label: str) -> float:
    """Tokens of one field of an answer: all of it for the body, else an equal part."""
    return float(stage.head.expect) if label == stage.head.body else stage.head.expect / len(stage.head.fields)


def _mean(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / max(1, len(texts)) / _CHARACTERS


def expected(recipe: Recipe, measured: Path | None = None) -> tuple[float, float]:
    """Tokens of an example, and the share of items that is kept."""
    card = measured / "card.json" if measured else None
    if card and card.is_file():
        facts = json.loads(card.read_text(encoding="utf-8"))
        if facts["examples"]:
            dropped = sum(facts["dropped"].values())
            return facts["tokens"] / facts["examples"], (facts["asked"] - dropped) / facts["asked"]
    return max(1.0, recipe.file.size * recipe.scale), recipe.file.kept
