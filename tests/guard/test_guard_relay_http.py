"""The relay over HTTP: tokens on both sides, broken connections, and shutdown."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.cli.main import run
from holdfast.core.errors import InputError
from holdfast.guard.relay.http import BearerTokens, Relay, serve_http
from holdfast.guard.relay.jsonrpc import dump
from holdfast.guard.relay.methods import HANDSHAKE
from holdfast.guard.relay.upstream import Response, Upstream, events
from tests.guard.guard_office import META, POLICY, GuardFixture, Office, guarded, memory, tools

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
AGENT, SERVER = "agents-token-0001", "servers-token-0001"
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "read_note", "arguments": {"path": "/notes/a"}, "_meta": META},
}
OPEN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
}
HEADERS = {
    "content-type": "application/json",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "read_note",
}


@pytest.fixture
def guard() -> Iterator[GuardFixture]:
    with memory() as folder, guarded(folder) as made:
        yield made


@contextmanager
def upstream(office: Office, session: str | None = None) -> Iterator[tuple[str, list[str | None]]]:
    """Serve the fake server over HTTP; yield its URL and the authorization header of each request."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            shown.append(self.headers["authorization"])
            answer = office.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if session is not None:
                self.send_header("mcp-session-id", session)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp", shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_agent_and_server_have_separate_tokens(guard: GuardFixture) -> None:
    async def ask(url: str) -> list[int]:
        relay = Relay(guard.link(), url, frozenset(), BearerTokens(AGENT, SERVER))
        bearers = [f"Bearer {AGENT}", None, "Bearer wrong", f"bearer{AGENT}", f"Bearer {SERVER}", AGENT]
        found = []
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(relay), base_url="http://127.0.0.1") as client:
            for bearer in bearers:
                shown = {"authorization": bearer} if bearer else {}
                answer = await client.post("/mcp", content=dump(CALL), headers=HEADERS | shown)
                found.append(answer.status_code)
            for verb in ("GET", "DELETE"):
                found.append((await client.request(verb, "/mcp")).status_code)
            twice = [*HEADERS.items(), ("authorization", f"Bearer {AGENT}"), ("authorization", "Bearer wrong")]
            found.append((await client.post("/mcp", content=dump(CALL), headers=twice)).status_code)
        await relay.close()
        return found

    office = Office()
    with upstream(office) as (url, shown):
        assert asyncio.run(ask(url)) == [200] + [401] * 8
    assert office.calls == [("read_note", {"path": "/notes/a"})]
    assert set(shown) == {f"Bearer {SERVER}"}
    assert guard.kinds().count("refused") == 8
    assert AGENT not in repr(BearerTokens(AGENT)) and SERVER not in repr(BearerTokens(server=SERVER))


