"""Rules to Cedar text, and the strict schema that the text is held to.

A rule becomes up to three kinds of Cedar policy, told apart by the head of their `@id`:

    permit  NAME             the act is what an `allow` or `hold` rule grants: every argument named, all values inside
    forbid  deny:NAME        the act is recognised by a `deny` rule, whatever else it carries
    forbid  hold:NAME        the same for a `hold` rule, unless enough persons approved
    forbid  budget:NAME      the rule recognises the act and its budget is spent; `sum:NAME:ARGUMENT` for sums

So one request answers allow or deny, and a denial by `hold:` alone is a hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from holdfast.guard.policy.arguments import ATTRIBUTE, NUMBER, Lens
from holdfast.guard.policy.normalise import UNIT, covered
from holdfast.guard.policy.schema import DAYS, Constraint, Label, Limits, Rule, When

_COMPARE = {
    "at_least": ("lowest", "highest", ">="), "above": ("lowest", "highest", ">"),
    "at_most": ("highest", "lowest", "<="), "below": ("highest", "lowest", "<"),
}  # fmt: skip


def rule_text(rule: Rule, lens: Lens, tool: str) -> Iterator[str]:
    """The Cedar policies of one rule, on one of its tools."""
    scope = _scope(tool)
    situation = _situation(rule)
    recognised = " && ".join([*situation, *_recognised(rule, lens)]) or "true"
    if rule.answer == "deny":
        yield _policy(f"deny:{rule.name}", "forbid", scope, recognised)
        return
    granted = [*situation, *_granted(rule, lens)]
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


def trace_text(rule: Rule | Label, lens: Lens, tool: str) -> Iterator[str]:
    """What an act leaves behind: the labels that a run gains and the counters that are spent, as permits."""
    scope = _scope(tool)
    if isinstance(rule, Label):
        yield _policy(f"label:{rule.label}", "permit", scope, " && ".join(_recognised(rule, lens)) or "true")
        return
    # Counted at any time and for any agent's rule: what a window or a label lets slip is still spent.
    condition = " && ".join(_recognised(rule, lens)) or "true"
    for counter in counters(rule):
        yield _policy(f"counter:{counter}", "permit", scope, condition)


def counters(rule: Rule) -> list[str]:
    """The names of a rule's counters: `RULE` counts acts, `RULE:ARGUMENT` adds up an argument in millionths."""
    return [*([rule.name] if rule.budget else []), *(f"{rule.name}:{argument}" for argument in rule.sums)]


def rule_limits(rule: Rule, counter: str) -> Limits:
    """The limits on one of a rule's counters."""
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


def _granted(rule: Rule, lens: Lens) -> list[str]:
    """Every argument is named by the rule, and all of its values are inside."""
    if rule.where == "any":
        return []
    named = set(rule.arguments)
    for name, value in rule.arguments.items():
        if value == "any":
            named.add(f"{name}.*")
            named.update(known for known in lens.names if known.startswith(f"{name}."))
            named.update(f"{known}.*" for known in lens.open if known.startswith(f"{name}."))
    # Cedar knows no empty set literal.
    found = [f"{_list(named)}.containsAll(context.given)" if named else "context.given.isEmpty()"]
    for name, constraint in rule.constraints.items():
        needed, held = _judge(name, constraint, lens, whole=True)
        found.append(f"(if {needed} then {held} else true)" if constraint.optional else f"{needed} && {held}")
    return found


def _recognised(rule: Rule | Label, lens: Lens) -> list[str]:
    """Some value of each judged argument is inside; what merely narrows a grant is left out, lest it be a way round."""
    found = []
    for name, constraint in rule.constraints.items():
        if not constraint.optional and ATTRIBUTE[constraint.kinds[0]] != "length":
            found.append(" && ".join(_judge(name, constraint, lens, whole=False)))
    return found


def _judge(name: str, constraint: Constraint, lens: Lens, *, whole: bool) -> tuple[str, str]:
    """That an argument is there, and that its values are inside: all of them (`whole`), or any."""
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
            book = lens.books[name][attribute]
            inside = _list(covered({book.entry(entry) for entry in value}, book.known, book.chain))
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
    """What these rules ask of the situation beside the arguments: attribute → Cedar type."""
    found = {"frozen": "Bool"}
    for rule in rules:
        found |= {"labels": "Set<String>"} if rule.after else {}
        found |= {"day": "Long", "minute": "Long"} if rule.when else {}
        found |= {"approved": "Long"} if rule.answer == "hold" else {}
        found |= {
            f"{counter}/{span}": "Long" for counter in counters(rule) for span in rule_limits(rule, counter).spans
        }
    return found


def action_text(tool: str, lens: Lens, situation: dict[str, str]) -> str:
    """The part of the schema about one tool: which attributes an act on it has, and of what type."""
    attributes = {"given": "Set<String>"} | situation
    for name in sorted(lens.names):
        attributes |= {f"{name}.{attribute}": "?Set<String>" for attribute in lens.books.get(name, {})}
        attributes |= {f"{name}.{attribute}": "?Long" for attribute in NUMBER if name in lens.numbers}
        attributes |= {f"{name}.characters": "?Long"} if name in lens.texts else {}
        attributes |= {f"{name}.lines": "?Long"} if name in lens.lines else {}
        attributes |= {f"{name}.total": "?Long"} if name in lens.summed else {}
    typed = [f"{_text(n)}{'?' if kind[0] == '?' else ''}: {kind.removeprefix('?')}" for n, kind in attributes.items()]
    return (
        f"action {_text(tool)} appliesTo {{ principal: [Agent], resource: [Server], context: {{\n"
        f"  {', '.join(typed)}\n}} }};"
    )
