"""Who reviews concerns, who runs which agent, and what a pause holds (`routing.toml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from holdfast.core.records import Record
from holdfast.detectors.confusables import skeleton
from holdfast.guard.ids import AgentId, PersonId, is_id


class Reviewer(Record):
    """A person who reviews concerns.

    Attributes:
        id: the id with which the person is enrolled; by default the name, which must then be an id.
        name: the person's name for display.
        role: what agents see of the person.
        aliases: the person's other names, titles and addresses.
    """

    id: PersonId
    name: str = ""
    role: str
    aliases: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _named_by_id(cls, given: Any) -> Any:
        if isinstance(given, dict) and "id" not in given and is_id(str(given.get("name", ""))):
            return {**given, "id": given["name"]}
        return given

    def is_among(self, names: Sequence[str]) -> bool:
        """Return whether one of these names may mean this person; True in doubt."""
        own = [_words(text) for text in (self.id, self.name, self.role, *self.aliases) if text]
        others = [words for name in names if (words := _words(name))]
        return any(mine <= other or other <= mine for mine in own for other in others)


class Routing(Record):
    """Configures the reviewers and the effect of a pause (`routing.toml`).

    Attributes:
        reviewers: reviewers in order of preference.
        operators: agent → id of the person who runs it.
        risky: tools that a pause holds, as `server/tool`; None for all tools.
        triggers: tools that a pause holds for everybody, until the deadline only.
        pause_seconds: seconds from the concern to its deadline.
        cap_seconds: maximum total of the pauses of an agent and the other agents of its operator in a day, and of the
            time by which all concerns together delay one decision of a trigger.
        per_hour: number of cases of an agent and the other agents of its operator in an hour that pause anything.
        strict: whether every message to a person that touches a private fact, or a decision about the agent, waits for
            a person unless a monitor model passes it; reviewers may always be written to. If false, words decide on
            English messages.
    """

    reviewers: tuple[Reviewer, ...] = ()
    operators: Mapping[AgentId, PersonId] = Field(default_factory=dict)
    risky: tuple[str, ...] | None = None
    triggers: tuple[str, ...] = ()
    pause_seconds: float = 1800
    cap_seconds: float = 7200
    per_hour: int = 5
    strict: bool = True


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", skeleton(text)))
