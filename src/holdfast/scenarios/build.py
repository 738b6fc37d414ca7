"""Builds a Case from a world, levels and a seed. The result depends on nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from holdfast.core.config import line_of
from holdfast.core.errors import WorldError
from holdfast.core.identity import key_of
from holdfast.core.prose import fill
from holdfast.core.records import Case, Message, ToolSpec
from holdfast.core.words import words
from holdfast.scenarios import dates
from holdfast.scenarios.clock import ENDS, is_consequence
from holdfast.scenarios.desk_tools import SPECS
from holdfast.scenarios.exposure import exposure
from holdfast.scenarios.inbox import mails
from holdfast.scenarios.scene import Scene, pick, scene_date, variant
from holdfast.scenarios.stores import stored_files, stores
from holdfast.scenarios.tagged_calls import commands, tagged_documents
from holdfast.scenarios.world import SeedChoice, World, place_of

#: The level at which the model answers once and writes its acts as tags.
TAGGED = {"interface": "tagged"}
#: The level at which the prompt holds all documents, and the model acts through tools.
BRIEF = {"length": "brief"}
#: Turns of a case at that level: there is nothing to read.
_BRIEF_TURNS = 12


def build_case(world: World, twin: str, levels: Mapping[str, str], seed: int) -> Case:
    """Build the Case of a world at the given levels.

    The seed draws people, firm and wording before the levels are applied, so twins differ only in the texts that their
    levels set.

    Raises:
        ProseError: a slot of a text has no value.
        WorldError: a pool is too small or a tool does not exist.
    """
    spec = world.spec
    values, job = _draw(world, seed)
    for factor, level in levels.items():
        for slot, texts in spec.levels[factor][level].items():
            values[slot] = pick(texts, world, seed, slot).strip("\n")
    scene, state = _peopled(Scene(world, seed, levels, _addressed(values, world)))
    tools, tagged, brief = _tools(world, levels), TAGGED.items() <= levels.items(), BRIEF.items() <= levels.items()
    if tagged or brief:
        shown = tagged_documents(state, brief=brief)
        scene = scene.knowing({"inbox": shown, "commands": commands(tools)})
    scene = scene.knowing({"opened": scene.values["inbox"] if brief and not tagged else ""})
    task = variant(world, world.task.body, seed, "task")
    steps = tuple(scene.clause(step) for step in job.steps) if job else ()
    useful = [scene.clause(job.useful)] if job and job.useful else [*steps]
    body: dict[str, Any] = {
        "world": world.name,
        "family": spec.family,
        "split": world.split,
        "language": spec.language,
        "twin": twin,
        "levels": dict(levels),
        "seed": seed,
        "messages": (
            Message(role="system", content=scene.text(world.system.body, world.system.path, world.system.line)),
            Message(role="user", content=scene.text(task, world.task.path)),
        ),
        "tools": tools,
        "state": state,
        "facts": scene.facts(state["files"]),
        "exposure": exposure(scene),
        "harm": tuple(scene.clause(clause) for clause in spec.harm),
        "proper": (*useful, *(scene.clause(clause) for clause in spec.proper)),
        "useful": tuple(useful),
        "steps": steps,
        "ordinary": tuple(scene.clause(clause) for clause in spec.ordinary),
        "plays": scene.plays(job),
        "max_turns": 1 if tagged else _BRIEF_TURNS if brief else spec.max_turns,
        "max_acts": spec.max_acts,
        "max_tokens": spec.max_tokens,
    }
    return Case(id=key_of(body), **body)


def _peopled(scene: Scene) -> tuple[Scene, dict[str, Any]]:
    """Return the scene with the number of each mail, and the initial state of the office."""
    inbox = mails(scene)
    scene = scene.knowing({f"mail.{name}": str(number) for number, (name, _) in enumerate(inbox, 1)})
    spec = scene.world.spec
    state: dict[str, Any] = {
        "mail": [mail for _, mail in inbox],
        "files": stored_files(scene),
        "address": scene.text("{agent_at}"),
        "domain": scene.text(spec.facts.domain),
    }
    if spec.alerts:
        state["alerts"] = scene.alerts()
    if desk := scene.text(spec.desk):
        state["desk"] = desk
    state |= stores(scene)
    if spec.minutes:
        state["clock"] = _clock(scene)
    return scene, state


def _clock(scene: Scene) -> dict[str, Any]:
    """The hour, what calls take, the answers of people, and what happens at the deadline; see `scenarios.clock`."""
    spec, seed, world = scene.world.spec, scene.seed, scene.world
    now = dates.parse_when(spec.now or "", scene_date(world, seed), f"{world.path / 'world.toml'}:1")
    held: dict[str, Any] = {"now": dates.mail_date(now), "minutes": dict(spec.minutes), "answers": []}
    for number, rule in enumerate(spec.answers):
        to, then = scene.address(rule.to), scene.text(rule.then)
        if not is_consequence(then):
            what = f"an answer of '{to}' has then = '{then}'"
            remedy = "write delay and minutes, such as 'delay 30', or withdrawn, or leave it out"
            raise WorldError(what, where=place_of(world, ["answers"]), remedy=remedy)
        held["answers"].append(
            {
                "to": to,
                "from": to if "@" in to else scene.text(rule.by) or to,
                "by": scene.text(rule.by) or to,
                "about": [scene.text(part) for part in rule.about],
                "minutes": rule.minutes,
                "text": scene.text(pick(rule.text, world, seed, f"answer{number}")),
                "then": then,
            }
        )
    ends = ENDS.get(scene.levels.get("threat", ""), "")
    if ends and spec.deadline:
        held |= {"deadline": scene.text(spec.deadline), "ends": ends}
    return held


def _tools(world: World, levels: Mapping[str, str]) -> tuple[ToolSpec, ...]:
    spec = world.spec
    extra = [tool for f, level in levels.items() for tool in spec.level_tools.get(f, {}).get(level, ())]
    names = [*spec.tools, *extra]
    unknown = next((name for name in names if name not in SPECS), None)
    if unknown:
        where = f"{world.path / 'world.toml'}:{line_of(world.path / 'world.toml', ['tools'])}"
        raise WorldError(f"no tool called '{unknown}'", where=where, remedy=f"known: {', '.join(SPECS)}")
    return tuple(SPECS[name] for name in names)


def _draw(world: World, seed: int) -> tuple[dict[str, str], SeedChoice | None]:
    """Draw what depends on the seed: words from the pools (none twice), fixed slots, dates, and the job."""
    spec, rng = world.spec, random.Random(f"{world.name}:{seed}")
    pools = words(spec.language)
    values: dict[str, str] = {}
    for slot, pool in spec.surface.items():
        taken = set(values.values())
        free = [word for word in pools.get(pool, ()) if word not in taken]
        if not free:
            what = f"slot '{slot}' draws from the pool '{pool}', which is unknown or used up"
            where = f"{world.path / 'world.toml'}:{line_of(world.path / 'world.toml', ['surface', slot])}"
            raise WorldError(what, where=where, remedy=f"add words to {spec.language}.toml")
        values[slot] = rng.choice(free)
    for slot, texts in spec.slots.items():
        values[slot] = pick(texts, world, seed, slot)
    if spec.now:
        values |= {"now": spec.now, **dates.slots(scene_date(world, seed))}
    job: SeedChoice | None = None
    for name, choices in spec.choose.items():
        picked = rng.choice(choices)
        job = picked if picked.useful or picked.steps else job
        values |= {f"{name}.{key}": pick(texts, world, seed, key).strip() for key, texts in picked.texts.items()}
    return values, job


def _addressed(values: Mapping[str, str], world: World) -> dict[str, str]:
    """Fill the slots of addresses and domains, and put them in lower case."""
    addresses = {slot: text for slot, text in values.items() if slot.endswith(("_at", "domain"))}
    filled = {slot: fill(text, values, world.path / "world.toml").lower() for slot, text in addresses.items()}
    return {**values, **filled}
