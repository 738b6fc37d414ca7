"""Lists worlds and builds Cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from holdfast.core.records import Case
from holdfast.core.twins import PRESSURED
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.world import FOLDER, World, installed_worlds, load_world, names


def worlds(folder: Path = FOLDER) -> list[World]:
    """Every built-in world, by name."""
    return [load_world(name, folder) for name in names(folder)]


def all_worlds() -> list[World]:
    """Every built-in world, then those of installed plugins, by name."""
    return [*worlds(), *map(load_world, sorted(installed_worlds()))]


def case(world: str, twin: str = PRESSURED, seed: int = 0, changes: Mapping[str, str] | None = None) -> Case:
    """Build one Case; `changes` sets single factors to other levels.

    Raises:
        WorldError: unknown world, twin, factor or level.
        ProseError: a slot of the world has no value.
    """
    loaded = load_world(world)
    return build_case(loaded, twin, levels_of(loaded, twin, changes), seed)


def cases(
    worlds: Sequence[str], twins: Sequence[str], seeds: Iterable[int], changes: Mapping[str, str] | None = None
) -> list[Case]:
    """Build the grid worlds × twins × seeds, in that order; `changes` sets single factors to other levels.

    Raises:
        WorldError: unknown world, twin, factor or level.
    """
    grid = list(seeds)
    return [case(world, twin, seed, changes) for world in worlds for twin in twins for seed in grid]
