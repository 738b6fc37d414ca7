"""World × levels × seed → Case: pure, and the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import ProseError, WorldError
from holdfast.core.identity import key_of
from holdfast.core.prose import fill
from holdfast.core.records import Case, Clause, Facts, Message, ToolCall
from holdfast.core.words import words
from holdfast.scenarios.tools import SPECS
from holdfast.scenarios.world import Choice, Play, Texts, World

#: Separates alternative wordings of one mail; the seed picks one.
_OR = "\n***\n"


def build_case(world: World, twin: str, levels: Mapping[str, str], seed: int) -> Case:
    """Make the Case of a world at the given levels.

    The seed draws people, firm and wording before the levels are looked at, so twins differ in what their levels own
    and in nothing else.

    Raises:
        ProseError: a text holds a slot that nothing fills.
        WorldError: a pool is too small or a tool does not exist.
    """
    spec = world.spec
    values, job = _draw(world, seed)
    for factor, level in levels.items():
        for slot, texts in spec.levels[factor][level].items():
            values[slot] = _pick(texts, world, seed, slot).strip("\n")
    where = world.path / "world.toml"

    def text(raw: str, source: Path | str = where, line: int = 1) -> str:
        return fill(raw, values, source, line)

    def clause(raw: Clause) -> Clause:
        return Clause.model_validate(_filled(raw.model_dump(), lambda value: _address(text(value))))

    def calls(plays: Sequence[Play]) -> tuple[ToolCall, ...]:
        filled = [{text(k): text(v) for k, v in play.arguments.items()} for play in plays]
        return tuple(
            ToolCall(id=f"play{i}", name=p.name, arguments=a)
            for i, (p, a) in enumerate(zip(plays, filled, strict=True))
        )

    mails = [_mail(world, prose, seed, text) for prose in world.inbox]
    if spec.shuffle_inbox:
        random.Random(f"{world.name}:{seed}:inbox").shuffle(mails)
    files = {text(name): {"text": text(f.text), "locked": f.locked} for name, f in spec.files.items()}
    files |= _level_files(spec.levels, levels, values, files)
    tools = [
        *spec.tools,
        *(t for factor, level in levels.items() for t in spec.level_tools.get(factor, {}).get(level, ())),
    ]
    unknown = [tool for tool in tools if tool not in SPECS]
    if unknown:
        raise WorldError(f"no tool called '{unknown[0]}'", where=where, remedy=f"known: {', '.join(SPECS)}")
    useful = clause(job.useful) if job and job.useful else None
    body: dict[str, Any] = {
        "world": world.name,
        "family": spec.family,
        "split": world.split,
        "language": spec.language,
        "twin": twin,
        "levels": dict(levels),
        "seed": seed,
        "messages": (
            Message(role="system", content=text(world.system.body, world.system.path, world.system.line)),
            Message(role="user", content=text(_variant(world, world.task.body, seed, "task"), world.task.path)),
        ),
        "tools": tuple(SPECS[tool] for tool in tools),
        "state": {"mail": mails, "files": files, "address": text("{agent_at}"), "domain": text(spec.facts.domain)},
        "facts": _facts(world, text, files),
        "harm": tuple(clause(c) for c in spec.harm),
        "proper": (*((useful,) if useful else ()), *(clause(c) for c in spec.proper)),
        "useful": (useful,) if useful else (),
        "plays": {
            name: calls(plays) for name, plays in spec.plays.items() if _playable(spec.needs.get(name, {}), levels)
        }
        | ({"proper": calls([job.play])} if job and job.play else {}),
        "max_turns": spec.max_turns,
        "max_acts": spec.max_acts,
    }
    return Case(id=key_of(body), **body)


def _playable(needs: Mapping[str, str], levels: Mapping[str, str]) -> bool:
    return all(levels[factor] == level for factor, level in needs.items())


def _draw(world: World, seed: int) -> tuple[dict[str, str], Choice | None]:
    """The seed's surface: words from the pools (no word twice), fixed slots, and the job."""
    spec, rng = world.spec, random.Random(f"{world.name}:{seed}")
    pools = {name: list(entries) for name, entries in words(spec.language).items()}
    values: dict[str, str] = {}
    for slot, pool in spec.surface.items():
        if not pools.get(pool):
            what = f"slot '{slot}' draws from the pool '{pool}', which is unknown or used up"
            raise WorldError(what, where=world.path / "world.toml", remedy=f"add words to {spec.language}.toml")
        values[slot] = pools[pool].pop(rng.randrange(len(pools[pool])))
    for slot, texts in spec.slots.items():
        values[slot] = _pick(texts, world, seed, slot)
    job: Choice | None = None
    for name, choices in spec.choose.items():
        picked = rng.choice(choices)
        job = picked if picked.useful else job
        values |= {f"{name}.{key}": _pick(texts, world, seed, key).strip() for key, texts in picked.texts.items()}
    return values, job


def _pick(texts: Texts, world: World, seed: int, slot: str) -> str:
    return texts if isinstance(texts, str) else random.Random(f"{world.name}:{seed}:{slot}").choice(texts)


def _variant(world: World, body: str, seed: int, slot: str) -> str:
    return _pick(tuple(part.strip() for part in body.split(_OR)), world, seed, slot)


def _mail(world: World, prose: Any, seed: int, text: Any) -> dict[str, str]:
    if "from" not in prose.front:
        raise ProseError("a mail without 'from:'", where=f"{prose.path}:1", remedy="add it to the front matter")
    body = text(_variant(world, prose.body, seed, prose.path.stem), prose.path, prose.line)
    return {key: text(str(value), prose.path) for key, value in prose.front.items()} | {"text": body}


def _level_files(
    spec: Any, levels: Mapping[str, str], values: Mapping[str, str], files: Mapping[str, Any]
) -> dict[str, Any]:
    """A level may set the slot `locks` to the name of a file that it locks."""
    name = fill(values.get("locks", ""), values)
    return {name: {**files[name], "locked": True}} if name in files else {}


def _facts(world: World, text: Any, files: Mapping[str, Any]) -> Facts:
    raw = world.spec.facts
    confidential = [text(name) for name in raw.confidential]
    return Facts(
        private={_address(text(who)): tuple(text(p) for p in phrases) for who, phrases in raw.private.items()},
        confidential={name: files[name]["text"] for name in confidential},
        domain=text(raw.domain).lower(),
        protected=tuple(text(p) for p in raw.protected),
        weights=tuple(text(w) for w in raw.weights),
        innocent=tuple(_address(text(p)) for p in raw.innocent),
    )


def _address(text: str) -> str:
    """Addresses are compared in lower case, as the tools record them."""
    return text.lower() if "@" in text else text


def _filled(value: Any, text: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {key: _filled(entry, text) for key, entry in value.items()}
    return value
