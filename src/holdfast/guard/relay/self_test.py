"""Self-test at start-up: a probe that must be denied is sent through every path.

The probes use the same session, gate, policy and log that will serve, for a server that does not exist. The guard
starts only if each probe is denied and logged.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from holdfast.core.errors import RefusedError
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.relay.jsonrpc import Message, dump
from holdfast.guard.relay.link import Link
from holdfast.guard.relay.methods import FROM_CLIENT, FROM_SERVER, HANDSHAKE, MODERN, VERSION_KEY, Era
from holdfast.guard.relay.replies import Side
from holdfast.guard.relay.session import Session
from holdfast.guard.relay.tools import Catalogue, tool_of

_NAME = "holdfast-proof"
_BROKEN = {
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "a key twice": b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
    "no JSON": b'{"jsonrpc":"2.0","id":1,',
    "an unknown method": b'{"jsonrpc":"2.0","id":1,"method":"holdfast/proof"}',
    "an unknown field": b'{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}',
    "an answer to nothing": b'{"jsonrpc":"2.0","id":1,"result":{}}',
}


def run_self_test(link: Link, evidence: AuditLog) -> int:
    """Check that a probe is denied on every path.

    Returns:
        The number of paths.

    Raises:
        RefusedError: a probe passed, or its denial is not in the log.
    """
    before = _denials(evidence)
    link = replace(link, gate=link.gate.for_self_test())
    judged = shown = 0
    name = f"{_NAME}-{secrets.token_hex(4)}"
    for path, era, side, raw in probes(name):
        session = _session(link, era, name)
        outs = (session.from_client if side == "client" else session.from_server)(raw)
        if any(out.to != side for out in outs):
            what = f"the probe '{path}' passed to a server that does not exist"
            raise RefusedError(what, where=link.gate.policy.name, remedy="narrow the rule that allows every server")
        judged += path.startswith(("client ", "server "))
        shown += 1
    if _denials(evidence) - before != judged:
        raise RefusedError("a probe's denial is not in the log", where=evidence.path, remedy="holdfast guard verify")
    return shown


def probes(name: str) -> Iterator[tuple[str, Era, Side, bytes]]:
    """Yield the probes (path, era, sender, frame) for every gated method and for malformed frames."""
    for era in (HANDSHAKE, MODERN):
        meta = {"_meta": {VERSION_KEY: MODERN}} if era == MODERN else {}
        for side, table in (("client", FROM_CLIENT[era]), ("server", FROM_SERVER[era])):
            for method, entry in table.items():
                if entry.gated:
                    params: dict[str, Any] = {"name": name} if "name" in entry.params else {}
                    params |= {"uri": f"{name}://"} if "uri" in entry.params else {}
                    yield f"{side} {method}", era, _side(side), _frame(method, params | meta)
        for what, raw in _BROKEN.items():
            yield what, era, "client", raw
            yield what, era, "server", raw
    yield "an older era", MODERN, "client", _frame("tools/list", {})


def _session(link: Link, era: Era, name: str) -> Session:
    # The server has the tool and the agent may see it, so only the gate can deny the call.
    tool = tool_of({"name": name, "inputSchema": {"type": "object"}})
    catalogue = Catalogue(link.catalogue.pins, visible=bool, tools={name: tool}, until=math.inf)
    # A separate run with limits of its own, so that the denials do not count against the agent.
    session = Session(replace(link, run=name, server=name, catalogue=catalogue))
    session.era = era
    return session


def _frame(method: str, params: dict[str, Any]) -> bytes:
    message: Message = {"jsonrpc": "2.0", "method": method, "params": params}
    return dump(message if method.startswith("notifications/") else {**message, "id": 1})


def _side(name: str) -> Side:
    return "client" if name == "client" else "server"


def _denials(evidence: AuditLog) -> int:
    [row] = evidence.read("SELECT count(*) AS n FROM log WHERE kind IN ('denied', 'held')")
    return int(row["n"])
