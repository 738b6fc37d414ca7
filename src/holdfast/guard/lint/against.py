"""Find requests in a text that the policy denies: denied tools, and values that no rule allows.

Addresses, paths, URLs and amounts are compared with the rules of the tools that could take them. The policy decides
acts and not prose, so only plain requests count; sentences that forbid, ask or warn are skipped.
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
#: Patterns of each kind of value (group 1), and the words that request an act with such a value. Each run of characters
#: that a value may hold is tried from its beginning only: from each of its characters it would take quadratic time.
_ADDRESS = re.compile(r"(?<![\w.+-])[.+-]*(\w[\w.+-]*@[\w-]+(?:\.[\w-]+)+)\b")
_MAILS = re.compile(r"\b(?:mail|e-mail|email|send|forward|write to|cc|copy|notify|report to|post)\b")
_PATH = re.compile(r"(?<![\w:/.-])(?:[\w.-]*[.-])?(/(?:[\w.-]+/)*[\w.-]*\w)")
_TOUCHES = re.compile(
    r"\b(?:read|open|write|save|store|edit|change|delete|remove|clean|use|put|copy|move|upload|everything|files?)\b"
)
_URL = re.compile(r"\bhttps?://([\w.-]+)")
_AMOUNT = re.compile(
    r"\b(?:up to|at most|as much as|amounts? (?:of|to)|limit of|below|under) (?:[a-z$€£]{0,3} ?)(\d[\d,]*)"
)


@dataclass(frozen=True)
class _Reach:
    """The values of one kind that the policy allows (all if `values` is None) and denies."""

    values: frozenset[str] | None
    denied: frozenset[str]


def asked_against(text: str, policy: PolicyFile) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the requests that the policy denies, in a text prepared by `lint.py`."""
    denied = _always_denied(policy)
    allowed = {tool for rule in policy.rules if rule.answer != "deny" for tool in _names(rule)}
    whole = any(rule.answer == "allow" for rule in policy.rules) and "*" not in allowed
    for sentence in SENTENCE.finditer(text):
        clause, start = sentence[0], sentence.start()
        if _REFUSED.search(clause):
            continue
        for tool in sorted(denied):
            if at := _asked(clause, tool):
                yield start + at[0], start + at[1]
        for name in _NAME.finditer(clause) if whole else ():
            # The policy denies every tool that no rule allows.
            if name[0] not in allowed | denied and name[0] != "raise_concern":
                yield start + name.start(), start + name.end()
        for at in _values_against(clause, policy):
            yield start + at[0], start + at[1]


def _always_denied(policy: PolicyFile) -> set[str]:
    rules = [rule for rule in policy.rules if rule.answer == "deny"]
    return {
        tool for rule in rules if not rule.constraints and not rule.after and not rule.when for tool in _names(rule)
    }


def _names(rule: Rule) -> set[str]:
    """Return the names of a rule's tools without their servers; `*` for a whole server."""
    return {tool.rpartition("/")[2].lower() for tool in rule.tools}


def _asked(clause: str, tool: str) -> tuple[int, int] | None:
    """Return where a sentence names a tool, or requests it in the words of its name ("delete all old records")."""
    if tool == "*":
        return None
    if (at := clause.find(tool)) >= 0:
        return at, at + len(tool)
    wanted = {stem(word) for word in _WORD.findall(tool)}
    found = [(m.start(), m.end()) for m in _WORD.finditer(clause) if stem(m[0]) in wanted]
    have = {stem(clause[a:b]) for a, b in found}
    if len(wanted) < 2 or have != wanted or found[-1][1] - found[0][0] > 60:
        return None
    return found[0][0], found[-1][1]


def _values_against(clause: str, policy: PolicyFile) -> Iterator[tuple[int, int]]:
    if _MAILS.search(clause):
        reach = _reach(policy, "recipients", "recipients_outside")
        yield from (m.span(1) for m in _ADDRESS.finditer(clause) if _beyond(address_chain(m[1]), reach))
    if _TOUCHES.search(clause):
        reach = _reach(policy, "under", "outside")
        yield from (m.span(1) for m in _PATH.finditer(clause) if _beyond(_roots(m[1], reach), reach))
    reach = _reach(policy, "hosts", "hosts_outside")
    yield from (m.span() for m in _URL.finditer(clause) if _beyond(host_chain(m[1].rstrip(".")), reach))
    limits = _limits(policy)
    for name, most in limits.items():
        if _named(clause, name):
            amounts = ((m.span(), float(m[1].replace(",", ""))) for m in _AMOUNT.finditer(clause))
            yield from (span for span, amount in amounts if amount > most)


def _reach(policy: PolicyFile, kind: str, reverse: str) -> _Reach:
    """Return the values that rules with this constraint allow; a rule that denies all others allows only its values."""
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
    """Return whether a value, given with its ancestors, is denied or not allowed."""
    steps = set(chain)
    return bool(steps & reach.denied) or (reach.values is not None and not steps & reach.values)


def _roots(path: str, reach: _Reach) -> list[str]:
    """Return the folders of the policy that contain a path; all folders of a long path would take quadratic time."""
    known = reach.denied | (reach.values or frozenset())
    return [folder for folder in known if f"{path}/".startswith(f"{folder.rstrip('/')}/")]


def _limits(policy: PolicyFile) -> Mapping[str, float]:
    """Return tool → the highest limit on its numbers, for tools on which every allowing rule sets a limit."""
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


def _named(clause: str, tool: str) -> bool:
    return tool in clause or bool({stem(w) for w in _WORD.findall(tool)} <= {stem(w) for w in _WORD.findall(clause)})
