"""The command line of bubblewrap for one server.

The server sees the system's programs (/usr, read-only), the folders that the policy names, an empty /tmp of its own,
and nothing else: no other file, process, network, user namespace, capability or environment variable.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import InputError, PrerequisiteError
from holdfast.guard.policy.schema import Confinement

_INSIDE = Path(__file__).with_name("inside.py")
#: Where the proxy's socket and the script are inside, and the port on which the script listens there.
_SOCKET, _SCRIPT, _PORT = "/run/holdfast/proxy", "/run/holdfast/inside.py", 3128
#: System folders beside /usr: links into it on most systems.
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("alternatives", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "pki", "ssl")
#: Folders that the sandbox makes itself, so that none of the system's can be named.
_OWN = ("/dev", "/proc", "/run", "/sys")
_NAMESPACES = (
    "--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
    "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
    "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
)  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_bubblewrap() -> str:
    """Return the path of bubblewrap.

    Raises:
        PrerequisiteError: it is not installed, or this system is not Linux.
    """
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if found is None:
        what = "bubblewrap is not installed" if sys.platform == "linux" else "bubblewrap exists for Linux only"
        raise PrerequisiteError(what, where="--sandbox", remedy="apt install bubblewrap")
    return found


@dataclass(frozen=True)
class Sandbox:
    """The sandbox of one server.

    Attributes:
        name: the server's name in the policy.
        confinement: the folders, hosts and variables that the server gets.
        files: a private folder of the guard for the sandbox's own files, such as the proxy's socket.
    """

    name: str
    confinement: Confinement
    files: Path

    @property
    def socket(self) -> Path:
        """The socket of the proxy."""
        return self.files / "proxy"

    def check(self, hidden: Mapping[str, Path]) -> None:
        """Check the folders of the confinement.

        Args:
            hidden: description → a file or folder of the guard that the server must not see, such as its state.

        Raises:
            InputError: a folder does not exist, is or contains a link, belongs to the system's own, or shows or lets
                the server change something hidden.
        """
        for path in (*self.confinement.read, *self.confinement.write):
            folder = Path(path)
            where = f"sandbox.{self.name}"
            if not folder.exists():
                raise InputError(f"no such folder: {path}", where=where, remedy="create it, or correct the policy")
            if folder.resolve() != folder:
                what = f"{path} is not its own real path, which is {folder.resolve()}"
                raise InputError(what, where=where, remedy="name the real path; a link could be turned elsewhere")
            if path in ("/", "/tmp") or any(folder.is_relative_to(own) for own in _OWN):
                remedy = "name the folders that the server works in"
                raise InputError(f"{path} cannot be given to a sandbox", where=where, remedy=remedy)
            for what_is, file in hidden.items():
                secret = file.resolve()
                if secret.is_relative_to(folder) or folder.is_relative_to(secret):
                    remedy = "name a folder that does not contain it"
                    raise InputError(f"{path} shows {what_is} to the server", where=where, remedy=remedy)

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a server's command in the sandbox.

        Raises:
            InputError: the command does not exist, or is not visible inside.
            PrerequisiteError: bubblewrap is not installed.
        """
        program = find_bubblewrap()
        inner = [self._program(command[0]), *command[1:]]
        if self.confinement.hosts:
            inner = [python_inside(), "-IS", _SCRIPT, _SOCKET, str(_PORT), *inner]
        return [program, *self._arguments(), "--", *inner]

    def _program(self, name: str) -> str:
        found = shutil.which(name)
        if found is None:
            raise InputError("cannot start: no such command", where=name, remedy="check the command after --")
        for path in (Path(found).absolute(), Path(found).resolve()):
            if not self._shows(path):
                remedy = f"add {path.parent} to 'read' of sandbox.{self.name} in the policy"
                raise InputError("the command is not visible in the sandbox", where=str(path), remedy=remedy)
        return str(Path(found).absolute())

    def _shows(self, path: Path) -> bool:
        folders = ("/usr", *_SYSTEM, *self.confinement.read, *self.confinement.write)
        return any(path.is_relative_to(folder) for folder in folders)

    def _arguments(self) -> Iterator[str]:
        yield from _NAMESPACES
        yield from self._system()
        if self.confinement.hosts:
            yield from ("--ro-bind", str(self.socket), _SOCKET, "--ro-bind", str(_INSIDE), _SCRIPT)
            for folder in python_folders():
                yield from ("--ro-bind", folder, folder)
        named = [(path, "--ro-bind") for path in self.confinement.read]
        named += [(path, "--bind") for path in self.confinement.write]
        # The deepest last, so that a folder may be writable in one that is not, or the reverse.
        for path, how in sorted(named, key=lambda pair: len(Path(pair[0]).parts)):
            yield from (how, path, path)
        here = Path.cwd()
        yield from ("--remount-ro", "/", "--chdir", str(here) if self._shows(here) else "/")

    def _system(self) -> Iterator[str]:
        yield from ("--ro-bind", "/usr", "/usr")
        for folder in _SYSTEM:
            if os.path.islink(folder):
                yield from ("--symlink", os.readlink(folder), folder)
            else:
                yield from ("--ro-bind-try", folder, folder)
        for name in _ETC:
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        user = f"server:x:{os.getuid()}:{os.getgid()}::/tmp:/usr/sbin/nologin\n"
        texts = {"passwd": user, "group": f"server:x:{os.getgid()}:\n", "hosts": "127.0.0.1 localhost\n"}
        for name, text in texts.items():
            (self.files / name).write_text(text, encoding="ascii")
            yield from ("--ro-bind", str(self.files / name), f"/etc/{name}")

    def environment(self) -> dict[str, str]:
        """Return the whole environment to start the command with.

        Bubblewrap itself gets no other: the server can read the environment of its first process, and other users of
        this machine can read a command line.
        """
        found = {"PATH": _PATH, "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
        found |= {name: os.environ[name] for name in self.confinement.env if name in os.environ}
        if self.confinement.hosts:
            proxy = f"http://127.0.0.1:{_PORT}"
            found |= {name: proxy for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
            # Node reads the proxy only if it is told to.
            found["NODE_USE_ENV_PROXY"] = "1"
        return found


def python_folders() -> tuple[str, ...]:
    """Return the folders outside /usr that this Python needs to run a script of its standard library."""
    folders = {Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve()}
    return tuple(sorted(str(folder) for folder in folders if not folder.is_relative_to("/usr")))


def python_inside() -> str:
    """Return the path of this Python's interpreter in a sandbox that binds `python_folders`."""
    return str(Path(sys.executable).resolve())
