"""The relay over streamable HTTP: an ASGI application in front of a server's URL.

Headers are neither trusted nor copied. Headers that must mirror the body are compared with it on the way in, and are
generated from the judged message on the way out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.errors import InputError
from holdfast.core.extras import needs
from holdfast.guard.relay.jsonrpc import (
    HEADER_MISMATCH,
    INVALID_REQUEST,
    Message,
    Refused,
    dump,
    failure,
    kind,
    parse,
    refusals,
)
from holdfast.guard.relay.link import Link
from holdfast.guard.relay.methods import HANDSHAKE, HANDSHAKE_VERSIONS, MODERN, VERSION_KEY
from holdfast.guard.relay.replies import Out
from holdfast.guard.relay.session import Session
from holdfast.guard.relay.upstream import EVENT_TYPE, JSON_TYPE, SESSION_HEADER, Conversation, LostSession, Upstream

with needs("guard"):
    import aiohttp
    import uvicorn
    from mcp.shared.inbound import (
        ERROR_CODE_HTTP_STATUS,
        MCP_METHOD_HEADER,
        MCP_NAME_HEADER,
        MCP_PROTOCOL_VERSION_HEADER,
        NAME_BEARING_METHODS,
        decode_header_value,
    )

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = "/mcp"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_MOST_SESSIONS = 1000


@dataclass(frozen=True, slots=True)
class BearerTokens:
    """Bearer tokens; an empty string means no token.

    Attributes:
        agent: token that the agent sends to the guard; never forwarded.
        server: token that the guard sends to the server; never shown to the agent.
    """

    agent: str = field(default="", repr=False)
    server: str = field(default="", repr=False)


class Relay:
    """The ASGI application.

    Args:
        link: state shared by all conversations.
        url: the server's endpoint.
        hosts: host names of the guard; requests for any other name are refused, as in DNS rebinding.
        tokens: bearer tokens of both sides.
    """

    def __init__(self, link: Link, url: str, hosts: frozenset[str], tokens: BearerTokens) -> None:
        self._link, self._hosts, self._tokens = link, hosts | _LOOPBACK, tokens
        self._upstream = Upstream(link, url, tokens.server)
        self._sessions: dict[str, Conversation] = {}
        self._threads = ThreadPoolExecutor(32, "guard")
        #: exchanges whose client left, and whose outcome is still expected
        self._abandoned: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the connections to the server."""
        for task in list(self._abandoned):
            task.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await self._upstream.close()
        self._threads.shutdown(cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = _headers(scope)
        status = self._misaddressed(scope, headers)
        if status is None and not self._known(headers):
            self._link.note("a request without the agent's token")
            return await _respond(send, 401, None, {"www-authenticate": "Bearer"})
        if status is None and scope["method"] == "GET":
            return await self._listen(headers, receive, send)
        if status is None and scope["method"] == "DELETE":
            status = await self._leave(headers)
        if status is None and scope["method"] != "POST":
            status = 405
        if status is not None:
            return await _respond(send, status)
        raw = b""
        try:
            raw = await _body(receive, self._link.largest)
            message = parse(raw, self._link.largest)
            _check_headers(message, headers)
        except Refused as refused:
            self._link.note(refused.why)
            answers = refusals(raw, refused)
            return await _respond(send, 400, answers if len(answers) > 1 else answers[0])
        await self._post(message, headers, receive, send)

    def _known(self, headers: dict[str, list[str]]) -> bool:
        """Return whether a request has the agent's token, or no token is required."""
        shown = headers.get("authorization", [])
        wanted = f"Bearer {self._tokens.agent}"
        return not self._tokens.agent or (len(shown) == 1 and compare_digest(shown[0].encode(), wanted.encode()))

    def _misaddressed(self, scope: Scope, headers: dict[str, list[str]]) -> int | None:
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or _name(hosts[0]) not in self._hosts:
            return 421
        if any((urlsplit(origin).hostname or "") not in self._hosts for origin in origins):
            return 403
        if scope["path"] != PATH or scope["query_string"]:
            return 404
        posted = headers.get("content-type", [])
        if scope["method"] == "POST" and (len(posted) != 1 or posted[0].partition(";")[0].strip().lower() != JSON_TYPE):
            return 415
        return None

    # -------------------------------------------------------------------------------------------------- requests

    async def _post(self, message: Message, headers: dict[str, list[str]], receive: Receive, send: Send) -> None:
        talk, extra = self._conversation(message, headers)
        if talk is None:
            return await _respond(send, 404, failure(message.get("id"), INVALID_REQUEST, "no such session"))
        outs = await asyncio.get_running_loop().run_in_executor(self._threads, talk.session.take, message)
        if kind(message) != "request":
            with suppress(LostSession):
                async for _ in self._exchange(talk, outs):
                    pass
            return await _respond(send, 202)
        gone = asyncio.create_task(_disconnected(receive))
        writing = asyncio.create_task(self._write(talk, outs, send, extra))
        try:
            await asyncio.wait({gone, writing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            gone.cancel()
            if not writing.done() and talk.session.era == HANDSHAKE:
                # A client that left has cancelled nothing in this era: the act goes on, and its outcome is logged.
                talk.session.abandon(message["id"], "the client left")
                self._abandoned.add(writing)
                writing.add_done_callback(self._forget)
            else:
                writing.cancel()
                try:
                    with suppress(asyncio.CancelledError):
                        await writing
                finally:
                    if headers.get(MCP_PROTOCOL_VERSION_HEADER) == [MODERN]:
                        # The conversation was this one exchange, so its open requests have an unknown outcome.
                        talk.session.fail_all("the client left")

    def _forget(self, writing: asyncio.Task[None]) -> None:
        self._abandoned.discard(writing)
        if not writing.cancelled() and (error := writing.exception()):
            self._link.note(f"an exchange whose client left failed: {type(error).__name__}")

    def _conversation(
        self, message: Message, headers: dict[str, list[str]]
    ) -> tuple[Conversation | None, dict[str, str]]:
        """Return the conversation of a message, and the headers of its response."""
        named = headers.get(SESSION_HEADER, [])
        if message.get("method") == "initialize" and not named:
            name = secrets.token_urlsafe(24)
            while len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[name] = Conversation(Session(self._link))
            return self._sessions[name], {SESSION_HEADER: name}
        if named:
            return self._sessions.get(named[0]) if len(named) == 1 else None, {}
        return Conversation(Session(self._link)), {}

    async def _write(self, talk: Conversation, outs: list[Out], send: Send, extra: dict[str, str]) -> None:
        """Respond with JSON, or with an event stream if notifications or requests precede the response."""
        streaming = False
        try:
            async for message in self._exchange(talk, outs):
                if not streaming and kind(message) == "response":
                    error = message.get("error", {}).get("code")
                    status = ERROR_CODE_HTTP_STATUS.get(error, 200) if talk.session.era != HANDSHAKE else 200
                    return await _respond(send, status, message, extra)
                if not streaming:
                    streaming = True
                    await _start(send, 200, {"content-type": EVENT_TYPE, "cache-control": "no-store", **extra})
                await send({"type": "http.response.body", "body": _event(message), "more_body": True})
                if kind(message) == "response":
                    break
        except LostSession:
            # The client must start a new session, as the protocol says; nothing was executed.
            self._sessions = {name: one for name, one in self._sessions.items() if one is not talk}
            if not streaming:
                return await _respond(send, 404, None, extra)
        else:
            if not streaming:
                return await _respond(send, 502, None, extra)
        await send({"type": "http.response.body", "body": b""})

    async def _exchange(self, talk: Conversation, outs: list[Out]) -> AsyncIterator[Message]:
        """Send the server's messages and handle its answers until none is left; yield the client's messages."""
        todo = list(outs)
        while todo:
            out = todo.pop(0)
            if out.to == "client":
                yield out.message
                continue
            try:
                async for raw in self._upstream.ask(talk, out.message):
                    for one in talk.session.from_server(raw):
                        if one.to == "client":
                            yield one.message
                        else:
                            todo.append(one)
            except LostSession:
                talk.session.lost(out.message.get("id"))
                raise
            if kind(out.message) == "request":
                todo += talk.session.fail(out.message["id"], "no answer came")

    async def _listen(self, headers: dict[str, list[str]], receive: Receive, send: Send) -> None:
        """Relay the handshake era's stream of unsolicited server messages."""
        talk = self._sessions.get((headers.get(SESSION_HEADER) or [""])[0])
        if talk is None:
            return await _respond(send, 404 if SESSION_HEADER in headers else 405)
        gone = asyncio.create_task(_disconnected(receive))
        streaming = asyncio.create_task(self._stream(talk, send))
        await asyncio.wait({gone, streaming}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, streaming):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await streaming
        return None

    async def _stream(self, talk: Conversation, send: Send) -> None:
        started = False
        try:
            async for frame in self._upstream.listen(talk):
                if isinstance(frame, int):
                    if frame != 200:
                        return await _respond(send, frame if frame >= 400 else 502)
                    await _start(send, 200, {"content-type": EVENT_TYPE, "cache-control": "no-store"})
                    started = True
                    continue
                async for message in self._exchange(talk, talk.session.from_server(frame)):
                    await send({"type": "http.response.body", "body": _event(message), "more_body": True})
        except (aiohttp.ClientError, TimeoutError) as error:
            self._link.note(f"the server cannot be reached: {type(error).__name__}")
        except LostSession:
            if not started:
                return await _respond(send, 404)
        if not started:
            return await _respond(send, 502)
        return await send({"type": "http.response.body", "body": b""})

    async def _leave(self, headers: dict[str, list[str]]) -> int:
        talk = self._sessions.pop((headers.get(SESSION_HEADER) or [""])[0], None)
        if talk is None:
            return 404
        talk.session.fail_all("the client left")
        await self._upstream.leave(talk)
        return 204


def _check_headers(message: Message, headers: dict[str, list[str]]) -> None:
    """Check that the headers match the body, because routers and logs read the headers.

    Raises:
        Refused: a header differs from the body or is duplicated.
    """
    for name in (MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER, SESSION_HEADER):
        if len(headers.get(name, [])) > 1:
            raise Refused(HEADER_MISMATCH, f"the header {name} is duplicated")
    params = message.get("params", {})
    meta = params.get("_meta")
    claimed = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER, [None])[0]
    expected: dict[str, Any] = {}
    if claimed is not None:
        expected[MCP_PROTOCOL_VERSION_HEADER] = claimed
        expected[MCP_METHOD_HEADER] = message.get("method")
        if (named := NAME_BEARING_METHODS.get(message.get("method", ""))) and named in params:
            expected[MCP_NAME_HEADER] = params[named]
    elif version not in (None, *HANDSHAKE_VERSIONS) and kind(message) == "request":
        raise Refused(HEADER_MISMATCH, "the version in the header differs from the body")
    for name, value in expected.items():
        if decode_header_value(headers.get(name, [None])[0]) != value:
            raise Refused(HEADER_MISMATCH, f"the header {name} differs from the body")


async def _body(receive: Receive, largest: int) -> bytes:
    whole = bytearray()
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            raise Refused(INVALID_REQUEST, "the client left")
        whole += part.get("body", b"")
        if len(whole) > largest:
            raise Refused(INVALID_REQUEST, f"the frame is longer than {largest} bytes")
        if not part.get("more_body"):
            return bytes(whole)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def _respond(
    send: Send, status: int, message: Message | list[Message] | None = None, extra: dict[str, str] | None = None
) -> None:
    body = b"" if message is None else dump(message)
    headers = {"content-length": str(len(body)), **(extra or {})} | ({"content-type": JSON_TYPE} if body else {})
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})


