"""The relay over stdio: the guard starts the server and connects its pipes to the client.

One thread polls all pipes, and decides and forwards each message at once. The server and its child processes end with
the guard, however the guard ends.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.guard.relay.jsonrpc import dump
from holdfast.guard.relay.link import Link
from holdfast.guard.relay.replies import Out
from holdfast.guard.relay.session import Session

_CHUNK = 1 << 16
_KEEPER = str(Path(__file__).with_name("process_group.py"))
_GRACE_SECONDS = 2.0
#: Output buffered for a peer that does not read, in frames of maximum size; beyond that the relay ends.
_MOST_WAITING = 4


class Pipe:
    """Non-blocking lines from one file descriptor and to another.

    Args:
        reads: descriptor of the peer's lines.
        writes: descriptor of our lines.
        largest: maximum size in bytes of a line. Of a longer one, the first part and the end are returned, in more
            bytes than this, so that it is refused and its request answered.
        buffered: maximum output in bytes that waits for the peer.
    """

    def __init__(self, reads: int, writes: int, largest: int, buffered: int) -> None:
        self.reads, self.writes = reads, writes
        self._largest, self._buffered = largest, buffered
        self._in, self._out = bytearray(), bytearray()
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)

    @property
    def waits(self) -> bool:
        """Whether output is buffered."""
        return bool(self._out)

    def lines(self) -> list[bytes] | None:
        """Return the lines received; None at the end of the stream."""
        try:
            chunk = os.read(self.reads, _CHUNK)
        except BlockingIOError:
            return []
        if not chunk:
            return None
        first, *rest = chunk.split(b"\n")
        self._in += first
        if len(self._in) > self._largest + 2 * _CHUNK:
            del self._in[self._largest + 1 : -_CHUNK]
        if not rest:
            return []
        *whole, last = bytes(self._in), *rest
        self._in = bytearray(last)
        return [line for line in whole if line.strip()]

    def write(self, line: bytes = b"") -> None:
        """Write as much as possible now and buffer the rest.

        Raises:
            BrokenPipeError: the peer does not read.
        """
        self._out += line
        if len(self._out) > self._buffered:
            raise BrokenPipeError
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: os.write(self.writes, self._out)]


class Server:
    """A server's process and its children, which end with the guard (see `process_group`).

    Args:
        command: the server's command line.
        environment: its environment; None for the guard's own.

    Raises:
        InputError: the command does not exist.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        if shutil.which(command[0]) is None:
            raise InputError("cannot start: no such command", where=command[0], remedy="check the command after --")
        theirs, self._lifeline = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-IS", _KEEPER, str(theirs), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=(theirs,),
            env=environment,
        )
        os.close(theirs)

    def end(self) -> None:
        """End the processes: close their input, then send SIGTERM, then SIGKILL."""
        assert self.process.stdin and self.process.stdout
        with suppress(OSError):
            self.process.stdin.close()
        if not self._ended():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self._ended()
        os.close(self._lifeline)
        self.process.wait()
        self.process.stdout.close()

    def _ended(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_SECONDS)
        return self.process.returncode is not None


def serve(
    link: Link,
    command: Sequence[str],
    client: tuple[int, int] = (0, 1),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Start the server and relay until either side ends.

    Args:
        link: the link of the session.
        command: the server's command line.
        client: file descriptors of the client: read, write.
        environment: the server's environment; None for the guard's own.

    Returns:
        The server's exit status, or 0 if the client left first.
    """
    session, server = Session(link), Server(command, environment)
    assert server.process.stdin and server.process.stdout
    near = Pipe(*client, link.largest, _MOST_WAITING * link.largest_response)
    far = Pipe(
        server.process.stdout.fileno(),
        server.process.stdin.fileno(),
        link.largest_response,
        _MOST_WAITING * link.largest,
    )
    try:
        _relay(session, near, far)
        with suppress(OSError):
            _deliver(session.fail_all("the server ended"), near, far)
        return server.process.poll() or 0
    except BrokenPipeError:
        return 0
    finally:
        server.end()
        for descriptor in client:
            os.set_blocking(descriptor, True)


def _relay(session: Session, near: Pipe, far: Pipe) -> None:
    sides: list[tuple[Pipe, Callable[[bytes], list[Out]]]] = [(near, session.from_client), (far, session.from_server)]
    # epoll accepts neither files nor /dev/null, which is a background command's standard input.
    with selectors.PollSelector() as selector:
        for side in sides:
            selector.register(side[0].reads, selectors.EVENT_READ, side)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    continue
                pipe, take = key.data
                lines = pipe.lines()
                if lines is None:
                    return
                for line in lines:
                    _deliver(take(line), near, far)
            _watch_writes(selector, (near, far))


def _watch_writes(selector: selectors.BaseSelector, pipes: Sequence[Pipe]) -> None:
    for pipe in pipes:
        watched = pipe.writes in selector.get_map()
        if pipe.waits:
            pipe.write()
        if pipe.waits and not watched:
            selector.register(pipe.writes, selectors.EVENT_WRITE)
        elif watched and not pipe.waits:
            selector.unregister(pipe.writes)


def _deliver(outs: list[Out], near: Pipe, far: Pipe) -> None:
    for out in outs:
        (near if out.to == "client" else far).write(dump(out.message) + b"\n")
