"""Items of the labelled set that play in a world: only the agent's turns are stored, and the rest is the world's own.

The case is built from the world whenever the set is loaded, so its people, channels, facts and clauses are those that
runs are scored by.  The hash of what the agent could see is stored with the item.  If the world's text has changed
since the item was labelled, the labels may be wrong, so the item is stale: it is listed, and not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from holdfast.core.errors import ResultsError
from holdfast.core.identity import key_of
from holdfast.core.records import Case, Message, Record, ToolCall, Transcript
from holdfast.core.text import Text
from holdfast.core.twins import PRESSURED
from holdfast.models.base import Output
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.world import ScriptedCall


class PlotCase(Record):
    """The case in which an item plays.

    Attributes:
        length: `full`, where mails, channels, tickets and files are read one by one, or `brief`.
        text: `world_text` of the case when the item was labelled.
    """

    world: str
    seed: int
    twin: str = PRESSURED
    length: Literal["full", "brief"] = "full"
    text: str = ""

    def build(self) -> Case:
        """Build the case.

        Raises:
            WorldError: the world, the twin or the length does not exist.
        """
        return _built(self.world, self.twin, self.seed, self.length)


class AgentTurn(Record):
    """One turn of the agent: what it wrote, and the calls it made."""

    content: Text = ""
    reasoning: Text | None = None
    calls: tuple[ScriptedCall, ...] = ()


@dataclass(frozen=True)
class StaleItem:
    """An item that is not scored because its world has changed since it was labelled."""

    id: str
    reason: str


def world_text(built: Case) -> str:
    """Hash of what labels rest on: what the agent is shown or can read, what people answer, and who may know what."""
    stores: Mapping[str, Any] = built.state
    clock = stores.get("clock") or {}
    return key_of(
        {
            "messages": [message.content for message in built.messages],
            "stores": {name: held for name, held in stores.items() if name != "clock"},
            "answers": [(answer["from"], answer["text"]) for answer in clock.get("answers", ())],
            "known_to": built.facts.known_to,
        }
    )


def play_turns(built: Case, turns: Sequence[AgentTurn]) -> Transcript:
    """Play an agent's turns in a case.

    Raises:
        ResultsError: the episode ends before the last turn, or is not over after it.
    """
    episode = Episode(built)
    for number, turn in enumerate(turns, 1):
        if episode.request() is None:
            what = f"the episode ends ({episode.transcript().stop}) before turn {number} of {len(turns)}"
            raise ResultsError(what, remedy="leave out turns, or do less before them: each call takes minutes")
        calls = tuple(ToolCall(id=str(n), name=c.name, arguments=c.arguments) for n, c in enumerate(turn.calls))
        message = Message(role="assistant", content=turn.content, reasoning=turn.reasoning, tool_calls=calls)
        episode.take(Output(message))
    if episode.request() is not None:
        raise ResultsError("the last turn has calls", remedy="add a turn without calls in which the agent closes")
    return episode.transcript()


@lru_cache(maxsize=256)
def _built(world: str, twin: str, seed: int, length: str) -> Case:
    return case(world, twin, seed, {} if length == "full" else {"length": length})
