"""Flatten the arguments of a tool call and map them to the policy's terms, as the context of a Cedar request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.guard.policy.addresses import Hosts, Recipients
from holdfast.guard.policy.normalise import UNIT, UNKNOWN, Chain, Uninspectable, Values, deceives, read_number
from holdfast.guard.policy.paths import Paths
from holdfast.guard.policy.schema import Constraint, Label, Rule

#: kind of constraint → the attribute that Cedar judges
ATTRIBUTE = {
    "recipients": "recipients", "recipients_outside": "recipients", "under": "paths", "outside": "paths",
    "hosts": "hosts", "hosts_outside": "hosts", "one_of": "values", "at_least": "number", "at_most": "number",
    "above": "number", "below": "number", "line": "length", "text": "length",
}  # fmt: skip
NUMBER = ("lowest", "highest", "total")
_DEPTH = 16
_LEAVES = 10_000
_WORD = re.compile(r"[\W_]+")
#: Names of fields and headers that hold who gets a message, or the answer to it.
_RECIPIENT = re.compile(
    r"(?:resent|envelope|apparently|delivered)?(?:to|cc|bcc)|(?:reply|forward|copy|send|mail|errors|followup)(?:to|s)"
    r"|forward|dispositionnotificationto|returnreceiptto|recipients?"
)


class Vocabulary(Protocol):
    """The policy's terms of one kind, and the mapping from values to them."""

    known: frozenset[str]

    @property
    def chain(self) -> Chain:
        """A function that yields a term and its ancestors."""
        ...

    @property
    def entry(self) -> Callable[[Any], str]:
        """A function that normalises an entry of the policy."""
        ...

    def terms(self, value: Any) -> set[str]:
        """Return the terms of one value."""
        ...


@dataclass(frozen=True)
class ArgumentReader:
    """Reads the arguments of one tool.

    Attributes:
        vocabularies: argument → attribute → the policy's terms.
        numbers: arguments constrained as numbers.
        texts: arguments constrained by their length.
        lines: arguments in `texts` that some rule limits to one line.
        summed: arguments in `texts` whose characters some rule sums.
        names: every argument that some rule names; a dotted name lies inside an object.
        open: arguments that may have any value under some rule, including everything inside them.
    """

    vocabularies: Mapping[str, Mapping[str, Vocabulary]] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    summed: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()

    def given(self, name: str) -> str:
        """Return the policy's term for an argument's name: itself, `parent.*` inside an open argument, or `?`."""
        if name in self.names:
            return name
        while "." in name:
            name = name.rpartition(".")[0]
            if name in self.open:
                return f"{name}.*"
        return UNKNOWN

    def _holds(self, name: str) -> bool:
        return name not in self.names and any(known.startswith(f"{name}.") for known in self.names)

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the Cedar context of the arguments.

        Returns:
            `given`: the names present; `ARGUMENT.attribute`: terms, bounds and sum of numbers, or lengths. The context
            is flat, because Cedar takes longer to parse a nested context than to evaluate it.

        Raises:
            Uninspectable: a constrained argument cannot be read unambiguously.
        """
        flat = self._folded(flatten(arguments))
        # An empty container whose members are named one by one gives none of them.
        given = {self.given(name) for name, values in flat.items() if values or not self._holds(name)}
        seen: dict[str, Any] = {"given": sorted(given)}
        beside = self._recipients_beside(flat)
        for name in flat.keys() & self.names:
            if values := [value for value in flat[name] if value is not None]:
                self._judge(name, values, seen)
                if beside and "recipients" in self.vocabularies.get(name, {}):
                    self._judge_beside(name, beside, seen)
        return seen

    def _folded(self, flat: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Give the values inside an object to the argument that holds it, if rules say where it may lead.

        All recipients, paths and URLs in an object must then meet the rules.
        """
        folded: dict[str, list[Any]] = {}
        for name, values in flat.items():
            folded.setdefault(self._holder(name), []).extend(values)
        return folded

    def _holder(self, name: str) -> str:
        above = name
        while above not in self.names and "." in above:
            above = above.rpartition(".")[0]
        leads = self.vocabularies.get(above, {}).keys() & {"recipients", "paths", "hosts"}
        return above if leads and above not in self.open else name

    def _recipients_beside(self, flat: Mapping[str, list[Any]]) -> list[Any]:
        """Return the recipients in open arguments, such as a `Bcc` among headers, which no rule names."""
        if not any("recipients" in vocabularies for vocabularies in self.vocabularies.values()):
            return []
        found = []
        for name in flat.keys() - self.vocabularies.keys():
            if name not in self.texts and _RECIPIENT.fullmatch(_WORD.sub("", name.rpartition(".")[2]).casefold()):
                found += [value for value in flat[name] if isinstance(value, str) and value]
        return found

    def _judge_beside(self, name: str, values: list[Any], seen: dict[str, Any]) -> None:
        """Judge further recipients as if they stood in the argument that the rules name."""
        vocabulary = self.vocabularies[name]["recipients"]
        try:
            terms = set[str]().union(*map(vocabulary.terms, values))
        except Uninspectable as error:
            raise Uninspectable(f"a recipient beside '{name}' is ambiguous: {error}") from None
        seen[f"{name}.recipients"] = sorted({*seen.get(f"{name}.recipients", ()), *terms})

    def _judge(self, name: str, values: list[Any], seen: dict[str, Any]) -> None:
        try:
            for attribute, vocabulary in self.vocabularies.get(name, {}).items():
                if terms := set[str]().union(*map(vocabulary.terms, values)):
                    seen[f"{name}.{attribute}"] = sorted(terms)
            if name in self.numbers:
                numbers = [read_number(value) for value in values]
                found = (min(numbers), max(numbers), sum(numbers))
                seen.update(zip((f"{name}.{attribute}" for attribute in NUMBER), found, strict=True))
            if name in self.texts:
                lengths = [_characters(value) for value in values]
                seen[f"{name}.characters"] = max(lengths)
                if name in self.summed:
                    seen[f"{name}.total"] = sum(lengths) * UNIT
            if name in self.lines:
                # `splitlines` ignores a break at the very end; the added full stop makes it count.
                seen[f"{name}.lines"] = max(len(f"{value}.".splitlines()) for value in values)
        except Uninspectable as error:
            raise Uninspectable(f"argument '{name}' is ambiguous: {error}") from None


