"""The relay end to end: processes, pipes and sockets, with the official client."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import MCPError, StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client

from holdfast.guard.relay.jsonrpc import dump
from tests.guard.guard_office import META, POLICY, memory

LOOPBACK = pytest.mark.allow_hosts(["127.0.0.1"])
CALL = {"name": "read_note", "arguments": {"path": "/notes/plan.md"}, "_meta": META}
HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "read_note",
}
FILES = """
policy: files
revision: 1
owner: The office
agents: [clerk]
rules:
  - name: read
    allow: [files/read_text_file, files/list_directory]
    where: {path: {under: [FOLDER]}}
    why: These files are for the clerk.
  - name: write
    allow: [files/write_file]
    where: {path: {under: [FOLDER/drafts]}, content: {text: 1000}}
    why: Drafts are the clerk's.
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory() as made:
        made.joinpath("policy.yaml").write_text(POLICY)
        yield made


def guard(folder: Path, *arguments: str, server: str = "office") -> list[str]:
    command = [sys.executable, "-m", "holdfast.cli.main", "guard", "run", "--policy", str(folder / "policy.yaml")]
    return [*command, "--server", server, "--agent", "clerk", "--state", str(folder / "guard"), *arguments]


def office(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "holdfast.guard.adapters.demo_server", "--log", str(folder / "acts"), *arguments]


def acts(folder: Path) -> list[str]:
    path = folder / "acts"
    return [json.loads(line)["act"] for line in path.read_text().splitlines()] if path.exists() else []


def over_stdio(command: list[str], work: Callable[[Client], Awaitable[None]], mode: str) -> None:
    async def run() -> None:
        parameters = StdioServerParameters(command=command[0], args=command[1:])
        async with Client(stdio_client(parameters), mode=mode) as client:  # type: ignore[arg-type]
            await work(client)

    asyncio.run(run())


async def said(client: Client, tool: str, **arguments: Any) -> str:
    return (await client.call_tool(tool, arguments)).content[0].text  # type: ignore[union-attr]


async def work_in_the_office(client: Client) -> None:
    tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools == ["read_note", "send_mail", "delete_backup", "raise_concern"]
    assert "no such note" in await said(client, "read_note", path="/notes/plan.md")
    assert "No rule allows" in await said(client, "send_mail", to="eve@evil.example", text="x")
    assert "ticket" in await said(client, "delete_backup", name="monday")
    for uri in ("note://salaries", "file:///etc/passwd"):
        with pytest.raises(MCPError, match="No rule allows"):
            await client.read_resource(uri)
    with pytest.raises(MCPError, match="No rule allows"):
        await client.get_prompt("greet", {"name": "eve"})
    assert "Case" in await said(client, "raise_concern", concern="I do not like this.")
    assert "under review" in await said(client, "read_note", path="/notes/plan.md")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_official_client_over_stdio(folder: Path, mode: str) -> None:
    over_stdio(guard(folder, "--", *office(folder)), work_in_the_office, mode)
    assert acts(folder) == ["read_note"]


def test_input_without_pipe_ends_the_relay(folder: Path) -> None:
    command = guard(folder, "--", *office(folder))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr


def test_monitor_without_valid_reply_holds_everything(folder: Path) -> None:
    async def work(client: Client) -> None:
        assert "A person must review" in await said(client, "read_note", path="/notes/plan.md")

    over_stdio(guard(folder, "--monitor", "scripted/judge", "--", *office(folder)), work, "auto")
    assert acts(folder) == []


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the demo server and a guard in front of it over HTTP; yield the guard's address."""
    ports = [_free_port(), _free_port()]
    far, near = f"http://127.0.0.1:{ports[0]}/mcp", f"127.0.0.1:{ports[1]}"
    commands = [office(folder, "--http", str(ports[0])), guard(folder, "--http", far, "--listen", near)]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        for port in ports:
            _wait_for(port)
        yield f"http://{near}/mcp"
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(port)


@LOOPBACK
@pytest.mark.parametrize("mode", [pytest.param("legacy", marks=pytest.mark.slow), "auto"])
def test_the_official_client_over_http(folder: Path, mode: str) -> None:
    async def run(url: str) -> None:
        async with Client(url, mode=mode) as client:  # type: ignore[arg-type]
            await work_in_the_office(client)

    with serving(folder) as url:
        asyncio.run(run(url))
    assert acts(folder) == ["read_note"]


