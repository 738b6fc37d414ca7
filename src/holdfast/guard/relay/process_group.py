"""Keeps a server's processes together, so that none of them outlives the guard.

    python -IS process_group.py LIFELINE COMMAND…

The guard holds the other end of LIFELINE, a pipe's file descriptor.  It closes when the guard dies, however it dies,
and then everything that the command started is killed: commands such as `npx` start the real server as a child of a
child.  On Linux what leaves the process group stays within reach; elsewhere only the group is.

This file is run by its path and imports nothing of ours, so that a server starts at once.
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
    """Run the command on our standard streams until it ends or the lifeline does; its exit status."""
    if sys.platform == "linux":
        # Orphans of the server become our children, where they can be found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # The guard asks the whole group to end; we stay to see that it does.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server = subprocess.Popen(command)
    except OSError as error:
        print(f"holdfast: {command[0]}: cannot start: {error.strerror}", file=sys.stderr)
        return _CANNOT_START
    # The server's streams are the server's alone: when it closes them, the guard shall see the end.
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
    # One that was being born while we looked is found in the next round.
    while found := _descendants(os.getpid()):
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants(root: int) -> list[int]:
    """Living processes below `root`; none where the system does not show them."""
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
