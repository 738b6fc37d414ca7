"""The guard's side towards a server over streamable HTTP: requests, sessions and event streams.

If a server lost a session, for example because it was restarted, the guard starts a new one with the client's own
opening and sends the request again. A server that answers 404 has not executed it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.extras import needs
from holdfast.guard.relay.jsonrpc import Message, dump
from holdfast.guard.relay.link import Link
from holdfast.guard.relay.methods import HANDSHAKE, MODERN
from holdfast.guard.relay.session import Session

with needs("guard"):
    import aiohttp
    from mcp.shared.inbound import (
        MCP_METHOD_HEADER,
        MCP_NAME_HEADER,
        MCP_PROTOCOL_VERSION_HEADER,
        NAME_BEARING_METHODS,
        encode_header_value,
        mcp_param_headers,
        x_mcp_header_map,
    )
    from yarl import URL

Response = aiohttp.ClientResponse
SESSION_HEADER = "mcp-session-id"
JSON_TYPE, EVENT_TYPE = "application/json", "text/event-stream"
#: The protocol restricts session ids to visible ASCII.
_NAMES = re.compile(r"[\x21-\x7e]+")
#: Seconds without a byte after which the guard no longer waits for an answer; the client usually gives up earlier.
_LONGEST_ANSWER = 3600.0
#: Bytes of a refusal that are searched for the word "session".
_REFUSAL = 4096


class LostSession(Exception):
    """The server lost the session and did not start a new one."""


@dataclass
class Conversation:
    """A conversation with a client, and the server's id of its session in the handshake era."""

    session: Session
    upstream: str | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class Upstream:
    """Posts the messages of conversations to a server.

    Args:
        link: state shared by all conversations.
        url: the server's endpoint.
        token: bearer token for the server; empty if it needs none.
    """

    def __init__(self, link: Link, url: str, token: str) -> None:
        self._link, self._url = link, URL(url, encoded=True)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        # aiohttp rather than httpx, which takes three times as long for each call.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_LONGEST_ANSWER),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._client.close()

    async def ask(self, talk: Conversation, message: Message) -> AsyncIterator[bytes]:
        """Post one message to the server and yield the frames of its answer.

        Raises:
            LostSession: the server lost the session and starts no new one; it has not executed the message.
        """
        try:
            for again in (True, False):
                named = None if message.get("method") == "initialize" else talk.upstream
                async with self._post(talk, message) as response:
                    body = b"" if response.status != 400 else await response.content.read(_REFUSAL)
                    if named is None or not _lost(response.status, body):
                        async for frame in self._answer(talk, message, response, body):
                            yield frame
                        return
                if not again:
                    raise LostSession
                await self._reopen(talk, named)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._link.note(f"the server cannot be reached: {type(error).__name__}")

    async def _answer(
        self, talk: Conversation, message: Message, response: Response, body: bytes = b""
    ) -> AsyncIterator[bytes]:
        if message.get("method") == "initialize" and not self._named(talk, response):
            return
        async for frame in self.frames(response, body):
            yield frame

    def _named(self, talk: Conversation, response: Response) -> bool:
        """Store the id of a new session and return whether it is valid."""
        talk.upstream = response.headers.get(SESSION_HEADER)
        if talk.upstream is None or _NAMES.fullmatch(talk.upstream):
            return True
        # The guard would send it back in a header of its own.
        talk.upstream = None
        self._link.note("the server's session id is not visible ASCII")
        return False

    async def _reopen(self, talk: Conversation, named: str | None) -> None:
        """Start a new session in place of the one called `named`.

        Raises:
            LostSession: the server does not start one, or answers otherwise than at first.
        """
        async with talk.opening:
            if talk.upstream != named:
                return  # another request of this conversation has started it
            self._link.note("the server lost its session; a new one is started")
            for out in talk.session.reopen():
                async with self._post(talk, out.message) as response:
                    frames = [frame async for frame in self._answer(talk, out.message, response)]
                answers = [one for frame in frames for one in talk.session.from_server(frame) if one.to == "server"]
                talk.session.fail(out.message["id"], "no answer came")
                for one in answers:
                    async with self._post(talk, one.message):
                        return
            talk.upstream = named
            raise LostSession

    async def leave(self, talk: Conversation) -> None:
        """End the server's session."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._request("DELETE", self._headers_of(talk, None)):
                pass

    async def listen(self, talk: Conversation) -> AsyncIterator[bytes | int]:
        """Yield the status of the stream of unsolicited messages, and then its frames.

        Raises:
            LostSession: see `ask`.
        """
        named = talk.upstream
        for again in (True, False):
            async with self._request("GET", self._headers_of(talk, None)) as response:
                lost = named is not None and response.status == 404
                if not lost:
                    yield response.status
                    async for frame in self.frames(response) if response.status == 200 else _nothing():
                        yield frame
                    return
            if not again:
                raise LostSession
            await self._reopen(talk, named)

    def _post(self, talk: Conversation, message: Message) -> AbstractAsyncContextManager[Response]:
        return self._request("POST", self._headers_of(talk, message), data=dump(message))

    def _request(self, method: str, headers: dict[str, str], **more: Any) -> AbstractAsyncContextManager[Response]:
        return self._client.request(method, self._url, headers=headers, allow_redirects=False, **more)

    async def frames(self, response: Response, body: bytes = b"") -> AsyncIterator[bytes]:
        """Yield the messages in a response, of which `body` was read already."""
        what = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.headers.get("content-encoding", "identity") != "identity" or 300 <= response.status < 400:
            return
        largest = self._link.largest_response
        if what == EVENT_TYPE:
            async for frame in events(response.content.iter_any(), largest):
                yield frame
        elif what == JSON_TYPE:
            whole = bytearray(body)
            async for chunk in response.content.iter_any():
                whole += chunk
                if len(whole) > largest:
                    break
            if whole.strip():
                yield bytes(whole)

    def _headers_of(self, talk: Conversation, message: Message | None) -> dict[str, str]:
        accept = EVENT_TYPE if message is None else f"{JSON_TYPE}, {EVENT_TYPE}"
        headers = {**self._headers, "accept": accept, "accept-encoding": "identity"}
        if message is not None:
            headers["content-type"] = JSON_TYPE
        if message is not None and message.get("method") == "initialize":
            return headers
        if talk.upstream:
            headers[SESSION_HEADER] = talk.upstream
        if talk.session.era == HANDSHAKE:
            return headers | {MCP_PROTOCOL_VERSION_HEADER: talk.session.version or HANDSHAKE}
        if message is None or "method" not in message:
            return headers
        method, params = message["method"], message.get("params", {})
        headers |= {MCP_PROTOCOL_VERSION_HEADER: MODERN, MCP_METHOD_HEADER: method}
        if named := NAME_BEARING_METHODS.get(method):
            headers[MCP_NAME_HEADER] = encode_header_value(str(params.get(named)))
        tool = self._link.catalogue.tools.get(params.get("name", "")) if method == "tools/call" else None
        if tool:
            headers |= mcp_param_headers(x_mcp_header_map(tool.definition["inputSchema"]), params["arguments"])
        return headers


def _lost(status: int, body: bytes) -> bool:
    """Return whether a server refused a message because it does not know the session.

    The protocol's answer is 404. Some servers answer 400 and name the session in the body.
    """
    return status == 404 or (status == 400 and b"session" in body.lower())


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def events(chunks: AsyncIterator[bytes], largest: int) -> AsyncIterator[bytes]:
    """Yield the data of each event in a stream; an oversized event is yielded incomplete, so that it is refused."""
    buffer, data = bytearray(), bytearray()
    async for chunk in chunks:
        buffer += chunk
        # A long line may arrive in many chunks: it is split only once, at its end.
        *lines, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n") if b"\n" in chunk else [buffer]
        for line in lines:
            if line.startswith(b"data:"):
                data += line[5:].removeprefix(b" ") + b"\n"
            elif not line and data:
                frame, data = bytes(data[:-1]), bytearray()
                if frame.strip():
                    yield frame
        if len(buffer) + len(data) > largest:
            yield bytes(data + buffer)
            return
