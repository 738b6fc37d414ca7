"""Estimates the main effect of each factor on harm, adjusted for the other factors and for worlds.

The model is a logistic regression of harm on the levels of every factor and on the world, fitted by generalised
estimating equations with working independence (Liang and Zeger 1986): a binomial GLM with covariance clustered by
scenario, because the twins of one scenario share its people, letters and random draws; where a family was measured on
several skeletons, by skeleton, as in every other interval.  An odds ratio cannot be
estimated if a level shows no harm at all, or nothing else; the difference in rate, fitted with the identity link, can.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.core.results import FactorEffect
from holdfast.stats.intervals import LEVEL, Array, holm, totals
from holdfast.study.verdict_table import Codes, VerdictTable

#: (arm, world, twin) → factor → level.
Levels = Mapping[tuple[str, str, str], Mapping[str, str]]
#: The name of the arm of an effect that is estimated over several arms together.
ALL_ARMS = "all arms"
#: A log odds ratio beyond this shows that the fit diverges (separation).
_FAR = 15
#: A standard error below this is rounding error: every scenario shows the same.
_NO_SPREAD = 1e-9
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ScenarioCounts:
    """Counts of samples by scenario, arm and twin.

    Attributes:
        hits: harmful samples, shape (entries,).
        sizes: scored samples, shape (entries,).
        scenario: cluster of each entry: its skeleton in a family with several, else its case.
        world: code of its world.
        nested: number of worlds whose cases form one cluster.
        columns: (factor, level) → whether the entry has that level, without reference levels.
        reference: factor → reference level; the names of factors and levels that vary together are joined.
    """

    hits: Array
    sizes: Array
    scenario: Codes
    world: Codes
    nested: int
    columns: Mapping[tuple[str, str], Array]
    reference: Mapping[str, str]

    def matrix(self, kept: _Mask) -> Array:
        """The design matrix: levels, then a column for each world; shape (kept entries, columns)."""
        worlds = [(self.world[kept] == world).astype(np.float64) for world in np.unique(self.world[kept])]
        return np.column_stack([*(column[kept] for column in self.columns.values()), *worlds])


def main_effects(rows: VerdictTable, levels: Levels) -> list[FactorEffect]:
    """Estimate the main effect of every level of every factor that varies over the cases of some arms of one model.

    Cases of one scenario, or of one skeleton of a family with several, form one cluster in all arms and twins.

    Args:
        rows: the study's verdicts.
        levels: (arm, world, twin) → factor → level. The reference level of a factor is `none` if it has this level,
            else the first one.

    Returns:
        One effect for each level except the reference; empty if no factor varies or nothing was scored.
    """
    arms = list(dict.fromkeys(arm for arm, _, _ in levels))
    grid = _grid(rows, levels)
    if grid is None or not grid.columns:
        return []
    names = list(grid.columns)
    every = np.ones(len(grid.hits), dtype=bool)
    blank = {
        name: FactorEffect(
            arm=arms[0] if len(arms) == 1 else ALL_ARMS,
            factor=name[0],
            level=name[1],
            reference=grid.reference[name[0]],
            samples=int(grid.sizes.sum()),
            scenarios=len(np.unique(grid.scenario)),
        )
        for name in names
    }
    if blocked := _blocked(grid, grid.matrix(every)):
        return [effect.model_copy(update={"note": blocked}) for effect in blank.values()]
    rates = _fit(grid, every, logistic=False)
    informative, note = _informative(grid)
    odds = {} if note else _fit(grid, informative, logistic=True)
    estimable = {name for name in rates if not np.isnan(rates[name][3])}
    corrected = holm({name: float(rates[name][3]) if name in estimable else None for name in names})
    return [_effect(blank[name], rates.get(name), odds.get(name), corrected[name], note) for name in names]


def _effect(
    blank: FactorEffect, points: Array | None, odds: Array | None, p_holm: float | None, note: str
) -> FactorEffect:
    fields: dict[str, float | str | None] = {
        "note": note or ("" if odds is not None else "the odds ratio did not converge")
    }
    if points is not None:
        figures = (None if np.isnan(value) else float(value) for value in points)
        fields |= dict(zip(("points", "low", "high", "p"), figures, strict=True)) | {"p_holm": p_holm}
        if np.isnan(points[3]):
            fields["note"] = "every scenario shows the same: no interval"
    if odds is not None:
        fields |= dict(zip(("odds", "odds_low", "odds_high"), map(math.exp, odds[:3]), strict=True))
    return blank.model_copy(update=fields)


def _grid(rows: VerdictTable, levels: Levels) -> ScenarioCounts | None:
    """Count by scenario, arm and twin over the checkpoints of each arm; None if nothing was scored."""
    hits, sizes, scenario, world, kinds = [], [], [], [], []
    plots: dict[str, tuple[int, int]] = {}
    worlds = list(dict.fromkeys(name for _, name, _ in levels))
    for kind, (arm, name, twin) in enumerate(levels):
        part = rows.of(arm, name, twin)
        part = part.where(~np.isnan(part.scores["harm"]))
        cases, at = np.unique(part.case, return_inverse=True)
        hits.append(totals(at, part.scores["harm"]))
        sizes.append(totals(at))
        scenario.append(cases)
        if len(part):
            plots[name] = int(part.family[0]), int(part.skeleton[0])
        world.append(np.full(len(cases), worlds.index(name)))
        kinds.append(np.full(len(cases), kind))
    kind_of = np.concatenate(kinds) if kinds else np.zeros(0, dtype=np.int64)
    if not len(kind_of):
        return None
    columns, reference = _joined(*_columns(list(levels.values()), kind_of))
    families = [family for family, _ in set(plots.values())]
    nested = {worlds.index(name): -1 - plot for name, (family, plot) in plots.items() if families.count(family) > 1}
    of_world, cluster = np.concatenate(world), np.concatenate(scenario)
    for number, plot in nested.items():
        # Cases are numbered from 0 up, so numbers below 0 are free.
        cluster[of_world == number] = plot
    sums = (np.concatenate(hits), np.concatenate(sizes), cluster, of_world)
    return ScenarioCounts(*sums, len(nested), columns, reference)


def _columns(levels: Sequence[Mapping[str, str]], kinds: Codes) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """Indicator columns of the levels that vary among the entries, and the reference level of each factor."""
    columns, reference = {}, {}
    present = [levels[kind] for kind in np.unique(kinds)]
    for factor in dict.fromkeys(name for each in present for name in each):
        found = list(dict.fromkeys(each.get(factor, "") for each in present))
        if len(found) > 1:
            reference[factor] = "none" if "none" in found else found[0]
            has = [each.get(factor, "") for each in levels]
            for level in found:
                if level != reference[factor]:
                    columns[factor, level] = np.array([has[kind] == level for kind in kinds], dtype=np.float64)
    return columns, reference


def _joined(
    columns: Mapping[tuple[str, str], Array], reference: Mapping[str, str]
) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """Join levels that vary together in all cases, such as a goal and its value."""
    groups: dict[bytes, list[tuple[str, str]]] = {}
    for name, column in columns.items():
        groups.setdefault(column.tobytes(), []).append(name)
    joined, references = {}, {}
    for names in groups.values():
        factor = " and ".join(dict.fromkeys(factor for factor, _ in names))
        joined[factor, " and ".join(level for _, level in names)] = columns[names[0]]
        references[factor] = " and ".join(reference[each] for each in dict.fromkeys(factor for factor, _ in names))
    return joined, references


def _blocked(grid: ScenarioCounts, matrix: Array) -> str:
    """Why no effect can be estimated at all; empty if one can."""
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        return "factors vary together"
    if grid.hits.sum() in (0, grid.sizes.sum()):
        return "every sample has the same outcome"
    # A column for a world that is one cluster takes nothing from the number of clusters that tell levels apart.
    if len(np.unique(grid.scenario)) <= matrix.shape[1] - grid.nested:
        return "too few scenarios"
    return ""


def _informative(grid: ScenarioCounts) -> tuple[_Mask, str]:
    """The entries that an odds ratio can use (worlds with and without harm), and why none can be estimated."""
    hits, sizes = np.bincount(grid.world, grid.hits), np.bincount(grid.world, grid.sizes)
    kept: _Mask = ((hits > 0) & (hits < sizes))[grid.world]
    if not kept.any():
        return kept, "no world has samples both with and without harm"
    for (factor, level), column in grid.columns.items():
        for name, side in ((level, column == 1), (f"other levels than {level}", column == 0)):
            k, n = grid.hits[kept & side].sum(), grid.sizes[kept & side].sum()
            if k in (0, n):
                return kept, f"{'no' if k == 0 else 'nothing but'} harm at {factor} {name}: no odds ratio"
    return kept, ""


def _fit(grid: ScenarioCounts, kept: _Mask, logistic: bool) -> dict[tuple[str, str], Array]:
    """Coefficient, low, high and p of every level; empty if the fit has no solution."""
    # Slow to import, and needed only once at the end of a run.
    import statsmodels.api as sm  # type: ignore[import-untyped]

    hits, sizes, matrix = grid.hits[kept], grid.sizes[kept], grid.matrix(kept)
    if logistic:
        model = sm.GLM(hits / sizes, matrix, family=sm.families.Binomial(), var_weights=sizes)
    else:
        model = sm.WLS(hits / sizes, matrix, weights=sizes)
    groups = np.unique(grid.scenario[kept], return_inverse=True)[1]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Separation is detected in the estimates below.
        warnings.simplefilter("ignore")
        result = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        low, high = result.conf_int(1 - LEVEL).T
        spread = np.column_stack([low, high, result.pvalues])
        # Scenarios that do not vary give no estimate of the variance between scenarios.
        spread[result.bse < _NO_SPREAD] = np.nan
        figures = np.column_stack([np.round(result.params, 12), spread])[: len(grid.columns)]
    sound = np.isfinite(figures[:, 0]).all()
    if logistic:
        sound = sound and np.isfinite(figures).all() and (np.abs(figures[:, 0]) < _FAR).all()
    return dict(zip(grid.columns, figures, strict=True)) if sound else {}
