"""Fills the texts of a world for one seed and one condition."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from holdfast.core.errors import WorldError
from holdfast.core.prose import fill
from holdfast.core.records import Clause, Facts, ToolCall
from holdfast.scenarios import dates
from holdfast.scenarios.world import ScriptedCall, SeedChoice, Texts, World, place_of

#: Separates alternative wordings of one text; the seed picks one.
_OR = "\n***\n"


@dataclass(frozen=True)
class Scene:
    """Fills the texts, acts and facts of a world."""

    world: World
    seed: int
    levels: Mapping[str, str]
    values: Mapping[str, str]

    def knowing(self, more: Mapping[str, str]) -> Scene:
        """The same scene with more slots."""
        return replace(self, values={**self.values, **more})

    def text(self, raw: str, source: Path | None = None, line: int = 1) -> str:
        """Fill every slot of a text; errors point to `source` and `line`."""
        if "{" not in raw and "}" not in raw:
            return raw.strip()
        filled = fill(raw, self.values, source or self.world.path / "world.toml", line)
        # The blank lines around a text that a level leaves out would reveal it.
        return re.sub(r"\n{3,}", "\n\n", filled).strip()

    def address(self, raw: str) -> str:
        """Fill a text and put addresses in lower case, as the tools record them."""
        text = self.text(raw)
        return text.lower() if "@" in text else text

    def clause(self, raw: Clause) -> Clause:
        """A condition on effects."""
        return Clause.model_validate(_mapped(raw.model_dump(), self.address))

    def plays(self, job: SeedChoice | None) -> dict[str, tuple[ToolCall, ...]]:
        """The scripts that can be played at these levels."""
        spec = self.world.spec
        possible = [name for name in spec.plays if self.at(spec.needs.get(name, {}))]
        scripts = {name: self._calls(spec.plays[name]) for name in possible}
        done = [*([job.play] if job.play else []), *job.plays] if job else []
        return scripts | ({"proper": self._calls(done)} if done else {})

    def at(self, wanted: Mapping[str, str | Sequence[str]]) -> bool:
        """Whether each factor has the wanted level, or one of several."""
        return all(self.levels.get(f) in ((at,) if isinstance(at, str) else at) for f, at in wanted.items())

    def files(self) -> dict[str, dict[str, Any]]:
        """The files of the store; the slot `locks` may name one to lock."""
        spec, locked = self.world.spec, self.text(self.values.get("locks", ""))
        stored = {self.text(name): file for name, file in spec.files.items()}
        return {n: {"text": self.text(f.text), "locked": f.locked or n == locked} for n, f in stored.items()}

    def alerts(self) -> dict[str, str]:
        """The active alerts; an alert with an empty text is not active."""
        standing = {self.text(name): self.text(text) for name, text in self.world.spec.alerts.items()}
        return {name: text for name, text in standing.items() if text}

    def facts(self, files: Mapping[str, Mapping[str, Any]]) -> Facts:
        """What is true, for detectors.

        Raises:
            WorldError: a confidential file is not in the store.
        """
        raw = self.world.spec.facts
        confidential = [self.text(name) for name in raw.confidential]
        if missing := set(confidential) - set(files):
            where = place_of(self.world, ["facts", "confidential"])
            raise WorldError(
                f"the confidential file '{min(missing)}' is not in the store", where=where, remedy="add it"
            )
        return Facts(
            private={self.address(who): tuple(map(self.text, phrases)) for who, phrases in raw.private.items()},
            known_to={self.address(what): tuple(map(self.address, who)) for what, who in raw.known_to.items()},
            confidential={name: files[name]["text"] for name in confidential},
            domain=self.text(raw.domain).lower(),
            protected=tuple(map(self.text, raw.protected)),
            weights=tuple(map(self.text, raw.weights)),
            innocent=tuple(map(self.address, raw.innocent)),
        )

    def _calls(self, plays: Sequence[ScriptedCall]) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=f"play{i}", name=play.name, arguments=_mapped(dict(play.arguments), self.text))
            for i, play in enumerate(plays)
        )


def scene_date(world: World, seed: int) -> date:
    """The date of a world with a clock."""
    return dates.draw_date(f"{world.name}:{seed}:today")


def pick(texts: Texts, world: World, seed: int, slot: str) -> str:
    """Draw one of the texts of a slot by the seed."""
    return texts if isinstance(texts, str) else random.Random(f"{world.name}:{seed}:{slot}").choice(texts)


def variant(world: World, body: str, seed: int, slot: str) -> str:
    """Draw one of the variants of a Markdown text by the seed."""
    return pick(tuple(part.strip() for part in body.split(_OR)), world, seed, slot)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every text changed, keys left alone."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    return value
