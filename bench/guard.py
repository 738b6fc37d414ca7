"""Latency that the guard adds to a tool call, compared with a direct connection and with other guards in one run.

    python -m bench.guard --json [--calls 100] [--agent-calls 1000] [--peers FOLDER]

The server is `holdfast.guard.adapters.demo_server` on the official SDK, protocol 2026-07-28. All paths use the same
minimal client. `reads` is a call whose log entry waits for the next group commit; `acts` is a call whose log entry is
synced before it is forwarded. The paths alternate in every round. The added latency of a path is the median over rounds
of its median minus that of the direct connection in the same round (`times_direct`: their quotient). `load` is the load
average before and after; figures from a busy machine mean little. `agents` runs many concurrent clients through one
guard: each call must be answered, reach the server once and be logged with intent and outcome.

`--peers` also measures FastMCP's proxy and Microsoft's governance toolkit, each installed in a virtual environment in
FOLDER if missing. The toolkit has no relay, so its `govern()` is compared with our decorator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from holdfast.guard.adapters.python import ToolGuard
from holdfast.guard.policy.load import load_policy
from holdfast.guard.setup import open_audit_log, open_gate

POLICY = """
policy: bench
revision: 1
owner: The bench
agents: [clerk]
rules:
  - name: read
    allow: [office/read_note]
    where: {path: any}
    why: To be measured.
  - name: send
    allow: [office/send_mail]
    where: {to: any, text: any}
    why: To be measured.
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
PEERS = ("fastmcp", "agent-governance-toolkit-core")
READS = ("read_note", {"path": "p" * 200})
ACTS = ("send_mail", {"to": "ann@firm.example", "text": "t" * 200})
_PROXY = """
import sys
from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy
target = StdioTransport(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "stdio" else sys.argv[2]
proxy = create_proxy(target)
proxy.run(show_banner=False) if sys.argv[1] == "stdio" else proxy.run("http", port=int(sys.argv[3]), show_banner=False)
"""
_TOOLKIT = """
import json, sys, time
from agentmesh.governance.govern import govern
policy = '''
apiVersion: governance.toolkit/v1
name: bench
agents: ["*"]
default_action: deny
rules:
  - name: read
    condition: "action.type == 'read_note'"
    action: allow
'''
call = govern(lambda action, path: path, policy=policy)
took = []
for _ in range(int(sys.argv[1]) + 100):
    start = time.perf_counter()
    call(action="read_note", path="p" * 200)
    took.append(time.perf_counter() - start)
print(json.dumps(took[100:]))
"""
Call = Callable[[str, dict[str, Any]], float]


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    """Return a request of the 2026-07-28 protocol."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": META}}


@contextmanager
def over_stdio(command: Sequence[str]) -> Iterator[Call]:
    """Yield a client of a process; a call returns its duration in seconds."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin and process.stdout
    writes, reads = process.stdin, process.stdout

    def ask(message: dict[str, Any]) -> dict[str, Any]:
        writes.write(json.dumps(message).encode() + b"\n")
        writes.flush()
        while True:
            answer: dict[str, Any] = json.loads(reads.readline())
            if answer.get("id") == message["id"]:
                return answer

    number = 1

    def call(name: str, arguments: dict[str, Any]) -> float:
        nonlocal number
        number += 1
        message = request(number, "tools/call", name=name, arguments=arguments)
        start = time.perf_counter()
        answer = ask(message)
        took = time.perf_counter() - start
        _check(answer)
        return took

    try:
        ask(request(1, "server/discover"))
        yield call
    finally:
        process.stdin.close()
        process.stdout.close()
        process.terminate()
        process.wait(10)


@contextmanager
def over_http(url: str) -> Iterator[Call]:
    """Yield a client of a URL; a call returns its duration in seconds."""
    number = 0
    with httpx2.Client(trust_env=False, timeout=60) as client:

        def call(name: str, arguments: dict[str, Any]) -> float:
            nonlocal number
            number += 1
            message = request(number, "tools/call", name=name, arguments=arguments)
            start = time.perf_counter()
            response = client.post(url, json=message, headers=headers_of(name))
            took = time.perf_counter() - start
            _check(_answer(response))
            return took

        yield call


