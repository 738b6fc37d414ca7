"""Lint for worlds that load: what would make a comparison between two conditions mean something else than it says.

    for finding in findings(load_world("blackmail")):
        print(finding)

A factor must own its texts alone, each of its levels must change what a model reads, and nothing else may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.core.config import read_toml
from holdfast.core.prose import unused
from holdfast.core.records import Case
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import PRESSURED, levels_of, twins
from holdfast.scenarios.world import World

#: Slots that the builder itself reads.
_BUILT_IN = frozenset({"agent_at", "locks"})
_CANARY = re.compile(r"holdfast-world [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Stands for the text of a level; no world can hold it.
_MARK = "\0"


def findings(world: World, seeds: Iterable[int] = range(3)) -> list[str]:
    """What is wrong with a world, one line each; empty for a sound one.

    Args:
        world: a loaded world.
        seeds: surfaces on which its conditions are compared.

    Raises:
        ProseError: a slot has no value.
        WorldError: the world lacks a factor or level of the twins, or names a tool that does not exist.
    """
    found = [] if _CANARY.fullmatch(world.spec.canary) else ["the canary is not 'holdfast-world' and a UUID"]
    found += [*_owners(world), *_unread(world)]
    for seed in seeds:
        found += _compared(world, seed)
    return list(dict.fromkeys(found))


def _owners(world: World) -> Iterator[str]:
    """Each slot is set by one factor only, and at each of its levels."""
    spec = world.spec
    drawn = f"{', '.join(sorted(spec.choose))} or the surface"
    owner = dict.fromkeys([*spec.surface, *spec.slots], drawn)
    owner |= {
        f"{name}.{key}": drawn for name, choices in spec.choose.items() for choice in choices for key in choice.texts
    }
    for factor, levels in spec.levels.items():
        slots = {slot for texts in levels.values() for slot in texts}
        for slot in sorted(slots):
            if slot in owner:
                yield f"slot '{slot}' of the factor '{factor}' is also set by {owner[slot]}"
            yield from (f"{factor} = {level} does not set '{slot}'" for level in levels if slot not in levels[level])
        owner |= dict.fromkeys(slots, f"the factor '{factor}'")


def _unread(world: World) -> Iterator[str]:
    """Each slot that the world's own file sets is used somewhere; what a shared base offers need not be."""
    spec = world.spec
    texts = [world.system.body, world.task.body, *(prose.body for prose in world.inbox)]
    texts += [str(value) for prose in world.inbox for value in prose.front.values()]
    kept = {"files", "facts", "harm", "proper", "plays", "choose"}
    texts += [text for pair in _leaves(spec.model_dump(include=kept)) for text in pair if not pair[0].endswith("texts")]
    values = {slot: "" for slot in spec.surface} | {slot: _joined(raw) for slot, raw in spec.slots.items()}
    for name, choices in spec.choose.items():
        for key in {key for choice in choices for key in choice.texts}:
            values[f"{name}.{key}"] = _joined([_joined(choice.texts.get(key, "")) for choice in choices])
    for levels in spec.levels.values():
        for slot in {slot for level in levels.values() for slot in level}:
            values[slot] = _joined([_joined(level.get(slot, "")) for level in levels.values()])
    own = read_toml(world.path / "world.toml")
    named = {
        *own.get("surface", {}),
        *own.get("slots", {}),
        *(s for s in values if s.split(".")[0] in own.get("choose", {})),
    }
    named |= {slot for levels in own.get("levels", {}).values() for level in levels.values() for slot in level}
    yield from (f"no text uses the slot '{slot}'" for slot in sorted(unused(texts, values) & named - _BUILT_IN))


def _joined(texts: str | Iterable[str]) -> str:
    return texts if isinstance(texts, str) else "\n".join(texts)


def _compared(world: World, seed: int) -> Iterator[str]:
    """Every condition reads differently, and differs from the pressured one in the texts of its factors alone."""
    wanted = [(twin, levels_of(world, twin)) for twin in twins()]
    wanted += [
        (f"{f} = {v}", levels_of(world, changes={f: v})) for f, levels in world.spec.levels.items() for v in levels
    ]
    seen: dict[str, str] = {}
    cells = {tuple(levels.values()): (name, levels) for name, levels in reversed(wanted)}
    base = build_case(world, PRESSURED, levels_of(world), seed)
    for name, levels in cells.values():
        case = build_case(world, PRESSURED, levels, seed)
        other = seen.setdefault(repr((case.messages, case.tools, case.state["mail"])), name)
        if other != name:
            yield f"'{name}' and '{other}' read the same"
        changed = {factor for factor, level in levels.items() if level != base.levels[factor]}
        yield from (f"'{name}' also changes {place}" for place in _strays(world, base, case, changed))


def _strays(world: World, base: Case, case: Case, changed: set[str]) -> list[str]:
    """Where two cases of one seed differ outside the texts of the changed factors."""
    spec = world.spec
    marked = {f: {v: dict.fromkeys(texts, _MARK) for v, texts in spec.levels[f].items()} for f in changed}
    blank = replace(world, spec=spec.model_copy(update={"levels": {**spec.levels, **marked}}))
    frame = _places(build_case(blank, PRESSURED, base.levels, base.seed), base)
    owns_locks = any("locks" in texts for f in changed for texts in spec.levels[f].values())
    left, right = _places(base, case), _places(case, base)
    return [
        place
        for place in sorted(left.keys() | right.keys())
        if left.get(place) != right.get(place)
        and not (owns_locks and place.endswith(".locked"))
        and not all(_fits(frame.get(place, ""), text.get(place, "")) for text in (left, right))
    ]


def _fits(frame: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, frame.split(_MARK))), text, re.DOTALL) is not None


def _places(case: Case, other: Case) -> dict[str, str]:
    """Every text of a case by its place; tools and scripts that only some levels have are declared in the world."""
    shared = case.plays.keys() & other.plays.keys()
    body = case.model_dump(mode="json", exclude={"id", "twin", "levels", "tools", "plays"})
    return dict(_leaves(body | {"plays": {n: [c.model_dump() for c in case.plays[n]] for n in shared}}))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _leaves(entry, f"{place}.{index}")
    else:
        yield place, str(value)
