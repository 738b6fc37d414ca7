"""How the statistics of a study treat training seeds, on simulated studies with a planted truth.

    python -m bench.seeds --json

`coverage`: how often nominal 95% intervals hold the truth over new trainings, at 3, 5 and 8 training seeds and a
standard deviation of their logits of 0, 0.5 and 1; each line is the planted rate (or difference) at which it is least.
Under 93% is a failure.  A line `broken` is an interval that forgets the seeds: were it not to fail, the bench could not
see a wrong interval.

`verdicts`: whole studies, through the code that judges a real one (`study.generalisation`).  Three held-out families of
five skeletons, a base, two controls and two arms of five seeds.  Under each null no lesson has an effect, and
"generalises" for any arm in more than 5% of the studies is a failure:

- nothing differs; plain tuning lowers harm in every trained arm alike;
- the propensity varies by matter: skeletons differ, and so does what each training does to each;
- the propensity varies by family, in the same way.

Then a true fall of 40 points with a seed SD of 0.5, which must be found in 80%, and two lessons on a base without room.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
from scipy import special

from holdfast.core.records import Verdict
from holdfast.core.results import Controls, Delivery, GeneralisationVerdict
from holdfast.stats.trainings import CaseLayout, case_layout, gap_between, mean_over_trainings, without_trainings
from holdfast.study.generalisation import generalisation
from holdfast.study.study_file import ArmSpec, DataSpec, Design, StageSpec
from holdfast.study.verdict_table import VerdictRow, VerdictTable

LEAST, FALSE, FOUND = 0.93, 0.05, 0.80
SEEDS, SPREADS, RATES = (3, 5, 8), (0.0, 0.5, 1.0), (0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.95)
#: Families, skeletons of each, cases of each skeleton, and the standard deviation of the skeletons' logits.
SHAPES = ((3, 1, 16, 0.0), (3, 1, 40, 0.0), (3, 5, 4, 1.0), (3, 5, 8, 1.0))
BASE, CONTROL, BESIDE = "base", "plain", "beside"
LESSONS = ("lesson", "other")
_FAMILIES = ("one", "two", "three")
_SKELETONS = 5
_NODES, _WEIGHTS = special.roots_hermitenorm(60)


@dataclass(frozen=True)
class Line:
    """One figure: `share` of the studies, at which planted truth it is worst, and whether it is as it must be."""

    kind: str
    share: float
    ok: bool
    at: str = ""


@dataclass(frozen=True)
class World:
    """A planted truth: the rate of harm of each arm on average over new trainings, and how it spreads.

    Attributes:
        harm: arm → rate.
        seed: standard deviation of the logits of trainings.
        skeleton: that of skeletons, common to all arms.
        family: that of families, common to all arms.
        seed_by_skeleton: that of each training on each skeleton.
        seed_by_family: that of each training in each family.
        useful: rate of usefulness, which spreads over trainings like harm.
    """

    harm: Mapping[str, float]
    seed: float = 0.5
    skeleton: float = 0.0
    family: float = 0.0
    seed_by_skeleton: float = 0.0
    seed_by_family: float = 0.0
    useful: float = 0.95


def _alike(rate: float, **more: float) -> dict[str, float]:
    return {**dict.fromkeys((BASE, CONTROL, BESIDE, *LESSONS), rate), **more}


NULLS: Mapping[str, World] = {
    **{f"nothing differs, seed SD {sd}": World(_alike(0.6), seed=sd) for sd in SPREADS},
    **{f"plain tuning lowers all, seed SD {sd}": World(_alike(0.35, base=0.8), seed=sd) for sd in (0.5, 1.0)},
    "propensity varies by matter": World(_alike(0.5), skeleton=1.5, seed_by_skeleton=1.0),
    "plain tuning lowers all, by matter": World(_alike(0.35, base=0.8), skeleton=1.0, seed_by_skeleton=1.0),
    "propensity varies by family": World(_alike(0.5), family=1.5, seed_by_family=1.0),
    "plain tuning lowers all, by family": World(_alike(0.35, base=0.8), family=1.0, seed_by_family=1.0),
}
FALLS: Mapping[str, World] = {
    "a fall of 40 points, from 60%": World(_alike(0.6, lesson=0.2)),
    "a fall of 40 points, from 60%, skeletons differ": World(_alike(0.6, lesson=0.2), skeleton=1.0),
    "a fall of 40 points, from 80%, plain tuning to 70%": World(_alike(0.7, base=0.8, lesson=0.3)),
}
BARE = World(_alike(0.05, lesson=0.0))


def coverage(studies: int, rng: np.random.Generator) -> Iterator[Line]:
    """The least coverage over the planted rates, for each number of seeds and each spread."""
    for seeds in SEEDS:
        for sd in SPREADS:
            found: dict[str, dict[str, float]] = {}
            for families, skeletons, cases, plots in SHAPES:
                layout = _layout(families, skeletons, cases)
                for rate in RATES:
                    shape = f"{rate:.0%}, {families} x {skeletons} x {cases}"
                    for kind, share in _covered(layout, (seeds, studies), (rate, sd, plots), rng):
                        found.setdefault(kind, {})[shape] = share
            for kind, shares in found.items():
                at = min(shares, key=shares.__getitem__)
                broken = kind.startswith("broken")
                if not broken or sd == 1.0:
                    ok = (shares[at] < LEAST) is broken
                    yield Line(f"{kind}, {seeds} seeds, SD {sd}", shares[at], ok, at)


def _covered(
    layout: CaseLayout, size: tuple[int, int], truth: tuple[float, float, float], rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    (seeds, studies), (rate, sd, plots) = size, truth
    skeleton = rng.normal(0, plots, (studies, 1, len(layout.family) if plots else 1))
    common = skeleton[..., layout.unit] if plots else skeleton

    def draw(count: int, p: float, spread: float) -> np.ndarray:
        logits = _logit(p, (spread**2 + plots**2) ** 0.5) + rng.normal(0, spread, (studies, count, 1)) + common
        shape = (studies, count, len(layout.unit))
        return (rng.random(shape) < special.expit(logits)).astype(np.float64)

    mean = mean_over_trainings(draw(seeds, rate, sd), layout, trained=True)
    yield "rate", _holds(mean.bounds(), rate)
    yield "broken: rate without seeds", _holds(without_trainings(mean).bounds(), rate)
    for other in (0.05, 0.5, 0.95):
        arm = mean_over_trainings(draw(seeds, other, sd), layout, trained=True)
        yield f"difference to an arm at {other:.0%}", _holds(gap_between(mean, arm).bounds(), rate - other)
        base = mean_over_trainings(draw(1, other, 0.0), layout, trained=False)
        yield f"difference to a base at {other:.0%}", _holds(gap_between(mean, base).bounds(), rate - other)


def _layout(families: int, skeletons: int, cases: int) -> CaseLayout:
    family = np.repeat(np.arange(families), skeletons * cases)
    return case_layout(family, np.repeat(np.arange(families * skeletons), cases))


def _holds(bounds: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    low, high = bounds
    return float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean())


@cache
def _logit(rate: float, spread: float) -> float:
    """The mean logit at which a normal spread of logits has this mean rate."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(_WEIGHTS @ special.expit(middle + spread * _NODES) / _WEIGHTS.sum())
        low, high = (middle, high) if mean < rate else (low, middle)
    return middle


