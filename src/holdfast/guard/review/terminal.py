"""Show a held act or a concern in a terminal, as lines that the agent's text cannot imitate.

Text of an agent or of data stands behind a gutter on every line, also where a long line would wrap by itself. Names of
arguments are quoted. Nothing in the text changes a colour, moves the cursor or begins a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len, chop_cells

from holdfast.guard.approvals import Answer, Ticket
from holdfast.guard.cases import ConcernCase
from holdfast.guard.review.act_view import describe_arguments
from holdfast.guard.review.pieces import Piece, pieces, shorten

GUTTER = "    │ "
_NARROWEST = 24


def ticket_lines(ticket: Ticket, answers: Sequence[Answer], known: Sequence[str], width: int = 80) -> Iterator[str]:
    """Yield the lines of a held act: the rule and its reason, the destination and the difference first.

    Args:
        ticket: the held act.
        answers: the answers so far.
        known: recipients in acts that persons approved before.
        width: width of the terminal in columns.
    """
    for line in _ticket_lines(ticket, answers, known, width):
        yield from _wrapped(line, width, "!   " if line.startswith("! ") else "    ")


def _ticket_lines(ticket: Ticket, answers: Sequence[Answer], known: Sequence[str], width: int) -> Iterator[str]:
    act, view = ticket.act, describe_arguments(ticket.act.arguments, known)
    yes = sum(answer.approve for answer in answers)
    yield f"ticket {ticket.id}: {ticket.state}, {yes} of {ticket.persons} approvals, until {moment(ticket.expires)}"
    yield "why it is held:"
    for rule, why in zip(ticket.rules, ticket.why, strict=False):
        yield f"  rule {rule}: {why}"
    for rule in ticket.rules[len(ticket.why) :]:
        yield f"  rule {rule}"
    yield from boxed(pieces(ticket.reason), width)
    yield "where it goes:"
    for name, place in view.destinations:
        yield from boxed((*name, Piece(": "), *place), width)
    if not view.destinations:
        yield "  no recipient, address, path or account was recognised"
    for warning in view.warnings:
        yield f"! {warning}"
    for change in view.changes:
        yield f"difference in {quoted(change.name) if change.name else 'the text'}:"
        for sign, line in change.lines:
            yield from boxed(line, width, f"  {sign} │ ")
    yield f"what it does: {shorten(f'{act.server}/{act.tool}')}, by {shorten(act.agent)} in run {shorten(act.run)}"
    for field in view.fields:
        yield f"  {quoted(field.name)}{f' ({field.size})' if field.size else ''}:"
        yield from boxed(field.pieces, width)
        for inner in field.decoded:
            yield f"    decoded from {inner.how}:"
            yield from boxed(inner.pieces or (Piece("not text: nobody can inspect this"),), width, "      │ ")
    if ticket.story:
        yield "the agent's reasoning (untrusted):"
        yield from boxed(pieces(ticket.story), width)
    for answer in answers:
        yield f"{answer.person} {'approved' if answer.approve else 'refused'} at {moment(answer.at)}"
        yield from boxed(pieces(answer.reason), width) if answer.reason else ()


def case_lines(
    case: ConcernCase, state: str, added: Sequence[tuple[float, str]] = (), width: int = 80
) -> Iterator[str]:
    """Yield the lines of a concern for one of its reviewers; `added` are later texts on the same cause."""
    for line in _case_lines(case, state, added, width):
        yield from _wrapped(line, width)


def _case_lines(case: ConcernCase, state: str, added: Sequence[tuple[float, str]], width: int) -> Iterator[str]:
    yield f"case {case.id}: {state}, raised {moment(case.opened)}, due {moment(case.deadline)}"
    yield f"  by {shorten(case.agent)} in run {shorten(case.run)}, log up to entry {case.seen}"
    for title, text in (("about", case.about), ("statement", case.text)):
        yield f"  {title} (untrusted):"
        yield from boxed(pieces(text), width)
    yield f"  persons named (untrusted):{'' if case.implicated else ' nobody'}"
    for name in case.implicated:
        yield from boxed(pieces(name), width)
    for at, text in added:
        yield f"  added {moment(at)} (untrusted):"
        yield from boxed(pieces(text), width)


def boxed(run: Sequence[Piece], width: int = 80, gutter: str = GUTTER) -> Iterator[str]:
    """Yield hostile text line by line, each behind the gutter and none wider than the terminal."""
    room = max(width - cell_len(gutter), _NARROWEST)
    line = ""
    for piece in run:
        line += _spelled(piece)
        if piece.breaks:
            yield from (gutter + part for part in _chopped(line, room))
            line = ""
    if line or not run:
        yield from (gutter + part for part in _chopped(line, room))


def quoted(name: Sequence[Piece]) -> str:
    """Return the name of an argument in quotation marks on one line; an agent may choose it."""
    return json.dumps(shorten("".join(map(_spelled, name))), ensure_ascii=False)


def moment(seconds: float) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _spelled(piece: Piece) -> str:
    if piece.mark == "alien":
        return f"{piece.text}⟨{piece.title}⟩"
    return f"⟨{piece.text}⟩" if piece.mark else piece.text


def _chopped(line: str, room: int) -> list[str]:
    return chop_cells(line, room) or [""]


def _wrapped(line: str, width: int, following: str = "    ") -> Iterator[str]:
    """Yield a line of ours, broken so that the terminal breaks none by itself."""
    first, *rest = _chopped(line, max(width, _NARROWEST))
    yield first
    for part in _chopped("".join(rest), max(width - len(following), _NARROWEST)) if rest else ():
        yield following + part
