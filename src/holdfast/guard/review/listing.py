"""Tell held acts apart in a list: where each goes, what differs from the others with the same tool, and a digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.guard.approvals import Ticket
from holdfast.guard.review.act_view import destinations
from holdfast.guard.review.pieces import shorten

_MOST_PLACES, _MOST_ARGUMENTS, _LONGEST = 3, 3, 48


@dataclass(frozen=True, slots=True)
class ActSummary:
    """One held act in a list.

    Attributes:
        places: where it goes, shortened.
        differs: the arguments in which it differs from the listed acts with the same tool, or its first arguments.
        digest: the first digits of the act's hash.
    """

    places: tuple[str, ...]
    differs: tuple[str, ...]
    digest: str


def summaries(tickets: Sequence[Ticket]) -> dict[str, ActSummary]:
    """Return the summary of each ticket by its id."""
    groups: dict[tuple[str, str], list[Ticket]] = {}
    for ticket in tickets:
        groups.setdefault((ticket.act.server, ticket.act.tool), []).append(ticket)
    return {ticket.id: made for group in groups.values() for ticket, made in _told_apart(group)}


def _told_apart(group: Sequence[Ticket]) -> Iterator[tuple[Ticket, ActSummary]]:
    flat = [_flat(ticket.act.arguments) for ticket in group]
    names = list(dict.fromkeys(name for values in flat for name in values))
    varied = [name for name in names if len({values.get(name) for values in flat}) > 1]
    for ticket, values in zip(group, flat, strict=True):
        shown = [name for name in (varied or names) if name in values][:_MOST_ARGUMENTS]
        others = {name: [v[name] for v in flat if name in v] for name in shown}
        lines = [f"{shorten(name, 24)}: {_excerpt(values[name], others[name])}" for name in shown]
        lines += [f"without {shorten(name, 24)}" for name in varied if name not in values][:1]
        places = list(dict.fromkeys(shorten(place, _LONGEST) for _, place in destinations(ticket.act.arguments)))
        more = [f"and {len(places) - _MOST_PLACES} more"] if len(places) > _MOST_PLACES else []
        yield ticket, ActSummary((*places[:_MOST_PLACES], *more), tuple(lines), ticket.act.act.key[:8])


def _excerpt(value: str, all_values: Sequence[str]) -> str:
    """Return the stretch of a value in which the values first differ."""
    low, high = min(all_values), max(all_values)
    same = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    start = max(0, same - 12) if low != high else 0
    cut = value[start:]
    return ("…" if start else "") + shorten(cut, _LONGEST)


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        parts = [_flat(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {name or "arguments": value if isinstance(value, str) else json.dumps(value, default=dict)}
