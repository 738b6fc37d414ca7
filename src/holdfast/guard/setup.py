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
from holdfast.guard.ids import likeness
from holdfast.guard.keys import SigningKey
from holdfast.guard.limits import LimitScope
from holdfast.guard.monitors.detector_monitor import DetectorMonitor, Monitor
from holdfast.guard.monitors.known_figures import Figures, KnownFigures
from holdfast.guard.policy.policy import Policy
from holdfast.guard.reviewers import Persons
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


def who_answers(folder: Path, policy: Policy) -> list[str]:
    """Return why nobody would answer held acts or concerns under a policy; an empty list if somebody would.

    Reads `routing.toml` and the enrolled persons, and creates nothing.

    Raises:
        ConfigError: `routing.toml` is not valid.
    """
    given = routing(folder)
    gaps = []
    remedy = "holdfast guard approve enrol ID --role ROLE --own-key FILE"
    if not given.reviewers:
        where = folder / "routing.toml"
        problem = "lists no reviewers" if where.exists() else "does not exist"
        gaps.append(f"{where} {problem}: nobody would answer a concern, and each would hold every tool for good")
    enrolled = _enrolled(folder)
    missing = [r.id for r in given.reviewers if r.id not in enrolled]
    if given.reviewers and len(missing) == len(given.reviewers):
        gaps.append(f"no reviewer is enrolled ({', '.join(missing)}): nobody would answer a concern; {remedy}")
    elif missing:
        gaps.append(f"not enrolled, so unable to answer: {', '.join(missing)}; {remedy}")
    for agent in policy.source.agents:
        operator = given.operators.get(agent)
        others = {person for person in enrolled if likeness(person) not in map(likeness, (agent, operator or agent))}
        needed = max((rule.persons for rule in policy.source.rules if rule.answer == "hold"), default=1)
        if len(others) < needed:
            what = f"{len(others)} of {needed} persons enrolled who may approve acts of {agent}"
            gaps.append(f"{what}: nobody would answer a held act; {remedy}")
        if operator is None:
            gaps.append(f"no operator of {agent} in routing.toml: the person who runs it could approve its acts")
    return gaps


def _enrolled(folder: Path) -> set[str]:
    """Return the ids of the enrolled persons; none if there is no guard's folder yet."""
    if not (folder / "guard.db").exists() or not (folder / "guard.key").exists():
        return set()
    with open_audit_log(folder) as store:
        return {credential.person for credential in Persons(store).credentials()}


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
