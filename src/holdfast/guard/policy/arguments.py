"""How a policy looks at the arguments of one tool: flattened, read as the policy's terms, ready for Cedar."""

from __future__ import annotations

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


class Book(Protocol):
    """What the policy knows of one kind, and how a value is read against it."""

    known: frozenset[str]

    @property
    def chain(self) -> Chain:
        """A term and all above it."""
        ...

    @property
    def entry(self) -> Callable[[Any], str]:
        """What the policy lists, as a term."""
        ...

    def terms(self, value: Any) -> set[str]:
        """The terms of one value."""
        ...


@dataclass(frozen=True)
class Lens:
    """One tool's arguments: how each is judged, and which names are known.

    Attributes:
        books: argument → attribute → what the policy knows there.
        numbers: arguments judged as numbers.
        texts: arguments judged by their length.
        lines: those among them that may have to be one line.
        summed: those among them whose characters are added up.
        names: every argument that some rule names; a dotted name lies inside an object.
        open: the arguments that some rule lets be anything, with all below them.
    """

    books: Mapping[str, Mapping[str, Book]] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    summed: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()

    def given(self, name: str) -> str:
        """The policy's word for an argument's name: itself, `above.*` below one that may be anything, or `?`."""
        if name in self.names:
            return name
        while "." in name:
            name = name.rpartition(".")[0]
            if name in self.open:
                return f"{name}.*"
        return UNKNOWN

    def _holds(self, name: str) -> bool:
        return name not in self.names and any(known.startswith(f"{name}.") for known in self.names)

    def look(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What Cedar is told of the arguments.

        Returns:
            `given`: the names present; `ARGUMENT.attribute`: terms, the bounds and sum of numbers, or lengths. Flat,
            since Cedar takes longer to read a nested context than to judge it.

        Raises:
            Uninspectable: an argument that a rule judges cannot be read with certainty.
        """
        flat = flatten(arguments)
        # An empty container of arguments that are known one by one gives none of them.
        given = {self.given(name) for name, values in flat.items() if values or not self._holds(name)}
        seen: dict[str, Any] = {"given": sorted(given)}
        for name in flat.keys() & self.names:
            if values := [value for value in flat[name] if value is not None]:
                self._judge(name, values, seen)
        return seen

    def _judge(self, name: str, values: list[Any], seen: dict[str, Any]) -> None:
        try:
            for attribute, book in self.books.get(name, {}).items():
                if terms := set[str]().union(*map(book.terms, values)):
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
                # The full stop shows a break at the very end, which `splitlines` would not count.
                seen[f"{name}.lines"] = max(len(f"{value}.".splitlines()) for value in values)
        except Uninspectable as error:
            raise Uninspectable(f"argument '{name}' cannot be judged: {error}") from None


def _characters(value: Any) -> int:
    if not isinstance(value, str) or deceives(value):
        raise Uninspectable("write plain text without control characters")
    return len(value)


def flatten(arguments: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Arguments by dotted name; lists are dissolved, so that a name has all the values that stand under it.

    Raises:
        Uninspectable: a key holds a dot or is empty, or the object is too deep or too large.
    """
    flat: dict[str, list[Any]] = {}
    todo: list[tuple[str, Any, int]] = [("", arguments, 0)]
    seen = 0
    while todo:
        name, value, depth = todo.pop()
        seen += 1
        if depth > _DEPTH or seen > _LEAVES:
            raise Uninspectable("the arguments are too deep or too many")
        if isinstance(value, Mapping):
            if name and not value:
                flat.setdefault(name, [])
            for key, inner in value.items():
                if not isinstance(key, str) or not key or "." in key:
                    raise Uninspectable("the name of an argument is empty or holds a dot")
                todo.append((f"{name}.{key}" if name else key, inner, depth + 1))
        elif isinstance(value, (list, tuple)):
            if not value:
                flat.setdefault(name, [])
            todo += [(name, inner, depth + 1) for inner in value]
        else:
            flat.setdefault(name, []).append(value)
    return flat


def lens_of(rules: Iterable[Rule | Label], links: bool) -> Lens:
    """The lens of a tool from the rules and labels about it.

    Raises:
        Uninspectable: a rule lists an address, folder or host that is none; the text says which.
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
    return Lens(
        books={name: books for name, constraints in judged.items() if (books := _books(constraints, links))},
        numbers=_of("number", judged),
        texts=texts,
        lines=frozenset(name for name, constraints in judged.items() if any(c.line for c in constraints)),
        summed=texts & {name for rule in rules if isinstance(rule, Rule) for name in rule.sums},
        names=frozenset(names),
        open=frozenset(loose),
    )


def _of(attribute: str, judged: Mapping[str, list[Constraint]]) -> frozenset[str]:
    return frozenset(n for n, cs in judged.items() if any(ATTRIBUTE[k] == attribute for c in cs for k in c.kinds))


def _books(constraints: list[Constraint], links: bool) -> dict[str, Book]:
    listed: dict[str, list[Any]] = {}
    for constraint in constraints:
        for kind in constraint.kinds:
            if ATTRIBUTE[kind] not in ("number", "length"):
                listed.setdefault(ATTRIBUTE[kind], []).extend(getattr(constraint, kind))
    makers: dict[str, Callable[[Any], Book]] = {"recipients": Recipients, "hosts": Hosts, "values": Values}
    return {a: Paths(entries, links) if a == "paths" else makers[a](entries) for a, entries in listed.items()}