def _characters(value: Any) -> int:
    if not isinstance(value, str) or deceives(value):
        raise Uninspectable("write plain text without control characters")
    return len(value)


def flatten(arguments: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return argument values by dotted name; the items of a list become several values of one name.

    Raises:
        Uninspectable: a key contains a dot or is empty, or the object is too deep or too large.
    """
    flat: dict[str, list[Any]] = {}
    todo: list[tuple[str, Any, int]] = [("", arguments, 0)]
    seen = 0
    while todo:
        name, value, depth = todo.pop()
        seen += 1
        if depth > _DEPTH or seen > _LEAVES:
            raise Uninspectable(f"the arguments are deeper than {_DEPTH} levels or more than {_LEAVES} values")
        if isinstance(value, Mapping):
            if name and not value:
                flat.setdefault(name, [])
            for key, inner in value.items():
                if not isinstance(key, str) or not key or "." in key:
                    raise Uninspectable("the name of an argument is empty or contains a dot")
                todo.append((f"{name}.{key}" if name else key, inner, depth + 1))
        elif isinstance(value, (list, tuple)):
            if not value:
                flat.setdefault(name, [])
            todo += [(name, inner, depth + 1) for inner in value]
        else:
            flat.setdefault(name, []).append(value)
    return flat


def build_reader(rules: Iterable[Rule | Label], links: bool) -> ArgumentReader:
    """Build the reader of a tool from the rules and labels that name the tool.

    Raises:
        Uninspectable: a rule lists an invalid address, folder or host.
    """
    rules = list(rules)
    judged: dict[str, list[Constraint]] = {}
    names: set[str] = set()
    loose: set[str] = set()
    for rule in rules:
        for name, constraint in rule.constraints.items():
            judged.setdefault(name, []).append(constraint)
        names.update(rule.arguments)
        loose.update(name for name, value in rule.arguments.items() if value == "any")
    texts = _of("length", judged)
    return ArgumentReader(
        vocabularies={
            name: vocabularies
            for name, constraints in judged.items()
            if (vocabularies := _vocabularies(constraints, links))
        },
        numbers=_of("number", judged),
        texts=texts,
        lines=frozenset(name for name, constraints in judged.items() if any(c.line for c in constraints)),
        summed=texts & {name for rule in rules if isinstance(rule, Rule) for name in rule.sums},
        names=frozenset(names),
        open=frozenset(loose),
    )


def _of(attribute: str, judged: Mapping[str, list[Constraint]]) -> frozenset[str]:
    return frozenset(n for n, cs in judged.items() if any(ATTRIBUTE[k] == attribute for c in cs for k in c.kinds))


def _vocabularies(constraints: list[Constraint], links: bool) -> dict[str, Vocabulary]:
    listed: dict[str, list[Any]] = {}
    for constraint in constraints:
        for kind in constraint.kinds:
            if ATTRIBUTE[kind] not in ("number", "length"):
                listed.setdefault(ATTRIBUTE[kind], []).extend(getattr(constraint, kind))
    makers: dict[str, Callable[[Any], Vocabulary]] = {"recipients": Recipients, "hosts": Hosts, "values": Values}
    return {a: Paths(entries, links) if a == "paths" else makers[a](entries) for a, entries in listed.items()}
