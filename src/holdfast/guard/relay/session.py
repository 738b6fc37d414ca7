"""One conversation between a client and a server, with the gate in between; bytes in, messages out, no I/O.

    for out in session.from_client(line):   # or from_server
        (server if out.to == "server" else client).write(dump(out.message))

The session renumbers every request that it forwards, so an answer can only ever belong to a question that passed.
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
#: What the peer reads where the guard itself fails.
_BROKEN = "the guard could not decide; nothing passed"
_UNKNOWN = "it may have happened: the guard could not take down what came of it"
_SERVER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: What remains of the two notifications that carry text beside their numbers.
_NUMBERS = {
    "notifications/progress": ("progressToken", "progress", "total"),
    "notifications/cancelled": ("requestId",),
}


@dataclass(frozen=True, slots=True)
class Out:
    """A message that is to be written."""

    to: Side
    message: Message


@dataclass(frozen=True)
class Link:
    """What all conversations between one run of an agent and one server share.

    Attributes:
        era: the oldest era that may be spoken, where a person says so; else the newest that the server has spoken.
        largest: largest frame in bytes, either way.
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
        """The oldest era that may be spoken."""
        return self.era or self.catalogue.pins.pinned.era or HANDSHAKE

    def act(self, tool: str, arguments: Mapping[str, Any], definition: str = "") -> Act:
        """An act of this run's agent at this server."""
        return Act(self.run, self.agent, self.server, tool, arguments, definition)

    def judged(self, method: str, params: Mapping[str, Any]) -> Act:
        """The act that a method other than a tool's call is, once it is allowed.

        Raises:
            Refused: it is not.
        """
        arguments = {name: value for name, value in params.items() if name not in ROUND and name != "_meta"}
        act = self.act(method, arguments)
        decision = self.gate.judge(act)
        if decision.answer != "allow":
            raise Refused(HELD if decision.answer == "hold" else DENIED, decision.agent_message)
        return act

    def note(self, why: str) -> None:
        """Write down a refusal that came before there was an act."""
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
    """A link for one run of an agent; the guard names the run where nobody else does.

    Args:
        gate: decides.
        pins: the file of pins.
        server: the server, as the policy calls it.
        agent: the agent, as the policy calls it.
        run: the run's name.
        repin: tools whose definition a person accepts as it is now.
        era: the oldest era that may be spoken, even if the server has spoken a newer one.

    Raises:
        InputError: the policy is not for this agent, or the pins cannot be used.
    """
    if agent not in gate.policy.source.agents:
        known = ", ".join(gate.policy.source.agents)
        raise InputError(f"the policy {gate.policy.name} is not for the agent '{agent}'", remedy=f"it is for {known}")
    if not _SERVER.fullmatch(server):
        raise InputError(f"'{server}' is no name of a server", remedy="letters, digits, '.', '-' and '_'")
    visible, misnamed = partial(gate.visible, agent, server), partial(_misnamed, gate.policy, server)
    catalogue = Catalogue(Pins(pins, server), visible, misnamed, repin)
    return Link(gate, run or secrets.token_hex(8), agent, server, catalogue, era)


