"""What an agent wants to do, and what is decided about it: the words that every part of the guard shares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.identity import canonical

Answer = Literal["allow", "hold", "deny"]


@dataclass(frozen=True, slots=True)
class Act:
    """One act that an agent asks for, before it happens.

    Attributes:
        run: the agent's run, chosen by whoever starts the guard and never by the agent.
        agent: who acts, as the policy calls it.
        server: the server that owns the tool, as the policy calls it.
        tool: the tool's name; a protocol method that is no tool call has the method's name.
        arguments: decoded JSON, exactly what will be forwarded.
        definition: hash of the tool's definition as it was pinned.
    """

    run: str
    agent: str
    server: str
    tool: str
    arguments: Mapping[str, Any]
    definition: str = ""

    @property
    def key(self) -> str:
        """SHA-256 of the canonical act: what an approval is bound to, in full, because agents may search for twins."""
        act = [self.run, self.agent, self.server, self.tool, dict(self.arguments), self.definition]
        return hashlib.sha256(canonical(act).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided about an act.

    Attributes:
        answer: `allow` forwards it, `deny` refuses it, `hold` waits for a person's approval.
        rules: the policy's rules that decided, for the log and the reviewer.
        reason: why, for the log and the reviewer; may quote facts that the agent must not learn.
        agent_message: what the agent is told; it never reveals what a monitor saw.
        policy: hash of the policy's version.
        persons: how many persons must approve a held act.
        stored: the copy that persons approved, which is the one to run; None where nobody had to.
    """

    answer: Answer
    rules: tuple[str, ...]
    reason: str
    agent_message: str
    policy: str
    persons: int = 1
    stored: Act | None = None
