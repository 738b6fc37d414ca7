"""How often nominal 95% intervals hold the truth, over simulated studies with planted rates.

    python -m bench.coverage --json

Each line is one kind of interval under one design, at the planted rate where it covers least.  A thousand studies are
drawn at each planted rate; coverage under 93% is a failure.  `broken` lines are intervals that are wrong on purpose:
they forget clusters, or that one looked before.  Were one of those not to fail, the bench could not see a wrong
interval.  Intervals after sequential stopping are computed exactly, over all ways in which sampling can stop.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from holdfast.stats.confidence_sequence import anytime_interval
from holdfast.stats.intervals import RateInterval, clustered, interval, rate_difference, t_interval
from holdfast.stats.sequential_plan import StoppingPlan, decision_plan, width_plan

RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.96, 1.0)
LEAST = 0.93
#: Cases, training seeds, and how often a sample repeats its case's common draw.
SHAPES = ((16, 1, 0.0), (16, 2, 0.5), (16, 2, 1.0), (48, 3, 0.7), (48, 5, 0.8), (100, 1, 0.0))
_LOOKS = 100
Bounds = tuple[np.ndarray, np.ndarray]
#: Studies at one planted rate → low, high, truth.
Study = Callable[[np.random.Generator, float, int], tuple[np.ndarray, np.ndarray, float]]


@dataclass(frozen=True)
class Line:
    """One kind of interval: its least coverage over the planted rates, and where."""

    kind: str
    least: float
    at: float
    broken: bool = False


def measure(studies: int = 1000) -> dict[str, Any]:
    """Return all lines, and whether every sound interval covers and every broken one is detected."""
    lines = [*_simulated(studies), *_exact()]
    sound = [line for line in lines if not line.broken]
    seen = [line for line in lines if line.broken and line.least < LEAST]
    return {
        "studies": studies,
        "rates": RATES,
        "bound": LEAST,
        "least": min(line.least for line in sound),
        "lines": [asdict(line) for line in lines],
        "ok": all(line.least >= LEAST for line in sound) and len(seen) == len(lines) - len(sound),
    }


def _simulated(studies: int) -> Iterator[Line]:
    kinds: dict[str, Study] = {}
    for cases, seeds, alike in SHAPES:
        kinds[f"rate, {cases} cases x {seeds}, {alike:.0%} alike"] = _rate(cases, seeds, alike, clusters=True)
    for fall in (0.0, 0.5, 1.0):
        kinds[f"paired difference, 48 cases x 2, falling by {fall:.0%}"] = _paired(fall)
    kinds["difference of two rates, 60 and 20 samples"] = _apart
    kinds["rate, looked at after each of 100 samples"] = _looked_at(anytime_interval)
    broken = {
        "rate, 16 cases x 3 all alike, clusters ignored": _rate(16, 3, 1.0, clusters=False),
        "rate, looked at after each of 100 samples, single-look interval": _looked_at(interval),
    }
    for name, study in {**kinds, **broken}.items():
        found = {}
        for p in RATES:
            low, high, truth = study(np.random.default_rng([1, round(100 * p)]), p, studies)
            found[p] = float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean())
        worst = min(found, key=found.__getitem__)
        yield Line(name, found[worst], worst, name in broken)


def _draw(rng: np.random.Generator, p: float, shape: tuple[int, int, int], alike: float) -> np.ndarray:
    """Scores, shape (studies, cases, seeds); with probability `alike` a sample repeats its case's common draw."""
    common = rng.random((*shape[:2], 1))
    return (np.where(rng.random(shape) < alike, common, rng.random(shape)) < p).astype(float)


def _rate(cases: int, seeds: int, alike: float, clusters: bool) -> Study:
    def study(rng: np.random.Generator, p: float, studies: int) -> tuple[np.ndarray, np.ndarray, float]:
        scores = _draw(rng, p, (studies, cases, seeds), alike)
        if clusters:
            return *clustered(scores.sum(axis=2), np.full(cases, float(seeds))), p
        return *clustered(scores.reshape(studies, -1), np.ones(cases * seeds)), p

    return study


def _paired(fall: float) -> Study:
    def study(rng: np.random.Generator, p: float, studies: int) -> tuple[np.ndarray, np.ndarray, float]:
        shape, q = (studies, 48, 2), p * (1 - fall)
        common = rng.random((studies, 48, 1))
        drawn = [np.where(rng.random(shape) < 0.5, common, rng.random(shape)) for _ in range(2)]
        low, high, _ = t_interval(((drawn[0] < q).astype(float) - (drawn[1] < p)).mean(axis=2))
        return low, high, q - p

    return study


def _apart(rng: np.random.Generator, p: float, studies: int) -> tuple[np.ndarray, np.ndarray, float]:
    q = p / 2
    a, b = rng.binomial(60, p, studies), rng.binomial(20, q, studies)
    found = []
    for k, m, *bounds in zip(a, b, *interval(a, 60), *interval(b, 20), strict=True):
        low, high, floor, ceiling = map(float, bounds)
        found.append(rate_difference(_of(int(k), 60, low, high), _of(int(m), 20, floor, ceiling)))
    return np.array([d.low for d in found]), np.array([d.high for d in found]), p - q


def _of(k: int, n: int, low: float, high: float) -> RateInterval:
    return RateInterval(k=k, n=n, rate=k / n, low=low, high=high)


def _looked_at(bounds: Callable[[np.ndarray, np.ndarray], Bounds]) -> Study:
    """Return the lowest upper and the highest lower bound of all looks: the worst that free stopping can report."""

    def study(rng: np.random.Generator, p: float, studies: int) -> tuple[np.ndarray, np.ndarray, float]:
        harms = (rng.random((studies, _LOOKS)) < p).cumsum(axis=1)
        low, high = bounds(harms.astype(float), np.broadcast_to(np.arange(1.0, _LOOKS + 1), harms.shape))
        return low.max(axis=1), high.min(axis=1), p

    return study


def _exact() -> Iterator[Line]:
    plans = {f"harm rate after stopping on sight of {rate}": decision_plan(rate, 150) for rate in (0.05, 0.2, 0.5)}
    for name, plan in {**plans, "harm rate after stopping at a width of 0.2": width_plan(0.2, 200)}.items():
        yield _covers(name, plan, plan.intervals)
    plan = decision_plan(0.5, 150)
    k, n = plan.ends
    looks = zip(*interval(k, n), strict=True)
    single = dict(zip(zip(k.tolist(), n.tolist(), strict=True), looks, strict=True))
    yield _covers("harm rate after stopping on sight of 0.5, single-look interval", plan, single, broken=True)


def _covers(name: str, plan: StoppingPlan, intervals: Any, broken: bool = False) -> Line:
    rates = np.unique(np.round([*RATES, *np.linspace(0.002, 0.998, 250)], 4))
    low, high = np.array([intervals[end] for end in zip(*(side.tolist() for side in plan.ends), strict=True)]).T
    holds = (low <= rates[:, None] + 1e-9) & (rates[:, None] <= high + 1e-9)
    covered = (plan.chances(rates) * holds).sum(axis=1)
    return Line(name, float(covered.min()), float(rates[covered.argmin()]), broken)


def main() -> int:
    """Measure and print; the exit code is 1 if an interval covers too little, or a broken one was not detected."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies at each planted rate")
    options = parser.parse_args()
    found = measure(options.studies)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for line in found["lines"]:
            print(f"{'broken' if line['broken'] else 'sound':6} {line['least']:.3f} at {line['at']:<6} {line['kind']}")
        print("ok" if found["ok"] else "NOT OK")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