@pytest.mark.parametrize(
    ("url", "listen", "tokens", "said"),
    [
        ("http://127.0.0.1:1/mcp", "0.0.0.0:8770", BearerTokens(), "act as the agent"),
        ("http://127.0.0.1:1/mcp", "guard.firm.example:8770", BearerTokens(server=SERVER), "act as the agent"),
        ("http://mail.example/mcp", "127.0.0.1:8770", BearerTokens(server=SERVER), "unencrypted"),
        (
            "https://ann:word@mail.example/mcp",
            "127.0.0.1:8770",
            BearerTokens(server=SERVER),
            "^(?!.*word@).*a token is given too",
        ),
        ("ftp://mail.example/mcp", "127.0.0.1:8770", BearerTokens(), "not an http or https URL"),
        ("http:///mcp", "127.0.0.1:8770", BearerTokens(), "not an http or https URL"),
        ("http://127.0.0.1:1/mcp", "8770", BearerTokens(), "not HOST:PORT"),
    ],
)
def test_insecure_addresses_are_refused(
    guard: GuardFixture, url: str, listen: str, tokens: BearerTokens, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        serve_http(guard.link(), url, listen, tokens)


def test_call_without_response_is_made_once(guard: GuardFixture) -> None:
    office = Office()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lists its tools over a connection that stays open, and drops it at the first call."""
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            answer = office.answer(json.loads(await reader.readexactly(length)))
            if office.calls:
                break
            body = json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async def ask() -> httpx2.Response:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        relay = Relay(
            guard.link(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", frozenset(), BearerTokens()
        )
        async with (
            server,
            httpx2.AsyncClient(transport=httpx2.ASGITransport(relay), base_url="http://127.0.0.1") as client,
        ):
            answer = await client.post("/mcp", content=dump(CALL), headers=HEADERS)
            await relay.close()
        return answer

    answer = asyncio.run(ask())
    assert answer.json()["result"]["content"][0]["text"].startswith("sent, outcome unknown: no answer came")
    assert len(office.calls) == 1
    [outcome] = guard.evidence.entries("outcome")
    assert outcome.content["ok"] is None


@pytest.mark.parametrize("name", ["caf\u00e9", "two words", "tab\there", ""])
def test_session_id_must_be_visible_ascii(guard: GuardFixture, name: str) -> None:
    async def ask(url: str) -> tuple[httpx2.Response, list[str]]:
        relay = Relay(guard.link(), url, frozenset(), BearerTokens())
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(relay), base_url="http://127.0.0.1") as client:
            answer = await client.post("/mcp", content=dump(OPEN), headers={"content-type": "application/json"})
        kept = [conversation.upstream for conversation in relay._sessions.values() if conversation.upstream]
        await relay.close()
        return answer, kept

    for given, said in (("abc-123", None), (name, "no answer: no answer came")):
        with upstream(Office(), given) as (url, _):
            answer, kept = asyncio.run(ask(url))
        assert answer.json().get("error", {}).get("message") == said
        assert kept == ([] if said else [given])


def test_broken_connection_is_logged_as_unknown_outcome(guard: GuardFixture) -> None:
    office = Office()

    class Breaking(Upstream):
        async def frames(self, response: Response, body: bytes = b"") -> AsyncIterator[bytes]:
            if office.calls:
                raise RuntimeError("broken")
            async for frame in super().frames(response, body):
                yield frame

    async def ask(url: str) -> None:
        relay = Relay(guard.link(), url, frozenset(), BearerTokens())
        await relay._upstream.close()
        relay._upstream = Breaking(guard.link(), url, "")
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(relay), base_url="http://127.0.0.1") as client:
                await client.post("/mcp", content=dump(CALL), headers=HEADERS)
        finally:
            await relay.close()

    with upstream(office) as (url, _), pytest.raises(RuntimeError, match="broken"):
        asyncio.run(ask(url))
    [outcome] = guard.evidence.entries("outcome")
    assert outcome.content["ok"] is None


def test_line_in_many_chunks_is_parsed_once() -> None:
    async def read(text: bytes) -> list[bytes]:
        async def crumbs() -> AsyncIterator[bytes]:
            for byte in text:
                yield bytes([byte])

        return [frame async for frame in events(crumbs(), 1 << 20)]

    long = b"x" * 300_000
    begun = time.process_time()
    assert asyncio.run(read(b"data: a\r\ndata: b\r\n\r\ndata:" + long + b"\n\n")) == [b"a\nb", long]
    assert time.process_time() - begun < 2


def test_policy_naming_a_missing_tool_ends_the_relay(guard: GuardFixture) -> None:
    async def ask(url: str) -> None:
        relay = Relay(guard.link(), url, frozenset(), BearerTokens())
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(relay), base_url="http://127.0.0.1") as client:
                await client.post("/mcp", content=dump(CALL), headers=HEADERS)
        finally:
            await relay.close()

    office = Office()
    office.tools = tools()[1:]
    with upstream(office) as (url, _), pytest.raises(InputError, match="unknown tool 'office/read_note'"):
        asyncio.run(ask(url))
    assert not office.calls


@pytest.mark.parametrize("value", [None, "", "short", "sixteen and more with spaces"])
def test_token_is_read_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    if value is not None:
        monkeypatch.setenv("GUARD_TOKEN", value)
    options = ["--policy", str(tmp_path / "policy.yaml"), "--server", "office", "--agent", "clerk"]
    options += ["--state", str(tmp_path / "guard"), "--http", "http://127.0.0.1:1/mcp", "--agent-token", "GUARD_TOKEN"]
    assert run(["guard", "run", *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "$GUARD_TOKEN" in last and "sixteen" not in last
