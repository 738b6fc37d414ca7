"""Statements that an organisation gives its agents: Markdown with an owner, a scope and an expiry date.

    ---
    subject: customer data
    owner: Data protection officer
    scope: [assistant, clerk]        # or: all
    valid_until: 2027-03-31
    claims: {may leave the firm: false, kept for days: 30}
    needs: [incident report]         # other subjects that a reader of this statement must also have
    ---
    Customer data stays with us because …

Agents behave worse if their context is stale, missing or contradictory, so `check_context` finds these cases first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints, ValidationError

from holdfast.core.config import nearest
from holdfast.core.errors import InputError, ProseError
from holdfast.core.identity import hash_files
from holdfast.core.prose import Prose, load_prose
from holdfast.core.records import Record

Kind = Literal["stale", "missing", "contradictory", "unreadable"]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n]*$")]
ALL = "all"


class Front(Record):
    """The front matter of a statement. `scope` lists agents or is `all`; valid through `valid_until` (UTC)."""

    subject: Line
    owner: Line
    scope: Literal["all"] | Annotated[tuple[Line, ...], Field(min_length=1)]
    valid_until: date
    claims: Mapping[Line, StrictBool | StrictInt | StrictFloat | StrictStr | date] = Field(default_factory=dict)
    needs: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One file: front matter and text."""

    path: Path
    front: Front
    text: str

    def current(self, on: date) -> bool:
        """Return whether the statement is valid on a day."""
        return on <= self.front.valid_until

    def reaches(self, agent: str) -> bool:
        """Return whether an agent is in the statement's scope."""
        return self.front.scope == ALL or agent in self.front.scope


@dataclass(frozen=True, slots=True)
class ContextIssue:
    """One issue in the context: its kind, `file:line`, description and remedy."""

    kind: Kind
    where: str
    what: str
    remedy: str


