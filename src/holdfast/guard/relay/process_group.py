"""Run a server so that none of its processes outlives the guard.

    python -IS process_group.py LIFELINE COMMAND…

LIFELINE is the file descriptor of a pipe whose other end the guard holds. The pipe closes when the guard dies, and then
this process kills everything that the command started: commands such as `npx` start the real server as a grandchild. On
Linux this includes processes that left the process group; elsewhere only the group.

This file is run by its path and imports no module of Holdfast, so that a server starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_CANNOT_START = 126


def keep(lifeline: int, command: list[str]) -> int:
    """Run the command on our standard streams until it or the lifeline ends; return its exit status."""
    if sys.platform == "linux":
        # Orphans of the server become children of this process, so that it can find them.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # The guard sends SIGTERM to the whole group; this process must survive it to clean up.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server = subprocess.Popen(command)
    except OSError as error:
        print(f"holdfast: {command[0]}: cannot start: {error.strerror}", file=sys.stderr)
        return _CANNOT_START
    # Release the server's streams here, so that the guard sees the end when the server closes them.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    status = server.wait()
    _kill_descendants()
    return status if status >= 0 else 128 - status


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    _kill_descendants()
    os.killpg(0, signal.SIGKILL)


def _kill_descendants() -> None:
    # The next round finds a process that was created during this one.
    while found := _descendants(os.getpid()):
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants(root: int) -> list[int]:
    """Return the live descendants of `root`; empty if the system has no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), sys.argv[2:]))
