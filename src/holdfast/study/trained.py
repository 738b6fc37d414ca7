"""What is known about the trainings of a study: tokens that were read, losses that rose, machines they ran on."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.core.store import RunFolder
from holdfast.study.plan import CellPlan, StudyPlan

#: Relative difference in the tokens that arms read above which the limits mention it.
_TOKEN_SLACK = 0.02
#: A training diverged if its loss at the end is this many times, and this many nats, above that at its start.
_TIMES, _NATS = 2.0, 0.5
METRICS = "metrics.jsonl"


def machine_mark() -> str:
    """A short hash that tells machines apart and names none."""
    own = "\n".join((platform.node(), platform.machine(), platform.processor()))
    return hashlib.sha256(own.encode()).hexdigest()[:8]


def counted_tokens(grid: StudyPlan, out: Path) -> dict[str, dict[str, int]]:
    """Sum what the training cards counted (tokens read, steps) over the stages of each finished checkpoint."""
    counted: dict[str, dict[str, int]] = {}
    for plan in grid.cells:
        folders = [RunFolder(out / stage.folder) for stage in plan.stages]
        if folders and all(folder.complete for folder in folders):
            counted[plan.label] = dict(sum((Counter(folder.card().counts) for folder in folders), Counter()))
    return counted


def faults_of_trainings(grid: StudyPlan, done: Sequence[CellPlan], out: Path) -> list[str]:
    """Sentences for the limits: unequal tokens, trainings that diverged, cells of several machines."""
    return [*_unequal(counted_tokens(grid, out)), *diverged(grid, out).values(), *_machines(done, out)]


def _unequal(counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence for each count (tokens read, tokens supervised) that differs between trainings."""
    sentences = []
    for name, words in (
        ("tokens", "did not read equally many tokens"),
        ("supervised", "were not supervised on equally many tokens"),
    ):
        tokens = {label: counts[name] for label, counts in counted.items() if name in counts}
        if tokens and max(tokens.values()) > (1 + _TOKEN_SLACK) * min(tokens.values()):
            least, most = min(tokens, key=tokens.__getitem__), max(tokens, key=tokens.__getitem__)
            sentences.append(f"Arms {words}: {least} {tokens[least]} tokens, {most} {tokens[most]}.")
    return sentences


def diverged(grid: StudyPlan, out: Path) -> dict[str, str]:
    """Arm → a sentence on one of its trainings whose loss rose; a checkpoint of such a training tests no lesson."""
    return {
        plan.arm: sentence
        for plan in grid.cells
        for stage in plan.stages
        if (sentence := _rise(plan, out / stage.folder))
    }


def _rise(plan: CellPlan, folder: Path) -> str:
    losses = [loss for loss in _losses(folder / METRICS) if loss is not None]
    part = max(1, len(losses) // 10)
    if len(losses) < 2 * part:
        return ""
    first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
    if last <= max(_TIMES * first, first + _NATS):
        return ""
    return f"The training of {plan.label} diverged: its loss rose from {first:.2g} to {last:.2g} nats."


def _losses(path: Path) -> Iterator[float | None]:
    """The loss of each step; nothing if the metrics are not there."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        loss = entry.get("loss") if isinstance(entry, dict) else None
        yield float(loss) if isinstance(loss, (int, float)) else None


def _machines(done: Sequence[CellPlan], out: Path) -> list[str]:
    """A sentence if cells were made on different machines, with the arms of each; older cells name no machine."""
    arms: dict[str, list[str]] = {}
    for plan in done:
        folder = RunFolder(out / plan.folder)
        if folder.complete and (mark := folder.card().inputs.get("machine")):
            arms.setdefault(str(mark), []).append(plan.label)
    if len(arms) < 2:
        return []
    listed = "; ".join(f"{mark}: {', '.join(labels)}" for mark, labels in arms.items())
    return [
        f"Checkpoints were made on {len(arms)} machines, so a difference of arms may be one of machines ({listed})."
    ]
