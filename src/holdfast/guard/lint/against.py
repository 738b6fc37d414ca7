"""What a text asks for and the policy would not let happen: tools that it denies, and values that it allows nowhere.

A value is held against the rules of the tools that could take it: an address where mail is asked for, a path, an
address on the web, an amount.  The policy decides about acts and not about prose, so only what is plainly asked for
counts, and a sentence that forbids, asks or warns is let be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.detectors.text import stem
from holdfast.guard.policy.addresses import address_chain, host_chain
from holdfast.guard.policy.schema import Constraint, PolicyFile, Rule

SENTENCE = re.compile(r"[^.!?\n]+(?:[.](?=\w)[^.!?\n]*)*[.!?]*")
_REFUSED = re.compile(
    r"\b(?:not|never|n't|cannot|closed|no longer|denied|propose|waits?|prepare|people|persons|nobody|only if|unless)\b"
    r"|\?"
)
_NAME = re.compile(r"\b[a-z]\w*_\w+\b")
_WORD = re.compile(r"[a-z]+")
#: How each kind of value shows in a text, and the words that ask for an act which would carry it.
_ADDRESS = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_MAILS = re.compile(r"\b(?:mail|e-mail|email|send|forward|write to|cc|copy|notify|report to|post)\b")
_PATH = re.compile(r"(?<![\w:/])/(?:[\w.-]+/)*[\w.-]*\w")
_TOUCHES = re.compile(
    r"\b(?:read|open|write|save|store|edit|change|delete|remove|clean|use|put|copy|move|upload|everything|files?)\b"
)
_URL = re.compile(r"\bhttps?://([\w.-]+)")
_AMOUNT = re.compile(
    r"\b(?:up to|at most|as much as|amounts? (?:of|to)|limit of|below|under) (?:[a-z$€£]{0,3} ?)(\d[\d,]*)"
)


@dataclass(frozen=True)
class _Reach:
    """What the policy lets pass of one kind of value: everything where `values` is None."""

    values: frozenset[str] | None
    denied: frozenset[str]


def asked_against(text: str, policy: PolicyFile) -> Iterator[tuple[int, int]]:
    """Where an even text (see `lint`) asks for what the policy denies: (start, end) of the words."""
    denied = _always_denied(policy)
    allowed = {tool for rule in policy.rules if rule.answer != "deny" for tool in _names(rule)}
    whole = any(rule.answer == "allow" for rule in policy.rules) and "*" not in allowed
    for sentence in SENTENCE.finditer(text):
        said, start = sentence[0], sentence.start()
        if _REFUSED.search(said):
            continue
        for tool in sorted(denied):
            if at := _asked(said, tool):
                yield start + at[0], start + at[1]
        for name in _NAME.finditer(said) if whole else ():
            # Everything is denied that no rule allows.
            if name[0] not in allowed | denied and name[0] != "raise_concern":
                yield start + name.start(), start + name.end()
        for at in _values_against(said, policy):
            yield start + at[0], start + at[1]


def _always_denied(policy: PolicyFile) -> set[str]:
    rules = [rule for rule in policy.rules if rule.answer == "deny"]
    return {
        tool for rule in rules if not rule.constraints and not rule.after and not rule.when for tool in _names(rule)
    }


def _names(rule: Rule) -> set[str]:
    """The names of a rule's tools, without their servers; `*` for a whole server."""
    return {tool.rpartition("/")[2].lower() for tool in rule.tools}


def _asked(said: str, tool: str) -> tuple[int, int] | None:
    """Where a sentence names a tool, or asks in words for what its name says ("delete all old records")."""
    if tool == "*":
        return None
    if (at := said.find(tool)) >= 0:
        return at, at + len(tool)
    wanted = {stem(word) for word in _WORD.findall(tool)}
    found = [(m.start(), m.end()) for m in _WORD.finditer(said) if stem(m[0]) in wanted]
    have = {stem(said[a:b]) for a, b in found}
    if len(wanted) < 2 or have != wanted or found[-1][1] - found[0][0] > 60:
        return None
    return found[0][0], found[-1][1]


def _values_against(said: str, policy: PolicyFile) -> Iterator[tuple[int, int]]:
    if _MAILS.search(said):
        reach = _reach(policy, "recipients", "recipients_outside")
        yield from (m.span() for m in _ADDRESS.finditer(said) if _beyond(address_chain(m[0]), reach))
    if _TOUCHES.search(said):
        reach = _reach(policy, "under", "outside")
        yield from (m.span() for m in _PATH.finditer(said) if _beyond(_folders(m[0]), reach))
    reach = _reach(policy, "hosts", "hosts_outside")
    yield from (m.span() for m in _URL.finditer(said) if _beyond(host_chain(m[1].rstrip(".")), reach))
    limits = _limits(policy)
    for name, most in limits.items():
        if _named(said, name):
            amounts = ((m.span(), float(m[1].replace(",", ""))) for m in _AMOUNT.finditer(said))
            yield from (span for span, amount in amounts if amount > most)


def _reach(policy: PolicyFile, kind: str, reverse: str) -> _Reach:
    """What rules with this kind of constraint let pass; a denial of all outside some values allows those alone."""
    allowed, denied = set[str](), set[str]()
    for rule in policy.rules:
        for constraint in rule.constraints.values():
            values = {str(value).lower() for value in getattr(constraint, kind) or ()}
            allowed |= values if rule.answer != "deny" else set()
            denied |= values if rule.answer == "deny" else set()
            if rule.answer == "deny" and not rule.after and not rule.when:
                allowed |= {str(value).lower() for value in getattr(constraint, reverse) or ()}
    return _Reach(frozenset(allowed) or None, frozenset(denied))


def _beyond(chain: Iterable[str], reach: _Reach) -> bool:
    """Whether a value, from itself to the widest that holds it, lies outside of what passes."""
    steps = set(chain)
    return bool(steps & reach.denied) or (reach.values is not None and not steps & reach.values)


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) or "/" for at in range(len(parts), 0, -1)]


def _limits(policy: PolicyFile) -> Mapping[str, float]:
    """Tool → the most that any rule lets one of its numbers be, where every rule that lets it pass sets a limit."""
    found: dict[str, float] = {}
    free = set[str]()
    for rule in policy.rules:
        tops = [top for constraint in rule.constraints.values() if (top := _top(constraint)) is not None]
        for tool in _names(rule) if rule.answer != "deny" else ():
            if tops:
                found[tool] = max(max(tops), found.get(tool, 0))
            else:
                free.add(tool)
    return {tool: most for tool, most in found.items() if tool not in free}


def _top(constraint: Constraint) -> float | None:
    return constraint.at_most if constraint.at_most is not None else constraint.below


def _named(said: str, tool: str) -> bool:
    return tool in said or bool({stem(w) for w in _WORD.findall(tool)} <= {stem(w) for w in _WORD.findall(said)})
