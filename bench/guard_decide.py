"""Time of one policy decision at 1, 10 and 100 rules, compared with cedarpy alone on the same Cedar text.

    python -m bench.guard_decide --json [--acts 2000]

Every act is new, so that no cache helps. `spread` has four rules on each tool; `one_tool` has all rules on the called
tool, the worst case. `decide` is all of `Policy.decide`, from decoded arguments to the Decision. cedarpy alone gets the
finished context and the whole policy, as a parsed handle or as text, and does not check look-alikes. Figures are
microseconds of wall-clock time in one thread. The variants alternate in blocks of acts, so that all see the same
machine load.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import cedarpy

from holdfast.guard.act import Act
from holdfast.guard.policy import BudgetUse, Context, Policy
from holdfast.guard.policy.schema import PolicyFile

SIZES = (1, 10, 100)
_PER_TOOL = 4
_BLOCK = 100  # acts of one variant in turn; the first block of each is warm-up


def main() -> None:
    """Measure every size and shape, and print JSON or a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--acts", type=int, default=2000)
    options = parser.parse_args()
    shapes = {"spread": _PER_TOOL, "one_tool": max(SIZES)}
    found = {
        shape: {str(size): measure(size, per_tool, options.acts) for size in SIZES}
        for shape, per_tool in shapes.items()
    }
    if options.json:
        print(json.dumps({"acts": options.acts, "unit": "us", **found}, indent=1))
        return
    for shape, sizes in found.items():
        for size, ways in sizes.items():
            for way, figures in ways.items():
                print(f"{shape:9} {size:>4} rules  {way:15} p50 {figures['p50']:8.1f} us  p99 {figures['p99']:8.1f} us")


def policy_of(rules: int, per_tool: int) -> Policy:
    """Return a policy with this many rules; every fourth is a deny rule, the others have recipients and limits."""
    written = [_rule(at, f"mail{at // per_tool}/send") for at in range(rules)]
    source = {"policy": "bench", "revision": 1, "owner": "bench", "agents": ["agent"], "rules": written}
    return Policy(PolicyFile.model_validate(source))


def _rule(at: int, tool: str) -> dict[str, Any]:
    if at % 4 == 3:
        rival = {"to": {"recipients": [f"@rival{at}.example"]}}
        return {"name": f"r{at}", "deny": [tool], "where": rival, "why": "Rivals.", "instead": "Nothing."}
    rule = {"name": f"r{at}", "allow": [tool], "why": "Work."}
    limits = {"to": {"recipients": [f"@acme{at}.example"]}, "subject": {"line": 200}, "body": {"text": 5000}}
    return rule | {"where": limits} | ({"budget": {"run": 1_000_000}} if at == 0 else {})


def measure(rules: int, per_tool: int, acts: int) -> dict[str, dict[str, float]]:
    """Return variant → p50 and p99 over acts; every decision must be an allow."""
    policy = policy_of(rules, per_tool)
    whole = cedarpy.PolicySet.from_str(policy.cedar)
    entities = cedarpy.Entities.from_json_str("[]")
    now = datetime.now(UTC)

    def decide(at: int) -> bool:
        act = Act("run", "agent", "mail0", "send", _arguments(at))
        return policy.decide(act, Context(now, {"r0": BudgetUse(at, at, at)})).answer == "allow"

    def bare(policies: Any) -> Callable[[int], bool]:
        return lambda at: cedarpy.is_authorized(_request(at), policies, entities).allowed

    ways = {"decide": decide, "cedarpy_handle": bare(whole), "cedarpy_text": bare(policy.cedar)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    gc.collect()
    for block in range(-_BLOCK, acts, _BLOCK):
        for way, ask in ways.items():
            for at in range(block, block + _BLOCK):
                began = time.perf_counter_ns()
                allowed = ask(abs(at))
                spent = time.perf_counter_ns() - began
                assert allowed, way
                times[way] += [spent / 1000] if at >= 0 else []
    return {way: {"p50": round(statistics.median(t), 1), "p99": round(_p99(t), 1)} for way, t in times.items()}


def _arguments(at: int) -> dict[str, str]:
    body = f"Dear colleague {at}, here are the figures. " * 5
    return {"to": f"Ann <ann{at}@acme0.example>, bob{at}@acme0.example", "subject": f"Figures {at}", "body": body}


def _request(at: int) -> dict[str, Any]:
    return {
        "principal": {"type": "Agent", "id": "agent"},
        "action": {"type": "Action", "id": "mail0/send"},
        "resource": {"type": "Server", "id": "mail0"},
        "context": {
            "given": ["body", "subject", "to"],
            "to.recipients": ["@acme0.example"],
            "subject.characters": 10,
            "subject.lines": 1,
            "body.characters": 200 + at,
            "frozen": False,
            "r0/run": at,
        },
    }


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


if __name__ == "__main__":
    main()