def _event(message: Message) -> bytes:
    return b"event: message\ndata: " + dump(message) + b"\n\n"


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


def serve_http(link: Link, url: str, listen: str, tokens: BearerTokens) -> None:
    """Serve the relay at `http://LISTEN/mcp` until the process is told to end.

    Raises:
        InputError: `listen` or `url` is not an address; a non-loopback address has no agent token; the server has both
            a password and a token; its token would be sent unencrypted; or the policy names a tool or argument that the
            server lacks.
    """
    host, port = _checked(url, listen, tokens)
    faults: list[InputError] = []

    async def run() -> None:
        relay = Relay(link, url, frozenset({host}), tokens)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await relay(scope, receive, send)
            except InputError as fault:
                faults.append(fault)
                server.should_exit = True
                await _respond(send, 503)

        config = uvicorn.Config(
            serve,
            host,
            port,
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        server = uvicorn.Server(config)
        try:
            await server.serve()
        finally:
            await relay.close()

    asyncio.run(run())
    if faults:
        raise faults[0]


def _checked(url: str, listen: str, tokens: BearerTokens) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise InputError(f"'{listen}' is not HOST:PORT", remedy="use for example 127.0.0.1:8770")
    far = urlsplit(url)
    if far.scheme not in ("http", "https") or not far.hostname:
        raise InputError(f"'{url}' is not an http or https URL", remedy="use for example http://127.0.0.1:8000/mcp")
    if host not in _LOOPBACK and not tokens.agent:
        what = "without a token, anyone who can reach this address could act as the agent"
        raise InputError(what, where=listen, remedy="give the environment variable of a token with --agent-token")
    if tokens.server and far.username is not None:
        what = "the server's URL has a user name or password, and a token is given too"
        raise InputError(what, where=far.hostname, remedy="remove one of the two")
    if tokens.server and far.scheme == "http" and far.hostname not in _LOOPBACK:
        raise InputError("the server's token would be sent unencrypted", where=url, remedy="use https")
    return host, int(port)
