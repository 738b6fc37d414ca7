"""Real clients and servers through the guard, compared with a direct connection: one row for each pair.

    python -m bench.guard_clients --json [--install FOLDER] [--client NAME] [--server NAME] [--table]

Each client connects to each server directly, and through `guard run` with a policy that allows one tool. `lists`: the
guard's listing has that tool and `raise_concern`. `allowed`: a call of the tool is answered as directly. `denied`: a
call of another tool, or with other arguments, is refused in words that the client shows. `version` is the protocol
version that the client and the guard agreed on, where the client tells. A program that cannot be installed, or that
does not work directly, has a row that says so; it counts neither as passed nor as failed.

`--install` names a folder in which npm packages and virtual environments are, or are to be, installed. `--table` prints
the table of docs/guard-clients.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent / "clients"
_SECONDS = 120
_POLICY = """
policy: clients
revision: 1
owner: The bench
agents: [clerk]
rules:
  - name: one-tool
    allow: [peer/{tool}]
    where: {where}
    why: To be tried.
"""
Plan = dict[str, Any]
Call = tuple[str, dict[str, Any]]


class NotInstalled(Exception):
    """A program is not installed, and could not be; the message says why."""


@dataclass(frozen=True)
class Programs:
    """Where the programs of other makers are installed.

    Attributes:
        folder: a folder with `npm/NAME` and `python/NAME`; None if nothing may be installed.
    """

    folder: Path | None

    def npm(self, package: str) -> Path:
        """Return the folder of an npm package, which is installed if it is missing.

        Raises:
            NotInstalled: there is no npm, or it cannot install the package.
        """
        if self.folder is None or not (shutil.which("npm") and shutil.which("node")):
            raise NotInstalled("no npm and node, or no --install folder")
        folder = self.folder / "npm" / package.rpartition("/")[2]
        if not (folder / "node_modules" / package).exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"name": "bench", "private": true}\n')
            _install(["npm", "install", "--silent", f"{package}@latest"], folder)
        return folder

    def python(self, package: str, *more: str) -> Path:
        """Return the folder of a virtual environment with a package, which is installed if it is missing.

        Args:
            package: the package.
            more: further requirements, such as an older SDK that the package needs and does not name.

        Raises:
            NotInstalled: pip cannot install the package.
        """
        if self.folder is None:
            raise NotInstalled("no --install folder")
        folder = self.folder / "python" / package
        if not (folder / "bin" / "python").exists():
            _install([sys.executable, "-m", "venv", str(folder)], self.folder)
            _install([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", package, *more], self.folder)
        return folder

    def version(self, package: str) -> str:
        """Return the installed version of a package."""
        assert self.folder
        if (folder := self.folder / "python" / package).exists():
            ask = f"from importlib.metadata import version; print(version('{package}'))"
            done = subprocess.run([str(folder / "bin" / "python"), "-c", ask], capture_output=True, text=True)
            return done.stdout.strip()
        path = self.folder / "npm" / package.rpartition("/")[2] / "node_modules" / package / "package.json"
        return str(json.loads(path.read_text())["version"])


def _install(command: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise NotInstalled((done.stderr.strip().splitlines() or ["the installation failed"])[-1][:120])


# ------------------------------------------------------------------------------------------------------------- clients


@dataclass(frozen=True)
class Peer:
    """A client.

    Attributes:
        name: name in the table.
        package: package whose version is shown; empty for the Python SDK that Holdfast itself uses.
        run: makes a session of a plan and returns what it got.
    """

    name: str
    package: str
    run: Callable[[Programs, Plan], dict[str, Any]]


def _script(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _python(mode: str) -> Callable[[Programs, Plan], dict[str, Any]]:
    script = str(_HERE / "python_client.py")
    return lambda _, plan: _script([sys.executable, script, json.dumps({**plan, "mode": mode})])


def _fastmcp(programs: Programs, plan: Plan) -> dict[str, Any]:
    python = programs.python("fastmcp") / "bin" / "python"
    return _script([str(python), str(_HERE / "fastmcp_client.py"), json.dumps(plan)])


def _typescript(package: str) -> Callable[[Programs, Plan], dict[str, Any]]:
    def run(programs: Programs, plan: Plan) -> dict[str, Any]:
        folder = programs.npm(package)
        return _script(["node", str(_HERE / "typescript_client.mjs"), json.dumps(plan), str(folder)])

    return run


def _inspector(programs: Programs, plan: Plan) -> dict[str, Any]:
    """Run the inspector's command line once for the listing and once for each call."""
    folder = programs.npm("@modelcontextprotocol/inspector")
    target = {"type": "streamable-http", "url": plan.get("url")}
    if command := plan.get("command"):
        target = {"command": command[0], "args": command[1:]}
    # On a command line the inspector would take the guard's options for its own.
    config = Path(plan["folder"]) / "inspector.json"
    config.write_text(json.dumps({"mcpServers": {"peer": target}}))
    program = ["node", str(folder / "node_modules" / ".bin" / "mcp-inspector"), "--cli"]
    program += ["--config", str(config), "--server", "peer"]

    def ask(*options: str) -> Any:
        done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=_SECONDS)
        if not done.stdout.strip():
            raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200])
        return json.loads(done.stdout)

    tools = [tool["name"] for tool in ask("--method", "tools/list")["tools"]]
    answers = []
    for name, arguments in plan["calls"]:
        given = [
            f"{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in arguments.items()
        ]
        pairs = [part for one in given for part in ("--tool-arg", one)]
        try:
            result = ask("--method", "tools/call", "--tool-name", name, *pairs)
            answers.append(" ".join(block.get("text", "") for block in result["content"]))
        except (RuntimeError, ValueError, KeyError) as error:
            answers.append(f"error: {error}")
    return {"tools": tools, "answers": answers, "version": None}


