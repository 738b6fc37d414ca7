"""Computes before a study runs how likely it is to find a fall in harm, and how many seeds and cases it needs.

Studies are drawn with a planted fall and put through the test that the verdict rests on: against the base and two
controls, corrected over the judged arms, and by at least the margin.  The further conditions of the verdict
(usefulness, acting, every family) make it rarer still.  How much trainings differ is not known before; two values of
the standard deviation of their logits show what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from holdfast.core.errors import InputError
from holdfast.core.records import Record
from holdfast.core.results import HELDOUT_SKELETONS
from holdfast.core.twins import PRESSURED
from holdfast.stats.intervals import LEVEL, Array
from holdfast.stats.trainings import (
    LEAST_SEEDS,
    CaseLayout,
    TrainingMean,
    case_layout,
    gap_between,
    mean_over_trainings,
)
from holdfast.study.generalisation import POWER, ROOM, margin
from holdfast.study.plan import StudyPlan
from holdfast.study.verdict_table import skeleton_of

#: Standard deviations of the logits of trainings for which the power is computed.
SPREADS = (0.5, 1.0)
_SEEDS = (5, 6, 8, 10, 12, 16, 20)
_CASES = (8, 16, 24, 32, 48, 64, 96)
_STUDIES = 400
#: Tolerance for rounding.
_CLOSE = 1e-9


class PlannedPower(Record):
    """What a study can find, if trainings spread by `seed_sd` (logit).

    Attributes:
        power: the chance to find the fall with the planned seeds and cases; None with too few seeds for any verdict.
        seeds: seeds an arm that give a chance of `POWER` with the planned cases; None if more than 20.
        cases: cases a held-out world that do so with the planned seeds; None if more than 96.
    """

    seed_sd: float
    power: float | None
    seeds: int | None
    cases: int | None


class PowerPlan(Record):
    """The planted fall, the plan, and what it can find."""

    base: float
    fall: float
    arms: int
    planned_seeds: int
    planned_cases: int
    worlds: int
    rows: tuple[PlannedPower, ...]


@dataclass(frozen=True)
class _Planted:
    """A planted truth and the test that it is put through."""

    base: float
    fall: float
    worlds: tuple[tuple[str, str], ...]
    arms: int

    def power(self, seeds: int, cases: int, sd: float) -> float:
        """The share of drawn studies that find the fall."""
        rng = np.random.default_rng([seeds, cases])
        families, skeletons = zip(*(world for world in self.worlds for _ in range(cases)), strict=True)
        layout = case_layout(families, skeletons)
        arm = self._drawn(rng, self.base - self.fall, (seeds, sd), layout)
        references = [self._drawn(rng, self.base, size, layout) for size in ((1, 0.0), (seeds, sd), (seeds, sd))]
        found = np.ones(_STUDIES, dtype=bool)
        for reference in references:
            gap = gap_between(arm, reference)
            need = np.vectorize(margin)(reference.rate)
            found &= (gap.bounds(1 - (1 - LEVEL) / self.arms)[1] < 0) & (gap.estimate <= -need)
        return float(found.mean())

    def _drawn(
        self, rng: np.random.Generator, rate: float, size: tuple[int, float], layout: CaseLayout
    ) -> TrainingMean:
        """One arm in many studies; its median training does harm at that rate."""
        (seeds, sd), cases = size, len(layout.unit)
        logits: Array = special.logit(rate) + rng.normal(0, sd, (_STUDIES, seeds, 1))
        scores = (rng.random((_STUDIES, seeds, cases)) < special.expit(logits)).astype(np.float64)
        return mean_over_trainings(scores, layout, trained=seeds > 1)


def planned_power(plan: StudyPlan, base: float, fall: float) -> PowerPlan | None:
    """Compute what a planned study can find; None if it judges no arm or has no held-out case under pressure.

    Args:
        plan: the plan.
        base: the harm under pressure of the base and the controls, as a rate.
        fall: the fall to find, as a difference of rates.

    Raises:
        InputError: the fall is not between 0 and the base, does not count, or the base leaves no room.
    """
    if not ROOM <= base < 1 or not 0 < fall < base:
        what = f"a fall of {fall:g} from {base:g} is not possible, or leaves no room"
        raise InputError(what, remedy=f"give a base from {ROOM:g} to below 1, and a fall below it")
    if fall <= margin(base) + _CLOSE:
        what = f"a fall of {fall:g} from {base:g} does not count: the margin is {margin(base):.2g}"
        raise InputError(what, remedy="plan for a larger fall")
    design = plan.design
    judged = [arm for arm in design.arms if arm.stages and not arm.control]
    heldout = [case for case in plan.facts.cases if (case.split, case.twin) == (design.judged_on, PRESSURED)]
    if not judged or not heldout:
        return None
    controls = [arm for arm in design.arms if arm.name in (design.against, design.irrelevant)]
    seeds = min(max(len(design.seeds_of(arm)) for arm in judged), *(len(design.seeds_of(arm)) for arm in controls), 99)
    worlds = dict.fromkeys((case.world, case.family, skeleton_of(case)) for case in heldout)
    # Held-out skeletons are strata, as in `VerdictTable.of`.
    within = design.judged_on == HELDOUT_SKELETONS
    strata = tuple((world if within else family, skeleton) for world, family, skeleton in worlds)
    planted = _Planted(base, fall, strata, len(judged))
    rows = tuple(_row(planted, seeds, design.cases, sd) for sd in SPREADS)
    return PowerPlan(
        base=base,
        fall=fall,
        arms=len(judged),
        planned_seeds=seeds,
        planned_cases=design.cases,
        worlds=len(worlds),
        rows=rows,
    )


def _row(planted: _Planted, seeds: int, cases: int, sd: float) -> PlannedPower:
    enough = max(seeds, LEAST_SEEDS)
    return PlannedPower(
        seed_sd=sd,
        power=planted.power(seeds, cases, sd) if seeds >= LEAST_SEEDS else None,
        seeds=_least(_SEEDS, [planted.power(number, cases, sd) for number in _SEEDS]),
        cases=_least(_CASES, [planted.power(enough, number, sd) for number in _CASES]),
    )


def _least(numbers: Sequence[int], powers: Sequence[float]) -> int | None:
    """The least number from which on the power is high enough."""
    low = [i for i, power in enumerate(powers) if power < POWER]
    first = low[-1] + 1 if low else 0
    return numbers[first] if first < len(numbers) else None
