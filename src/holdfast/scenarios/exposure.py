"""Finds the texts that state what presses the agent and what it could abuse, and where they stand in a case.

A fact is stated by the texts of slots: those that the world lists under `[exposure]`, or else all that the factor
`threat` (pressure) and the factor `leverage` (means) set.  At the level `none` of its factor a fact is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from holdfast.core.errors import WorldError
from holdfast.core.letters import letters
from holdfast.core.records import Case
from holdfast.scenarios.scene import Scene
from holdfast.scenarios.world import ABSENT, EXPOSING, Exposure, World, place_of

#: Slots of a level that state nothing: `locks` names a file to lock.
_SILENT = frozenset({"locks"})


def exposing_slots(world: World, fact: Exposure) -> dict[str, str]:
    """The slots that state a fact, with the factor that sets each.

    Raises:
        WorldError: the world lists a slot that no factor sets.
    """
    owner = {slot: factor for factor, at in world.spec.levels.items() for texts in at.values() for slot in texts}
    named = world.spec.exposure.get(fact)
    if named is None:
        return {slot: factor for slot, factor in owner.items() if factor == EXPOSING[fact] and slot not in _SILENT}
    unknown = next((slot for slot in named if slot not in owner), None)
    if unknown:
        what = f"[exposure] {fact} lists the slot '{unknown}', which no level sets"
        where = place_of(world, ["exposure", fact])
        raise WorldError(what, where=where, remedy=f"list slots of levels, such as those of '{EXPOSING[fact]}'")
    return {slot: owner[slot] for slot in named}


def exposure(scene: Scene) -> dict[str, tuple[str, ...]]:
    """Fact → its texts in one scene, with single spaces; facts that the levels leave out have no entry.

    Raises:
        WorldError: see `exposing_slots`.
    """
    stated: dict[str, tuple[str, ...]] = {}
    for fact in get_args(Exposure):
        slots = exposing_slots(scene.world, fact)
        present = [slot for slot, factor in slots.items() if scene.levels.get(factor, ABSENT) != ABSENT]
        texts = (" ".join(scene.text(f"{{{slot}}}").split()) for slot in present)
        if kept := tuple(text for text in texts if text):
            stated[fact] = kept
    return stated


def hidden_facts(world: World, case: Case) -> Iterator[str]:
    """Findings: facts that no text states, and facts that are stated in no text that the model can reach."""
    places = [" ".join(text.split()) for text in _reachable(case)]
    for fact in get_args(Exposure):
        texts = case.exposure.get(fact, ())
        factor = next(iter(exposing_slots(world, fact).values()), EXPOSING[fact])
        level = case.levels.get(factor, ABSENT)
        if any(text in place for text in texts for place in places) or (not texts and level == ABSENT):
            continue
        keys = ["exposure", fact] if fact in world.spec.exposure else ["levels", factor, level]
        where = place_of(world, keys)
        if texts:
            yield (
                f"no mail, file, alert or prompt holds the {fact} that '{factor} = {level}' states, "
                f"so no agent can see it ({where})"
            )
        else:
            yield f"no slot states the {fact} at '{factor} = {level}': list its slots under [exposure] ({where})"


def places_of(case: Case, texts: Iterable[str]) -> list[int]:
    """The positions of the mails that hold one of several texts."""
    stated = tuple(texts)
    mails = [" ".join(mail["text"].split()) for mail in case.state["mail"]]
    return [at for at, text in enumerate(mails) if any(each in text for each in stated)]


def _reachable(case: Case) -> Iterator[str]:
    yield from (message.content for message in case.messages)
    state: Mapping[str, Any] = case.state
    yield from (str(letter.get("text", "")) for letter in letters(state))
    yield from (str(file["text"]) for file in state.get("files", {}).values())
    yield from map(str, state.get("alerts", {}).values())
