"""Check a policy that has a valid schema for unknown names and contradictory rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from holdfast.core.config import nearest
from holdfast.guard.ids import likeness
from holdfast.guard.policy.addresses import Hosts, Recipients
from holdfast.guard.policy.arguments import ATTRIBUTE
from holdfast.guard.policy.normalise import Chain, Uninspectable, tool_chain
from holdfast.guard.policy.paths import Paths
from holdfast.guard.policy.schema import Constraint, Label, PolicyFile, Rule
from holdfast.guard.policy.strict_yaml import Key

_ENTRY: dict[str, tuple[Callable[[str], str], Chain]] = {
    "recipients": (Recipients.entry, Recipients.chain),
    "paths": (Paths.entry, Paths.chain),
    "hosts": (Hosts.entry, Hosts.chain),
}
_SEVERITY = ("allow", "hold", "deny")


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a policy: its place in the file, what is wrong, and the remedy."""

    key: Key
    what: str
    remedy: str


def faults(policy: PolicyFile) -> Iterator[Fault]:
    """Yield every error in a policy, in the order of the file."""
    for one, other in combinations(policy.agents, 2):
        if likeness(one) == likeness(other):
            yield Fault(("agents",), f"the agents '{one}' and '{other}' look alike", "give each a name of its own")
    labels = {label.label for label in policy.labels}
    for at, label in enumerate(policy.labels):
        yield from _entries(("labels", at), label)
    for at, rule in enumerate(policy.rules):
        key: Key = ("rules", at)
        yield from _entries(key, rule)
        for name in rule.after:
            if name not in labels:
                yield Fault((*key, "after"), f"no entry in 'labels' gives the label '{name}'", _near(name, labels))
        for name in rule.agents or ():
            if name not in policy.agents:
                yield Fault((*key, "agents"), f"unknown agent '{name}'", _near(name, policy.agents))
    servers = {tool.partition("/")[0] for rule in policy.rules for tool in rule.tools}
    for name in policy.local_files:
        if name not in servers:
            yield Fault(("local_files",), f"no rule names a tool of the server '{name}'", _near(name, servers))
    for name, confinement in policy.sandbox.items():
        if name not in servers:
            what = f"no rule names a tool of the server '{name}'"
            yield Fault(("sandbox", name), what, _near(name, servers))
        for host in confinement.hosts:
            try:
                Hosts.entry(host.partition(":")[0])
            except Uninspectable as error:
                yield Fault(("sandbox", name, "hosts"), f"'{host}' is not valid here", str(error))
    if policy.tools is not None:
        yield from misnamed(policy, policy.tools)
    yield from _contradictions(policy)


def misnamed(policy: PolicyFile, tools: Mapping[str, Collection[str]], server: str = "") -> Iterator[Fault]:
    """Yield tools and arguments that a rule names but that do not exist.

    Args:
        policy: the policy.
        tools: every existing `server/tool` with the names of its arguments.
        server: if given, `tools` covers only this server, and rules on other servers are not checked.
    """
    numbered: list[tuple[str, int, Rule | Label]] = [("labels", at, label) for at, label in enumerate(policy.labels)]
    numbered += [("rules", at, rule) for at, rule in enumerate(policy.rules)]
    for kind, at, entry in numbered:
        listed = "tools" if isinstance(entry, Label) else entry.answer
        named = [tool for tool in entry.tools if tool.startswith(f"{server}/" if server else "")]
        about = {tool: [tools[name] for name in tools if tool in tool_chain(name)] for tool in named}
        for tool, found in about.items():
            if not found:
                yield Fault((kind, at, listed), f"unknown tool '{tool}'", _near(tool, tools))
        for name, value in entry.arguments.items():
            steps = {name.split(".")[0], name}
            lack = [tool for tool, found in about.items() if found and all(steps.isdisjoint(given) for given in found)]
            # A required argument must exist in every tool of the rule; an optional one must exist in at least one.
            needed = isinstance(value, Constraint) and not value.optional
            if lack and (needed or len(lack) == len(about)):
                known = {argument for given in about[lack[0]] for argument in given}
                have = [tool for tool in about if tool not in lack]
                what = f"{_listed(lack)} {'has' if len(lack) == 1 else 'have'} no argument '{name}'"
                what += f"; {_listed(have)} {'has' if len(have) == 1 else 'have'} it" if have and len(about) > 1 else ""
                remedy = _near(name, known) if not have else "give those tools a rule of their own, or mark it optional"
                yield Fault((kind, at, "where", name), what, remedy)


