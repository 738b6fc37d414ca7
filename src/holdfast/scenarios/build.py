"""World × levels × seed → Case: pure, and the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.config import line_of
from holdfast.core.errors import ProseError, WorldError
from holdfast.core.identity import key_of
from holdfast.core.prose import Prose, fill
from holdfast.core.records import Case, Clause, Facts, Message, ToolCall, ToolSpec
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
    scene = _Scene(world, seed, values)
    task = _variant(world, world.task.body, seed, "task")
    files = scene.files()
    useful = [scene.clause(job.useful)] if job and job.useful else []
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
        "tools": _tools(world, levels),
        "state": {
            "mail": scene.mails(),
            "files": files,
            "address": scene.text("{agent_at}"),
            "domain": scene.text(spec.facts.domain),
        },
        "facts": scene.facts(files),
        "harm": tuple(scene.clause(clause) for clause in spec.harm),
        "proper": (*useful, *(scene.clause(clause) for clause in spec.proper)),
        "useful": tuple(useful),
        "plays": scene.plays(levels, job),
        "max_turns": spec.max_turns,
        "max_acts": spec.max_acts,
        "max_tokens": spec.max_tokens,
    }
    return Case(id=key_of(body), **body)


@dataclass(frozen=True)
class _Scene:
    """A world at one seed and one condition: every slot has its value."""

    world: World
    seed: int
    values: Mapping[str, str]

    def text(self, raw: str, source: Path | None = None, line: int = 1) -> str:
        return fill(raw, self.values, source or self.world.path / "world.toml", line)

    def address(self, raw: str) -> str:
        """Addresses are compared in lower case, as the tools record them."""
        text = self.text(raw)
        return text.lower() if "@" in text else text

    def clause(self, raw: Clause) -> Clause:
        return Clause.model_validate(_mapped(raw.model_dump(), self.address))

    def calls(self, plays: Sequence[Play]) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=f"play{i}", name=play.name, arguments=_mapped(dict(play.arguments), self.text))
            for i, play in enumerate(plays)
        )

    def plays(self, levels: Mapping[str, str], job: Choice | None) -> dict[str, tuple[ToolCall, ...]]:
        """The scripts that can be played at these levels."""
        spec = self.world.spec
        possible = [
            name for name in spec.plays if all(levels[f] == level for f, level in spec.needs.get(name, {}).items())
        ]
        scripts = {name: self.calls(spec.plays[name]) for name in possible}
        return scripts | ({"proper": self.calls([job.play])} if job and job.play else {})

    def mails(self) -> list[dict[str, str]]:
        mails = [self._mail(prose) for prose in self.world.inbox]
        if self.world.spec.shuffle_inbox:
            random.Random(f"{self.world.name}:{self.seed}:inbox").shuffle(mails)
        return mails

    def _mail(self, prose: Prose) -> dict[str, str]:
        if "from" not in prose.front:
            raise ProseError("a mail without 'from:'", where=f"{prose.path}:1", remedy="add it to the front matter")
        body = _variant(self.world, prose.body, self.seed, prose.path.stem)
        lines = enumerate(prose.front.items(), 2)
        head = {key: self.text(str(value), prose.path, line) for line, (key, value) in lines}
        return head | {"text": self.text(body, prose.path, prose.line)}

    def files(self) -> dict[str, dict[str, Any]]:
        """The store; a level may name a file in the slot `locks`."""
        spec, locked = self.world.spec, self.text(self.values.get("locks", ""))
        stored = {self.text(name): file for name, file in spec.files.items()}
        return {n: {"text": self.text(f.text), "locked": f.locked or n == locked} for n, f in stored.items()}

    def facts(self, files: Mapping[str, Mapping[str, Any]]) -> Facts:
        raw = self.world.spec.facts
        confidential = [self.text(name) for name in raw.confidential]
        if missing := set(confidential) - set(files):
            where = f"{self.world.path / 'world.toml'}:{line_of(self.world.path / 'world.toml', ['confidential'])}"
            raise WorldError(
                f"the confidential file '{min(missing)}' is not in the store", where=where, remedy="add it"
            )
        return Facts(
            private={self.address(who): tuple(map(self.text, phrases)) for who, phrases in raw.private.items()},
            confidential={name: files[name]["text"] for name in confidential},
            domain=self.text(raw.domain).lower(),
            protected=tuple(map(self.text, raw.protected)),
            weights=tuple(map(self.text, raw.weights)),
            innocent=tuple(map(self.address, raw.innocent)),
        )


def _tools(world: World, levels: Mapping[str, str]) -> tuple[ToolSpec, ...]:
    spec = world.spec
    extra = [tool for f, level in levels.items() for tool in spec.level_tools.get(f, {}).get(level, ())]
    names = [*spec.tools, *extra]
    unknown = next((name for name in names if name not in SPECS), None)
    if unknown:
        where = f"{world.path / 'world.toml'}:{line_of(world.path / 'world.toml', ['tools'])}"
        raise WorldError(f"no tool called '{unknown}'", where=where, remedy=f"known: {', '.join(SPECS)}")
    return tuple(SPECS[name] for name in names)


def _draw(world: World, seed: int) -> tuple[dict[str, str], Choice | None]:
    """The seed's surface: words from the pools (no word twice), fixed slots, and the job."""
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


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every text changed, keys left alone."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    return value
