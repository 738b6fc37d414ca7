"""Covering arrays: a small set of cells in which every pair of levels of two factors occurs.

The algorithm is greedy: each row starts from a missing pair and takes, factor by factor, the level that completes the
most missing pairs (the one-row-at-a-time scheme of Cohen et al., "The AETG system", 1997).
"""

from __future__ import annotations

from itertools import combinations, product

from holdfast.scenarios.conditions import idle_at
from holdfast.scenarios.world import World

_Pair = tuple[tuple[str, str], tuple[str, str]]


def level_pairs(world: World) -> set[_Pair]:
    """Every possible pair of levels of two factors."""
    levels = world.spec.levels
    found = {
        ((one, a), (two, b))
        for one, two in combinations(sorted(levels), 2)
        for a, b in product(levels[one], levels[two])
    }
    return {pair for pair in found if not idle_at(world, dict(pair)).keys() & dict(pair).keys()}


def covering(world: World) -> list[dict[str, str]]:
    """Cells (factor → level, without idle factors) in which every pair occurs at least once."""
    missing, rows = level_pairs(world), []
    while missing:
        row = _row(world, min(missing), missing)
        missing -= _held(row)
        rows.append(row)
    return rows


def _row(world: World, start: _Pair, missing: set[_Pair]) -> dict[str, str]:
    row = dict(start)
    for factor, levels in sorted(world.spec.levels.items(), key=lambda item: -len(item[1])):
        if factor in row:
            continue
        fit = [at for at in levels if not idle_at(world, {**row, factor: at}).keys() & dict(start).keys()]
        row[factor] = max(fit, key=lambda at: len(_with(factor, at, row) & missing))
    idle = idle_at(world, row)
    return {factor: row[factor] for factor in world.spec.levels if factor not in idle}


def _with(factor: str, level: str, row: dict[str, str]) -> set[_Pair]:
    return {_pair((factor, level), other) for other in row.items()}


def _held(row: dict[str, str]) -> set[_Pair]:
    return {_pair(one, two) for one, two in combinations(row.items(), 2)}


def _pair(one: tuple[str, str], two: tuple[str, str]) -> _Pair:
    return (one, two) if one[0] < two[0] else (two, one)
