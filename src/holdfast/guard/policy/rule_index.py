"""Find the rules of a tool that could match an act, so that the time of a decision does not grow with the others.

A rule that requires an argument to name one of its terms (recipients, paths, hosts or values) neither grants nor
matches an act that names none of them. All other rules are always candidates. The index decides nothing: Cedar
evaluates the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.guard.policy.arguments import ATTRIBUTE, ArgumentReader
from holdfast.guard.policy.normalise import covered
from holdfast.guard.policy.schema import Constraint, Rule

_TERMS = frozenset({"recipients", "paths", "hosts", "values"})


@dataclass(frozen=True, slots=True)
class RuleIndex:
    """The rules of one tool, by number.

    Attributes:
        always: rules that could match any act.
        by_term: attribute of the Cedar context → term → rules that require this attribute to have the term or another
            of theirs.
    """

    always: frozenset[int]
    by_term: Mapping[str, Mapping[str, frozenset[int]]]

    def candidates(self, context: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the rules that could match an act with this context, in order."""
        found = set(self.always)
        for attribute, rules in self.by_term.items():
            for term in context.get(attribute, ()):
                found |= rules.get(term, frozenset())
        return tuple(sorted(found))


def index_rules(rules: Sequence[Rule], reader: ArgumentReader) -> RuleIndex:
    """Build the index of a tool's rules."""
    always: set[int] = set()
    by_term: dict[str, dict[str, set[int]]] = {}
    for number, rule in enumerate(rules):
        required = next(_required(rule.constraints.items()), None)
        if required is None:
            always.add(number)
            continue
        name, constraint = required
        kind = constraint.kinds[0]
        vocabulary = reader.vocabularies[name][ATTRIBUTE[kind]]
        entries = {vocabulary.entry(entry) for entry in getattr(constraint, kind)}
        for term in covered(entries, vocabulary.known, vocabulary.chain):
            by_term.setdefault(f"{name}.{ATTRIBUTE[kind]}", {}).setdefault(term, set()).add(number)
    frozen = {key: {term: frozenset(found) for term, found in terms.items()} for key, terms in by_term.items()}
    return RuleIndex(frozenset(always), frozen)


def _required(constraints: Iterable[tuple[str, Constraint]]) -> Iterator[tuple[str, Constraint]]:
    """Yield the arguments that must be there and name one of the rule's terms."""
    for name, constraint in constraints:
        kind = constraint.kinds[0]
        if not constraint.optional and ATTRIBUTE[kind] in _TERMS and not kind.endswith("outside"):
            yield name, constraint
