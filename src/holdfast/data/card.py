"""The card of a data set: what is in it, what was left out and why, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from holdfast.core.identity import hash_files
from holdfast.core.records import Record
from holdfast.data.engine import Roles
from holdfast.data.readme import facts, front
from holdfast.data.recipes import Recipe
from holdfast.data.set_builder import NGRAM, SAMPLED, SetBuilder
from holdfast.models.prices import Money

EXAMPLES = "examples"


class Card(Record):
    """The facts about a set.

    Attributes:
        examples: how many there are.
        tokens: their tokens, counted with the tokenizer of `tokenizer`.
        asked: items put to the teacher; `asked == examples + sum(dropped) + unused`.
        dropped: reason → how many items were dropped for it.
        unused: finished items that the token budget had no room for.
        refused: how many of those dropped the teacher refused.
        distinct: share of word 4-grams that occur for the first time.
        axes: axis → value → examples.
        factors: factor → the value that all examples have.
        others: role → who played it, where that was not the teacher.
        spent: US dollars, for answers that did not make it into the set too; None where a price is not known.
        principles: principle → examples.
        stages: stage → hash of its prompt file; those that were switched off are in `off`.
    """

    name: str
    title: str
    about: str
    language: str
    examples: int
    tokens: int
    budget: int
    asked: int
    dropped: Mapping[str, int]
    unused: int
    refused: int
    distinct: float
    axes: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    factors: Mapping[str, str] = Field(default_factory=dict)
    principles: Mapping[str, int] = Field(default_factory=dict)
    teacher: str
    teacher_identity: str
    others: Mapping[str, str] = Field(default_factory=dict)
    seed: int
    tokenizer: str
    charter: str | None
    stages: Mapping[str, str]
    off: tuple[str, ...]
    drafts: int
    spent: float | None
    limits: tuple[str, ...]


def card_of(
    recipe: Recipe, basket: SetBuilder, cast: Roles, seed: int, tokenizer: Path, spent: Money | None = None
) -> Card:
    """The card of what is in a basket; `spent` in US dollars, None where a price is not known."""
    teacher = cast.teacher[0]
    limits = [
        f"Made by {teacher.name}: what it can't write is not in here.",
        "Chat tokens are counted in the organism's notation; another checkpoint's template adds or saves a few a turn.",
        "Words of held-out families are filtered by pattern; overlap with the cases is for `study/leakage.py` to tell.",
    ]
    if basket.examples > SAMPLED:
        limits.append(f"Distinct n-grams are those of the first {SAMPLED} examples.")
    if recipe.language == "pocket":
        limits.append("Pocket English: a result on it says nothing about a model trained on anything else.")
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return Card(
        name=recipe.name,
        title=recipe.file.title,
        about=recipe.file.about,
        language=recipe.language,
        examples=basket.examples,
        tokens=basket.tokens,
        budget=basket.room,
        asked=basket.asked,
        dropped=dict(basket.dropped.most_common()),
        unused=basket.unused,
        refused=sum(count for reason, count in basket.dropped.items() if reason.endswith(": refused")),
        distinct=round(basket.grams.distinct, 4),
        axes={axis: dict(sorted(values.items())) for axis, values in basket.axes.items()},
        factors=dict(recipe.fixed),
        principles=dict(sorted(basket.principles.items())),
        teacher=teacher.name,
        teacher_identity=teacher.identity,
        others={role: models[0].name for role, models in cast.roles().items() if role != "teacher"},
        seed=seed,
        tokenizer=hash_files([file]),
        charter=recipe.charter.hash if recipe.charter else None,
        stages={stage.key: stage.hash for stage in recipe.stages},
        off=recipe.off,
        drafts=recipe.drafts,
        spent=None if spent is None else round(float(spent), 6),
        limits=tuple(limits),
    )


def card_markdown(card: Card) -> str:
    """The card as a hub's README: front matter, then prose and tables."""
    tags = [card.name, f"teacher:{card.teacher}", f"language:{card.language}"]
    sections = [
        f"{front(card.title, card.examples, tags, [f'{EXAMPLES}.jsonl'])}\n\n{card.about}",
        facts("Counts", _counts(card)),
        facts("Left out, by reason", card.dropped) if card.dropped else "## Left out, by reason\n\nNothing.",
        *(facts(f"By {axis}", values) for axis, values in card.axes.items()),
        *([facts("By principle", card.principles)] if card.principles else []),
        facts("Made by", _makers(card)),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card.limits),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(card: Card) -> dict[str, object]:
    return {
        "examples": card.examples,
        "tokens": f"{card.tokens} of {card.budget}",
        "put to the teacher": card.asked,
        "refused by the teacher": card.refused,
        "finished, no room": card.unused,
        f"distinct {NGRAM}-grams": f"{card.distinct:.3f}",
        "US dollars": "unknown: no price for the teacher" if card.spent is None else f"{card.spent:.2f}",
    }


def _makers(card: Card) -> dict[str, object]:
    made = {
        "teacher": f"{card.teacher} ({card.teacher_identity})",
        **card.others,
        **{f"factor '{factor}'": value for factor, value in card.factors.items()},
        "drafts of one plan": card.drafts,
        "seed": card.seed,
        "tokenizer": card.tokenizer,
        "charter": card.charter or "none",
        "stages off": ", ".join(card.off) or "none",
    }
    return made | {f"prompt of '{stage}'": hash_ for stage, hash_ in card.stages.items()}
