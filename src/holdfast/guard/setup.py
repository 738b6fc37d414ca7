"""Open a guard's folder, which only its own user can read, and build the gate from it.

guard.key              signs the audit log; created with the folder
guard.db               audit log, approvals, concerns, budgets
guard.db.checkpoints   signed heads of the log
pins.json              hashes of the servers' tool definitions at first sight
routing.toml           reviewers, operators of the agents, effect of a pause (optional)
facts.toml             private, confidential and protected items, and the agent's weights (optional)
figures.toml           known figures, as name = "value" under [known] (optional)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.core.config import load_toml
from holdfast.core.errors import RefusedError
from holdfast.core.records import Facts
from holdfast.core.store import writing
from holdfast.detectors.private_facts import Leave
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns
from holdfast.guard.gate import Gate
from holdfast.guard.keys import SigningKey
from holdfast.guard.limits import LimitScope
from holdfast.guard.monitors.detector_monitor import DetectorMonitor, Monitor
from holdfast.guard.monitors.known_figures import Figures, KnownFigures
from holdfast.guard.policy.policy import Policy
from holdfast.guard.routing import Routing


def open_audit_log(folder: Path) -> AuditLog:
    """Open the audit log in a guard's folder; creates the folder and its key if missing.

    Raises:
        RefusedError: other users may read the folder, its key or its database; or there is a log without its key.
        StoreError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        raise RefusedError("other users may read the guard's folder", where=folder, remedy=f"chmod 700 {folder}")
    path, log = folder / "guard.key", folder / "guard.db"
    if log.exists() and not path.exists():
        what = "the folder has a log without guard.key, the key that signed it, as a copy has"
        raise RefusedError(what, where=log, remedy="restore the key; a copy is only checked: holdfast guard verify")
    return AuditLog(log, SigningKey.load(path) if path.exists() else SigningKey.create(path))


def routing(folder: Path) -> Routing:
    """Read `routing.toml`; without it there is no reviewer, and a pause holds every tool.

    Raises:
        ConfigError: the file is not valid.
    """
    path = folder / "routing.toml"
    return load_toml(path, Routing) if path.exists() else Routing()


def register_names(store: AuditLog, given: Routing) -> None:
    """Register the persons, agents and roles of a routing, so that nobody enrols under a name that looks like theirs.

    Raises:
        RefusedError: two of them look alike, or one looks like somebody who is known already.
    """
    Concerns(store, given)
    Approvals(store, given.operators)


def _known(folder: Path) -> list[Figures]:
    path = folder / "figures.toml"
    return [Figures(load_toml(path, KnownFigures).known)] if path.exists() else []


@contextmanager
def open_gate(
    folder: Path, policy: Policy, monitors: Sequence[Monitor] = (), *, by_run: bool = False
) -> Iterator[tuple[Gate, AuditLog]]:
    """Open a guard's folder and yield its gate under a policy, and its audit log.

    Args:
        folder: the guard's folder.
        policy: decides acts.
        monitors: monitors that run after the detectors.
        by_run: each run has limits of its own, as in an evaluation whose samples know nothing of one another.

    Raises:
        ConfigError: `routing.toml`, `facts.toml` or `figures.toml` is not valid.
        RefusedError: other users may read the folder.
    """
    found, path = routing(folder), folder / "facts.toml"
    channels = [name for r in found.reviewers for name in (r.id, r.name, *r.aliases) if name]
    facts = load_toml(path, Facts) if path.exists() else Facts()
    watch = DetectorMonitor(facts, [*_known(folder), *monitors], Leave(channels, found.strict))
    with open_audit_log(folder) as evidence:
        scope = LimitScope(found.operators, by_run)
        concerns, approvals = Concerns(evidence, found, scope), Approvals(evidence, found.operators, scope=scope)
        parts: dict[str, Any] = {"concerns": concerns, "approvals": approvals, "monitors": (watch,), "scope": scope}
        yield Gate(policy, evidence, **parts), evidence
