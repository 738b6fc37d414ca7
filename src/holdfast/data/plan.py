"""Estimate the cost and duration of a set before any request is sent.

Token counts are the stages' expected values for English. If a folder already holds answers to the same stages, the
means over those are used instead: build a small set first to plan a large one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.core.prose import slots_in
from holdfast.core.records import Record
from holdfast.data.card import Card
from holdfast.data.cells import quotas_of
from holdfast.data.recipes import Recipe
from holdfast.data.response_cache import CachedResponse, responses_of
from holdfast.data.stages import PromptStage, Role
from holdfast.models.prices import Money, known_price

#: Characters per token of English.
_CHARACTERS = 4
#: Assumed latency in seconds and output speed of a model.
_SECONDS, _TOKENS_A_SECOND = 1.0, 50.0
#: Assumed share of proposed situations that are not like an earlier one.
_NOVEL = 0.7


class StageCost(Record):
    """Cost of one stage: tokens per request, requests per item, and the number of answers measured (0: estimated)."""

    stage: str
    model: str
    tokens_in: float
    tokens_out: float
    requests: float
    measured: int


class SetPlan(Record):
    """Estimated cost of a set.

    Attributes:
        records: items to send to the teacher; `examples` of them are expected to be kept.
        dollars: cost of all requests; None if the price of a model is not known.
        dollars_per_record: cost of one item through all stages; None if the price of a model is not known.
        hours: duration with `at_once` concurrent requests, at 1 s plus 1/50 s per output token each.
        measured: whether the token counts of every stage are measured.
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


class SentTokens(Record):
    """Requests that were sent for a set in all its runs, and their tokens."""

    requests: int
    tokens_in: int
    tokens_out: int


def sent_tokens(recipe: Recipe, folder: Path) -> SentTokens:
    """Count the requests in a set's response cache, without answers that were copied from another set.

    Raises:
        ResultsError: a line of the response cache is invalid.
    """
    rows = [row.tokens for stage in recipe.every_stage for row in responses_of(folder, stage.key) if row.paid]
    return SentTokens(requests=len(rows), tokens_in=sum(r[0] for r in rows), tokens_out=sum(r[1] for r in rows))


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
    """Estimate the cost of a set.

    Args:
        recipe: the recipe.
        tokens: token budget.
        names: role → model; the teacher plays roles without a model.
        measured: an output folder of `sets.teach` whose response cache and card provide measured values.
        prices: a price file that takes precedence over the built-in prices.
        batch: whether requests go through the provider's batch API.
        at_once: concurrent requests.

    Raises:
        InputError: the budget is not positive.
    """
    if tokens <= 0:
        raise InputError(f"the token budget must be at least 1, got {tokens}", remedy="raise it")
    size, kept = expected_yield(recipe, measured)
    examples = math.ceil(tokens / size)
    records = math.ceil(examples / kept)
    stages = _stages(recipe, names, measured, records)
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
    """Cost of one item through all stages; None if the price of a model is not known."""
    total = Money(0)
    for stage in stages:
        tokens = round(stage.tokens_in), round(stage.tokens_out)
        cost = known_price(stage.model, *tokens, table=prices, batch=batch)
        if cost is None:
            return None
        total += cost * Money(str(stage.requests))
    return total


def _stages(recipe: Recipe, names: Mapping[Role, str], measured: Path | None, records: int) -> list[StageCost]:
    lengths, card = _lengths(recipe), _measured_card(measured)
    lists = _list_requests(recipe, card, records)
    mended = {
        name for stage in recipe.stages for name in ((*stage.head.mend, stage.head.name) if stage.head.mend else ())
    }
    costs = []
    for stage in recipe.every_stage:
        read = sum(lengths.get(slot, 0.0) for slot in slots_in(stage.prose.body))
        read += len(stage.prose.body) / _CHARACTERS
        written = stage.head.expect * recipe.scale
        rows = [row for row in responses_of(measured, stage.key) if row.finish != "error"] if measured else []
        again = 1 - recipe.file.kept if stage.head.name in mended else 0.0
        if rows:
            read, written = (sum(row.tokens[i] for row in rows) / len(rows) for i in (0, 1))
        costs.append(
            StageCost(
                stage=stage.key,
                model=names.get(stage.head.role, names["teacher"]),
                tokens_in=round(read, 1),
                tokens_out=round(written, 1),
                requests=lists.get(stage.key)
                or (1 / recipe.drafts if stage.head.shared else _asked(rows, card, again)),
                measured=len(rows),
            )
        )
    return costs


def _asked(rows: Sequence[CachedResponse], card: Card | None, again: float) -> float:
    """Requests of a stage for one item: measured, or one and the expected share of items that are sent back to it."""
    return round(len(rows) / card.asked, 4) if rows and card and card.asked else 1 + again


def _list_requests(recipe: Recipe, card: Card | None, records: int) -> dict[str, float]:
    """Stage → requests per item for lists of topics and situations, at the measured or an assumed share of new ones."""
    if recipe.plan is None:
        return {}
    proposed = sum(count.proposed for count in card.cells) if card else 0
    novel = sum(count.novel for count in card.cells) / proposed if card and proposed else _NOVEL
    cells = len(quotas_of(recipe.plan, recipe.axes, [p.id for p in recipe.principles], 0).shares)
    topics, situations = recipe.fan_out
    used = min(cells, records)
    # Each cell asks for at least one list of situations, however few of them it needs.
    lists = max(used, records / (recipe.plan.situations * max(novel, 0.01)))
    rounds = max(used, lists / recipe.plan.topics)
    return {topics.key: round(rounds / records, 4), situations.key: round(lists / records, 4)}


def _measured_card(folder: Path | None) -> Card | None:
    card = folder / "card.json" if folder else None
    return Card.model_validate_json(card.read_text(encoding="utf-8")) if card and card.is_file() else None


def _lengths(recipe: Recipe) -> dict[str, float]:
    """Slot → mean tokens of its text."""
    lengths = {"language": len(recipe.note) / _CHARACTERS, "rubric": len(recipe.rubric) / _CHARACTERS}
    # A situation is a line of about 45 tokens; a list prompt shows six of them.
    lengths |= {
        "topic": 8.0,
        "situation": 45.0,
        "unlike": 270.0,
        "cell": 60.0,
        "many": 1.0,
        "about": len(recipe.file.about) / 4,
    }
    lengths |= {axis: _mean(values) for axis, values in recipe.axes.items()}
    lengths |= {factor: _mean([value]) for factor, value in recipe.fixed.items()}
    lengths |= {"principle": _mean([p.text for p in recipe.principles])}
    lengths |= {"reasons": _mean([p.reasons for p in recipe.principles])}
    for stage in recipe.stages:
        lengths |= {label: _share(stage, label) * recipe.scale for label in (*stage.head.fields, *stage.head.may)}
    return lengths


def _share(stage: PromptStage, label: str) -> float:
    """Expected tokens of one field of an answer: the whole answer for the body, else an equal share."""
    return float(stage.head.expect) if label == stage.head.body else stage.head.expect / len(stage.head.fields)


def _mean(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / max(1, len(texts)) / _CHARACTERS


def expected_yield(recipe: Recipe, measured: Path | None = None) -> tuple[float, float]:
    """Return the expected tokens per example and the expected share of items that are kept."""
    card = _measured_card(measured)
    if card and card.examples:
        return card.tokens / card.examples, (card.asked - sum(card.dropped.values())) / card.asked
    return max(1.0, recipe.file.size * recipe.scale), recipe.file.kept
