"""Translate rules to Cedar policies and to the strict schema that validates them.

A rule becomes up to four kinds of Cedar policy, distinguished by the prefix of their `@id`:

    permit  NAME             an `allow` or `hold` rule grants the act: it names every argument and contains all values
    forbid  deny:NAME        a `deny` rule matches the act, whatever other arguments it has
    forbid  hold:NAME        a `hold` rule matches the act, and too few persons approved it
    forbid  budget:NAME      the rule matches the act and its budget is spent; `sum:NAME:ARGUMENT` for sums

One Cedar request thus answers allow or deny; a denial by `hold:` policies alone is a hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from holdfast.guard.policy.arguments import ATTRIBUTE, NUMBER, ArgumentReader
from holdfast.guard.policy.normalise import UNIT, covered
from holdfast.guard.policy.schema import DAYS, Constraint, Label, Limits, Rule, When

_COMPARE = {
    "at_least": ("lowest", "highest", ">="), "above": ("lowest", "highest", ">"),
    "at_most": ("highest", "lowest", "<="), "below": ("highest", "lowest", "<"),
}  # fmt: skip


def rule_text(rule: Rule, reader: ArgumentReader, tool: str) -> Iterator[str]:
    """Yield the Cedar policies of one rule for one of its tools."""
    scope = _scope(tool)
    situation = _situation(rule)
    recognised = " && ".join([*situation, *_recognised(rule, reader)]) or "true"
    if rule.answer == "deny":
        yield _policy(f"deny:{rule.name}", "forbid", scope, recognised)
        return
    granted = [*situation, *_granted(rule, reader)]
    if not rule.in_pause:
        granted.append("!context.frozen")
    yield _policy(rule.name, "permit", scope, " && ".join(granted) or "true")
    if rule.answer == "hold":
        unless = f" unless {{ context.approved >= {rule.persons} }}"
        yield _policy(f"hold:{rule.name}", "forbid", scope, recognised, unless)
    if rule.budget:
        spent = " || ".join(f"{_count(rule.name, s)} >= {most}" for s, most in rule.budget.spans.items())
        yield _policy(f"budget:{rule.name}", "forbid", scope, f"{recognised} && ({spent})")
    for argument, limits in rule.sums.items():
        total = _seen(argument, "total")
        name = f"{rule.name}:{argument}"
        over = " || ".join(f"{_count(name, s)} + {total} > {most * UNIT}" for s, most in limits.spans.items())
        judged = f"{_has(argument, 'total')} && ({over})"
        if ATTRIBUTE[rule.constraints[argument].kinds[0]] == "number":
            judged = f"{_has(argument, 'total', 'lowest')} && ({over} || {_seen(argument, 'lowest')} < 0)"
        condition = f"{recognised} && {judged}"
        yield _policy(f"sum:{name}", "forbid", scope, condition)


def trace_text(rule: Rule | Label, reader: ArgumentReader, tool: str) -> Iterator[str]:
    """Yield, as permits, the labels that a run gains from an act and the counters that the act spends."""
    scope = _scope(tool)
    if isinstance(rule, Label):
        yield _policy(f"label:{rule.label}", "permit", scope, " && ".join(_recognised(rule, reader)) or "true")
        return
    # Acts count whatever the time, the agent and the labels, so that acts outside the rule's window count too.
    condition = " && ".join(_recognised(rule, reader)) or "true"
    for counter in counters(rule):
        yield _policy(f"counter:{counter}", "permit", scope, condition)


def counters(rule: Rule) -> list[str]:
    """Return the names of a rule's counters: `RULE` counts acts, `RULE:ARGUMENT` sums an argument in millionths."""
    return [*([rule.name] if rule.budget else []), *(f"{rule.name}:{argument}" for argument in rule.sums)]


def rule_limits(rule: Rule, counter: str) -> Limits:
    """Return the limits on one of a rule's counters."""
    _, colon, argument = counter.partition(":")
    found = rule.sums[argument] if colon else rule.budget
    assert found is not None
    return found


def _scope(tool: str) -> str:
    return f"principal, action == Action::{_text(tool)}, resource"


def _policy(name: str, effect: str, scope: str, when: str, unless: str = "") -> str:
    return f"@id({_text(name)})\n{effect} ({scope})\nwhen {{ {when} }}{unless};"


def _situation(rule: Rule) -> list[str]:
    found = []
    if rule.agents:
        found.append(f"[{', '.join(f'Agent::{_text(agent)}' for agent in rule.agents)}].contains(principal)")
    if rule.after:
        found.append(f"context.labels.containsAny({_list(rule.after)})")
    if rule.when:
        found += _window(rule.when)
    return found


def _window(when: When) -> list[str]:
    found = []
    if when.days != DAYS:
        found.append(f"[{', '.join(str(DAYS.index(day)) for day in when.days)}].contains(context.day)")
    first, last = when.span
    if first < last:
        found.append(f"context.minute >= {first} && context.minute < {last}")
    elif first > last:
        found.append(f"(context.minute >= {first} || context.minute < {last})")
    return found


