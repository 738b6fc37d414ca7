"""Factors, levels and twins.

A condition sets every factor of a world to one of its levels.  Twins are named conditions (`twins.toml`); a pressured
case and its twin share the seed, hence every name and every phrase that the differing factor does not own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import nearest, read_toml
from holdfast.core.errors import WorldError
from holdfast.scenarios.world import World

TWINS = Path(__file__).parent / "twins.toml"
#: The twin that every other is compared with.
PRESSURED = "pressured"


@cache
def twins() -> Mapping[str, Mapping[str, str]]:
    """Twin → factor → level."""
    return {name: dict(levels) for name, levels in read_toml(TWINS).items()}


def levels_of(world: World, twin: str = PRESSURED, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The level of each factor of `world` under a twin, with single factors changed.

    Factors of the world that the twin does not mention stand at their first level.

    Raises:
        WorldError: unknown twin, factor or level, asked for or named by the world itself; names the nearest.
    """
    if twin not in twins():
        raise _unknown("twin", twin, list(twins()), str(TWINS))
    wanted = {**twins()[twin], **(changes or {})}
    where = str(world.path / "world.toml")
    known = world.spec.levels
    named = [pair for needed in world.spec.needs.values() for pair in needed.items()]
    named += [(factor, level) for factor, tools in world.spec.level_tools.items() for level in tools]
    for factor, level in [*wanted.items(), *named]:
        if factor not in known:
            raise _unknown("factor", factor, list(known), where)
        if level not in known[factor]:
            raise _unknown(f"level of '{factor}'", level, list(known[factor]), where)
    return {factor: wanted.get(factor, next(iter(levels))) for factor, levels in known.items()}


def _unknown(kind: str, name: str, known: list[str], where: str) -> WorldError:
    near = nearest(name, known)
    remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"
    return WorldError(f"unknown {kind} '{name}'", where=where, remedy=remedy)