def headers_of(name: str) -> dict[str, str]:
    """Return the headers that the 2026-07-28 protocol requires of a client."""
    return {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
    }


def _answer(response: httpx2.Response) -> dict[str, Any]:
    if "event-stream" not in response.headers["content-type"]:
        found: dict[str, Any] = response.json()
        return found
    lines = [line for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()]
    last: dict[str, Any] = json.loads(lines[-1][5:])
    return last


def _check(answer: dict[str, Any]) -> None:
    if answer.get("result", {}).get("isError", "error" in answer):
        raise RuntimeError(f"a call that should pass did not: {answer}")


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[None]:
    """Run a process that listens on a loopback port."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def office(*arguments: str) -> list[str]:
    """Return the server's command."""
    return [sys.executable, "-m", "holdfast.guard.adapters.demo_server", *arguments]


def guard(folder: Path, *arguments: str) -> list[str]:
    """Return the guard's command with its own state folder."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    state = str(folder / f"guard-{len(list(folder.iterdir()))}")
    command = [sys.executable, "-m", "holdfast.cli.main", "guard", "run", "--policy", str(policy), "--state", state]
    return [*command, "--server", "office", "--agent", "clerk", *arguments]


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def stdio_paths(stack: ExitStack, folder: Path, fastmcp: str | None) -> dict[str, Call]:
    """Yield clients of every stdio path."""
    paths = {"direct": over_stdio(office()), "guard": over_stdio(guard(folder, "--", *office()))}
    if fastmcp:
        paths["fastmcp proxy"] = over_stdio([fastmcp, "-c", _PROXY, "stdio", *office()])
    return {name: stack.enter_context(path) for name, path in paths.items()}


def http_paths(stack: ExitStack, folder: Path, fastmcp: str | None) -> dict[str, Call]:
    """Yield clients of every HTTP path to the same server."""
    far, near, other = _port(), _port(), _port()
    url = f"http://127.0.0.1:{far}/mcp"
    stack.enter_context(running(office("--http", str(far)), far))
    stack.enter_context(running(guard(folder, "--http", url, "--listen", f"127.0.0.1:{near}"), near))
    ports = {"direct": far, "guard": near}
    if fastmcp:
        stack.enter_context(running([fastmcp, "-c", _PROXY, "http", url, str(other)], other))
        ports["fastmcp proxy"] = other
    return {name: stack.enter_context(over_http(f"http://127.0.0.1:{port}/mcp")) for name, port in ports.items()}


def compare(paths: dict[str, Call], calls: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of each path, and its added latency over the direct path."""
    took: dict[str, list[list[float]]] = {}
    for call in paths.values():
        for _ in range(min(100, calls)):
            call(*READS)
    for _ in range(rounds):
        for name, call in paths.items():
            for kind, what in (("reads", READS), ("acts", ACTS)):
                took.setdefault(f"{name}, {kind}", []).append([call(*what) * 1e3 for _ in range(calls)])
    found = {}
    for name, samples in took.items():
        base = took[f"direct, {name.rpartition(', ')[2]}"]
        pairs = [(statistics.median(m), statistics.median(t)) for m, t in zip(samples, base, strict=True)]
        added, times = [mine - theirs for mine, theirs in pairs], [mine / theirs for mine, theirs in pairs]
        figures = _figures([one for each in samples for one in each])
        found[name] = {**figures, "added_p50": _round(added), "times_direct": _round(times)}
    return found


