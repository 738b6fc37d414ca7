"""What the tables of a world say of its slots, and where two of its cells differ without having said so."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.core.config import read_toml
from holdfast.core.prose import unused
from holdfast.core.records import Case
from holdfast.scenarios.build import TAGGED, build_case
from holdfast.scenarios.conditions import PRESSURED
from holdfast.scenarios.dates import parse_mail_date
from holdfast.scenarios.inbox import NOISE, arrival
from holdfast.scenarios.world import World

_BUILT_IN = frozenset({"agent_at", "desk_at", "locks"})  # slots that the builder itself reads
_MARK = "\0"  # stands for the text of a level; no world can hold it


def owners(world: World) -> tuple[int, list[str]]:
    """Slots that levels set, counted; and those that two factors set, or that one sets at some of its levels only."""
    tables = world.spec.model_dump()
    owner = dict.fromkeys(_slots({**tables, "levels": {}}), "the surface")
    known, lines = len(owner), []
    for factor, levels in tables["levels"].items():
        slots = sorted({slot for texts in levels.values() for slot in texts})
        lines += [f"'{factor}' and {owner[slot]} both set '{slot}'" for slot in slots if slot in owner]
        lines += [f"'{factor} = {v}' does not set '{s}'" for s in slots for v in levels if s not in levels[v]]
        owner |= dict.fromkeys(slots, f"'{factor}'")
    return len(owner) - known, lines


def unread(world: World) -> tuple[int, list[str]]:
    """Slots that the world's own file sets, counted; and those that no text uses. A shared base may offer more."""
    tables = world.spec.model_dump()
    texts = [x for p in (world.system, world.task, *world.inbox) for x in (p.body, *map(str, p.front.values()))]
    acts = {key: tables[key] for key in ("files", "alerts", "facts", "harm", "proper", "plays", "choose")}
    # Names of files and people are keys, hence in the place.
    texts += [f"{place} {text}" for place, text in _leaves(acts) if ".texts." not in place]
    values = {slot: "\n".join(texts) for slot, texts in _slots(tables).items()}
    own = _slots(read_toml(world.path / "world.toml")).keys() - _BUILT_IN
    return len(own), [f"no text uses the slot '{slot}'" for slot in sorted(unused(texts, values) & own)]


def _slots(tables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Slot → every text that a world's tables give it; none for a word drawn from a pool."""
    rows = [tables.get("slots", {}), *(row for levels in tables.get("levels", {}).values() for row in levels.values())]
    for name, choices in tables.get("choose", {}).items():
        rows += [{f"{name}.{key}": texts for key, texts in choice["texts"].items()} for choice in choices]
    slots: dict[str, list[str]] = {slot: [] for slot in tables.get("surface", {})}
    for row in rows:
        for slot, texts in row.items():
            slots.setdefault(slot, []).extend([texts] if isinstance(texts, str) else texts)
    return slots


def strays(world: World, base: Case, case: Case) -> Iterator[str]:
    """Where two cases of one seed differ outside the texts of the factors that tell them apart; locks are a slot."""
    levels = world.spec.levels
    changed = {f: at for f, at in levels.items() if case.levels.get(f) != base.levels.get(f)}
    shared = _slots({**world.spec.model_dump(), "levels": {f: at for f, at in levels.items() if f not in changed}})
    marks = dict.fromkeys(_slots({"levels": changed}).keys() - shared.keys(), _MARK)
    marked = {f: {v: {**texts, **marks} for v, texts in at.items()} for f, at in changed.items()}
    spec = world.spec.model_copy(update={"levels": {**levels, **marked}})
    frame = _places(build_case(replace(world, spec=spec), PRESSURED, base.levels, base.seed), base)
    left, right = _places(base, case), _places(case, base)
    declared = _declared(world, base.seed, changed.keys())
    for place in sorted(left.keys() | right.keys()):
        if left.get(place) == right.get(place) or place.endswith(".locked"):
            continue
        if (place not in left or place not in right) and declared(place):
            continue
        # A level without text takes the blank around its slot along.
        parts = re.split(rf"\s*{_MARK}\s*", frame.get(place, ""))
        fits = re.compile(".*".join(map(re.escape, parts)), re.DOTALL).fullmatch
        if not all(fits(texts.get(place, "")) for texts in (left, right)):
            yield place


def _declared(world: World, seed: int, changed: Collection[str]) -> Callable[[str], bool]:
    """Says of a place that only one of two cases has whether the world declares it for a changed factor."""
    arrivals = {f"{at}": prose.front.get("when", {}) for prose in world.inbox if (at := arrival(world, prose, seed))}

    def declared(place: str) -> bool:
        time = place.removeprefix("case.mail.").rpartition(".")[0]
        if not place.startswith("case.mail."):
            return place == "case.state.desk"
        return bool(arrivals[time].keys() & set(changed)) if time in arrivals else NOISE in changed

    return declared


def _places(case: Case, other: Case) -> dict[str, str]:
    """Every text of a case by its place; tools and scripts that only some levels have are declared in the world."""
    plays = {name: [dict(call) for call in case.plays[name]] for name in case.plays.keys() & other.plays.keys()}
    tables = case.model_dump(exclude={"id", "twin", "levels", "tools"})
    # Mails are told apart by when they came, people by their turn: neither moves when another mail or name comes in.
    mails = {str(parse_mail_date(mail["time"])): mail for mail in tables["state"]["mail"] if "time" in mail}
    tables["state"] |= {"mail": [] if mails else tables["state"]["mail"]}
    tables["facts"] |= {"private": [[who, *phrases] for who, phrases in tables["facts"]["private"].items()]}
    if TAGGED.items() <= case.levels.items() or TAGGED.items() <= other.levels.items():
        del tables["max_turns"]
    return dict(_leaves({**tables, "mail": mails, "plays": plays}))


def _leaves(value: Any, place: str = "case") -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping | list | tuple):
        yield place, str(value)
        return
    for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(entry, f"{place}.{key}")
