"""The records that every part of the guard shares: an agent's act and the decision on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.identity import canonical

Answer = Literal["allow", "hold", "deny"]


@dataclass(frozen=True, slots=True)
class Act:
    """One tool call that an agent requests, before it is executed.

    Attributes:
        run: the id of the agent's run. Whoever starts the guard chooses it, never the agent.
        agent: the agent's name in the policy.
        server: the name in the policy of the server that owns the tool.
        tool: the tool's name, or the method's name for a protocol method that is not a tool call.
        arguments: decoded JSON, exactly what will be forwarded.
        definition: hash of the tool's pinned definition.
    """

    run: str
    agent: str
    server: str
    tool: str
    arguments: Mapping[str, Any]
    definition: str = ""

    @property
    def key(self) -> str:
        """SHA-256 of the canonical act. Approvals bind to the full hash, because agents may search for collisions."""
        act = [self.run, self.agent, self.server, self.tool, dict(self.arguments), self.definition]
        return hashlib.sha256(canonical(act).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on an act.

    Attributes:
        answer: `allow` forwards the act, `deny` refuses it, `hold` waits for a person's approval.
        rules: names of the policy rules that decided, for the log and the reviewer.
        reason: the reason for the log and the reviewer. It may quote facts that the agent must not learn.
        agent_message: the message that the agent reads. It never reveals what a monitor found.
        policy: hash of the policy's version.
        persons: number of persons who must approve a held act.
        stored: the approved copy of the act, which is the one to execute; None if no approval was needed.
        why: for each of `rules`, why it exists, as the policy says it.
    """

    answer: Answer
    rules: tuple[str, ...]
    reason: str
    agent_message: str
    policy: str
    persons: int = 1
    stored: Act | None = None
    why: tuple[str, ...] = ()