@dataclass
class Study:
    """A study layout that is drawn again and again: its table, and where each sample belongs."""

    cases: int
    seeds: int
    design: Design = field(init=False)
    table: VerdictTable = field(init=False)

    def __post_init__(self) -> None:
        stage = (StageSpec(kind="sft", data=(DataSpec(set="x", tokens=1),)),)
        arms = [
            ArmSpec(name=name, control=name in (CONTROL, BESIDE), stages=stage, without_reasons=CONTROL)
            for name in (CONTROL, BESIDE, *LESSONS)
        ]
        twins = ("pressured", "routine")
        self.design = Design(
            name="bench", asked="?", model="none", seeds=tuple(range(self.seeds)), worlds=_FAMILIES, twins=twins,
            cases=self.cases, against=CONTROL, irrelevant=BESIDE, arms=(ArmSpec(name=BASE), *arms),
        )  # fmt: skip
        worlds = {f"{family} {plot}": family for family in _FAMILIES for plot in range(_SKELETONS)}
        rows = (
            VerdictRow(arm.name, seed, _sample(world, family, twin, case))
            for arm in self.design.arms
            for world, family in worlds.items()
            for twin in twins
            for seed in self.design.seeds_of(arm) or (None,)
            for case in range(self.cases)
        )
        self.table = VerdictTable(rows, {world: world for world in worlds})

    def verdicts(self, world: World, rng: np.random.Generator) -> dict[str, str]:
        """Draw one study and judge it: arm → verdict."""
        return {one.arm: one.verdict for one in self.judged(world, rng)}

    def judged(self, world: World, rng: np.random.Generator) -> list[GeneralisationVerdict]:
        """Draw one study and judge its arms."""
        plots = rng.normal(0, world.skeleton, (1, 15, 1))
        plots = plots + np.repeat(rng.normal(0, world.family, 3), _SKELETONS)[None, :, None]
        drawn = {}
        for arm in self.design.arms:
            count = self.seeds if arm.stages else 1
            for twin, rate in (("pressured", world.harm[arm.name]), ("routine", world.useful)):
                chance = special.expit(self._logits(world, rate, count, plots if twin == "pressured" else 0.0, rng))
                # Table order: skeletons, then trainings, then cases.
                drawn[arm.name, twin] = (rng.random((15, count, self.cases)) < chance.transpose(1, 0, 2)).ravel()
        table = self.table.drawn({at: {"harm" if at[1] == "pressured" else "useful": hit} for at, hit in drawn.items()})
        signs = [Delivery(arm=name, sign="planted", at_least=0.5, verdict="delivered") for name in LESSONS]
        return generalisation(self.design, table, Controls(ok=True, limit=0.05), {}, signs)

    def _logits(self, world: World, rate: float, count: int, plots: Any, rng: np.random.Generator) -> np.ndarray:
        """Logits of shape (trainings, skeletons, 1) with that mean rate over trainings, skeletons and families."""
        trained = count > 1
        own = [world.seed, world.seed_by_skeleton, world.seed_by_family] if trained else [0.0, 0.0, 0.0]
        common = [world.skeleton, world.family] if np.ndim(plots) else []
        logits = _logit(rate, float(np.sqrt(sum(sd**2 for sd in (*own, *common))))) + plots
        logits = logits + rng.normal(0, own[0], (count, 1, 1)) + rng.normal(0, own[1], (count, 15, 1))
        return np.asarray(logits + np.repeat(rng.normal(0, own[2], (count, 3)), _SKELETONS, axis=1)[..., None])


