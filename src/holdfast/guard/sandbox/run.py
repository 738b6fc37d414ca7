"""Start a server in its sandbox, after the sandbox was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.core.errors import InputError
from holdfast.guard.policy.policy import Policy
from holdfast.guard.policy.schema import Confinement
from holdfast.guard.sandbox.bubblewrap import Sandbox
from holdfast.guard.sandbox.doctor import require_confined
from holdfast.guard.sandbox.proxy import serving


@contextmanager
def sandboxed(
    policy: Policy, server: str, command: Sequence[str], state: Path, source: Path, note: Callable[[str], None]
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the command line and the environment of a server in its sandbox; its proxy is served meanwhile.

    Args:
        policy: says what the server gets.
        server: the server's name in the policy.
        command: the server's command.
        state: the guard's folder, which the server must not see.
        source: the policy's file, which the server must not change.
        note: logs what the sandbox refused.

    Raises:
        InputError: the policy has no sandbox for this server, or one that would show it the guard's folder.
        PrerequisiteError: bubblewrap is not installed, or cannot make a sandbox on this machine.
        RefusedError: an attempt to get out of the sandbox succeeded.
    """
    confinement = confinement_of(policy, server)
    hidden = {"the guard's folder": state, "the policy": source}
    with TemporaryDirectory(prefix="holdfast-sandbox-") as name:
        files = Path(name).resolve()
        sandbox = Sandbox(server, confinement, files)
        sandbox.check(hidden | {"the sandbox's own files": files})
        require_confined(confinement, state)
        if not confinement.hosts:
            yield sandbox.command(command), sandbox.environment()
            return
        with serving(sandbox.socket, confinement.hosts, note):
            yield sandbox.command(command), sandbox.environment()


def confinement_of(policy: Policy, server: str) -> Confinement:
    """Return what the policy gives to a server in a sandbox.

    Raises:
        InputError: the policy does not say.
    """
    found = policy.source.sandbox.get(server)
    if found is None:
        remedy = f"add for example: sandbox: {{{server}: {{read: [/opt/server], write: [/srv/work]}}}}"
        raise InputError(f"the policy has no sandbox for the server '{server}'", where=policy.name, remedy=remedy)
    return found