@LOOPBACK
@pytest.mark.slow
def test_headers_that_differ_from_the_body_are_refused(folder: Path) -> None:
    body = dump({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL})
    frame = {"content": body, "headers": {**HEADERS, "content-type": "application/json"}}

    def changed(**headers: str) -> dict[str, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {**frame, "headers": {**frame["headers"], **named}}  # type: ignore[dict-item]

    with serving(folder) as url, httpx2.Client(trust_env=False) as client:
        assert client.post(url, **frame).json()["result"]["isError"] is False  # type: ignore[arg-type]
        for forged, status in (
            (changed(mcp_name="send_mail"), 400),
            (changed(mcp_method="tools/list"), 400),
            (changed(mcp_protocol_version="2025-11-25"), 400),
            (changed(content_type="text/plain"), 415),
            (changed(host="evil.example"), 421),
            (changed(origin="http://evil.example"), 403),
            (changed(mcp_session_id="guessed"), 404),
            ({**frame, "content": b"[" + body + b"]"}, 400),
            ({**frame, "content": body.replace(b'"id":1', b'"id":1,"id":2')}, 400),
            ({**frame, "content": b" " * 5_000_000}, 400),
        ):
            assert client.post(url, **forged).status_code == status
        twice = [*frame["headers"].items(), ("mcp-name", "read_note")]  # type: ignore[attr-defined]
        assert client.post(url, content=body, headers=twice).status_code == 400
        assert client.get(url).status_code == 405
        assert client.post(url.replace("/mcp", "/other"), **frame).status_code == 404  # type: ignore[arg-type]
    assert acts(folder) == ["read_note"]


def test_server_processes_die_with_a_killed_guard(folder: Path) -> None:
    # Like npx, the command starts the server as a child, and here also a process that leaves its session.
    marks = [folder / "child", folder / "stray"]
    start = folder / "start.sh"
    start.write_text(f"""
        setsid sh -c "trap '' TERM HUP; echo \\$\\$ > {marks[1]}; sleep 600" &
        sh -c 'echo $$ > {marks[0]}; exec "$@"' sh "$@"
    """)
    process = subprocess.Popen(
        guard(folder, "--", "sh", str(start), *office(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        pids = [_number_in(mark) for mark in marks]
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert all(map(_gone, pids))
    finally:
        process.kill()
        process.communicate()


def _number_in(path: Path) -> int:
    for _ in range(300):
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.1)
    raise TimeoutError(path)


def _gone(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
            # A zombie process exists too.
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


def test_command_that_does_not_start_gives_a_clear_error(folder: Path) -> None:
    found = subprocess.run(guard(folder, "--", "no-such-command"), capture_output=True, text=True, input="")
    assert found.returncode == 2 and "cannot start" in found.stderr and "Traceback" not in found.stderr
    neither = subprocess.run(guard(folder), capture_output=True, text=True, input="")
    assert neither.returncode == 2 and "--http" in neither.stderr


def test_policy_naming_an_unknown_tool_gives_a_clear_error(folder: Path) -> None:
    folder.joinpath("policy.yaml").write_text(POLICY.replace("office/read_note", "office/raed_note"))
    pipe = subprocess.PIPE
    with subprocess.Popen(guard(folder, "--", *office(folder)), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(
            dump({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}) + b"\n"
        )
        process.stdin.flush()
        assert process.wait(60) == 2 and process.stdout.read() == b""
        said = process.stderr.read().decode()
    assert "unknown tool 'office/raed_note' (did you mean 'office/read_note'?)" in said and "Traceback" not in said


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the filesystem server from npm."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm and node are not installed, and the server is theirs")
    package, folder = "@modelcontextprotocol/server-filesystem", tmp_path_factory.mktemp("npm")
    made = subprocess.run(["npm", "install", "--silent", package], cwd=folder, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"npm cannot fetch {package}: {made.stderr[:200]}")
    return folder


@pytest.mark.slow
def test_tutorial_runs_as_written(npm: Path) -> None:
    page = Path("docs/guard-relay.md").read_text()
    work, home = npm / "work", npm / "home"
    (work / "drafts").mkdir(parents=True)
    (work / "plan.txt").write_text("Move the archive on Friday.")
    for name, fence in (("files.yaml", "yaml"), ("agent.py", "python")):
        text = page.partition(f"```{fence} {name}\n")[2].partition("```")[0]
        npm.joinpath(name).write_text(text.replace("/home/me/work", str(work)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    surroundings = {**os.environ, "HOME": str(home), "PATH": path}

    def holdfast(*arguments: str, said: str = "") -> str:
        command = [sys.executable, "-W", "ignore", *arguments]
        done = subprocess.run(command, cwd=npm, env=surroundings, input=said, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    approve = ["-m", "holdfast.cli.main", "guard", "approve"]
    first = holdfast("agent.py")
    assert "'raise_concern']" in first and "read_text_file → Move the archive" in first
    assert "write_file → No rule allows" in first and "write_file → Successfully wrote" in first
    ticket = first.partition("ticket ")[2].partition(",")[0]
    key = ["--own-key", "ann.key"]
    holdfast(*approve, "enrol", "ann", "--role", "keeper", *key, "--passphrase", "a long passphrase")
    assert ticket in holdfast(*approve, "list")
    holdfast(*approve, "yes", ticket, "--person", "ann", *key, said="a long passphrase\ny\n")
    assert "move_file → Successfully moved" in holdfast("agent.py")
    assert (work / "old.txt").exists() and not (work / "plan.txt").exists()
    log = str(home / ".holdfast/guard/guard.db")
    assert holdfast("-m", "holdfast.cli.main", "guard", "verify", log).startswith("valid")


@pytest.mark.slow
def test_the_filesystem_server_from_npm(npm: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "drafts").mkdir(parents=True)
    (files / "a.txt").write_text("one")
    tmp_path.joinpath("policy.yaml").write_text(FILES.replace("FOLDER", str(files)))
    server = ["node", str(npm / "node_modules/.bin/mcp-server-filesystem"), str(tmp_path)]

    async def work(client: Client) -> None:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["read_text_file", "write_file", "list_directory", "raise_concern"]
        assert await said(client, "read_text_file", path=str(files / "a.txt")) == "one"
        assert "[FILE] a.txt" in await said(client, "list_directory", path=str(files))
        assert "Success" in await said(client, "write_file", path=str(files / "drafts/b.txt"), content="two")
        for path in (files / "a.txt", files / "drafts/../a.txt", tmp_path / "policy.yaml"):
            assert "Success" not in await said(client, "write_file", path=str(path), content="gone")
        assert "no tool" in await said(client, "move_file", source=str(files / "a.txt"), destination="x")

    for mode in ("legacy", "auto"):
        over_stdio(guard(tmp_path, "--", *server, server="files"), work, mode)
    assert (files / "a.txt").read_text() == "one" and (files / "drafts/b.txt").read_text() == "two"


@pytest.mark.slow
def test_the_filesystem_server_in_a_sandbox(npm: Path, tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    files = tmp_path / "files"
    (files / "drafts").mkdir(parents=True)
    (files / "a.txt").write_text("one")
    (tmp_path / "secret.txt").write_text("two")
    (tmp_path / "guard").mkdir(mode=0o700)
    given = f"sandbox:\n  files: {{read: [{npm}, {files}], write: [{files}/drafts]}}\nrules:"
    wide = FILES.replace("FOLDER/drafts", "FOLDER").replace("FOLDER", str(tmp_path)).replace("rules:", given)
    tmp_path.joinpath("policy.yaml").write_text(wide)
    # The server itself would serve the whole folder.
    server = ["node", str(npm / "node_modules/.bin/mcp-server-filesystem"), str(tmp_path)]

    async def work(client: Client) -> None:
        assert await said(client, "read_text_file", path=str(files / "a.txt")) == "one"
        assert "Success" in await said(client, "write_file", path=str(files / "drafts/b.txt"), content="two")
        assert "read-only" in await said(client, "write_file", path=str(files / "a.txt"), content="gone")
        for hidden in (tmp_path / "secret.txt", tmp_path / "policy.yaml", tmp_path / "guard/guard.key"):
            assert "ENOENT" in await said(client, "read_text_file", path=str(hidden))

    over_stdio(guard(tmp_path, "--sandbox", "--", *server, server="files"), work, "auto")
    assert (files / "a.txt").read_text() == "one" and (files / "drafts/b.txt").read_text() == "two"