CLIENTS = (
    Peer("mcp (Python), handshake", "", _python("legacy")),
    Peer("mcp (Python), automatic", "", _python("auto")),
    Peer("FastMCP", "fastmcp", _fastmcp),
    Peer("TypeScript SDK 1", "@modelcontextprotocol/sdk", _typescript("@modelcontextprotocol/sdk")),
    Peer("TypeScript SDK 2", "@modelcontextprotocol/client", _typescript("@modelcontextprotocol/client")),
    Peer("Inspector CLI", "@modelcontextprotocol/inspector", _inspector),
)

# ------------------------------------------------------------------------------------------------------------- servers


@dataclass(frozen=True)
class Served:
    """A server: how to start it in a folder, a call that the policy allows, and one that it does not.

    Attributes:
        name: name in the table.
        package: package whose version is shown; empty for Holdfast's own demo server.
        command: returns the command line that starts it in a folder; with a port, over HTTP.
        allowed: returns the allowed call, and a text in its answer.
        denied: returns the other call.
        http: whether it serves HTTP instead of stdio.
        where: the policy's `where` for the tool.
    """

    name: str
    package: str
    command: Callable[[Programs, Path, int], list[str]]
    allowed: Callable[[Path], tuple[Call, str]]
    denied: Callable[[Path], Call]
    http: bool = False
    where: str = "any"
    environment: dict[str, str] = field(default_factory=dict)


def _npm(package: str, program: str) -> Callable[[Programs, Path, int], list[str]]:
    def command(programs: Programs, folder: Path, port: int) -> list[str]:
        more = {"mcp-server-filesystem": [str(folder)], "mcp-server-everything": ["streamableHttp"] * bool(port)}
        return ["node", str(programs.npm(package) / "node_modules" / ".bin" / program), *more.get(program, [])]

    return command


def _demo(programs: Programs, folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "holdfast.guard.adapters.demo_server", *(["--http", str(port)] if port else [])]


def _git(programs: Programs, folder: Path, port: int) -> list[str]:
    server = programs.python("mcp-server-git") / "bin" / "mcp-server-git"
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True, capture_output=True)
    return [str(server), "--repository", str(folder)]


def _sqlite(programs: Programs, folder: Path, port: int) -> list[str]:
    server = programs.python("mcp-server-sqlite", "mcp<2") / "bin" / "mcp-server-sqlite"
    return [str(server), "--db-path", str(folder / "bench.db")]


