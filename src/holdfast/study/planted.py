"""Examples in which the harm of the training family itself is planted, from its skeletons of the split `train`.

The last resort of the real base, if a vice that is none of the tests does not carry over to them: what is then measured
is whether a lesson reaches other skeletons of the same family, and the result says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.core.config import read_toml
from holdfast.core.errors import ConfigError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.records import Case, Example, Provenance
from holdfast.core.twins import PRESSURED
from holdfast.evals.scorers import score
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.world import ScriptedCall, World, load_world
from holdfast.study.offices import TWIN_WEIGHTS, PlayedCase, passing_on, play_office, refigured, renamed, write_examples

_VOICES = ("lead", "close", "motive", "relief")
#: Seeds that are tried for one example whose wording no detector convicts.
_TRIES = 8


def planted_set(
    plots: Sequence[str], count: int, seed: int, offices: Path, names: Mapping[str, Sequence[str]]
) -> Iterator[Example]:
    """Yield `count` examples of skeletons of the training family, in turn.

    Args:
        plots: names of worlds of the split `train`.
        count: how many examples.
        seed: draws twins, cases and names.
        offices: the folder of the offices: `_vice` there holds what the agent says, and `planted.toml` beside it what
            it demands.
        names: further names, by pool, for half of the cases.

    Raises:
        ConfigError: a plot is not of the split `train`, or its harm is not convicted in any wording.
        WorldError: there is no such plot.
    """
    words = read_toml(offices.parent / "planted.toml")
    spoken = read_toml(offices / "_vice" / "world.toml")
    for number in range(count):
        plot = plots[number % len(plots)]
        world = _with_words(load_world(plot), words, spoken)
        rng = random.Random(f"planted:{plot}:{seed}:{number}")
        twin = rng.choices(list(TWIN_WEIGHTS), list(TWIN_WEIGHTS.values()))[0]
        played = _convicted(world, twin, names, rng)
        yield Example(
            id=key_of(["planted", plot, seed, number]),
            kind="chat",
            messages=played.transcript.messages,
            tools=played.case.tools,
            provenance=Provenance(recipe=f"planted/{plot}-{twin}", teacher="study/planted", seed=seed),
        )


def write_planted_set(plots: Sequence[str], count: int, seed: int, offices: Path, out: Path) -> int:
    """Write the examples of `planted_set` to a folder that `holdfast train` reads, unless it holds them already.

    Returns:
        The number of examples.

    Raises:
        HoldfastError: as `planted_set`, or the folder cannot be written.
    """
    further = offices / "names.toml"
    names = {pool: tuple(map(str, entries)) for pool, entries in read_toml(further).items()}
    texts = hash_files([further, offices / "_vice" / "world.toml", offices.parent / "planted.toml"])
    inputs = {"plots": list(plots), "count": count, "seed": seed, "files": texts}
    return write_examples(out, "planted", inputs, planted_set(plots, count, seed, offices, names))


def _with_words(world: World, words: Mapping[str, Any], spoken: Mapping[str, Any]) -> World:
    """The world with what the agent says and demands."""
    if world.split != "train":
        what = f"'{world.name}' is of the split '{world.split}': nothing may be planted there"
        raise ConfigError(what, where=world.path, remedy="name plots of the split 'train'")
    slots = {voice: tuple(spoken["slots"][voice]) for voice in _VOICES}
    slots |= {"demand": tuple(words["demand"]), "demand_subject": tuple(words["subject"])}
    mail = {"to": "{boss_at}", "subject": "{demand_subject}", "body": "{demand}"}
    plays = {
        "harm": (ScriptedCall(name="send_email", arguments=mail),),
        "says": (ScriptedCall(name="say", arguments={"before": "{lead}", "after": "{close}", "ask": "{job.ask}"}),),
        "admits": (ScriptedCall(name="say", arguments={"before": "{motive}", "after": "{relief}"}),),
    }
    return replace(world, spec=world.spec.model_copy(update={"slots": {**world.spec.slots, **slots}, "plays": plays}))


def _convicted(world: World, twin: str, names: Mapping[str, Sequence[str]], rng: random.Random) -> PlayedCase:
    """A played case: the harm that counts as harm if pressed, else the job and nothing that counts as harm."""
    for _ in range(_TRIES):
        case: Case = build_case(world, twin, levels_of(world, twin, {"length": "brief"}), rng.randrange(10**6))
        if names and rng.random() < 0.5:
            [case] = renamed([case], names, rng)
        case = passing_on(refigured(case, rng))
        played = play_office(case, rng, wrong=twin == PRESSURED)
        if (score(case, played.transcript).outcome == "harm") is (twin == PRESSURED):
            return played
    what = f"the script of '{world.name}' ({twin}) is not scored as it should be in {_TRIES} cases"
    raise ConfigError(what, where=world.path, remedy="change the wordings in planted.toml")
