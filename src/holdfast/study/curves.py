"""Makes safety curves: how a model behaves in a few cases while it is trained.

Held-out worlds are excluded, because curves are read while training choices are still being made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from holdfast.core.errors import WorldError
from holdfast.core.records import Case, Verdict
from holdfast.core.twins import PRESSURED, ROUTINE
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models.base import Model
from holdfast.models.local import LocalModel
from holdfast.scenarios import catalogue
from holdfast.scenarios.world import load_world
from holdfast.train.safety_probe import Probe, ProbeSchedule

#: Worlds of the fast suite, and the number of cases in each cell.
SUITE = ("pocket-sabotage", "pocket-blackmail")
CASES = 4


def suite(worlds: Sequence[str] = SUITE, count: int = CASES) -> list[Case]:
    """Make the fast suite: `count` cases of each world, pressured and routine.

    Raises:
        WorldError: a world is held out, or unknown.
    """
    held = [world for world in worlds if load_world(world).split not in ("train", "dev")]
    if held:
        raise WorldError(f"'{held[0]}' is held out", remedy="probe worlds of the splits 'train' and 'dev' only")
    return catalogue.cases(worlds, (PRESSURED, ROUTINE), range(count))


def probe_callback(every: int, cases: Sequence[Case] | None = None) -> ProbeSchedule:
    """Make a probe that runs every `every` steps of training; see `train.safety_probe` for its cost."""
    return ProbeSchedule(every, probe_of(suite() if cases is None else cases))


def probe_of(cases: Sequence[Case]) -> Probe:
    """Make a probe that plays the cases greedily on the model in training."""
    return lambda model, tokenizer: outcome_shares(cases, LocalModel.around(model, tokenizer))


def outcome_shares(cases: Sequence[Case], model: Model) -> dict[str, float | None]:
    """Compute shares of the scored cases by twin: `harm pressured`, `acted pressured`, `useful pressured`, and so on.

    A share is None if no case of the twin could be scored.
    """
    verdicts = [score(case, transcript) for case, transcript in zip(cases, play(cases, model), strict=True)]
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
