"""Model card (README.md) of a trained checkpoint: training data, settings, and safety probe results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.records import Provenance, RunCard
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.safety_probe import SafetyPoint


def write_model_card(
    base: Path,
    taught: Sequence[Provenance],
    config: TrainConfig,
    card: RunCard,
    logs: Sequence[StepLog],
    points: Sequence[SafetyPoint] = (),
) -> str:
    """Return the model card as Markdown.

    Args:
        base: checkpoint that training started from.
        taught: provenance of each training example.
        config: training settings.
        card: manifest of the output folder.
        logs: log of each step.
        points: safety probe results; empty if no probe ran.
    """
    recipes = Counter((_plain(provenance.recipe), _plain(provenance.teacher)) for provenance in taught)
    settings = {**{k: v for k, v in config.model_dump().items() if k != "trl"}, **config.trl}
    unit = "nats per pair" if config.stage == "dpo" else "nats per supervised token"
    first, last = logs[0], logs[-1]
    lines = [
        f"# {_plain(base.name)}, fine-tuned",
        "",
        f"Made by holdfast {card.holdfast} from the checkpoint `{_plain(base.name)}` (hash `{card.inputs['base']}`).",
        f"Hash of the examples: `{card.inputs['examples']}`. Metrics of each step: `metrics.jsonl`. "
        f"Run key: `{card.key}`.",
        "",
        f"Mean reward: {_or_unknown(first.reward)} at the first step, {_or_unknown(last.reward)} at the last."
        if config.stage == "grpo"
        else f"Loss in {unit}: {first.loss:.4f} at the first step, {last.loss:.4f} at the last.",
        "",
        *(
            _table(
                "Training data",
                "recipe|teacher|examples",
                [(f"`{r}`", f"`{t}`", n) for (r, t), n in sorted(recipes.items())],
            )
        ),
        *_probe_table(points, logs),
        *_table("Counts", "item|count", [(name, f"{value:,}") for name, value in card.counts.items()]),
        *_table("Settings", "setting|value", [(_plain(name), _plain(str(value))) for name, value in settings.items()]),
    ]
    return "\n".join(lines)


def _probe_table(points: Sequence[SafetyPoint], logs: Sequence[StepLog]) -> list[str]:
    """Results of the first and the last safety probe, and the time all probes took."""
    if not points:
        return ["## Safety probe", "", "No safety probe ran during training.", ""]
    before, after = points[0], points[-1]
    rows = [(name, _or_unknown(before.values[name]), _or_unknown(after.values.get(name))) for name in before.values]
    probed, trained = sum(point.seconds for point in points), sum(log.seconds for log in logs)
    cost = f"{len(points)} probes took {probed:.1f} s; training took {trained:.1f} s."
    return [*_table("Safety probe", f"rate|before|after {after.step} steps", rows), cost, ""]


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _table(title: str, head: str, rows: Sequence[tuple[object, ...]]) -> list[str]:
    if not rows:
        return []
    names = head.split("|")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [f"## {title}", "", *lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _plain(name: str) -> str:
    """Make an untrusted name safe inside a Markdown table and code span."""
    return "".join(char for char in name if char.isalnum() or char in " -_./:,")[:80]
