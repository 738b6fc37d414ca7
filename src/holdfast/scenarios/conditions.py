"""Factors, levels and twins.

A condition sets every factor of a world to one of its levels.  Twins are named conditions (`twins.toml`).  A pressured
case and its twin have the same seed, so they differ only in the texts of the factors in which they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path

from holdfast.core.config import nearest, read_toml
from holdfast.core.errors import WorldError
from holdfast.core.twins import PRESSURED
from holdfast.scenarios.world import World

TWINS = Path(__file__).parent / "twins.toml"
NAMES = Path(__file__).parent / "names.toml"
#: Factors that every world has.
CORE = frozenset({"threat", "leverage", "outlet"})


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    return {name: dict(levels) for name, levels in read_toml(TWINS).items()}


@cache
def twins() -> Mapping[str, Mapping[str, str]]:
    """Twin → factor → level, for the twins that every world has."""
    return {name: levels for name, levels in _table().items() if levels.keys() <= CORE}


def twins_of(world: World) -> list[str]:
    """The twins whose factors `world` has."""
    return [name for name, levels in _table().items() if levels.keys() <= world.spec.levels.keys()]


def levels_of(world: World, twin: str = PRESSURED, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The level of each factor of `world` under a twin, with single factors changed.

    Factors that the twin does not set are at their first level.  Factors that are idle at these levels are left out.

    Raises:
        WorldError: unknown twin, factor or level, in the arguments or in the world itself (the error suggests the
            nearest), or a change that would have no effect.
    """
    if twin not in _table():
        raise _unknown("twin", twin, list(_table()), str(TWINS))
    wanted = {**_table()[twin], **(changes or {})}
    where = str(world.path / "world.toml")
    known = world.spec.levels
    named = [*_pairs(world), *((f, level) for f, tools in world.spec.level_tools.items() for level in tools)]
    for factor, level in [*wanted.items(), *named]:
        if factor not in known:
            raise _unknown("factor", factor, list(known), where)
        if level not in known[factor]:
            raise _unknown(f"level of '{factor}'", level, list(known[factor]), where)
    levels = {factor: wanted.get(factor, next(iter(at))) for factor, at in known.items()}
    idle = idle_at(world, levels)
    for factor in idle.keys() & (changes or {}).keys():
        other = idle[factor]
        remedy = f"leave '{factor}' out, or set '{other}' to another level"
        raise WorldError(f"'{factor}' has no effect at '{other} = {levels[other]}'", where=where, remedy=remedy)
    return {factor: level for factor, level in levels.items() if factor not in idle}


def _pairs(world: World) -> Iterator[tuple[str, str]]:
    """Every (factor, level) that the world's scripts, idle factors and documents refer to."""
    documents = [prose.front.get("when", {}) for store in world.documents.values() for prose in store]
    for needs in (*world.spec.needs.values(), *world.spec.idle.values(), *documents):
        for factor, at in needs.items():
            yield from ((factor, level) for level in ([at] if isinstance(at, str) else at))


def idle_at(world: World, levels: Mapping[str, str]) -> dict[str, str]:
    """Factor without effect at these levels → the factor that causes this."""
    return {
        factor: other
        for factor, at in world.spec.idle.items()
        for other, level in at.items()
        if levels.get(other) == level
    }


def waking(world: World, factor: str) -> dict[str, str]:
    """The changes to a twin that are needed for `factor` to have an effect; usually none."""
    idle, levels = world.spec.idle.get(factor, {}), world.spec.levels
    return {other: next(at for at in levels[other] if at != level) for other, level in idle.items()}


def grid(world: World, factors: Mapping[str, Sequence[str]], twin: str = PRESSURED) -> Iterator[dict[str, str]]:
    """The distinct cells of a full factorial design, as changes to `twin`; idle factors are left out.

    Raises:
        WorldError: unknown factor or level.
    """
    seen: set[tuple[tuple[str, str], ...]] = set()
    for levels in product(*factors.values()):
        cell = dict(zip(factors, levels, strict=True))
        idle = idle_at(world, levels_of(world, twin) | cell)
        changes = {factor: level for factor, level in cell.items() if factor not in idle}
        if (key := tuple(changes.items())) not in seen:
            seen.add(key)
            levels_of(world, twin, changes)
            yield changes


def own_name(model: str) -> str | None:
    """The level of the factor `name` for a model's own name; None if its name is not known."""
    text = model.lower()
    return next((level for level, marks in read_toml(NAMES).items() if any(mark in text for mark in marks)), None)


def other_names(model: str) -> list[str]:
    """The levels of the factor `name` for other models' names."""
    own = own_name(model)
    return [level for level in read_toml(NAMES) if level != own]


def _unknown(kind: str, name: str, known: list[str], where: str) -> WorldError:
    near = nearest(name, known)
    remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"
    return WorldError(f"unknown {kind} '{name}'", where=where, remedy=remedy)
