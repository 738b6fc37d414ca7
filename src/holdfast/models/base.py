"""Requests to models, their outputs, and the `Model` protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from holdfast.core.records import Message, ToolCall, ToolSpec

Finish = Literal["stop", "length", "refused", "error"]
#: `Request.case` of a request that only checks a model: it is sent at once, also where others wait for a batch.
PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation that the model continues with one assistant turn.

    `plays` is the script of the case for scripted agents; no other model may read it.
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

    `tokens` are the numbers of input and output tokens.  `error` describes the error, if there was one.  If the request
    may be retried, `retry_after` is the number of seconds to wait (0.0 if the server named none), else None.  `down` is
    true if the server could not be reached or sent no valid answer, and false if it asked the client to wait.
    """

    message: Message
    finish: Finish = "stop"
    tokens: tuple[int, int] = (0, 0)
    error: str | None = None
    retry_after: float | None = None
    down: bool = False


class Model(Protocol):
    """A model: continues conversations."""

    @property
    def name(self) -> str:
        """The name with which it was opened."""
        ...

    @property
    def identity(self) -> str:
        """Hash of what determines the answers: weights and template, or the script.  Part of the key of each result."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one Output for each Request, in order.  A failed request gives an Output with finish `error`."""
        ...


@runtime_checkable
class KeepsPrefixes(Protocol):
    """A model that keeps what it read of an episode until the episode's next turn."""

    def episodes_kept(self, request: Request) -> int:
        """Return how many episodes that begin with this request it can keep at a time."""
        ...
