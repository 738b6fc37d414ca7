"""One conversation between a client and a server, decided by the gate: bytes in, messages out, no I/O.

    for out in session.from_client(line):   # or from_server
        (server if out.to == "server" else client).write(dump(out.message))

The session renumbers every forwarded request, so a response can only match a request that passed. If the answer to a
forwarded act is lost, the client is told so in words that differ from those of a denial: the act may have been done.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import InputError, StoreError
from holdfast.guard.act import Act
from holdfast.guard.concern import TOOL as CONCERN
from holdfast.guard.concern import definition
from holdfast.guard.relay.jsonrpc import (
    DENIED,
    HELD,
    INVALID_PARAMS,
    INVALID_REQUEST,
    UNKNOWN,
    UNSUPPORTED_VERSION,
    Message,
    Refused,
    failure,
    identities_of,
    kind,
    parse,
    parse_response,
    refusals,
)
from holdfast.guard.relay.link import Link
from holdfast.guard.relay.methods import (
    ASKED_BACK,
    CAPABILITIES,
    FROM_CLIENT,
    FROM_SERVER,
    HANDSHAKE,
    HANDSHAKE_VERSIONS,
    MODERN,
    Era,
    check_parameters,
    era_of,
    proposed_version,
    unknown_meta,
)
from holdfast.guard.relay.replies import Out, Side, call_arguments, failed, outcome_of, same_id, tool_result
from holdfast.guard.relay.tools import Listing

#: The peer's message if the guard itself fails.
_BROKEN = "the guard could not decide; nothing passed"
#: The client's message if the answer to a forwarded act is lost: the server answered, or it did not.
_ANSWER_LOST = "done, answer lost: the server answered, but {}. Check what was done before you repeat it."
_OUTCOME_UNKNOWN = "sent, outcome unknown: {}. The act may have been done: check before you repeat it."
_UNFINISHED = "not finished: the server asked something that may not pass. {}"
_UNRECORDED = "the guard could not record its outcome"
#: Maximum number of lines of a server that are not messages, such as log lines, that are logged for a conversation.
_MOST_STRAYS = 50
#: Maximum number of abandoned requests whose late answers are still expected.
_MOST_ABANDONED = 1000
#: The numeric fields of two notifications; their text fields are dropped.
_NUMBERS = {
    "notifications/progress": ("progressToken", "progress", "total"),
    "notifications/cancelled": ("requestId",),
}


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
        #: acts whose requests the client abandoned, and the log numbers of their intents
        self._abandoned: OrderedDict[int, tuple[Act, int | None]] = OrderedDict()
        self._strays = 0
        #: the version that both sides agreed on, and the request to start with, in the handshake era
        self.version: str | None = None
        self._opening: Message | None = None
        #: tool calls and listings that wait for a listing from the server
        self._queue: list[tuple[Message, Era]] = []

    def from_client(self, raw: bytes) -> list[Out]:
        """Handle one frame from the client."""
        try:
            message = parse(raw, self.link.largest)
        except Refused as refused:
            self.link.note(refused.why)
            return [Out("client", answer) for answer in refusals(raw, refused)]
        return self.take(message)

    def take(self, message: Message) -> list[Out]:
        """Handle one message from the client that `parse` returned."""
        with self._lock:
            return self._guarded("client", message, self._client_message)

    def from_server(self, raw: bytes) -> list[Out]:
        """Handle one frame from the server.

        A frame that is no message, such as a line of a server's log, is dropped. If it has the id of an open request,
        or is a batch with several, these requests are answered, and no other.
        """
        try:
            message = parse_response(raw, self.link.largest_response)
        except Refused as refused:
            with self._lock:
                self._note_stray(refused.why)
                answered = map(self._closed, identities_of(raw, request=False))
                return [out for one in answered if one for out in self._failed(one, refused.why, _ANSWER_LOST)]
        with self._lock:
            return self._guarded("server", message, self._server_message)

    def fail_all(self, why: str) -> list[Out]:
        """Answer every open request with a failure; later responses to them are refused."""
        with self._lock:
            asked, self._pending = self._pending, {}
            self._abandoned.clear()
            return [out for one in asked.values() for out in self._failed(one, why)]

    def fail(self, number: int, why: str) -> list[Out]:
        """Answer the open request with this forwarded number with a failure; do nothing if it is closed."""
        with self._lock:
            one = self._closed(number)
            return self._failed(one, why) if one else []

    def lost(self, number: object) -> None:
        """Close the open request with this forwarded number, which the server did not execute."""
        with self._lock:
            one = self._closed(number)
            if one and one.act:
                self.link.gate.settle(one.act, {"ok": False, "why": "the server lost its session"})

    def abandon(self, identity: object, why: str) -> int | None:
        """Close a client's request that the client no longer waits for; its id is free at once.

        A late answer is logged as the outcome of its act, and not passed on. A call that still waits for the list of
        tools is not sent.

        Returns:
            The forwarded number of the request; None if it was not forwarded.
        """
        with self._lock:
            self._queue = [(one, era) for one, era in self._queue if not same_id(one["id"], identity)]
            open_ones = ((n, one) for n, one in self._pending.items() if not one.then)
            number = next((n for n, one in open_ones if same_id(one.message["id"], identity)), None)
            if number is not None and (act := self._pending.pop(number).act):
                self._abandoned[number] = act, self.link.gate.settle(act, {"ok": None, "why": why})
                while len(self._abandoned) > _MOST_ABANDONED:
                    self._abandoned.popitem(last=False)
            return number

    def reopen(self) -> list[Out]:
        """Start a new session with a server that lost the present one; the client notices nothing.

        Returns:
            The message to the server. If its answer is accepted, `from_server` returns the notification that completes
            the handshake, and otherwise nothing.
        """

        def then(answer: Message) -> list[Out]:
            agreed = self.version
            if "error" in answer:
                raise Refused(DENIED, "the server did not start a new session")
            self._agree(HANDSHAKE, answer["result"])
            if self.version != agreed:
                self.version = agreed
                raise Refused(UNSUPPORTED_VERSION, "the server changed its protocol version")
            # The server may have restarted with other tools.
            self.link.catalogue.forget()
            return [Out("server", {"jsonrpc": "2.0", "method": "notifications/initialized"})]

        with self._lock:
            if self._opening is None:
                return []
            return [self._forward(_PendingRequest(self._opening, HANDSHAKE, then=then))]

    def _closed(self, number: object) -> _PendingRequest | None:
        """Close the open request with this forwarded number and return it."""
        return self._pending.pop(number, None) if type(number) is int else None

    def _note_stray(self, why: str) -> None:
        self._strays += 1
        if self._strays < _MOST_STRAYS:
            self.link.note(f"from the server: {why}")
        elif self._strays == _MOST_STRAYS:
            self.link.note("from the server: further lines that are no messages are dropped without a log entry")

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
        self.link.log_meta(name, params)
        if what == "notification":
            return self._notification("server", message, method.gated)
        identity = message["id"]
        if any(same_id(one.message["id"], identity) for one in self._pending.values() if not one.then) or any(
            same_id(queued["id"], identity) for queued, _ in self._queue
        ):
            raise Refused(INVALID_REQUEST, "a request with this id is still open")
        if name == "tools/list" or name == "tools/call":
            return self._with_tools(message, era)
        if name == "initialize":
            message = {**message, "params": {**params, "protocolVersion": proposed_version(params)}}
            self._opening = message
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
            self.link.gate.settle(act, outcome_of(message))
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
            number = self.abandon(identity, "cancelled")
        else:
            number = next((n for n, (m, _) in self._server_requests.items() if same_id(m["id"], identity)), None)
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
            receipt = self.link.gate.raise_concern(self.link.act(CONCERN, call_arguments(message)))
            return [tool_result(message, era, receipt, error=False)]
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
        name, arguments = params.get("name"), call_arguments(message)
        if not isinstance(name, str):
            raise Refused(INVALID_PARAMS, "a tool call needs the name of the tool as a string")
        tool = self.link.catalogue.tools.get(name)
        if tool is None:
            # The reply does not reveal whether a hidden tool exists; the log records the attempt.
            self.link.note(f"a call of a tool that is not listed: {name!r}")
            return [tool_result(message, era, f"There is no tool {name!r} for you.")]
        if misfit := tool.misfit(arguments):
            self.link.note(misfit)
            return [tool_result(message, era, misfit)]
        self.link.rounds.spend(message["method"], params)
        act = self.link.act(name, arguments, tool.hash)
        decision = self.link.gate.judge(act, reads=tool.reads, beside=unknown_meta(params))
        if decision.answer != "allow":
            return [tool_result(message, era, decision.agent_message)]
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
        self.link.log_meta(name, params)
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
        if type(number) is int and number in self._abandoned:
            self.link.gate.settle_late(*self._abandoned.pop(number), outcome_of(message))
            return []
        one = self._closed(number)
        if one is None:
            raise Refused(INVALID_REQUEST, "the response matches no open request")
        try:
            if one.then:
                return one.then(message)
            if "result" in message:
                self._check_result(one, message["result"])
                if one.message["method"] in ("initialize", "server/discover"):
                    message = {**message, "result": self._offered(message["result"])}
            if one.act:
                self.link.gate.settle(one.act, outcome_of(message), message.get("result", message.get("error")))
        except Refused as refused:
            self.link.note(f"from the server: {refused.why}")
            return self._failed(one, refused.why, _UNFINISHED if refused.code in (DENIED, HELD) else _ANSWER_LOST)
        except InputError:
            raise
        except Exception:
            return self._failed(one, _UNRECORDED, _ANSWER_LOST)
        return [Out("client", {**message, "id": one.message["id"]})]

    def _offered(self, result: Message) -> Message:
        """Return the answer to an opening with the capabilities that the policy may allow the agent to use.

        Clients use a capability without being asked, for example to set the level of the log, and give up if they are
        denied what the server offered.
        """
        offered = result.get("capabilities")
        if not isinstance(offered, dict):
            return result
        link = self.link
        allowed = {
            name: offered[name]
            for name, methods in CAPABILITIES.items()
            if name in offered and (not methods or any(link.gate.visible(link.agent, link.server, m) for m in methods))
        }
        return {**result, "capabilities": allowed}

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
        if era == HANDSHAKE:
            if result.get("protocolVersion") not in HANDSHAKE_VERSIONS:
                known = ", ".join(HANDSHAKE_VERSIONS)
                raise Refused(UNSUPPORTED_VERSION, f"the server supports none of the protocol versions {known}")
            self.version = result["protocolVersion"]
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

    def _failed(self, one: _PendingRequest, why: str, wording: str = _OUTCOME_UNKNOWN) -> list[Out]:
        """Answer a forwarded request that gets no answer from the server.

        Args:
            one: the request, which is closed.
            why: the reason.
            wording: text for the client about the act.
        """
        if one.act:
            # The client gets its answer even if the outcome cannot be logged.
            with suppress(StoreError):
                self.link.gate.settle(one.act, {"ok": None, "why": why})
            return [failed(one.message, one.era, UNKNOWN, wording.format(why))]
        if one.then is None:
            text = f"no answer: {why}" if wording == _OUTCOME_UNKNOWN else why
            return [failed(one.message, one.era, DENIED, text)]
        if one.message["method"] != "tools/list":
            return []
        waiting, self._queue = self._queue, []
        text = f"nothing was sent: the list of tools could not be read, because {why}"
        return [failed(message, era, DENIED, text) for message, era in waiting]
