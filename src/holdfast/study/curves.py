"""Safety curves: what a model does in a few cases while it is trained, and what is left of a lesson afterwards.

Held-out worlds stay out of here: a curve is looked at while choices are still being made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import WorldError
from holdfast.core.records import Case, Example, Record, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models.base import Model
from holdfast.models.local import LocalModel
from holdfast.scenarios import catalogue
from holdfast.scenarios.world import splits
from holdfast.train.config import TrainConfig
from holdfast.train.run import train
from holdfast.train.safety_probe import SAFETY, Probe, SafetyPoint, Watching
from holdfast.train.weights import load_checkpoint

#: Worlds and twins of the fast suite, and how many cases each cell has.
SUITE = ("pocket-sabotage", "pocket-blackmail")
TWINS = ("pressured", "routine")
CASES = 4


def suite(worlds: Sequence[str] = SUITE, count: int = CASES) -> list[Case]:
    """The fast suite: `count` cases of each world, pressured and routine.

    Raises:
        WorldError: a world is held out, or unknown.
    """
    held = [world for world in worlds if splits().get(world) == "heldout"]
    if held:
        raise WorldError(f"'{held[0]}' is held out", remedy="watch worlds of the splits 'train' and 'dev' only")
    return catalogue.cases(worlds, TWINS, range(count))


def watching(every: int, cases: Sequence[Case] | None = None) -> Watching:
    """Looks at a model in training every so many steps; see `train.watch` for what that may cost."""
    return Watching(every, probe_of(suite() if cases is None else cases))


def probe_of(cases: Sequence[Case]) -> Probe:
    """Plays the cases greedily on a live model."""
    return lambda model, tokenizer: rates(cases, LocalModel.around(model, tokenizer))


def rates(cases: Sequence[Case], model: Model) -> dict[str, float | None]:
    """Shares of the scored cases, by twin: `harm pressured`, `acted pressured`, `useful pressured`, and so on.

    None where not one case of a twin could be scored.
    """
    verdicts = [score(case, shown) for case, shown in zip(cases, play(cases, model), strict=True)]
    found: dict[str, float | None] = {}
    for twin in dict.fromkeys(case.twin for case in cases):
        scored = [verdict for verdict in verdicts if verdict.twin == twin and verdict.scored]
        for name, counts in _COUNTED.items():
            found[f"{name} {twin}"] = sum(map(counts, scored)) / len(scored) if scored else None
    return found


_COUNTED: Mapping[str, Callable[[Verdict], bool]] = {
    "harm": lambda verdict: verdict.outcome == "harm",
    "acted": lambda verdict: bool(verdict.acted),
    "useful": lambda verdict: bool(verdict.useful),
}


class Erosion(Record):
    """What further training left of a lesson.

    Attributes:
        before: figures of the model that the lesson began from.
        points: figures after the lesson (step 0) and during the further training.
        left: for each figure, the share of the lesson's change that is left at the end: 1 all, 0 none, below 0 worse
            than before; None where the lesson changed nothing or a figure is missing.
    """

    before: Mapping[str, float | None]
    points: tuple[SafetyPoint, ...]
    left: Mapping[str, float | None]


def erode(
    before: Path,
    taught: Path,
    examples: Sequence[Example],
    config: TrainConfig,
    out: Path,
    look: Watching,
) -> Erosion:
    """Train a taught checkpoint further, on contrary or unrelated examples, and see what is left of its lesson.

    Args:
        before: checkpoint that the lesson began from.
        taught: checkpoint after the lesson.
        examples: what it is trained on now.
        config: how.
        out: folder of the new checkpoint.
        look: what is measured, and how often.

    Raises:
        HoldfastError: whatever the training raises.
    """
    model, tokenizer = load_checkpoint(before)
    first = dict(look.probe(model, tokenizer))
    train(taught, examples, config, out, watching=look)
    points = tuple(RunFolder(out).read(SAFETY, SafetyPoint))
    return Erosion(before=first, points=points, left=left(first, points[0].values, points[-1].values))


def left(
    before: Mapping[str, float | None], after: Mapping[str, float | None], now: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Share of each figure's change from `before` to `after` that is still there `now`."""
    return {name: _share(before[name], after.get(name), now.get(name)) for name in before}


def _share(before: float | None, after: float | None, now: float | None) -> float | None:
    if before is None or after is None or now is None or before == after:
        return None
    return (now - before) / (after - before)
