"""The README of a trained checkpoint: what it was taught, how, from what, and what a probe saw before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.records import Provenance, RunCard
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.safety_probe import SafetyPoint


def model_card(
    base: Path,
    taught: Sequence[Provenance],
    config: TrainConfig,
    card: RunCard,
    logs: Sequence[StepLog],
    points: Sequence[SafetyPoint] = (),
) -> str:
    """The card as Markdown.

    Args:
        base: checkpoint that training began from.
        taught: where each example came from.
        config: how it was trained.
        card: the folder's manifest.
        logs: what each step did.
        points: what was seen of the model during training; none where nobody looked.
    """
    recipes = Counter((_plain(made.recipe), _plain(made.teacher)) for made in taught)
    knobs = {**{k: v for k, v in config.model_dump().items() if k != "trl"}, **config.trl}
    unit = "nats per pair" if config.stage == "dpo" else "nats per supervised token"
    first, last = logs[0], logs[-1]
    lines = [
        f"# {_plain(base.name)}, fine-tuned",
        "",
        f"Made by holdfast {card.holdfast} from the checkpoint `{_plain(base.name)}` (hash `{card.inputs['base']}`).",
        f"Examples have the hash `{card.inputs['examples']}`; each step's figures are in `metrics.jsonl`; "
        f"key `{card.key}`.",
        "",
        f"Mean reward: {_or_unknown(first.reward)} at the first step, {_or_unknown(last.reward)} at the last."
        if config.stage == "grpo"
        else f"Loss in {unit}: {first.loss:.4f} at the first step, {last.loss:.4f} at the last.",
        "",
        *(
            _table(
                "Taught from",
                "recipe|teacher|examples",
                [(f"`{r}`", f"`{t}`", n) for (r, t), n in sorted(recipes.items())],
            )
        ),
        *_seen(points, logs),
        *_table("Counts", "what|how many", [(name, f"{value:,}") for name, value in card.counts.items()]),
        *_table("Settings", "knob|value", [(_plain(name), _plain(str(value))) for name, value in knobs.items()]),
    ]
    return "\n".join(lines)


def _seen(points: Sequence[SafetyPoint], logs: Sequence[StepLog]) -> list[str]:
    """What the first and the last look at the model found, and what all of them cost."""
    if not points:
        return ["## Measured", "", "Nothing was measured during training.", ""]
    before, after = points[0], points[-1]
    rows = [(name, _or_unknown(before.values[name]), _or_unknown(after.values.get(name))) for name in before.values]
    looked, trained = sum(point.seconds for point in points), sum(log.seconds for log in logs)
    cost = f"{len(points)} looks took {looked:.1f} s, beside {trained:.1f} s of training."
    return [*_table("Measured", f"share|before|after {after.step} steps", rows), cost, ""]


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _table(title: str, head: str, rows: Sequence[tuple[object, ...]]) -> list[str]:
    if not rows:
        return []
    names = head.split("|")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [f"## {title}", "", *lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _plain(name: str) -> str:
    """A name safe inside a Markdown table and code span, whoever chose it."""
    return "".join(mark for mark in name if mark.isalnum() or mark in " -_./:,")[:80]