def _granted(rule: Rule, reader: ArgumentReader) -> list[str]:
    """Conditions of a grant: the rule names every argument, and contains all of its values."""
    if rule.where == "any":
        return []
    named = set(rule.arguments)
    for name, value in rule.arguments.items():
        if value == "any":
            named.add(f"{name}.*")
            named.update(known for known in reader.names if known.startswith(f"{name}."))
            named.update(f"{known}.*" for known in reader.open if known.startswith(f"{name}."))
    # Cedar has no literal for an empty set.
    found = [f"{_list(named)}.containsAll(context.given)" if named else "context.given.isEmpty()"]
    for name, constraint in rule.constraints.items():
        needed, held = _judge(name, constraint, reader, whole=True)
        found.append(f"(if {needed} then {held} else true)" if constraint.optional else f"{needed} && {held}")
    return found


def _recognised(rule: Rule | Label, reader: ArgumentReader) -> list[str]:
    """Conditions of a match: the rule contains some value of each constrained argument.

    Optional arguments and length limits only narrow a grant. They are left out, or an agent could avoid the match.
    """
    found = []
    for name, constraint in rule.constraints.items():
        if not constraint.optional and ATTRIBUTE[constraint.kinds[0]] != "length":
            found.append(" && ".join(_judge(name, constraint, reader, whole=False)))
    return found


def _judge(name: str, constraint: Constraint, reader: ArgumentReader, *, whole: bool) -> tuple[str, str]:
    """Return two conditions: the argument is present; the constraint contains all (`whole`) or any of its values."""
    needed: list[str] = []
    held: list[str] = []
    for kind in constraint.kinds:
        value = getattr(constraint, kind)
        attribute = ATTRIBUTE[kind]
        if attribute == "number":
            of_all, of_any, sign = _COMPARE[kind]
            attribute = of_all if whole else of_any
            held.append(f"{_seen(name, attribute)} {sign} {round(value * UNIT)}")
        elif attribute == "length":
            attribute = "characters"
            if kind == "line":
                needed.append("lines")
                held.append(f"{_seen(name, 'lines')} <= 1")
            held.append(f"{_seen(name, attribute)} <= {value}")
        else:
            vocabulary = reader.vocabularies[name][attribute]
            inside = _list(covered({vocabulary.entry(entry) for entry in value}, vocabulary.known, vocabulary.chain))
            outside = kind.endswith("outside")
            method = "containsAll" if whole or outside else "containsAny"
            held.append(f"{'!' * outside}{inside}.{method}({_seen(name, attribute)})")
        needed.append(attribute)
    return _has(name, *dict.fromkeys(needed)), " && ".join(held)


def _has(name: str, *attributes: str) -> str:
    return " && ".join(f"context has {_text(f'{name}.{attribute}')}" for attribute in attributes)


def _seen(name: str, attribute: str) -> str:
    return f"context[{_text(f'{name}.{attribute}')}]"


def _count(counter: str, span: str) -> str:
    return f"context[{_text(f'{counter}/{span}')}]"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, sorted(texts)))}]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def situation_of(rules: Iterable[Rule]) -> dict[str, str]:
    """Return the context attributes that these rules need beside the arguments: name → Cedar type."""
    found = {"frozen": "Bool"}
    for rule in rules:
        found |= {"labels": "Set<String>"} if rule.after else {}
        found |= {"day": "Long", "minute": "Long"} if rule.when else {}
        found |= {"approved": "Long"} if rule.answer == "hold" else {}
        found |= {
            f"{counter}/{span}": "Long" for counter in counters(rule) for span in rule_limits(rule, counter).spans
        }
    return found


def action_text(tool: str, reader: ArgumentReader, situation: dict[str, str]) -> str:
    """Return the schema of one tool: the attributes of an act on it and their types."""
    attributes = {"given": "Set<String>"} | situation
    for name in sorted(reader.names):
        attributes |= {f"{name}.{attribute}": "?Set<String>" for attribute in reader.vocabularies.get(name, {})}
        attributes |= {f"{name}.{attribute}": "?Long" for attribute in NUMBER if name in reader.numbers}
        attributes |= {f"{name}.characters": "?Long"} if name in reader.texts else {}
        attributes |= {f"{name}.lines": "?Long"} if name in reader.lines else {}
        attributes |= {f"{name}.total": "?Long"} if name in reader.summed else {}
    typed = [f"{_text(n)}{'?' if kind[0] == '?' else ''}: {kind.removeprefix('?')}" for n, kind in attributes.items()]
    return (
        f"action {_text(tool)} appliesTo {{ principal: [Agent], resource: [Server], context: {{\n"
        f"  {', '.join(typed)}\n}} }};"
    )
