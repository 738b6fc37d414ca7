"""Render the review pages and check who may see them. Templates escape everything; nothing here marks text as safe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast.core.errors import RefusedError
from holdfast.guard.approvals import Approvals, Ticket
from holdfast.guard.concern import Concerns
from holdfast.guard.ids import likeness
from holdfast.guard.review.act_view import describe_arguments, recipients
from holdfast.guard.review.listing import summaries
from holdfast.guard.review.pieces import pieces
from holdfast.guard.review.sessions import UserSession
from holdfast.guard.review.terminal import moment

_WAITING, _OPEN = ("pending", "indeterminate"), ("open", "overdue")


class Pages:
    """Renders the pages as HTML.

    Args:
        approvals: the approval tickets.
        concerns: the concern cases.
    """

    def __init__(self, approvals: Approvals, concerns: Concerns) -> None:
        self._approvals, self._concerns = approvals, concerns

    def board(self, session: UserSession) -> str:
        """Render the list of pending and recent items for a person."""
        tickets = [t for t in self._approvals.tickets() if not _barred(t, session.person)]
        waiting = [t for t in tickets if t.state in _WAITING]
        past = [t for t in reversed(tickets) if t.state not in _WAITING][:20]
        cases = self._concerns.cases(session.person)
        mine = {case.id for case, _ in cases}
        return _render(
            "board",
            session,
            waiting=waiting,
            past=past,
            told={**summaries(waiting), **summaries(past)},
            cases=[pair for pair in cases if pair[1] in _OPEN],
            answered=[pair for pair in reversed(cases) if pair[1] not in _OPEN],
            sealed=[head for head in reversed(self._concerns.heads()) if head.id not in mine],
            standings=self._concerns.standings() if cases else [],
        )

    def ticket(self, session: UserSession, ticket_id: str) -> str:
        """Render one act.

        Raises:
            RefusedError: there is no such ticket, or this person may not answer it.
        """
        ticket = self._approvals.ticket(ticket_id)
        if _barred(ticket, session.person):
            what = f"{session.person} may not answer for this agent"
            raise RefusedError(what, where=ticket_id, remedy="another person must review it")
        done = self._approvals.tickets("approved", "consumed", "done")
        known = sorted({r for t in done if t.id != ticket_id for r in recipients(t.act.arguments)})
        answers = self._approvals.answers(ticket_id)
        whys = [*ticket.why, *[""] * (len(ticket.rules) - len(ticket.why))]
        return _render(
            "ticket",
            session,
            ticket=ticket,
            arguments=describe_arguments(ticket.act.arguments, known),
            answers=answers,
            rules=list(zip(ticket.rules, whys, strict=False)),
            mine=any(likeness(a.person) == likeness(session.person) for a in answers),
        )

    def case(self, session: UserSession, case_id: str) -> str:
        """Render one concern.

        Raises:
            RefusedError: there is no such case, or this person does not review it.
        """
        case = self._concerns.case(case_id, session.person)
        state = next(state for mine, state in self._concerns.cases(session.person) if mine.id == case_id)
        added = self._concerns.added(case_id, session.person)
        return _render("case", session, case=case, state=state, open=state in _OPEN, added=added)

    def sign_in(self, *, anyone: bool) -> str:
        """Render the sign-in page; `anyone` says whether any person is enrolled."""
        return _render("sign_in", None, anyone=anyone)

    def enrol(self) -> str:
        """Render the page on which a person with the admin code creates a passkey."""
        return _render("enrol", None)

    def refusal(self, session: UserSession, line: str) -> str:
        """Render a refusal with its reason."""
        return _render("refusal", session, line=line)


def _barred(ticket: Ticket, person: str) -> bool:
    return likeness(person) in map(likeness, ticket.barred)


def _render(name: str, session: UserSession | None, **values: Any) -> str:
    return _environment().get_template(f"{name}.html.jinja").render(session=session, **values)


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"moment": moment, "pieces": pieces}
    return env
