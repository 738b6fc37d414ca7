"""One conversation between a client and a server, decided by the gate: bytes in, messages out, no I/O.

    for out in session.from_client(line):   # or from_server
        (server if out.to == "server" else client).write(dump(out.message))

The session renumbers every forwarded request, so a response can only match a request that passed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from holdfast.core.errors import InputError, StoreError
from holdfast.guard.act import Act
from holdfast.guard.concern import TOOL as CONCERN
from holdfast.guard.concern import definition
from holdfast.guard.gate import Gate
from holdfast.guard.policy.load import check_tools
from holdfast.guard.policy.policy import Policy
from holdfast.guard.policy.validate import Fault
from holdfast.guard.relay.input_requests import Rounds
from holdfast.guard.relay.jsonrpc import (
    DENIED,
    HELD,
    INVALID_PARAMS,
    INVALID_REQUEST,
    UNSUPPORTED_VERSION,
    Message,
    Refused,
    dump,
    failure,
    kind,
    parse,
)
from holdfast.guard.relay.methods import (
    ASKED_BACK,
    FROM_CLIENT,
    FROM_SERVER,
    HANDSHAKE,
    MODERN,
    ROUND,
    Era,
    check_parameters,
    era_of,
)
from holdfast.guard.relay.tool_pins import Pins
from holdfast.guard.relay.tools import Catalogue, Listing

Side = Literal["client", "server"]
#: The peer's message if the guard itself fails.
_BROKEN = "the guard could not decide; nothing passed"
_UNKNOWN = "the call may have been executed: the guard could not record its outcome"
_SERVER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: The numeric fields of two notifications; their text fields are dropped.
_NUMBERS = {
    "notifications/progress": ("progressToken", "progress", "total"),
    "notifications/cancelled": ("requestId",),
}


@dataclass(frozen=True, slots=True)
class Out:
    """A message to write."""

    to: Side
    message: Message


@dataclass(frozen=True)
class Link:
    """State shared by all conversations between one run of an agent and one server.

    Attributes:
        era: the oldest allowed era if a person sets it; otherwise the newest era that the server has used.
        largest: maximum frame size in bytes in either direction.
    """

    gate: Gate
    run: str
    agent: str
    server: str
    catalogue: Catalogue
    era: Era | None = None
    largest: int = 4 * 1024 * 1024
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
        decision = self.gate.judge(act)
        if decision.answer != "allow":
            raise Refused(HELD if decision.answer == "hold" else DENIED, decision.agent_message)
        return act

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


@dataclass(frozen=True, slots=True)
class _PendingRequest:
    """A forwarded request without a response; `then` handles the response of a request that the guard made."""

    message: Message
    era: Era
    act: Act | None = None
    then: Callable[[Message], list[Out]] | None = None


class Session:
    """One conversation. Thread-safe; calls are serialised."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.era: Era | None = None
        self._lock = threading.RLock()
        self._number = 0
        self._pending: dict[int, _PendingRequest] = {}
        self._server_requests: dict[int, tuple[Message, Act | None]] = {}
        #: tool calls and listings that wait for a listing from the server
        self._queue: list[tuple[Message, Era]] = []

    def from_client(self, raw: bytes) -> list[Out]:
        """Handle one frame from the client."""
        try:
            message = parse(raw, self.link.largest)
        except Refused as refused:
            self.link.note(refused.why)
            return [Out("client", failure(None, refused.code, refused.why))]
        return self.take(message)

    def take(self, message: Message) -> list[Out]:
        """Handle one message from the client that `parse` returned."""
        with self._lock:
            return self._guarded("client", message, self._client_message)

    def from_server(self, raw: bytes) -> list[Out]:
        """Handle one frame from the server."""
        try:
            message = parse(raw, self.link.largest)
        except Refused as refused:
            # The frame's request is unknown, so every open request fails; a late response matches none.
            self.link.note(f"from the server: {refused.why}")
            return self.fail_all("the server's answer was refused")
        with self._lock:
            return self._guarded("server", message, self._server_message)

    def fail_all(self, why: str) -> list[Out]:
        """Answer every open request with a failure; later responses to them are refused."""
        with self._lock:
            asked, self._pending = self._pending, {}
            return [out for one in asked.values() for out in self._failed(one, DENIED, why)]

    def fail(self, number: int, why: str) -> list[Out]:
        """Answer the open request with this forwarded number with a failure; do nothing if it is closed."""
        with self._lock:
            one = self._pending.pop(number, None)
            return self._failed(one, DENIED, why) if one else []

    def _guarded(self, side: Side, message: Message, step: Callable[[Message], list[Out]]) -> list[Out]:
        """Run a step; any error in it becomes a refusal, and nothing passes."""
        try:
            try:
                return step(message)
            except Refused as refused:
                code, why = refused.code, refused.why
                # The gate has logged its own decisions already.
                if code not in (DENIED, HELD):
                    self.link.note(why if side == "client" else f"from the server: {why}")
        except InputError:
            raise
        except Exception:
            code, why = DENIED, _BROKEN
        return [Out(side, failure(message["id"], code, why))] if kind(message) == "request" else []

    # -------------------------------------------------------------------------------------------- from the client

    def _client_message(self, message: Message) -> list[Out]:
        what = kind(message)
        if what == "response":
            return self._client_answer(message)
        name, params = message["method"], message.get("params", {})
        era = self._client_era(name, params) if what == "request" else self.era or HANDSHAKE
        method = check_parameters(message, FROM_CLIENT[era])
        if what == "notification":
            return self._notification("server", message, method.gated)
        identity = message["id"]
        if any(_same(one.message["id"], identity) for one in self._pending.values() if not one.then) or any(
            _same(queued["id"], identity) for queued, _ in self._queue
        ):
            raise Refused(INVALID_REQUEST, "a request with this id is still open")
        if name == "tools/list" or name == "tools/call":
            return self._with_tools(message, era)
        self.link.rounds.spend(name, params)
        return [self._forward(_PendingRequest(message, era, self.link.judged(name, params) if method.gated else None))]

    def _client_era(self, method: str, params: Mapping[str, Any]) -> Era:
        era = era_of(params, method)
        if (self.era and era != self.era) or era < self.link.oldest:
            raise Refused(
                UNSUPPORTED_VERSION, f"this conversation requires protocol version {self.era or self.link.oldest}"
            )
        if era == HANDSHAKE and method != "ping" and (self.era is None) != (method == "initialize"):
            raise Refused(INVALID_REQUEST, "the first request, and only the first, must be initialize")
        return era

    def _client_answer(self, message: Message) -> list[Out]:
        number = message["id"]
        question, act = self._server_requests.pop(number, (None, None)) if type(number) is int else (None, None)
        if question is None:
            raise Refused(INVALID_REQUEST, "the response matches no open request")
        if act:
            self.link.gate.settle(act, _outcome(message))
        return [Out("server", {**message, "id": question["id"]})]

    def _notification(self, to: Side, message: Message, gated: bool) -> list[Out]:
        name, params = message["method"], message.get("params", {})
        if name == "notifications/cancelled":
            return self._cancelled(to, params.get("requestId"))
        if gated:
            self.link.gate.settle(self.link.judged(name, params), {"ok": True})
        if name in _NUMBERS:
            message = {**message, "params": {key: params[key] for key in _NUMBERS[name] if key in params}}
        return [Out(to, message)]

    def _cancelled(self, to: Side, identity: object) -> list[Out]:
        if to == "server":
            number = next((n for n, one in self._pending.items() if _same(one.message["id"], identity)), None)
            if number is not None and (act := self._pending.pop(number).act):
                self.link.gate.settle(act, {"ok": None, "why": "cancelled"})
        else:
            number = next((n for n, (m, _) in self._server_requests.items() if _same(m["id"], identity)), None)
            if number is not None and (act := self._server_requests.pop(number)[1]):
                self.link.gate.settle(act, {"ok": None, "why": "cancelled"})
        if number is None:
            return []
        params = {"requestId": number}
        return [Out(to, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})]

    # -------------------------------------------------------------------------------------------------- the tools

    def _with_tools(self, message: Message, era: Era) -> list[Out]:
        """Answer a listing, or a call without a fresh listing, after fetching the server's listing."""
        calls = message["method"] == "tools/call"
        if calls and message.get("params", {}).get("name") == CONCERN:
            receipt = self.link.gate.raise_concern(self.link.act(CONCERN, _arguments(message)))
            return [_tool_result(message, era, receipt, error=False)]
        if calls and self.link.catalogue.fresh:
            return self._call(message, era)
        self._queue.append((message, era))
        return [self._ask_page(message, era, Listing(), None)] if len(self._queue) == 1 else []

    def _ask_page(self, cause: Message, era: Era, listing: Listing, cursor: str | None) -> Out:
        meta = {k: v for k, v in cause.get("params", {}).get("_meta", {}).items() if k != "progressToken"}
        params = ({"_meta": meta} if meta else {}) | ({"cursor": cursor} if cursor else {})

        def then(answer: Message) -> list[Out]:
            if "error" in answer:
                raise Refused(DENIED, "the server answered tools/list with an error")
            if more := listing.add(answer["result"]):
                return [self._ask_page(cause, era, listing, more)]
            for fault in self.link.catalogue.take(listing.definitions):
                self.link.note(fault)
            self._speaks(era)
            return self._listed(listing)

        question = {"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params}
        return self._forward(_PendingRequest(question, era, then=then))

    def _listed(self, listing: Listing) -> list[Out]:
        queue, self._queue = self._queue, []
        outs: list[Out] = []
        for message, era in queue:
            if message["method"] == "tools/call":
                outs += self._guarded("client", message, lambda m, era=era: self._call(m, era))  # type: ignore[misc]
            else:
                tools = [dict(tool.definition) for tool in self.link.catalogue.tools.values()]
                result = {**listing.first, "tools": [*tools, definition()]}
                result.pop("nextCursor", None)
                # A time to live of 0: a list cached by the client could outlast a change of policy.
                result |= {"ttlMs": 0} if "ttlMs" in result else {}
                outs.append(Out("client", {"jsonrpc": "2.0", "id": message["id"], "result": result}))
        return outs

    def _call(self, message: Message, era: Era) -> list[Out]:
        params = message.get("params", {})
        name, arguments = params.get("name"), _arguments(message)
        if not isinstance(name, str):
            raise Refused(INVALID_PARAMS, "a tool call needs the name of the tool as a string")
        tool = self.link.catalogue.tools.get(name)
        if tool is None:
            # The reply does not reveal whether a hidden tool exists; the log records the attempt.
            self.link.note(f"a call of a tool that is not listed: {name!r}")
            return [_tool_result(message, era, f"There is no tool {name!r} for you.")]
        if misfit := tool.misfit(arguments):
            self.link.note(misfit)
            return [_tool_result(message, era, misfit)]
        self.link.rounds.spend(message["method"], params)
        act = self.link.act(name, arguments, tool.hash)
        decision = self.link.gate.judge(act, reads=tool.reads)
        if decision.answer != "allow":
            return [_tool_result(message, era, decision.agent_message)]
        runs = decision.stored or act
        forwarded = {**message, "params": {**params, "arguments": dict(runs.arguments)}}
        return [self._forward(_PendingRequest(forwarded, era, act))]

    # -------------------------------------------------------------------------------------------- from the server

    def _server_message(self, message: Message) -> list[Out]:
        what = kind(message)
        if what == "response":
            return self._server_answer(message)
        name, params = message["method"], message.get("params", {})
        method = check_parameters(message, FROM_SERVER[self.era or HANDSHAKE])
        if name == "notifications/tools/list_changed":
            self.link.catalogue.forget()
        if what == "notification":
            return self._notification("client", message, method.gated)
        act = self.link.judged(name, params) if method.gated else None
        self._number += 1
        self._server_requests[self._number] = (message, act)
        return [Out("client", {**message, "id": self._number})]

    def _server_answer(self, message: Message) -> list[Out]:
        number = message["id"]
        one = self._pending.pop(number, None) if type(number) is int else None
        if one is None:
            raise Refused(INVALID_REQUEST, "the response matches no open request")
        try:
            if one.then:
                return one.then(message)
            if "result" in message:
                self._check_result(one, message["result"])
            if one.act:
                self.link.gate.settle(one.act, _outcome(message))
        except Refused as refused:
            self.link.note(f"from the server: {refused.why}")
            return self._failed(one, refused.code, refused.why)
        except InputError:
            raise
        except Exception:
            return self._failed(one, DENIED, _UNKNOWN)
        return [Out("client", {**message, "id": one.message["id"]})]

    def _check_result(self, one: _PendingRequest, result: Message) -> None:
        method, params = one.message["method"], one.message.get("params", {})
        if method in ("initialize", "server/discover"):
            return self._agree(one.era, result)
        if one.era == MODERN:
            self._speaks(MODERN)
        if one.era == HANDSHAKE or result.get("resultType", "complete") == "complete":
            return None
        questions = result.get("inputRequests") or {}
        if result["resultType"] != "input_required" or not isinstance(questions, dict):
            raise Refused(INVALID_REQUEST, "the guard does not pass results of this type")
        for question in questions.values():
            check_parameters({"id": 0, **question}, ASKED_BACK)
            self.link.gate.settle(self.link.judged(question["method"], question.get("params", {})), {"ok": True})
        return self.link.rounds.opened(method, params, result.get("requestState"), questions)

    def _agree(self, era: Era, result: Message) -> None:
        if era == HANDSHAKE and result.get("protocolVersion") != HANDSHAKE:
            raise Refused(UNSUPPORTED_VERSION, f"the server does not support protocol version {HANDSHAKE}")
        if era == MODERN and MODERN not in result.get("supportedVersions", ()):
            # The server does not support the modern era; the client continues with a handshake.
            return
        if not self.link.catalogue.pins.told(result.get("instructions") or ""):
            raise Refused(DENIED, "the server's instructions differ from their pin")
        self._speaks(era)

    def _speaks(self, era: Era) -> None:
        if self.era is None:
            self.era = era
            self.link.catalogue.pins.spoke(era)

    def _forward(self, one: _PendingRequest) -> Out:
        self._number += 1
        self._pending[self._number] = one
        return Out("server", {**one.message, "id": self._number})

    def _failed(self, one: _PendingRequest, code: int, why: str) -> list[Out]:
        if one.act:
            # The client gets its answer even if the outcome cannot be logged.
            with suppress(StoreError):
                self.link.gate.settle(one.act, {"ok": None, "why": why})
        waiting = [one.message]
        if one.then:
            waiting, self._queue = [message for message, _ in self._queue], []
        return [Out("client", failure(message["id"], code, why)) for message in waiting]


def _same(one: object, other: object) -> bool:
    """Return whether two ids are equal and of the same type: 1, "1" and true are different ids."""
    return type(one) is type(other) and one == other


def _arguments(message: Message) -> dict[str, Any]:
    found = message.get("params", {}).get("arguments", {})
    if not isinstance(found, dict):
        raise Refused(INVALID_PARAMS, "the arguments of a tool call must be an object")
    return found


def _tool_result(message: Message, era: Era, text: str, *, error: bool = True) -> Out:
    """Return the guard's message as a tool result: agents follow these better than protocol errors."""
    result: Message = {"content": [{"type": "text", "text": text}], "isError": error}
    if era == MODERN:
        result["resultType"] = "complete"
    return Out("client", {"jsonrpc": "2.0", "id": message["id"], "result": result})


def _outcome(message: Message) -> dict[str, Any]:
    body = message.get("result", message.get("error"))
    ok = "result" in message and not message["result"].get("isError")
    return {"ok": ok, "hash": hashlib.sha256(dump(body or {})).hexdigest()}