def _misnamed(policy: Policy, server: str, tools: Mapping[str, Collection[str]]) -> Fault | None:
    """The first thing that the policy says of this server's tools and that is not so."""
    offered: dict[str, Collection[str]] = {f"{server}/{tool}": arguments for tool, arguments in tools.items()}
    # Methods are known to the policy as tools are.
    for table in (*FROM_CLIENT.values(), *FROM_SERVER.values()):
        methods = {f"{server}/{name}": method.params for name, method in table.items() if method.gated}
        offered |= {name: params for name, params in methods.items() if name in policy.tools}
    return next(iter(check_tools(policy, offered, server)), None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that passed and has no answer yet; `then` takes the answer where the guard itself asked."""

    message: Message
    era: Era
    act: Act | None = None
    then: Callable[[Message], list[Out]] | None = None


class Session:
    """One conversation; safe to call from many threads, one at a time."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.era: Era | None = None
        self._lock = threading.RLock()
        self._number = 0
        self._asked: dict[int, _Asked] = {}
        self._asked_back: dict[int, tuple[Message, Act | None]] = {}
        #: calls and listings that wait for a listing of the server's tools
        self._queue: list[tuple[Message, Era]] = []

    def from_client(self, raw: bytes) -> list[Out]:
        """Take one frame of the client's."""
        try:
            message = parse(raw, self.link.largest)
        except Refused as refused:
            self.link.note(refused.why)
            return [Out("client", failure(None, refused.code, refused.why))]
        return self.take(message)

    def take(self, message: Message) -> list[Out]:
        """Take one message of the client's, as `parse` read it."""
        with self._lock:
            return self._guarded("client", message, self._client_message)

    def from_server(self, raw: bytes) -> list[Out]:
        """Take one frame of the server's."""
        try:
            message = parse(raw, self.link.largest)
        except Refused as refused:
            # Nobody can know whose answer it was: whoever waits is told, and a late answer belongs to nobody.
            self.link.note(f"from the server: {refused.why}")
            return self.fail_all("the server's answer was refused")
        with self._lock:
            return self._guarded("server", message, self._server_message)

    def fail_all(self, why: str) -> list[Out]:
        """Answer every open request with a failure; whatever the server says to them later does not pass."""
        with self._lock:
            asked, self._asked = self._asked, {}
            return [out for one in asked.values() for out in self._failed(one, DENIED, why)]

    def fail(self, number: int, why: str) -> list[Out]:
        """Answer the open request that was forwarded under this number with a failure; nothing if it is closed."""
        with self._lock:
            one = self._asked.pop(number, None)
            return self._failed(one, DENIED, why) if one else []

    def _guarded(self, side: Side, message: Message, step: Callable[[Message], list[Out]]) -> list[Out]:
        """Take a step; whatever goes wrong in it becomes a refusal, and nothing passes."""
        try:
            try:
                return step(message)
            except Refused as refused:
                code, why = refused.code, refused.why
                # What the gate decided is in the log already.
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
        if any(_same(one.message["id"], identity) for one in self._asked.values() if not one.then) or any(
            _same(queued["id"], identity) for queued, _ in self._queue
        ):
            raise Refused(INVALID_REQUEST, "a request with this id is still open")
        if name == "tools/list" or name == "tools/call":
            return self._with_tools(message, era)
        self.link.rounds.spend(name, params)
        return [self._forward(_Asked(message, era, self.link.judged(name, params) if method.gated else None))]

    def _client_era(self, method: str, params: Mapping[str, Any]) -> Era:
        era = era_of(params, method)
        if (self.era and era != self.era) or era < self.link.oldest:
            raise Refused(UNSUPPORTED_VERSION, f"this conversation speaks {self.era or self.link.oldest}")
        if era == HANDSHAKE and method != "ping" and (self.era is None) != (method == "initialize"):
            raise Refused(INVALID_REQUEST, "initialize first, and once")
        return era

    def _client_answer(self, message: Message) -> list[Out]:
        number = message["id"]
        question, act = self._asked_back.pop(number, (None, None)) if type(number) is int else (None, None)
        if question is None:
            raise Refused(INVALID_REQUEST, "an answer to nothing that was asked")
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
            number = next((n for n, one in self._asked.items() if _same(one.message["id"], identity)), None)
            if number is not None and (act := self._asked.pop(number).act):
                self.link.gate.settle(act, {"ok": None, "why": "cancelled"})
        else:
            number = next((n for n, (m, _) in self._asked_back.items() if _same(m["id"], identity)), None)
            if number is not None and (act := self._asked_back.pop(number)[1]):
                self.link.gate.settle(act, {"ok": None, "why": "cancelled"})
        if number is None:
            return []
        params = {"requestId": number}
        return [Out(to, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})]

    # -------------------------------------------------------------------------------------------------- the tools

    def _with_tools(self, message: Message, era: Era) -> list[Out]:
        """Answer from a listing that is known to be fresh; fetch one first where it is not."""
        calls = message["method"] == "tools/call"
        if calls and message.get("params", {}).get("name") == CONCERN:
            receipt = self.link.gate.raise_concern(self.link.act(CONCERN, _arguments(message)))
            return [_said(message, era, receipt, error=False)]
        if calls and self.link.catalogue.fresh:
            return self._call(message, era)
        self._queue.append((message, era))
        return [self._ask_page(message, era, Listing(), None)] if len(self._queue) == 1 else []

    def _ask_page(self, cause: Message, era: Era, listing: Listing, cursor: str | None) -> Out:
        meta = {k: v for k, v in cause.get("params", {}).get("_meta", {}).items() if k != "progressToken"}
        params = ({"_meta": meta} if meta else {}) | ({"cursor": cursor} if cursor else {})

        def then(answer: Message) -> list[Out]:
            if "error" in answer:
                raise Refused(DENIED, "the server does not list its tools")
            if more := listing.add(answer["result"]):
                return [self._ask_page(cause, era, listing, more)]
            for fault in self.link.catalogue.take(listing.definitions):
                self.link.note(fault)
            self._speaks(era)
            return self._listed(listing)

        question = {"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params}
        return self._forward(_Asked(question, era, then=then))

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
                # The guard lists anew whenever it is asked; a list kept by the client would outlive a policy.
                result |= {"ttlMs": 0} if "ttlMs" in result else {}
                outs.append(Out("client", {"jsonrpc": "2.0", "id": message["id"], "result": result}))
        return outs

    def _call(self, message: Message, era: Era) -> list[Out]:
        params = message.get("params", {})
        name, arguments = params.get("name"), _arguments(message)
        if not isinstance(name, str):
            raise Refused(INVALID_PARAMS, "a call names its tool")
        tool = self.link.catalogue.tools.get(name)
        if tool is None:
            # Whoever tries names shall not learn which exist; the log shall show the trying.
            self.link.note(f"a call of a tool that is not listed: {name!r}")
            return [_said(message, era, f"There is no tool {name!r} for you.")]
        if misfit := tool.misfit(arguments):
            self.link.note(misfit)
            return [_said(message, era, misfit)]
        self.link.rounds.spend(message["method"], params)
        act = self.link.act(name, arguments, tool.hash)
        decision = self.link.gate.judge(act, reads=tool.reads)
        if decision.answer != "allow":
            return [_said(message, era, decision.agent_message)]
        runs = decision.stored or act
        forwarded = {**message, "params": {**params, "arguments": dict(runs.arguments)}}
        return [self._forward(_Asked(forwarded, era, act))]

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
        self._asked_back[self._number] = (message, act)
        return [Out("client", {**message, "id": self._number})]

    def _server_answer(self, message: Message) -> list[Out]:
        number = message["id"]
        one = self._asked.pop(number, None) if type(number) is int else None
        if one is None:
            raise Refused(INVALID_REQUEST, "an answer to nothing that was asked")
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

    def _check_result(self, one: _Asked, result: Message) -> None:
        method, params = one.message["method"], one.message.get("params", {})
        if method in ("initialize", "server/discover"):
            return self._agree(one.era, result)
        if one.era == MODERN:
            self._speaks(MODERN)
        if one.era == HANDSHAKE or result.get("resultType", "complete") == "complete":
            return None
        questions = result.get("inputRequests") or {}
        if result["resultType"] != "input_required" or not isinstance(questions, dict):
            raise Refused(INVALID_REQUEST, "the server's answer is of a kind that this guard does not pass")
        for question in questions.values():
            check_parameters({"id": 0, **question}, ASKED_BACK)
            self.link.gate.settle(self.link.judged(question["method"], question.get("params", {})), {"ok": True})
        return self.link.rounds.opened(method, params, result.get("requestState"), questions)

    def _agree(self, era: Era, result: Message) -> None:
        if era == HANDSHAKE and result.get("protocolVersion") != HANDSHAKE:
            raise Refused(UNSUPPORTED_VERSION, "the server speaks a version that this guard does not")
        if era == MODERN and MODERN not in result.get("supportedVersions", ()):
            # An honest answer that the era is not spoken here: the client goes on with a handshake.
            return
        if not self.link.catalogue.pins.told(result.get("instructions") or ""):
            raise Refused(DENIED, "the server's instructions are not what was pinned")
        self._speaks(era)

    def _speaks(self, era: Era) -> None:
        if self.era is None:
            self.era = era
            self.link.catalogue.pins.spoke(era)

    def _forward(self, one: _Asked) -> Out:
        self._number += 1
        self._asked[self._number] = one
        return Out("server", {**one.message, "id": self._number})

    def _failed(self, one: _Asked, code: int, why: str) -> list[Out]:
        if one.act:
            # Where not even this can be written, whoever waits is told all the same.
            with suppress(StoreError):
                self.link.gate.settle(one.act, {"ok": None, "why": why})
        waiting = [one.message]
        if one.then:
            waiting, self._queue = [message for message, _ in self._queue], []
        return [Out("client", failure(message["id"], code, why)) for message in waiting]


def _same(one: object, other: object) -> bool:
    """Ids are equal only as the same type: 1, "1" and true are three ids."""
    return type(one) is type(other) and one == other


def _arguments(message: Message) -> dict[str, Any]:
    found = message.get("params", {}).get("arguments", {})
    if not isinstance(found, dict):
        raise Refused(INVALID_PARAMS, "a call's arguments are an object")
    return found


def _said(message: Message, era: Era, text: str, *, error: bool = True) -> Out:
    """A tool's result that is the guard's own word: agents heed these better than protocol errors."""
    result: Message = {"content": [{"type": "text", "text": text}], "isError": error}
    if era == MODERN:
        result["resultType"] = "complete"
    return Out("client", {"jsonrpc": "2.0", "id": message["id"], "result": result})


def _outcome(message: Message) -> dict[str, Any]:
    body = message.get("result", message.get("error"))
    ok = "result" in message and not message["result"].get("isError")
    return {"ok": ok, "hash": hashlib.sha256(dump(body or {})).hexdigest()}
