"""The review page as a web application on a port of its own.

Nothing that an agent wrote leaves here unescaped, and the page's policy lets no script but our own run.  Every answer
needs a fresh passkey signature over the very ticket: a stolen cookie can look, and not answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.errors import HoldfastError, RefusedError
from holdfast.core.extras import needs
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns, ReviewOutcome, Routing, stop_statement
from holdfast.guard.review import passkeys
from holdfast.guard.review.pages import Pages
from holdfast.guard.review.sessions import AdminCode, Challenges, Visit, Visits
from holdfast.guard.reviewers import Persons

with needs("guard"):
    from pydantic import ValidationError
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

_HERE = Path(__file__).parent
_COOKIE = "holdfast-review"
_LARGEST = 64_000
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "permissions-policy": "publickey-credentials-get=(self), publickey-credentials-create=(self)",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@dataclass
class ReviewService:
    """What the page works on.

    Attributes:
        site: the page's own origin, such as `http://localhost:8420`; requests for any other host are refused.
    """

    site: str
    store: AuditLog
    approvals: Approvals
    concerns: Concerns
    persons: Persons
    code: AdminCode
    visits: Visits = field(default_factory=Visits)
    challenges: Challenges = field(default_factory=Challenges)

    def sign(self, person: str, statement: bytes) -> Any:
        """What a person's browser must sign.

        Raises:
            RefusedError: the person has no passkey for this site.
        """
        mine = [c for c in self.persons.credentials(person) if c.kind == "passkey" and c.site == self.site]
        if not mine:
            raise RefusedError("no passkey for this page", where=person, remedy="enrol one")
        return passkeys.to_sign(self.site, statement, mine)


def open_office(site: str, store: AuditLog, show_code: Callable[[str], None]) -> ReviewService:
    """The office of a guard's file; `show_code` prints where only the admin looks."""
    concerns = Concerns(store, Routing())
    return ReviewService(site, store, Approvals(store), concerns, Persons(store), AdminCode(show_code))


Handler = Callable[[Request], Awaitable[Response]]
Deed = Callable[[ReviewService, str, Any], Any]


def make_app(office: ReviewService) -> Starlette:
    """The application; serve it on loopback, or behind a proxy that speaks TLS."""
    pages = Pages(office.approvals, office.concerns)
    looks = {
        "/": lambda visit, _: pages.board(visit),
        "/tickets/{id}": lambda visit, name: pages.ticket(visit, name),
        "/cases/{id}": lambda visit, name: pages.case(visit, name),
    }
    routes = [Route(path, _looking(office, pages, show)) for path, show in looks.items()]
    routes.append(Route("/enrol", _static(pages.enrol)))
    routes += [Route(f"/{name}", partial(_file, name)) for name in ("page.css", "page.js")]
    open_deeds: dict[str, Deed] = {
        "/enrol/options": _enrol_options, "/enrol": _enrol, "/sign-in/options": _sign_in_options
    }  # fmt: skip
    deeds: dict[str, Deed] = {
        "/tickets/{id}/options": _ticket_options,
        "/tickets/{id}/answer": _ticket_answer,
        "/cases/{id}/options": _case_options,
        "/cases/{id}/answer": _case_answer,
        "/runs/stop/options": _stop_options,
        "/runs/stop/answer": _stop,
    }
    routes += [Route(path, _doing(office, deed, known=False), methods=["POST"]) for path, deed in open_deeds.items()]
    routes += [Route(path, _doing(office, deed, known=True), methods=["POST"]) for path, deed in deeds.items()]
    routes.append(Route("/sign-in", _guarded(office, partial(_sign_in, office)), methods=["POST"]))
    routes.append(Route("/sign-out", _guarded(office, partial(_sign_out, office)), methods=["POST"]))
    return Starlette(routes=routes, middleware=[Middleware(_Walls, site=office.site)])


class _Walls:
    """Refuses other hosts (a name that was rebound to us) and foreign origins, and puts up the headers."""

    def __init__(self, app: ASGIApp, site: str) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Request(scope).headers
        foreign = scope["method"] == "POST" and headers.get("origin") != self._site
        if headers.getlist("host") != [urlsplit(self._site).netloc] or foreign:
            await _line(421, f"this page is at {self._site} alone")(scope, receive, send)
            return

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, sending)


def _looking(office: ReviewService, pages: Pages, show: Callable[[Visit, str], str]) -> Handler:
    async def handler(request: Request) -> Response:
        visit = office.visits.find(request.cookies.get(_COOKIE, ""))
        if visit is None:
            return HTMLResponse(pages.sign_in(anyone=bool(office.persons.credentials())), 401)
        try:
            return HTMLResponse(show(visit, request.path_params.get("id", "")))
        except HoldfastError as error:
            return HTMLResponse(pages.refusal(visit, str(error)), 403)

    return handler


def _static(show: Callable[[], str]) -> Handler:
    async def handler(request: Request) -> Response:
        return HTMLResponse(show())

    return handler


async def _file(name: str, request: Request) -> Response:
    return FileResponse(_HERE / name)