_FASTMCP_SERVER = """
import sys
from fastmcp import FastMCP
app = FastMCP("bench")
@app.tool
def echo(text: str) -> str:
    return text
@app.tool
def erase(name: str) -> str:
    return name
over_http = {"transport": "http", "host": "127.0.0.1", "port": int(sys.argv[1])} if len(sys.argv) > 1 else {}
app.run(**over_http, show_banner=False)
"""


def _fastmcp_server(programs: Programs, folder: Path, port: int) -> list[str]:
    python = programs.python("fastmcp") / "bin" / "python"
    return [str(python), "-c", _FASTMCP_SERVER, *([str(port)] if port else [])]


def _always(call: Call) -> Callable[[Path], Call]:
    return lambda _: call


def _answered(tool: str, answer: str, /, **arguments: Any) -> Callable[[Path], tuple[Call, str]]:
    return lambda _: ((tool, arguments), answer)


_ECHO, _PRINT = _answered("echo", "Friday", message="Friday"), _always(("get-env", {}))
_SAY, _ERASE = _answered("echo", "Friday", text="Friday"), _always(("erase", {"name": "a"}))
_NOTE = _answered("read_note", "Friday", path="plan.md")
_MAIL = _always(("send_mail", {"to": "eve@evil.example", "text": "a"}))
_THINK = {"nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
EVERYTHING, SERVER = "@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-"
SERVERS = (
    Served("demo office", "", _demo, _NOTE, _MAIL),
    Served(
        "filesystem", f"{SERVER}filesystem", _npm(f"{SERVER}filesystem", "mcp-server-filesystem"),
        lambda folder: (("read_text_file", {"path": str(folder / "plan.txt")}), "Friday"),
        lambda folder: ("write_file", {"path": str(folder / "plan.txt"), "content": "gone"}),
    ),
    Served(
        "memory", f"{SERVER}memory", _npm(f"{SERVER}memory", "mcp-server-memory"),
        lambda _: (("read_graph", {}), "entities"), lambda _: ("delete_entities", {"entityNames": ["a"]}),
    ),
    Served("everything", EVERYTHING, _npm(EVERYTHING, "mcp-server-everything"), _ECHO, _PRINT),
    Served(
        "sequential thinking", f"{SERVER}sequential-thinking",
        _npm(f"{SERVER}sequential-thinking", "mcp-server-sequential-thinking"),
        lambda _: (("sequentialthinking", {"thought": "a", **_THINK}), "thoughtNumber"),
        lambda _: ("sequentialthinking", {"thought": "a" * 60, **_THINK}),
        where="{thought: {text: 20}, nextThoughtNeeded: any, thoughtNumber: any, totalThoughts: any}",
    ),
    Served(
        "git", "mcp-server-git", _git, lambda folder: (("git_status", {"repo_path": str(folder)}), "On branch"),
        lambda folder: ("git_commit", {"repo_path": str(folder), "message": "a"}),
    ),
    Served("sqlite", "mcp-server-sqlite", _sqlite, lambda _: (("list_tables", {}), "["),
           lambda _: ("write_query", {"query": "CREATE TABLE a (b INTEGER)"})),
    Served("FastMCP", "fastmcp", _fastmcp_server, _SAY, _ERASE),
    Served("demo office", "", _demo, _NOTE, _MAIL, http=True),
    Served("everything", EVERYTHING, _npm(EVERYTHING, "mcp-server-everything"), _ECHO, _PRINT, http=True),
    Served("FastMCP", "fastmcp", _fastmcp_server, _SAY, _ERASE, http=True),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------- rows


def row(client: Peer, server: Served, programs: Programs) -> dict[str, Any]:
    """Return the row of one client and one server."""
    head = {"client": client.name, "server": server.name, "transport": "http" if server.http else "stdio"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name).resolve()
        (folder / "files").mkdir()
        (folder / "files" / "plan.txt").write_text("Move the archive on Friday.")
        try:
            direct, guarded = _plans(server, programs, folder, stack)
            first = client.run(programs, direct)
        except NotInstalled as why:
            return head | {"state": "not installed", "why": str(why)}
        except Exception as error:
            return head | {"state": "does not work directly", "why": _line(error)}
        head |= {
            "versions": [programs.version(package) if package else "" for package in (client.package, server.package)]
        }
        try:
            second = client.run(programs, guarded)
        except Exception as error:
            return head | {"state": "failed", "why": _line(error)}
    return head | _judged(first, second, server)


def _judged(first: dict[str, Any], second: dict[str, Any], server: Served) -> dict[str, Any]:
    (tool, _), text = server.allowed(Path("/"))
    if text not in first["answers"][0]:
        return {"state": "does not work directly", "why": first["answers"][0][:200]}
    found = {
        "lists": second["tools"] == [tool, "raise_concern"],
        "allowed": text in second["answers"][0],
        "denied": any(
            words in second["answers"][1] for words in ("There is no tool", "No rule allows", "not found on server")
        ),
        "version": second["version"],
    }
    passed = found["lists"] and found["allowed"] and found["denied"]
    why = "" if passed else json.dumps(second)[:300]
    return found | {"state": "passed" if passed else "failed", "why": why}


def _plans(server: Served, programs: Programs, folder: Path, stack: ExitStack) -> tuple[Plan, Plan]:
    """Start what must run, and return the plan of a direct session and of a guarded one."""
    files = folder / "files"
    (call, _), other = server.allowed(files), server.denied(files)
    policy = folder / "policy.yaml"
    policy.write_text(_POLICY.format(tool=call[0], where=server.where))
    guard = [sys.executable, "-m", "holdfast.cli.main", "guard", "run", "--policy", str(policy), "--server", "peer"]
    guard += ["--agent", "clerk", "--state", str(folder / "guard")]
    calls, place = [call, other], {"folder": str(folder)}
    if not server.http:
        # Variables do not reach a server through every client, so they are set on its command line.
        command = ["env", f"MEMORY_FILE_PATH={folder}/memory.json", *server.command(programs, files, 0)]
        direct = {"command": command, "calls": calls[:1], **place}
        return direct, {"command": [*guard, "--", *command], "calls": calls, **place}
    far, near = _port(), _port()
    url = f"http://127.0.0.1:{far}/mcp"
    stack.enter_context(_running(server.command(programs, files, far), far, {"PORT": str(far)}))
    stack.enter_context(_running([*guard, "--http", url, "--listen", f"127.0.0.1:{near}"], near, {}))
    guarded = {"url": f"http://127.0.0.1:{near}/mcp", "calls": calls, **place}
    return {"url": url, "calls": calls[:1], **place}, guarded


@contextmanager
def _running(command: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as the table of docs/guard-clients.md."""
    lines = ["| client | server | over | protocol | state |", "|---|---|---|---|---|"]
    for one in rows:
        client, server = (
            f"{name} {version}".strip()
            for name, version in zip((one["client"], one["server"]), one.get("versions", ["", ""]), strict=True)
        )
        state = one["state"] if one["state"] in ("passed", "not installed") else f"{one['state']}: {one['why']}"
        shown = state.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {client} | {server} | {one['transport']} | {one.get('version') or '?'} | {shown} |")
    return "\n".join(lines)


def main() -> int:
    """Try every pair and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of the documentation")
    parser.add_argument(
        "--install", type=Path, metavar="FOLDER", help="where the programs are, or are to be, installed"
    )
    parser.add_argument("--client", action="append", choices=[client.name for client in CLIENTS])
    parser.add_argument("--server", action="append", choices=sorted({server.name for server in SERVERS}))
    options = parser.parse_args()
    programs = Programs(options.install.absolute() if options.install else None)
    rows = []
    for client in CLIENTS:
        for server in SERVERS:
            if client.name in (options.client or [client.name]) and server.name in (options.server or [server.name]):
                rows.append(row(client, server, programs))
                last = rows[-1]
                print(
                    *(last[key] for key in ("client", "server", "transport", "state", "why") if last.get(key)),
                    file=sys.stderr,
                )
    counts = {state: sum(one["state"] == state for one in rows) for state in sorted({one["state"] for one in rows})}
    if options.json:
        print(json.dumps({"counts": counts, "rows": rows}, indent=1))
    if options.table or not options.json:
        print(table(rows))
    return 1 if counts.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
