"""An HTTP proxy that connects a sandboxed server to the hosts that the policy names, and to no other.

A host name must be in the policy, its port 80 or 443 or the named one, and every address that it resolves to public:
otherwise whoever controls the name could point it into the local network. A host that is named as an address, or as
`localhost`, may be local.
"""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.guard.policy.addresses import host_chain, read_host
from holdfast.guard.policy.normalise import Uninspectable
from holdfast.guard.sandbox.inside import copy

_PORTS = frozenset({80, 443})
_LONGEST_HEAD = 16_384
_SECONDS = 30.0


class NotAdmitted(Exception):
    """The proxy does not connect to this host; the message says why."""


@dataclass(frozen=True)
class Admission:
    """The hosts that a proxy connects to.

    Attributes:
        hosts: entries of the policy: `api.example`, `*.api.example` or `api.example:8443`.
    """

    hosts: tuple[str, ...]

    def address(self, host: str, port: int) -> tuple[str, int]:
        """Return the address to connect to.

        Raises:
            NotAdmitted: the policy does not name the host and port, or the host has no public address.
        """
        try:
            name = read_host(host)
        except Uninspectable as error:
            raise NotAdmitted(str(error)) from None
        entries = [entry for entry in self.hosts if self._covers(entry, name, port)]
        if not entries:
            raise NotAdmitted(f"the policy does not name {name}:{port}")
        literal = any(_is_local_name(entry.partition(":")[0]) for entry in entries)
        try:
            found = [str(one[4][0]) for one in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
        except OSError:
            raise NotAdmitted(f"{name} has no address") from None
        if not literal and any(not ipaddress.ip_address(address).is_global for address in found):
            raise NotAdmitted(f"{name} has an address in a local network")
        return found[0], port

    def _covers(self, entry: str, name: str, port: int) -> bool:
        listed, colon, number = entry.partition(":")
        fits = port == int(number) if colon else port in _PORTS
        return fits and listed in host_chain(name)


def _is_local_name(entry: str) -> bool:
    if entry == "localhost":
        return True
    try:
        ipaddress.ip_address(entry)
    except ValueError:
        return False
    return True


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    # A connection that stays open must not keep the guard from ending.
    block_on_close = False
    admission: Admission
    note: Callable[[str], None]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    timeout = _SECONDS

    def handle(self) -> None:
        try:
            head = self._head()
            method, target, version = head.partition(b"\r\n")[0].decode("ascii").split(" ")
            host, port, first = _target(method, target, version, head)
            address = self.server.admission.address(host, port)
            far = socket.create_connection(address, _SECONDS)
        except NotAdmitted as refused:
            self.server.note(f"the sandbox refused a connection: {refused}")
            return self._refuse(403)
        except OSError:
            return self._refuse(502)
        except ValueError:
            self.server.note("the sandbox refused a connection: not a proxy request")
            return self._refuse(400)
        with far:
            for end in (far, self.connection):
                end.settimeout(None)
            if first:
                far.sendall(first)
            else:
                self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(far, self.connection), daemon=True)
            back.start()
            copy(self.connection, far)
            back.join()

    def _head(self) -> bytes:
        head = b""
        # Byte by byte: what follows the head belongs to the tunnel.
        while not head.endswith(b"\r\n\r\n"):
            byte = self.connection.recv(1)
            if not byte or len(head) >= _LONGEST_HEAD:
                raise ValueError
            head += byte
        return head

    def _refuse(self, status: int) -> None:
        self.connection.sendall(f"HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())


def _target(method: str, target: str, version: str, head: bytes) -> tuple[str, int, bytes]:
    """Return host and port of a proxy request, and the head to forward; empty for a tunnel."""
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        return host.strip("[]"), int(port), b""
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} {version}".encode("ascii")]
    # One request for each connection: a second one could name another host. The head's own host must be the target's.
    dropped = (b"proxy-", b"connection:", b"host:", b"keep-alive:")
    lines += [line for line in head.split(b"\r\n")[1:] if line and not line.lower().startswith(dropped)]
    lines += [b"Host: " + parts.netloc.encode("ascii"), b"Connection: close"]
    return parts.hostname, parts.port or 80, b"\r\n".join(lines) + b"\r\n\r\n"


@contextmanager
def serving(path: Path, hosts: tuple[str, ...], note: Callable[[str], None]) -> Iterator[None]:
    """Serve the proxy on a Unix socket.

    Args:
        path: the socket, in a folder that only the guard's user can read.
        hosts: the policy's hosts.
        note: logs a refused connection.
    """
    with _Server(str(path), _Handler) as server:
        server.admission, server.note = Admission(hosts), note
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