def _guarded(office: ReviewService, inner: Callable[[Request, Any], Response]) -> Handler:
    """A handler of JSON: what goes wrong becomes one line."""

    async def handler(request: Request) -> Response:
        try:
            given = await _body(request)
            return inner(request, given)
        except HoldfastError as error:
            return _line(403 if isinstance(error, RefusedError) else 503, str(error))
        except (KeyError, TypeError, ValidationError):
            return _line(400, "this request makes no sense")

    return handler


def _doing(office: ReviewService, deed: Deed, *, known: bool) -> Handler:
    """A deed of a signed-in person, or of anybody."""

    def inner(request: Request, given: Any) -> Response:
        person = ""
        if known:
            visit = office.visits.find(request.cookies.get(_COOKIE, ""))
            if visit is None or request.headers.get("x-holdfast") != visit.token:
                raise RefusedError("you are not signed in", remedy="load the page again")
            person = visit.person
        return JSONResponse(deed(office, person, given | request.path_params))

    return _guarded(office, inner)


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type") != "application/json":
        raise RefusedError("not JSON")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            raise RefusedError("too much")
    given = json.loads(raw)
    if not isinstance(given, dict):
        raise TypeError
    return given


def _line(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _enrol_options(office: ReviewService, person: str, given: Any) -> Any:
    office.code.check(str(given["code"]))
    challenge, name = passkeys.new_challenge(), str(given["person"]).strip()
    office.challenges.give(challenge, "enrol", name, str(given["role"]).strip())
    return passkeys.to_enrol(office.site, name, challenge)


def _enrol(office: ReviewService, person: str, given: Any) -> Any:
    challenge = passkeys.challenge_in(given["credential"])
    kind, name, role = (*office.challenges.take(challenge), "", "")[:3]
    if kind != "enrol":
        raise RefusedError("this challenge was for something else", remedy="try again")
    office.persons.enrol(passkeys.enrolled(office.site, name, role, challenge, given["credential"]))
    return {"go": "/"}


def _sign_in_options(office: ReviewService, person: str, given: Any) -> Any:
    challenge = passkeys.new_challenge()
    office.challenges.give(challenge, "sign-in")
    return passkeys.to_sign(office.site, challenge, [])


def _sign_in(office: ReviewService, request: Request, given: Any) -> Response:
    challenge, proof = passkeys.challenge_in(given["credential"]), passkeys.proof_of(given["credential"])
    if office.challenges.take(challenge) != ("sign-in",):
        raise RefusedError("this challenge was for something else", remedy="try again")
    owner = next((c for c in office.persons.credentials() if c.id == proof.credential), None)
    if owner is None:
        raise RefusedError("this passkey belongs to nobody here", remedy="enrol with the admin's code")
    office.persons.check(owner.person, challenge, proof)
    response = JSONResponse({"go": "/"})
    secure = office.site.startswith("https:")
    cookie = office.visits.begin(owner.person)
    response.set_cookie(_COOKIE, cookie, httponly=True, samesite="strict", secure=secure)
    return response


def _sign_out(office: ReviewService, request: Request, given: Any) -> Response:
    office.visits.end(request.cookies.get(_COOKIE, ""))
    return JSONResponse({"go": "/"})


def _ticket_options(office: ReviewService, person: str, given: Any) -> Any:
    return office.sign(person, _ticket_statement(office, person, given))


def _ticket_statement(office: ReviewService, person: str, given: Any) -> bytes:
    ticket, yes, reason = office.approvals.ticket(given["id"]), _flag(given["yes"]), str(given["reason"])
    purpose = "reconciling" if ticket.state == "indeterminate" else "approval"
    return ticket.statement(person, yes, reason, purpose=purpose)


def _ticket_answer(office: ReviewService, person: str, given: Any) -> Any:
    ticket, proof = office.approvals.ticket(given["id"]), passkeys.proof_of(given["credential"])
    answer = office.approvals.reconcile if ticket.state == "indeterminate" else office.approvals.answer
    answer(ticket.id, person, _flag(given["yes"]), proof, str(given["reason"]))
    return {"go": f"/tickets/{ticket.id}"}


def _case_options(office: ReviewService, person: str, given: Any) -> Any:
    case = office.concerns.case(given["id"], person)
    return office.sign(person, case.statement(person, _verdict(given)))


def _case_answer(office: ReviewService, person: str, given: Any) -> Any:
    office.concerns.answer(given["id"], person, _verdict(given), passkeys.proof_of(given["credential"]))
    return {"go": f"/cases/{given['id']}"}


def _stop_options(office: ReviewService, person: str, given: Any) -> Any:
    return office.sign(person, stop_statement(str(given["run"]), person))


def _stop(office: ReviewService, person: str, given: Any) -> Any:
    office.concerns.stop(str(given["run"]), person, passkeys.proof_of(given["credential"]))
    return {"go": "/"}


def _verdict(given: Any) -> ReviewOutcome:
    return ReviewOutcome(finding=given["finding"], release=_flag(given["release"]), reply=str(given["reply"]))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value
