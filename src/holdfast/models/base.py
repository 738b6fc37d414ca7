"""What goes to a model and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from holdfast.core.records import Message, ToolCall, ToolSpec

Finish = Literal["stop", "length", "refused", "error"]


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation to be continued by one assistant turn.

    `plays` is the script of the case, for scripted agents only: no other model may look at it.
    """

    case: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    plays: Mapping[str, Sequence[ToolCall]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """One assistant turn.

    `tokens` counts what was read and written; `error` says what went wrong, if anything did.  `again` is set where the
    model turned the request away for now: seconds after which it may be asked again, 0.0 where it named none.
    `down` says that this was no server that asked to wait: none was there, or what it said was no answer.
    """

    message: Message
    finish: Finish = "stop"
    tokens: tuple[int, int] = (0, 0)
    error: str | None = None
    again: float | None = None
    down: bool = False


class Model(Protocol):
    """Anything that continues conversations."""

    @property
    def name(self) -> str:
        """The name it was opened by."""
        ...

    @property
    def identity(self) -> str:
        """Hash of what answers: weights and template, or the script. Part of the key of every result."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """One Output for each Request, in order. Never raises for a single bad sample: that is an `error` finish."""
        ...


@runtime_checkable
class KeepsPrefixes(Protocol):
    """A model that keeps what it read of an episode until the episode's next turn."""

    def episodes_kept(self, request: Request) -> int:
        """Return how many episodes that begin with this request it can keep at a time."""
        ...
