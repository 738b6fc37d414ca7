"""The state that all conversations between one run of an agent and one server share."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError
from holdfast.guard.act import Act
from holdfast.guard.gate import Gate
from holdfast.guard.policy.load import check_tools
from holdfast.guard.policy.policy import Policy
from holdfast.guard.policy.validate import Fault
from holdfast.guard.relay.input_requests import Rounds
from holdfast.guard.relay.jsonrpc import DENIED, HELD, INVALID_PARAMS, MAX_FRAME, MAX_RESPONSE, Refused
from holdfast.guard.relay.methods import FROM_CLIENT, FROM_SERVER, HANDSHAKE, ROUND, Era, unknown_meta
from holdfast.guard.relay.tool_pins import Pins
from holdfast.guard.relay.tools import Catalogue

_SERVER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Maximum size of the unknown keys in one message's `_meta`, as JSON.
_LARGEST_META = 16_384


@dataclass(frozen=True)
class Link:
    """State shared by all conversations between one run of an agent and one server.

    Attributes:
        era: the oldest allowed era if a person sets it; otherwise the newest era that the server has used.
        largest: maximum size in bytes of a frame from the client.
        largest_response: maximum size in bytes of a frame from the server.
    """

    gate: Gate
    run: str
    agent: str
    server: str
    catalogue: Catalogue
    era: Era | None = None
    largest: int = MAX_FRAME
    largest_response: int = MAX_RESPONSE
    rounds: Rounds = field(default_factory=Rounds)

    @property
    def oldest(self) -> Era:
        """The oldest allowed era."""
        return self.era or self.catalogue.pins.pinned.era or HANDSHAKE

    def act(self, tool: str, arguments: Mapping[str, Any], definition: str = "") -> Act:
        """Return an act of this run's agent on this server."""
        return Act(self.run, self.agent, self.server, tool, arguments, definition)

    def judged(self, method: str, params: Mapping[str, Any]) -> Act:
        """Judge a method other than a tool call and return it as an act.

        Raises:
            Refused: the act is denied or held.
        """
        arguments = {name: value for name, value in params.items() if name not in ROUND and name != "_meta"}
        act = self.act(method, arguments)
        decision = self.gate.judge(act, beside=unknown_meta(params))
        if decision.answer != "allow":
            raise Refused(HELD if decision.answer == "hold" else DENIED, decision.agent_message)
        return act

    def log_meta(self, method: str, params: Mapping[str, Any]) -> None:
        """Log the keys of `_meta` that the protocol does not define; they pass.

        Raises:
            Refused: they are too large. Editors send a few short ids.
        """
        unknown = unknown_meta(params)
        if not unknown:
            return
        if len(json.dumps(unknown)) > _LARGEST_META:
            raise Refused(INVALID_PARAMS, f"the unknown keys of _meta are longer than {_LARGEST_META} characters")
        self.gate.log_meta(self.run, self.server, method, unknown)

    def note(self, why: str) -> None:
        """Log a refusal that happened before there was an act."""
        self.gate.refused(self.run, self.server, why)


def link_to(
    gate: Gate,
    pins: Path,
    server: str,
    agent: str,
    run: str | None = None,
    repin: frozenset[str] = frozenset(),
    era: Era | None = None,
) -> Link:
    """Create a link for one run of an agent.

    Args:
        gate: decides acts.
        pins: path of the pins file.
        server: the server's name in the policy.
        agent: the agent's name in the policy.
        run: the run's id; random if None.
        repin: tools whose current definition a person accepts.
        era: the oldest allowed era, even if the server has used a newer one.

    Raises:
        InputError: the policy does not cover this agent, the server's name is invalid, or the pins cannot be used.
    """
    if agent not in gate.policy.source.agents:
        known = ", ".join(gate.policy.source.agents)
        what = f"the policy {gate.policy.name} does not cover the agent '{agent}'"
        raise InputError(what, remedy=f"use one of: {known}")
    if not _SERVER.fullmatch(server):
        raise InputError(f"'{server}' is not a valid server name", remedy="use letters, digits, '.', '-' and '_'")
    visible, misnamed = partial(gate.visible, agent, server), partial(_misnamed, gate.policy, server)
    catalogue = Catalogue(Pins(pins, server), visible, misnamed, repin)
    return Link(gate, run or secrets.token_hex(8), agent, server, catalogue, era)


def _misnamed(policy: Policy, server: str, tools: Mapping[str, Collection[str]]) -> Fault | None:
    """Return the first error in what the policy says about this server's tools."""
    offered: dict[str, Collection[str]] = {f"{server}/{tool}": arguments for tool, arguments in tools.items()}
    # A policy names methods in the same way as tools.
    for table in (*FROM_CLIENT.values(), *FROM_SERVER.values()):
        methods = {f"{server}/{name}": method.params for name, method in table.items() if method.gated}
        offered |= {name: params for name, params in methods.items() if name in policy.tools}
    return next(iter(check_tools(policy, offered, server)), None)
