"""The sandbox of a local server: what it shows, what it hides, and that a sandbox that does not hold is not used."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import ConfigError, InputError, PrerequisiteError, RefusedError
from holdfast.guard.policy.load import load_policy
from holdfast.guard.policy.schema import Confinement
from holdfast.guard.sandbox import bubblewrap, doctor
from holdfast.guard.sandbox.bubblewrap import Sandbox, python_folders
from holdfast.guard.sandbox.doctor import attempts, require_confined
from holdfast.guard.sandbox.proxy import Admission, NotAdmitted
from holdfast.guard.sandbox.run import sandboxed

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
SERVER = Path(__file__).with_name("escape_server.py")
POLICY = """
policy: trial
revision: 1
owner: The tester
agents: [clerk]
sandbox:
  t:
    read: [READ]
    write: [WRITE]
    hosts: [HOSTS]
    env: [GUARD_GIVEN]
rules:
  - {name: all, allow: [t/attempt], where: any, why: Trials.}
"""


@cache
def works() -> str:
    """Return why no sandbox can be made on this machine; empty if one can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    made = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "true"]
    return subprocess.run(made, capture_output=True, text=True).stderr.strip()


def needs_sandbox() -> None:
    if why := works():
        pytest.skip(f"this machine makes no sandbox: {why}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("shown", "work", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "shown" / "plan.txt").write_text("the plan")
    (tmp_path / "secret.txt").write_text("the secret")
    shutil.copy(SERVER, tmp_path / "shown" / "server.py")
    write_policy(tmp_path)
    return tmp_path


def write_policy(folder: Path, hosts: str = "") -> None:
    read = [str(folder / "shown"), *python_folders()]
    text = POLICY.replace("READ", ", ".join(read)).replace("WRITE", str(folder / "work")).replace("HOSTS", hosts)
    (folder / "policy.yaml").write_text(text)


def python() -> str:
    return str(Path(sys.executable).resolve())


class Guarded:
    """A server behind `guard run --sandbox`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        command = [sys.executable, "-m", "holdfast.cli.main", "guard", "run", "--policy", str(folder / "policy.yaml")]
        command += ["--server", "t", "--agent", "clerk", "--state", str(folder / "state"), "--sandbox"]
        command += ["--", python(), "-IS", str(folder / "shown" / "server.py")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}
        )
        self.number = 0
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        self.ask("initialize", about)

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tries(self, what: str, where: object) -> str:
        answer = self.ask("tools/call", {"name": "attempt", "arguments": {"what": what, "where": str(where)}})
        return str(answer["result"]["content"][0]["text"])

    def __enter__(self) -> "Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=30)


def test_a_server_gets_the_named_folders_and_nothing_else(folder: Path) -> None:
    needs_sandbox()
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Guarded(folder, GUARD_GIVEN="a", GUARD_TOKEN="b") as server,
    ):
        assert server.tries("read", folder / "shown" / "plan.txt") == "the plan"
        assert server.tries("write", folder / "work" / "draft.txt") == "done"
        # An own /tmp, in which this folder is too.
        assert server.tries("write", f"/tmp/{folder.name}") == server.tries("write", folder / "new.txt") == "done"
        assert server.tries("variable", "GUARD_GIVEN") == "a"
        failures = {
            "read": [folder / "secret.txt", "/etc/shadow", folder / "policy.yaml", folder / "state" / "guard.key"],
            "list": [folder / "state", "/home", "/etc/cron.d"],
            "write": [folder / "shown" / "plan.txt", "/usr/mine", "/etc/mine", "/mine"],
            "link": [folder / "work"],
            "connect": [f"127.0.0.1:{listening.getsockname()[1]}", "192.0.2.1:80"],
            "variable": ["GUARD_TOKEN", "HTTP_PROXY"],
            "kill": [server.process.pid, os.getpid()],
        }
        for what, places in failures.items():
            for where in places:
                assert server.tries(what, where).startswith("failed"), (what, where)
        assert "GUARD_TOKEN" not in server.tries("read", "/proc/1/environ")
        assert len([name for name in server.tries("list", "/proc").split() if name.isdigit()]) < 5
    assert (folder / "work" / "draft.txt").read_text() == "escaped"
    assert (folder / "shown" / "plan.txt").read_text() == "the plan" and not Path(f"/tmp/{folder.name}").exists()
    assert not (folder / "new.txt").exists()


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.headers['host']} {self.path}".encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_reaches_the_named_hosts_through_the_proxy_alone(folder: Path, web: int) -> None:
    needs_sandbox()
    write_policy(folder, f"'localhost:{web}'")
    with Guarded(folder) as server, socket.create_server(("127.0.0.1", 0)) as other:
        assert server.tries("fetch", f"http://localhost:{web}/a?b=c") == f"localhost:{web} /a?b=c"
        assert server.tries("connect", f"127.0.0.1:{web}").startswith("failed")
        for url in (
            f"http://127.0.0.1:{web}/",
            f"http://localhost:{other.getsockname()[1]}/",
            "https://other.example/",
        ):
            assert server.tries("fetch", url).startswith("failed"), url
    found = subprocess.run(["strings", "-a", folder / "state" / "guard.db"], capture_output=True, text=True).stdout
    assert not found or "the sandbox refused a connection" in found


@pytest.mark.parametrize(
    ("host", "port", "addresses", "admitted"),
    [
        ("api.example", 443, ["93.184.216.34"], True),
        ("API.example.", 80, ["93.184.216.34"], True),
        ("a.docs.example", 443, ["93.184.216.34"], True),
        ("own.example", 8443, ["93.184.216.34"], True),
        ("127.0.0.1", 443, ["127.0.0.1"], True),
        ("docs.example", 443, ["93.184.216.34"], False),
        ("api.example", 8443, ["93.184.216.34"], False),
        ("own.example", 443, ["93.184.216.34"], False),
        ("evil.example", 443, ["93.184.216.34"], False),
        ("xapi.example", 443, ["93.184.216.34"], False),
        ("api.example.evil.example", 443, ["93.184.216.34"], False),
        ("\u0430pi.example", 443, ["93.184.216.34"], False),
        ("2130706433", 443, ["127.0.0.1"], False),
        ("api.example", 443, ["127.0.0.1"], False),
        ("api.example", 443, ["93.184.216.34", "169.254.169.254"], False),
        ("api.example", 443, ["10.0.0.1"], False),
        ("api.example", 443, ["::1"], False),
    ],
)
def test_the_proxy_admits_named_hosts_with_public_addresses(
    host: str, port: int, addresses: list[str], admitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    admission = Admission(("api.example", "*.docs.example", "own.example:8443", "127.0.0.1"))
    if admitted:
        assert admission.address(host, port) == (addresses[0], port)
    else:
        with pytest.raises(NotAdmitted):
            admission.address(host, port)


def test_every_attempt_to_get_out_fails(folder: Path) -> None:
    needs_sandbox()
    found = attempts(Confinement(read=(str(folder / "shown"),), write=(str(folder / "work"),)), folder / "state")
    assert len(found) == 13 and not [attempt.what for attempt in found if attempt.succeeded]


#: What opens if a part of the sandbox is left out.
OPENINGS = {
    "environment": {"read an environment variable of the guard"},
    "--remount-ro": {"write outside the named folders"},
    "--cap-drop": {"keep a capability"},
    "--unshare-net": {"connect to a port of this machine", "connect to an abstract socket"},
    "--unshare-pid": {"see processes outside", "signal a process outside"},
    "--disable-userns": {"make a user namespace"},
}


@pytest.mark.parametrize("left_out", OPENINGS)
def test_a_sandbox_with_an_opening_is_found_out(left_out: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_sandbox()
    # Without the option, or for capabilities with its contrary.
    changed = {left_out: "--cap-add"} if left_out == "--cap-drop" else {left_out: ""}
    namespaces = tuple(filter(None, (changed.get(a, a) for a in bubblewrap._NAMESPACES)))
    monkeypatch.setattr(bubblewrap, "_NAMESPACES", namespaces)
    if left_out == "environment":
        monkeypatch.setattr(Sandbox, "environment", lambda _: dict(os.environ))
    elif left_out == "--remount-ro":
        arguments = Sandbox._arguments
        monkeypatch.setattr(Sandbox, "_arguments", lambda s: [a if a != left_out else "--dir" for a in arguments(s)])
    escaped = {attempt.what for attempt in attempts(Confinement(), folder / "state") if attempt.succeeded}
    assert escaped >= OPENINGS[left_out]
    with pytest.raises(RefusedError, match="does not hold"):
        require_confined(Confinement(), folder / "state")


def test_an_open_folder_is_found_out(folder: Path) -> None:
    needs_sandbox()
    escaped = {
        attempt.what for attempt in attempts(Confinement(read=(str(folder),)), folder / "state") if attempt.succeeded
    }
    assert escaped == {"list the guard's folder"}


def fake_bubblewrap(folder: Path, script: str) -> str:
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (bin_folder / "bwrap").chmod(0o755)
    return f"{bin_folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("script", ["echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "exit 1"])
def test_nothing_starts_where_no_sandbox_can_be_made(folder: Path, script: str) -> None:
    command = [sys.executable, "-m", "holdfast.cli.main", "guard"]
    environment = {**os.environ, "PATH": fake_bubblewrap(folder, script)}
    run = ["run", "--policy", str(folder / "policy.yaml"), "--server", "t", "--agent", "clerk"]
    run += ["--state", str(folder / "state"), "--sandbox", "--", "touch", str(folder / "work" / "started")]
    for verb in (run, ["doctor", "--state", str(folder / "state")]):
        done = subprocess.run([*command, *verb], env=environment, capture_output=True, text=True, input="")
        assert done.returncode == 3 and "cannot make a sandbox on this machine" in done.stderr, done.stderr
    assert not (folder / "work" / "started").exists()


def test_bubblewrap_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(PrerequisiteError, match="apt install bubblewrap"):
        attempts(Confinement(), folder)


def test_folders_that_open_the_guard_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "work")
    hidden = {"the guard's folder": folder / "state", "the policy": folder / "policy.yaml"}
    for path, said in (
        (str(folder), "shows the guard's folder"),
        (str(folder / "state"), "shows the guard's folder"),
        (str(folder / "policy.yaml"), "shows the policy"),
        (str(folder / "link"), "is not its own real path"),
        (str(folder / "work" / ".." / "work"), "is not its own real path"),
        (str(folder / "none"), "no such folder"),
        ("/", "cannot be given"),
        ("/proc", "cannot be given"),
        ("/dev/shm", "cannot be given"),
        ("/tmp", "cannot be given"),
    ):
        for confinement in (Confinement(read=(path,)), Confinement(write=(path,))):
            with pytest.raises(InputError, match=said):
                Sandbox("t", confinement, folder).check(hidden)


def test_policy_without_a_sandbox_for_the_server_starts_nothing(folder: Path) -> None:
    policy = folder / "policy.yaml"
    policy.write_text(
        "\n".join(line for line in POLICY.splitlines() if line[:2] != "  " or "name: all" in line).replace(
            "sandbox:\n", ""
        )
    )
    with (
        pytest.raises(InputError, match="no sandbox for the server 't'"),
        sandboxed(load_policy(policy), "t", ["true"], folder / "state", policy, print),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("  t:", "  u:"), "no rule names a tool of the server 'u'"),
        (("hosts: []", "hosts: ['*']"), "not valid here"),
        (("hosts: []", "hosts: ['https://a.example']"), "sandbox.t.hosts"),
        (("env: [GUARD_GIVEN]", "env: ['A=B']"), "sandbox.t.env"),
        (("    write:", "    writes:"), "did you mean 'write'"),
        (("read: [", "read: [relative, "), "sandbox.t.read"),
    ],
)
def test_invalid_sandboxes_are_refused_with_their_line(folder: Path, change: tuple[str, str], said: str) -> None:
    path = folder / "policy.yaml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigError, match=rf"policy.yaml:\d+: .*{said}".replace("*'", r"\*'")):
        load_policy(path)


def test_command_outside_the_sandbox_is_named(folder: Path) -> None:
    needs_sandbox()
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(InputError, match=f"not visible in the sandbox.*add {folder} to 'read' of sandbox.t"):
        Sandbox("t", Confinement(), folder).command([str(program)])


def test_what_no_sandbox_confines_is_listed(folder: Path) -> None:
    needs_sandbox()
    command = [sys.executable, "-m", "holdfast.cli.main", "guard", "doctor", "--state", str(folder / "state")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("confined  ") == 13
    assert all(what in done.stdout for what in doctor.BEYOND)
    named = ["--policy", str(folder / "policy.yaml"), "--server", "t", "--json"]
    found = json.loads(subprocess.run([*command, *named], capture_output=True, text=True).stdout)
    assert found["confined"] is True and len(found["attempts"]) == 13
