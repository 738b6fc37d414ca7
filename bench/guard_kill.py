"""Kill the guard with SIGKILL at random moments, and check that no act was lost, repeated or executed unapproved.

    python -m bench.guard_kill --json [--kills 200] [--seed 0]

A writer requests acts, consumes approvals and executes each act by writing a line to a file that it syncs. Another
process answers the requests, mostly with yes. The writer is killed at a random moment, and its successor continues.
This tests the death of a process, not a power failure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.audit_verify import verify
from holdfast.guard.keys import SigningKey
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer

HOLD = Decision("hold", ("kill",), "a bench", "wait", "policy-1")
_YES = 0.8
#: A writer executes up to this many acts, and part of the next one, whatever the speed of the disk.
_ACTS = 5


def main() -> None:
    """Kill, audit and print; exit code 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        kill(Path(folder), options.kills, random.Random(options.seed))
        found: dict[str, float] = {"kills": options.kills, **audit(Path(folder))}
        found["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:20} {v:10}" for k, v in found.items()))
    sys.exit(1 if any(found[fault] for fault in FAULTS) else 0)


def kill(folder: Path, kills: int, draw: random.Random) -> None:
    """Start and kill writers repeatedly, and answer their tickets meanwhile."""
    key, person = SigningKey.create(folder / "guard.key"), SigningKey.create(folder / "person.key")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["holdfast.guard.approvals"])
    with AuditLog(folder / "guard.db", key) as evidence:
        Persons(evidence).enrol(key_credential("ann", "reviewer", person.public))
        approvals = Approvals(evidence)
        for _ in range(kills):
            begun = context.Event()
            writer = context.Process(target=write, args=(folder, begun))
            writer.start()
            acts = draw.randint(0, _ACTS)
            # Most writers die at work; one with no act may die while it opens the file.
            if acts:
                begun.wait()
            cycle = _answer(acts, approvals, person, draw)
            time.sleep(draw.uniform(0, cycle))
            _end(writer)


def write(folder: Path, begun: Event) -> None:
    """Run the writer: continue open acts, then request new ones until killed."""
    evidence = AuditLog(folder / "guard.db", SigningKey.load(folder / "guard.key"))
    approvals = Approvals(evidence)
    effects = os.open(folder / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    promised = os.open(folder / "promised", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tickets = approvals.tickets()
    for ticket in tickets:
        if ticket.state in ("approved", "consumed", "indeterminate"):
            _do(ticket.act.act, approvals, effects)
    begun.set()
    for number in itertools.count(len(tickets) + 1):
        act = Act("run", "agent", "bench", "write", {"n": number}, "d")
        waiting = approvals.ask(act, HOLD)
        while approvals.ticket(waiting.id).state == "pending":
            time.sleep(0.0005)
        _do(act, approvals, effects)
        entry = evidence.append("note", {"ticket": waiting.id}, durable=True)
        os.write(promised, f"{entry} {waiting.id}\n".encode())


def _do(act: Act, approvals: Approvals, effects: int) -> None:
    ticket = approvals.ask(act, HOLD)
    if stored := approvals.consume(act, HOLD.policy):
        os.write(effects, f"{ticket.id} {stored.arguments['n']}\n".encode())
        os.fsync(effects)
        approvals.settle(act, done=True)


FAULTS = ("unapproved_effects", "double_effects", "lost_records", "findings")


def audit(folder: Path) -> dict[str, int]:
    """Return counts from the files after the last kill; those in `FAULTS` must be zero."""
    key = SigningKey.load(folder / "guard.key")
    with AuditLog(folder / "guard.db", key) as evidence:
        approvals, persons = Approvals(evidence), Persons(evidence)
        effects = [line.split() for line in _lines(folder / "effects")]
        intents = Counter(entry.content["ticket"] for entry in evidence.entries("intent"))
        approved = set()
        for ticket in approvals.tickets():
            for answer in approvals.answers(ticket.id):
                statement = ticket.statement(answer.person, answer.approve, answer.reason)
                persons.check(answer.person, statement, answer.proof)
                approved |= {ticket.id} if answer.approve else set()
        notes = {(str(entry.seq), entry.content["ticket"]) for entry in evidence.entries("note")}
        promised = [tuple(line.split()) for line in _lines(folder / "promised")]
        by_act = Counter(number for _, number in effects)
        states = Counter(ticket.state for ticket in approvals.tickets())
        gaps = len(evidence.entries("gap"))
    return {
        "effects": len(effects),
        "records_promised": len(promised),
        "gaps_signed": gaps,
        "indeterminate": states["indeterminate"],
        "unapproved_effects": sum(ticket not in approved or not intents[ticket] for ticket, _ in effects),
        "double_effects": sum(count - 1 for count in (*by_act.values(), *intents.values())),
        "lost_records": sum(line not in notes for line in promised),
        "findings": len(verify(folder / "guard.db", key.public)),
    }


def _answer(count: int, approvals: Approvals, person: SigningKey, draw: random.Random) -> float:
    """Answer this many tickets and return the seconds between two of them."""
    began, left = time.monotonic(), count
    while left:
        for ticket in approvals.tickets("pending"):
            yes = draw.random() < _YES
            approvals.answer(ticket.id, "ann", yes, prove_reviewer(person, ticket.statement("ann", yes)))
            left = max(0, left - 1)
        time.sleep(0.0005)
    return (time.monotonic() - began) / max(1, count) if count else 0.1


def _end(writer: ForkServerProcess) -> None:
    writer.kill()
    writer.join()
    if writer.exitcode != -9:
        raise RuntimeError(f"the writer ended by itself, with {writer.exitcode}")


def _lines(path: Path) -> list[str]:
    """Return complete lines; an incomplete last line was never finished."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


if __name__ == "__main__":
    main()
