"""Run a server in the sandbox with a way to the guard's proxy.

    python -IS inside.py SOCKET PORT COMMAND…

The sandbox has a network of its own with nothing but a loopback. This script listens on PORT there and connects each
client to SOCKET, the guard's proxy outside, which admits the hosts that the policy names. This file is run by its path
and imports no module of Holdfast.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import suppress


def main(path: str, port: int, command: list[str]) -> int:
    """Serve the port and run the command; return its exit status."""
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    status = subprocess.Popen(command).wait()
    return status if status >= 0 else 128 - status


def _accept(listener: socket.socket, path: str) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connect, args=(near, path), daemon=True).start()


def _connect(near: socket.socket, path: str) -> None:
    far = socket.socket(socket.AF_UNIX)
    with near, far, suppress(OSError):
        far.connect(path)
        back = threading.Thread(target=copy, args=(far, near), daemon=True)
        back.start()
        copy(near, far)
        back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until the source ends."""
    with suppress(OSError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
