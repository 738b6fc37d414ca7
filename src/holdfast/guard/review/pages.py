"""The pages of the review: what is shown, to whom.  Templates escape everything; nothing here marks text as safe."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast.core.errors import RefusedError
from holdfast.detectors.confusables import skeleton
from holdfast.guard.approvals import Approvals, Ticket
from holdfast.guard.concern import Concerns
from holdfast.guard.review.act_view import pieces, recipients, truth
from holdfast.guard.review.sessions import Visit

_WAITING, _OPEN = ("pending", "indeterminate"), ("open", "overdue")


class Pages:
    """The pages, as HTML.

    Args:
        approvals: the tickets.
        concerns: the cases.
    """

    def __init__(self, approvals: Approvals, concerns: Concerns) -> None:
        self._approvals, self._concerns = approvals, concerns

    def board(self, visit: Visit) -> str:
        """What waits for this person, and what was answered lately."""
        tickets = [t for t in self._approvals.tickets() if not _barred(t, visit.person)]
        waiting = [t for t in tickets if t.state in _WAITING]
        cases = self._concerns.cases(visit.person)
        return _render(
            "board",
            visit,
            waiting=waiting,
            past=[t for t in reversed(tickets) if t.state not in _WAITING][:20],
            cases=[pair for pair in cases if pair[1] in _OPEN],
            answered=[pair for pair in reversed(cases) if pair[1] not in _OPEN][:20],
            standings=self._concerns.standings() if cases else [],
        )

    def ticket(self, visit: Visit, ticket_id: str) -> str:
        """One act, laid open.

        Raises:
            RefusedError: there is none, or this person may not answer it.
        """
        ticket = self._approvals.ticket(ticket_id)
        if _barred(ticket, visit.person):
            what = f"{visit.person} may not answer for this agent"
            raise RefusedError(what, where=ticket_id, remedy="another person must look")
        done = self._approvals.tickets("approved", "consumed", "done")
        known = sorted({r for t in done if t.id != ticket_id for r in recipients(t.act.arguments)})
        answers = self._approvals.answers(ticket_id)
        return _render(
            "ticket",
            visit,
            ticket=ticket,
            truth=truth(ticket.act.arguments, known),
            answers=answers,
            mine=any(a.person == visit.person for a in answers),
        )

    def case(self, visit: Visit, case_id: str) -> str:
        """One concern.

        Raises:
            RefusedError: there is none, or this person does not review it.
        """
        case = self._concerns.case(case_id, visit.person)
        state = next(state for mine, state in self._concerns.cases(visit.person) if mine.id == case_id)
        return _render("case", visit, case=case, state=state, open=state in _OPEN)

    def sign_in(self, *, anyone: bool) -> str:
        """The door; `anyone` says whether somebody is enrolled."""
        return _render("sign_in", None, anyone=anyone)

    def enrol(self) -> str:
        """Where a person with the admin's code makes a passkey."""
        return _render("enrol", None)

    def refusal(self, visit: Visit, line: str) -> str:
        """One clear line."""
        return _render("refusal", visit, line=line)


def _barred(ticket: Ticket, person: str) -> bool:
    return skeleton(person) in map(skeleton, ticket.barred)


def _render(name: str, visit: Visit | None, **values: Any) -> str:
    return _environment().get_template(f"{name}.html.jinja").render(visit=visit, **values)


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"moment": _moment, "pieces": pieces}
    return env


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
