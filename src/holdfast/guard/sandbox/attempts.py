"""Try to get out of the sandbox. Run by its path inside, with a JSON object of what to try; prints a JSON object.

    python -IS attempts.py '{"file": …, "folder": …, "readonly": […], "port": …, "abstract": …, "pid": …, …}'

Each value of the answer is true if the attempt succeeded. This file imports no module of Holdfast.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_CLONE_NEWUSER, _MS_BIND = 0x10000000, 4096


def main(what: dict[str, Any]) -> dict[str, bool]:
    """Make every attempt and return whether it succeeded."""
    attempts: dict[str, Callable[[], object]] = {
        "read a file that the policy does not name": lambda: Path(what["file"]).read_bytes(),
        "list the guard's folder": lambda: list(os.listdir(what["folder"])) or True,
        "write outside the named folders": lambda: _write_anywhere(what["readonly"]),
        "connect to a port of this machine": lambda: _connect(socket.AF_INET, ("127.0.0.1", what["port"])),
        "connect to an abstract socket": lambda: _connect(socket.AF_UNIX, what["abstract"].replace("@", "\0", 1)),
        "connect to another host": lambda: _connect(socket.AF_INET, ("192.0.2.1", 80)),
        "see processes outside": lambda: _processes(what["marker"]),
        "signal a process outside": lambda: _signal(what["pid"], what["marker"]),
        "read an environment variable of the guard": lambda: _variables(what["variables"]),
        "make a user namespace": lambda: ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) == 0,
        "mount a folder": lambda: ctypes.CDLL(None).mount(b"/usr", b"/tmp", None, _MS_BIND, None) == 0,
        "keep a capability": lambda: _status("CapEff") != "0" * 16,
        "gain privileges by a program": lambda: _status("NoNewPrivs") != "1",
    }
    return {name: _succeeds(attempt) for name, attempt in attempts.items()}


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        return bool(attempt())
    except OSError:
        return False


def _write_anywhere(folders: list[str]) -> bool:
    for folder in folders:
        with suppress(OSError):
            path = Path(folder) / "holdfast-attempt"
            path.write_text("x", encoding="ascii")
            path.unlink()
            return True
    return False


def _connect(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        client.connect(address)
        return True


def _processes(marker: str) -> bool:
    mine = {str(os.getpid()), str(os.getppid()), "1"}
    for entry in os.listdir("/proc"):
        # This process has the marker on its own command line, and so has bubblewrap, its parent.
        if entry.isdigit() and entry not in mine:
            with suppress(OSError):
                if marker in Path("/proc", entry, "cmdline").read_text(errors="replace"):
                    return True
    return False


def _signal(pid: int, marker: str) -> bool:
    # A process of the sandbox may have the same number; only the guard's has the marker on its command line.
    os.kill(pid, 0)
    return marker in Path("/proc", str(pid), "cmdline").read_text(errors="replace")


def _variables(names: list[str]) -> bool:
    first = ""
    with suppress(OSError):
        first = Path("/proc/1/environ").read_text(errors="replace")
    inherited = {entry.partition("=")[0] for entry in first.split("\0")} | os.environ.keys()
    return not inherited.isdisjoint(names)


def _status(name: str) -> str:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