def read_context(folder: Path) -> tuple[list[Statement], list[ContextIssue]]:
    """Return all statements under a folder, and an issue for each invalid file.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=folder, remedy="give a folder of Markdown statements")
    statements, found = [], []
    for path in sorted(folder.rglob("*.md")):
        try:
            prose = load_prose(path)
        except ProseError as error:
            found.append(ContextIssue("unreadable", error.where, error.what, error.remedy))
            continue
        try:
            front = Front.model_validate(prose.front)
        except ValidationError as error:
            found += _faults(prose, error)
            continue
        if not prose.body:
            found.append(ContextIssue("missing", f"{path}:{prose.line}", "the statement has no text", "write its text"))
            continue
        statements.append(Statement(path, front, prose.body))
    if not statements and not found:
        found.append(ContextIssue("missing", str(folder), "no statements", "add Markdown files with front matter"))
    return statements, found


def _faults(prose: Prose, error: ValidationError) -> Iterator[ContextIssue]:
    lines = _lines(prose.path)
    seen = set()
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        where = f"{prose.path}:{lines.get(name, 1)}"
        if name in seen:
            continue
        seen.add(name)
        if fault["type"] == "missing":
            yield ContextIssue("missing", where, f"no '{name}'", "add it to the front matter")
        elif fault["type"] == "extra_forbidden":
            near = nearest(name, list(Front.model_fields))
            remedy = f"did you mean '{near}'?" if near else "remove it"
            yield ContextIssue("unreadable", where, f"unknown key '{name}'", remedy)
        else:
            yield ContextIssue("unreadable", where, f"'{name}': {fault['msg'].lower()}", "correct this value")


def _lines(path: Path) -> dict[str, int]:
    """Return the line of each key in the front matter."""
    head = path.read_text(encoding="utf-8")[4:].partition("\n---\n")[0]
    node = yaml.compose(head, yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {name.value: name.start_mark.line + 2 for name, _ in pairs}


def check_context(folder: Path, on: date, agents: Sequence[str] = ()) -> list[ContextIssue]:
    """Return everything stale, missing, contradictory or unreadable in a folder of statements.

    Args:
        folder: folder of statements, at any depth.
        on: the reference day, UTC.
        agents: agents that must each be in the scope of a valid statement.

    Raises:
        InputError: there is no such folder.
    """
    statements, found = read_context(folder)
    current = [statement for statement in statements if statement.current(on)]
    for statement in statements:
        if not statement.current(on):
            what = f"'{statement.front.subject}' was valid until {statement.front.valid_until}"
            remedy = f"ask its owner, {statement.front.owner}, to renew or withdraw it"
            found.append(ContextIssue("stale", _at(statement, "valid_until"), what, remedy))
    found += _missing(current)
    for agent in agents:
        if not any(statement.reaches(agent) for statement in current):
            what = f"no valid statement has the agent '{agent}' in its scope"
            found.append(ContextIssue("missing", str(folder), what, "add one, or add the agent to a scope"))
    for one, other in combinations(current, 2):
        found += _contradictions(one, other)
    return found


def _missing(current: Sequence[Statement]) -> Iterator[ContextIssue]:
    """Yield needed subjects that have no valid statement, or whose statements do not reach every reader."""
    for statement in current:
        for subject in statement.front.needs:
            about = [other for other in current if _same(other.front.subject, subject)]
            if not about:
                what = f"no valid statement on '{subject}', which '{statement.front.subject}' needs"
                yield ContextIssue("missing", _at(statement, "needs"), what, "write or renew it")
            elif lacking := _unreached(statement, about):
                what = f"'{statement.front.subject}' needs '{subject}', whose scope does not include {lacking}"
                yield ContextIssue("missing", _at(statement, "needs"), what, "extend its scope")


def _unreached(statement: Statement, about: Iterable[Statement]) -> str:
    scopes = [other.front.scope for other in about]
    if ALL in scopes:
        return ""
    reached = {agent for scope in scopes for agent in scope}
    if statement.front.scope == ALL:
        return "every agent"
    return ", ".join(agent for agent in statement.front.scope if agent not in reached)


def _contradictions(one: Statement, other: Statement) -> Iterator[ContextIssue]:
    """Yield claims on which two statements with a common reader differ."""
    if not _same(one.front.subject, other.front.subject) or not _share_readers(one.front, other.front):
        return
    theirs = {_folded(name): value for name, value in other.front.claims.items()}
    for name, value in one.front.claims.items():
        against = theirs.get(_folded(name), value)
        if (type(value), value) != (type(against), against):
            here, there = _format_value(value), _format_value(against)
            what = f"'{one.front.subject}': '{name}' is {here} here and {there} in {other.path}"
            remedy = f"ask {one.front.owner} and {other.front.owner} to agree on one value"
            yield ContextIssue("contradictory", _at(one, "claims"), what, remedy)


def _share_readers(one: Front, other: Front) -> bool:
    return ALL in (one.scope, other.scope) or not set(one.scope).isdisjoint(other.scope)


def _format_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"


def _same(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(text: str) -> str:
    return " ".join(text.replace("-", " ").replace("_", " ").casefold().split())


def _at(statement: Statement, key: str) -> str:
    return f"{statement.path}:{_lines(statement.path).get(key, 1)}"


def bulletin(folder: Path, agent: str, on: date) -> str:
    """Return an agent's context as Markdown: every statement that has the agent in scope, with a version hash.

    Raises:
        InputError: the folder has an issue. An agent gets valid context or none.
    """
    if found := check_context(folder, on):
        first = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise InputError(f"{first.kind} context: {first.what}{more}", where=first.where, remedy=first.remedy)
    statements = [statement for statement in read_context(folder)[0] if statement.reaches(agent)]
    version = hash_files(statement.path for statement in statements)
    parts = [f"# What you should know\n\nContext version `{version}`, as of {on}.\n"]
    for statement in statements:
        front = statement.front
        parts.append(
            f"## {front.subject}\n\nFrom {front.owner}, valid until {front.valid_until}.\n\n{statement.text}\n"
        )
        claims = [f"- {name}: {_format_value(value).strip(chr(39))}" for name, value in front.claims.items()]
        parts += ["\n".join(claims) + "\n"] if claims else []
    return "\n".join(parts)