def _sample(world: str, family: str, twin: str, case: int) -> Verdict:
    return Verdict.model_construct(
        case=f"{world} {twin} {case}", world=world, family=family, split="heldout", twin=twin, seed=case,
        outcome="passive", acted=True, useful=True, aware=None, evidence=(), first_seen={},
    )  # fmt: skip


def verdicts(studies: int, rng: np.random.Generator) -> Iterator[Line]:
    """False verdicts under each null, true ones under each fall, and what is said of a base without room."""
    study = Study(cases=8, seeds=5)
    for name, world in NULLS.items():
        found = [study.verdicts(world, rng) for _ in range(studies)]
        share = float(np.mean(["generalises" in one.values() for one in found]))
        yield Line(f"false generalises: {name}", share, share <= FALSE)
    for name, world in FALLS.items():
        counts = Counter(study.verdicts(world, rng)["lesson"] for _ in range(studies))
        share = counts["generalises"] / studies
        yield Line(f"found: {name}", share, share >= FOUND, ", ".join(f"{n} {v}" for v, n in counts.most_common()))
    counts = Counter(study.verdicts(BARE, rng)["lesson"] for _ in range(studies))
    share = counts["does not generalise"] / studies
    yield Line("false does not generalise: base at 5%, all removed", share, share <= FALSE, str(dict(counts)))


def measure(studies: int = 400, drawn: int = 4000) -> dict[str, Any]:
    """All lines, and whether every one is as it must be.

    Args:
        studies: whole studies under each truth.
        drawn: studies for each coverage.
    """
    lines = [*coverage(drawn, np.random.default_rng(1)), *verdicts(studies, np.random.default_rng(2))]
    intervals = [line.share for line in lines if "seeds, SD" in line.kind and not line.kind.startswith("broken")]
    return {
        "studies": studies,
        "drawn": drawn,
        "bounds": {"coverage": LEAST, "false": FALSE, "found": FOUND},
        "least_coverage": min(intervals),
        "most_false": max(line.share for line in lines if line.kind.startswith("false generalises")),
        "least_found": min(line.share for line in lines if line.kind.startswith("found")),
        "lines": [asdict(line) for line in lines],
        "ok": all(line.ok for line in lines),
    }


def main() -> int:
    """Measure and print; the exit code is 1 if a figure misses its bound."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--studies", type=int, default=400, help="whole studies under each planted truth")
    parser.add_argument("--drawn", type=int, default=4000, help="drawn studies for each coverage")
    options = parser.parse_args()
    found = measure(options.studies, options.drawn)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for line in found["lines"]:
            print(f"{'ok' if line['ok'] else 'NOT OK':6} {line['share']:.3f} {line['kind']} {line['at']}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
