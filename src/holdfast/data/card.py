"""The card of a data set: contents, dropped items with reasons, and provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

import holdfast
from holdfast.core.identity import hash_files, room_version
from holdfast.core.records import Record, RunCard
from holdfast.data.cells import CellCount
from holdfast.data.engine import Roles
from holdfast.data.readme import front_matter, table_section
from holdfast.data.recipes import Recipe
from holdfast.data.set_builder import NGRAM, SAMPLED, SetBuilder
from holdfast.models.prices import Money

EXAMPLES = "examples"


class Card(Record):
    """Summary of a data set.

    Attributes:
        examples: number of examples.
        tokens: tokens of the examples, counted with `tokenizer`.
        asked: items sent to the teacher; `asked == examples + sum(dropped) + unused`.
        dropped: reason → number of items dropped for it.
        unused: finished items that did not fit into the token budget.
        refused: number of dropped items that the teacher refused.
        distinct: share of word 4-grams that occur for the first time.
        axes: axis → value → number of examples.
        factors: factor → the value that all examples have.
        others: role → model, for roles that were not played by the teacher.
        spent: cost in US dollars, including answers that are not in the set; None if a price is not known.
        principles: principle → number of examples.
        cells: what each cell of the plan asked for and got; empty without a plan.
        stages: stage → hash of its prompt file; stages that were switched off are in `off`.
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
    cells: tuple[CellCount, ...] = ()


def card_of(
    recipe: Recipe,
    builder: SetBuilder,
    roles: Roles,
    seed: int,
    tokenizer: Path,
    spent: Money | None = None,
    cells: Sequence[CellCount] = (),
) -> Card:
    """Build the card of a finished set; `spent` is in US dollars, None if a price is not known."""
    teacher = roles.teacher[0]
    limits = [
        f"Written by {teacher.name}: the set contains nothing that this model cannot write.",
        "Chat tokens are counted in the organism's chat format; another template differs by a few tokens per turn.",
        "Held-out families are filtered by word patterns; `study/leakage.py` measures the overlap with the test cases.",
    ]
    if builder.examples > SAMPLED:
        limits.append(f"Distinct n-grams are measured on the first {SAMPLED} examples.")
    if recipe.language == "pocket":
        limits.append("Pocket English: results on it do not transfer to a model trained on anything else.")
    if closed := [count for count in cells if count.closed and count.examples < math.ceil(count.target)]:
        what = f"{len(closed)} of {len(cells)} cells of the plan ended early, so the set is smaller than its budget"
        limits.append(f"{what}: see the table of cells.")
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return Card(
        name=recipe.name,
        title=recipe.file.title,
        about=recipe.file.about,
        language=recipe.language,
        examples=builder.examples,
        tokens=builder.tokens,
        budget=builder.room,
        asked=builder.asked,
        dropped=dict(builder.dropped.most_common()),
        unused=builder.unused,
        refused=sum(count for reason, count in builder.dropped.items() if reason.endswith(": refused")),
        distinct=round(builder.grams.distinct, 4),
        axes={axis: dict(sorted(values.items())) for axis, values in builder.axes.items()},
        factors=dict(recipe.fixed),
        principles=dict(sorted(builder.principles.items())),
        teacher=teacher.name,
        teacher_identity=teacher.identity,
        others={role: models[0].name for role, models in roles.by_role().items() if role != "teacher"},
        seed=seed,
        tokenizer=hash_files([file]),
        charter=recipe.charter.hash if recipe.charter else None,
        stages={stage.key: stage.hash for stage in recipe.every_stage},
        off=recipe.off,
        drafts=recipe.drafts,
        spent=None if spent is None else round(float(spent), 6),
        limits=tuple(limits),
        cells=tuple(cells),
    )


def card_markdown(card: Card) -> str:
    """Return the card as a README with front matter in the format of dataset hubs."""
    tags = [card.name, f"teacher:{card.teacher}", f"language:{card.language}"]
    sections = [
        f"{front_matter(card.title, card.examples, tags, [f'{EXAMPLES}.jsonl'])}\n\n{card.about}",
        table_section("Counts", _counts(card)),
        table_section("Dropped, by reason", card.dropped) if card.dropped else "## Dropped, by reason\n\nNothing.",
        *(table_section(f"By {axis}", values) for axis, values in card.axes.items()),
        *([table_section("By principle", card.principles)] if card.principles else []),
        *([table_section("Cells of the plan", _cell_rows(card))] if card.cells else []),
        table_section("Provenance", _provenance(card)),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card.limits),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(card: Card) -> dict[str, object]:
    return {
        "examples": card.examples,
        "tokens": f"{card.tokens} of {card.budget}",
        "items sent to the teacher": card.asked,
        "refused by the teacher": card.refused,
        "finished, did not fit": card.unused,
        f"distinct {NGRAM}-grams": f"{card.distinct:.3f}",
        "US dollars": "unknown (no price for the teacher)" if card.spent is None else f"{card.spent:.2f}",
    }


def _cell_rows(card: Card) -> dict[str, object]:
    rows: dict[str, object] = {}
    for count in card.cells:
        novel = f"{count.novel} of {count.proposed} proposed situations were new"
        row = f"{count.examples} of {count.target:g}; {novel}" + (f"; closed: {count.closed}" if count.closed else "")
        rows[", ".join(count.cell.values())] = row
    return rows


def _provenance(card: Card) -> dict[str, object]:
    rows = {
        "teacher": f"{card.teacher} ({card.teacher_identity})",
        **card.others,
        **{f"factor '{factor}'": value for factor, value in card.factors.items()},
        "drafts per plan": card.drafts,
        "seed": card.seed,
        "tokenizer": card.tokenizer,
        "charter": card.charter or "none",
        "stages off": ", ".join(card.off) or "none",
    }
    return rows | {f"prompt of '{stage}'": hash_ for stage, hash_ in card.stages.items()}


def set_manifest(key: str, card: Card) -> RunCard:
    """Return the manifest of a finished set; `key` is the hash of everything that determines the set."""
    return RunCard(
        key=key,
        kind="data",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=holdfast.__version__,
        code=room_version("data"),
        inputs={"name": card.name, "seed": card.seed, "teacher": card.teacher, "charter": card.charter},
        counts={"examples": card.examples, "tokens": card.tokens, "dropped": sum(card.dropped.values())},
    )
