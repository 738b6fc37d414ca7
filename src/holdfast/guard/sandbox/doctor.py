"""Try to get out of a sandbox before a server runs in it, and say what could not be confined on this machine."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.core.errors import PrerequisiteError, RefusedError
from holdfast.guard.policy.schema import Confinement
from holdfast.guard.sandbox.bubblewrap import Sandbox, python_folders, python_inside

_ATTEMPTS = Path(__file__).with_name("attempts.py")
_SECONDS = 60.0
#: Variables that the sandbox, bubblewrap and Python set themselves.
_SET_INSIDE = {"PATH", "HOME", "TMPDIR", "LANG", "PWD", "LC_CTYPE"}
#: What bubblewrap does not confine on any machine.
BEYOND = (
    "the server's use of processor, memory and disk in its folders",
    "system calls: no filter is set, so a fault in the kernel is within reach",
    "sockets and devices inside the named folders",
    "what a named host does with what it receives",
    "programs and libraries under /usr, which the server can read and run",
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to get out, and whether it succeeded."""

    what: str
    succeeded: bool


def attempts(confinement: Confinement, state: Path) -> list[Attempt]:
    """Try to get out of the sandbox of a confinement.

    Args:
        confinement: the folders, hosts and variables of the sandbox.
        state: the guard's folder.

    Raises:
        PrerequisiteError: bubblewrap is not installed, or cannot make a sandbox on this machine.
    """
    with TemporaryDirectory(prefix="holdfast-check-") as name, _listening() as (port, abstract):
        folder = Path(name).resolve()
        canary, files, marker = folder / "canary", folder / "files", secrets.token_hex(16)
        canary.write_text("x", encoding="ascii")
        files.mkdir()
        # The attempts are a Python script, so this one sandbox also sees Python and the script.
        seen = (*confinement.read, *python_folders(), str(_ATTEMPTS.resolve().parent))
        sandbox = Sandbox("check", _for_script(confinement, seen), files)
        readonly = [*confinement.read, "/usr", "/etc", str(folder), str(state), "/", "/var", "/home", "/root"]
        readonly = [path for path in readonly if path not in confinement.write]
        with _process(marker) as pid:
            what = {
                "file": str(canary), "folder": str(state), "readonly": readonly, "port": port, "abstract": abstract,
                "variables": sorted(os.environ.keys() - _SET_INSIDE - {*confinement.env}), "pid": pid, "marker": marker,
            }  # fmt: skip
            script = [python_inside(), "-IS", str(_ATTEMPTS.resolve()), json.dumps(what)]
            return [Attempt(name, succeeded) for name, succeeded in _run(sandbox, script).items()]


def _for_script(confinement: Confinement, read: tuple[str, ...]) -> Confinement:
    return confinement.model_copy(update={"hosts": (), "read": tuple(dict.fromkeys(read))})


def require_confined(confinement: Confinement, state: Path) -> None:
    """Check that no attempt to get out succeeds.

    Raises:
        PrerequisiteError: this machine cannot make a sandbox.
        RefusedError: an attempt succeeded.
    """
    if escaped := [attempt.what for attempt in attempts(confinement, state) if attempt.succeeded]:
        what = f"the sandbox does not hold: a server in it could {'; '.join(escaped)}"
        raise RefusedError(what, where="--sandbox", remedy="holdfast guard doctor lists what this machine confines")


def _run(sandbox: Sandbox, script: list[str]) -> dict[str, bool]:
    command = sandbox.command(script)
    try:
        done = subprocess.run(command, env=sandbox.environment(), capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _cannot(type(error).__name__) from None
    if done.returncode:
        raise _cannot((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def _cannot(why: str) -> PrerequisiteError:
    remedy = "allow unprivileged user namespaces, or run the guard where they are allowed"
    return PrerequisiteError(f"bubblewrap cannot make a sandbox on this machine: {why}", where="bwrap", remedy=remedy)


@contextmanager
def _listening() -> Iterator[tuple[int, str]]:
    """Listen on a loopback port and an abstract socket, which no sandbox may reach."""
    name = f"@holdfast-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name.replace("@", "\0", 1))
        abstract.listen()
        yield port.getsockname()[1], name


@contextmanager
def _process(marker: str) -> Iterator[int]:
    """Run a process that the sandbox must neither see nor signal."""
    waiting = [sys.executable, "-IS", "-c", "import sys; sys.stdin.read()", marker]
    process = subprocess.Popen(waiting, stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.communicate()
