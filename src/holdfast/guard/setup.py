"""Where a guard lives: one folder that only its own user can read, and the gate that is built from it.

guard.key          signs the evidence; made when the folder is new
guard.db           evidence, approvals, concerns, budgets
guard.db.checkpoints
pins.json          what servers' tools were when they were first seen
routing.toml       who reviews concerns, who runs which agent, what a pause holds (optional)
facts.toml         what is private, confidential, protected and the agent's own (optional)
figures.toml       figures that are known, as name = "value" under [known] (optional)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.config import load_toml
from holdfast.core.errors import RefusedError
from holdfast.core.records import Facts
from holdfast.core.store import writing
from holdfast.detectors.private_facts import Leave
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns, Routing
from holdfast.guard.gate import Gate
from holdfast.guard.keys import SigningKey
from holdfast.guard.monitors.detector_monitor import DetectorMonitor, Monitor
from holdfast.guard.monitors.known_figures import Figures, KnownFigures
from holdfast.guard.policy.policy import Policy


def open_evidence(folder: Path) -> AuditLog:
    """The evidence of a guard's folder; the folder and its key are made where they are missing.

    Raises:
        RefusedError: others may read the folder, its key or its state.
        StoreError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        raise RefusedError("others may look into the guard's folder", where=folder, remedy=f"chmod 700 {folder}")
    path = folder / "guard.key"
    return AuditLog(folder / "guard.db", SigningKey.load(path) if path.exists() else SigningKey.create(path))


def routing(folder: Path) -> Routing:
    """Who reviews concerns; nobody, and every tool held in a pause, where the folder does not say.

    Raises:
        ConfigError: the file does not say it rightly.
    """
    path = folder / "routing.toml"
    return load_toml(path, Routing) if path.exists() else Routing()


def _known(folder: Path) -> list[Figures]:
    path = folder / "figures.toml"
    return [Figures(load_toml(path, KnownFigures).known)] if path.exists() else []


@contextmanager
def open_gate(folder: Path, policy: Policy, monitors: Sequence[Monitor] = ()) -> Iterator[tuple[Gate, AuditLog]]:
    """The gate of a guard's folder under a policy, and the evidence it writes.

    Args:
        folder: the guard's folder.
        policy: decides.
        monitors: further eyes, asked after the detectors.

    Raises:
        ConfigError: `routing.toml`, `facts.toml` or `figures.toml` is not what it should be.
        RefusedError: others may read the folder.
    """
    found, path = routing(folder), folder / "facts.toml"
    channels = [alias for reviewer in found.reviewers for alias in (reviewer.name, *reviewer.aliases)]
    facts = load_toml(path, Facts) if path.exists() else Facts()
    watch = DetectorMonitor(facts, [*_known(folder), *monitors], Leave(channels, found.strict))
    with open_evidence(folder) as evidence:
        concerns, approvals = Concerns(evidence, found), Approvals(evidence, found.operators)
        yield Gate(policy, evidence, concerns=concerns, approvals=approvals, monitors=(watch,)), evidence