def _listed(tools: Sequence[str]) -> str:
    return ", ".join(f"'{tool}'" for tool in tools)


def name_entry(data: Any, key: Key) -> str:
    """Return "rule 'NAME': " or "label 'NAME': " for a place inside a rule or label of a policy file; else nothing."""
    if len(key) < 2 or key[0] not in ("rules", "labels") or not isinstance(key[1], int):
        return ""
    kind, field = ("rule", "name") if key[0] == "rules" else ("label", "label")
    entries = data.get(key[0]) if isinstance(data, Mapping) else None
    entry = entries[key[1]] if isinstance(entries, (list, tuple)) and key[1] < len(entries) else None
    name = entry.get(field) if isinstance(entry, Mapping) else None
    return f"{kind} '{name}': " if isinstance(name, str) and name else f"{kind} {key[1] + 1}: "


def _near(name: str, known: Collection[str]) -> str:
    near = nearest(name, sorted(known))
    return f"did you mean '{near}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"


def _entries(key: Key, entry: Rule | Label) -> Iterator[Fault]:
    """Yield entries that are not valid addresses, hosts or paths."""
    for name, constraint in entry.constraints.items():
        for kind in constraint.kinds:
            read = _ENTRY.get(ATTRIBUTE[kind])
            for value in getattr(constraint, kind) if read else ():
                try:
                    if read:
                        read[0](value)
                except Uninspectable as error:
                    yield Fault((*key, "where", name, kind), f"'{value}' is not valid here", str(error))


# ---------------------------------------------------------------------------------------------------- contradictions


def _contradictions(policy: PolicyFile) -> Iterator[Fault]:
    """Yield rules that have no effect, because a stricter rule denies or holds everything that they allow or hold."""
    for at, rule in enumerate(policy.rules):
        for other in policy.rules:
            if _SEVERITY.index(other.answer) > _SEVERITY.index(rule.answer):
                for tool in rule.tools:
                    if not set(tool_chain(tool)).isdisjoint(other.tools) and _takes_back(other, rule, policy):
                        verb = {"hold": "holds", "deny": "denies"}[other.answer]
                        what = (
                            f"rule '{other.name}' always {verb} what rule '{rule.name}' {_DOES[rule.answer]} on {tool}"
                        )
                        yield Fault(("rules", at, rule.answer), what, "narrow one of them or remove it")


_DOES = {"allow": "allows", "hold": "holds"}


def _takes_back(strict: Rule, rule: Rule, policy: PolicyFile) -> bool:
    """Return whether the stricter rule matches everything that the other rule grants."""
    if strict.agents is not None and not set(rule.agents or policy.agents) <= set(strict.agents):
        return False
    if (strict.when is not None and strict.when != rule.when) or (strict.after and strict.after != rule.after):
        return False
    for name, constraint in strict.constraints.items():
        narrows = constraint.optional or any(ATTRIBUTE[kind] == "length" for kind in constraint.kinds)
        mine = rule.constraints.get(name)
        if not narrows and (mine is None or mine.optional or not _within(mine, constraint)):
            return False
    return True


def _within(inner: Constraint, outer: Constraint) -> bool:
    """Return whether the outer constraint contains all values of the inner one; False if this is unknown."""
    kinds = {ATTRIBUTE[kind] for kind in (*inner.kinds, *outer.kinds)}
    if kinds == {"number"}:
        low, high = _interval(inner)
        wide_low, wide_high = _interval(outer)
        return low >= wide_low and high <= wide_high
    if inner.kinds != outer.kinds or inner.kinds[0].endswith("outside"):
        return False
    kind = inner.kinds[0]
    if kind == "one_of":
        return {(type(v), v) for v in inner.one_of or ()} <= {(type(v), v) for v in outer.one_of or ()}
    if ATTRIBUTE[kind] not in _ENTRY:
        return False
    read, chain = _ENTRY[ATTRIBUTE[kind]]
    try:
        listed = {read(entry) for entry in getattr(outer, kind)}
        return all(not listed.isdisjoint(chain(read(entry))) for entry in getattr(inner, kind))
    except Uninspectable:
        return False


def _interval(constraint: Constraint) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return both bounds of a number, each with a mark that orders an exclusive bound inside an inclusive one."""
    lows = [(constraint.at_least, 0), (constraint.above, 1)]
    highs = [(constraint.at_most, 0), (constraint.below, -1)]
    low = max(((v, mark) for v, mark in lows if v is not None), default=(-math.inf, 0))
    return low, min(((v, mark) for v, mark in highs if v is not None), default=(math.inf, 0))