def _round(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": round(ordered[len(ordered) // 2], 3), "p99": round(ordered[int(len(ordered) * 0.99)], 3)}


def in_process(folder: Path, calls: int, toolkit: str | None) -> dict[str, Any]:
    """Return the microseconds of a guarded plain function, ours and the toolkit's."""
    with open_gate(folder / "python", load_policy(folder / "policy.yaml")) as (gate, _):
        read_note = ToolGuard(gate, "bench", "clerk", "office").guarded(_read_note)
        took = []
        for _ in range(calls):
            start = time.perf_counter()
            read_note("p" * 200)
            took.append((time.perf_counter() - start) * 1e6)
    found: dict[str, Any] = {"guarded, durable record": _figures(took)}
    if toolkit:
        done = subprocess.run([toolkit, "-W", "ignore", "-c", _TOOLKIT, str(calls)], capture_output=True, text=True)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        failed = f"not measured: {last}"
        found["toolkit"] = failed if done.returncode else _figures([t * 1e6 for t in json.loads(done.stdout)])
    return found


def _read_note(path: str) -> str:
    return path


_read_note.__name__ = "read_note"


def many_agents(folder: Path, agents: int, calls: int) -> dict[str, Any]:
    """Run concurrent clients through one guard over HTTP and count requests, answers, executions and log entries."""
    far, near = _port(), _port()
    state, log = folder / "many", folder / "acts"
    command = guard(folder, "--http", f"http://127.0.0.1:{far}/mcp", "--listen", f"127.0.0.1:{near}")
    command[command.index("--state") + 1] = str(state)
    with running(office("--http", str(far), "--log", str(log)), far), running(command, near):
        start = time.perf_counter()
        answered = asyncio.run(_crowd(f"http://127.0.0.1:{near}/mcp", agents, calls))
        seconds = time.perf_counter() - start
    done = [json.loads(line)["text"] for line in log.read_text().splitlines()]
    with open_audit_log(state) as evidence:
        written = {kind: len(evidence.entries(kind)) for kind in ("intent", "outcome")}
    return {
        "asked": agents * calls,
        "answered": answered,
        "done": len(done),
        "done_twice": len(done) - len(set(done)),
        **written,
        "seconds": round(seconds, 1),
        "lost": agents * calls - min(answered, len(set(done)), *written.values()),
        "calls_a_second": round(agents * calls / seconds, 1),
    }


async def _crowd(url: str, agents: int, calls: int) -> int:
    async def agent(name: int) -> int:
        good = 0
        async with httpx2.AsyncClient(trust_env=False, timeout=120) as client:
            for number in range(calls):
                arguments = {"to": "ann@firm.example", "text": f"{name}/{number}"}
                message = request(number, "tools/call", name="send_mail", arguments=arguments)
                answer = _answer(await client.post(url, json=message, headers=headers_of("send_mail")))
                good += answer["id"] == number and not answer["result"]["isError"]
        return good

    return sum(await asyncio.gather(*(agent(name) for name in range(agents))))


def peer(folder: Path, package: str) -> tuple[str | None, str]:
    """Return an interpreter with only this package, and its version; None and the reason if the install failed."""
    python = folder / package / "bin" / "python"
    steps = [[str(python), "-m", "pip", "install", "--quiet", package]]
    if not python.exists():
        steps.insert(0, [sys.executable, "-m", "venv", str(python.parent.parent)])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            return None, f"not measured: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}"
    ask = f"from importlib.metadata import version; print(version('{package}'))"
    return str(python), subprocess.run([str(python), "-c", ask], capture_output=True, text=True).stdout.strip()


def _load() -> list[float]:
    """Return the load averages of 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def main() -> int:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--calls", type=int, default=100, help="calls of each path, kind and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--agent-calls", type=int, default=100, help="calls of each of the agents")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the peers are, or are to be, installed")
    options = parser.parse_args()
    peers = {name: peer(options.peers.absolute(), name) for name in PEERS} if options.peers else {}
    fastmcp, toolkit = (peers.get(name, (None, ""))[0] for name in PEERS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {"load": {"cores": os.cpu_count(), "before": _load()}}
        found["peers"] = {name: version for name, (_, version) in peers.items()}
        for transport, paths in (("stdio", stdio_paths), ("http", http_paths)):
            with ExitStack() as stack:
                found[f"{transport}_ms"] = compare(paths(stack, folder, fastmcp), options.calls, options.rounds)
        found["in_process_us"] = in_process(folder, options.calls, toolkit)
        found["agents"] = many_agents(folder, options.agents, options.agent_calls)
        found["load"]["after"] = _load()
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for group, rows in found.items():
            print(group, *(f"  {name:24} {value}" for name, value in rows.items()), sep="\n")
    return 1 if found["agents"]["lost"] or found["agents"]["done_twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
