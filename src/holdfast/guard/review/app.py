"""The review page as a web application on its own port.

All text from an agent is escaped, and the content security policy allows only our own script. Every answer needs a
fresh passkey signature over the ticket, so a stolen cookie can read but not answer.
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
from holdfast.guard.cases import ReviewOutcome
from holdfast.guard.concern import Concerns, stop_statement
from holdfast.guard.review import passkeys
from holdfast.guard.review.pages import Pages
from holdfast.guard.review.sessions import AdminCode, Challenges, UserSession, UserSessions
from holdfast.guard.reviewers import Credential, Persons
from holdfast.guard.routing import Routing

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
    """State and services of the review page.

    Attributes:
        site: the page's origin, such as `http://localhost:8420`; requests for any other host are refused.
    """

    site: str
    store: AuditLog
    approvals: Approvals
    concerns: Concerns
    persons: Persons
    code: AdminCode
    sessions: UserSessions = field(default_factory=UserSessions)
    challenges: Challenges = field(default_factory=Challenges)

    def sign(self, person: str, statement: bytes) -> Any:
        """Return the browser's options to sign a statement.

        Raises:
            RefusedError: the person has no passkey for this site.
        """
        mine = self.passkeys(person)
        if not mine:
            raise RefusedError("no passkey is enrolled for this page", where=person, remedy="enrol one")
        return passkeys.to_sign(self.site, statement, mine)

    def passkeys(self, person: str | None = None) -> list[Credential]:
        """Return the passkeys of this page: all, or those of one person."""
        return [c for c in self.persons.credentials(person) if c.kind == "passkey" and c.site == self.site]


def open_review_service(
    site: str, store: AuditLog, show_code: Callable[[str], None], routing: Routing | None = None
) -> ReviewService:
    """Open the service on a guard's audit log.

    Args:
        site: the page's origin.
        store: the audit log.
        show_code: prints the admin code where only the admin sees it.
        routing: the guard's routing; its reviewers, operators and roles are names that nobody else may take.
    """
    routing = routing or Routing()
    concerns, approvals = Concerns(store, routing), Approvals(store, routing.operators)
    return ReviewService(site, store, approvals, concerns, Persons(store), AdminCode(show_code))


Handler = Callable[[Request], Awaitable[Response]]
Action = Callable[[ReviewService, str, Any], Any]


def make_app(service: ReviewService) -> Starlette:
    """Build the application; serve it on the loopback address or behind a TLS proxy."""
    pages = Pages(service.approvals, service.concerns)
    pages_by_path = {
        "/": lambda session, _: pages.board(session),
        "/tickets/{id}": lambda session, name: pages.ticket(session, name),
        "/cases/{id}": lambda session, name: pages.case(session, name),
    }
    routes = [Route(path, _page_handler(service, pages, show)) for path, show in pages_by_path.items()]
    routes.append(Route("/enrol", _static(pages.enrol)))
    routes += [Route(f"/{name}", partial(_file, name)) for name in ("page.css", "page.js")]
    open_actions: dict[str, Action] = {
        "/enrol/options": _enrol_options, "/enrol": _enrol, "/sign-in/options": _sign_in_options
    }  # fmt: skip
    actions: dict[str, Action] = {
        "/tickets/{id}/options": _ticket_options,
        "/tickets/{id}/answer": _ticket_answer,
        "/cases/{id}/options": _case_options,
        "/cases/{id}/answer": _case_answer,
        "/runs/stop/options": _stop_options,
        "/runs/stop/answer": _stop,
    }
    routes += [
        Route(path, _post_handler(service, action, known=False), methods=["POST"])
        for path, action in open_actions.items()
    ]
    routes += [
        Route(path, _post_handler(service, action, known=True), methods=["POST"]) for path, action in actions.items()
    ]
    routes.append(Route("/sign-in", _json_handler(service, partial(_sign_in, service)), methods=["POST"]))
    routes.append(Route("/sign-out", _json_handler(service, partial(_sign_out, service)), methods=["POST"]))
    return Starlette(routes=routes, middleware=[Middleware(_SecurityHeaders, site=service.site)])


class _SecurityHeaders:
    """Refuses other hosts (DNS rebinding) and foreign origins, and adds the security headers."""

    def __init__(self, app: ASGIApp, site: str) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Request(scope).headers
        foreign = scope["method"] == "POST" and headers.get("origin") != self._site
        if headers.getlist("host") != [urlsplit(self._site).netloc] or foreign:
            await _line(421, f"this page is served only at {self._site}")(scope, receive, send)
            return

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, sending)


def _page_handler(service: ReviewService, pages: Pages, show: Callable[[UserSession, str], str]) -> Handler:
    async def handler(request: Request) -> Response:
        session = service.sessions.find(request.cookies.get(_COOKIE, ""))
        if session is None:
            return HTMLResponse(pages.sign_in(anyone=bool(service.persons.credentials())), 401)
        try:
            return HTMLResponse(show(session, request.path_params.get("id", "")))
        except HoldfastError as error:
            return HTMLResponse(pages.refusal(session, str(error)), 403)

    return handler


def _static(show: Callable[[], str]) -> Handler:
    async def handler(request: Request) -> Response:
        return HTMLResponse(show())

    return handler


async def _file(name: str, request: Request) -> Response:
    return FileResponse(_HERE / name)


def _json_handler(service: ReviewService, inner: Callable[[Request, Any], Response]) -> Handler:
    """Return a handler of JSON requests that turns errors into one-line responses."""

    async def handler(request: Request) -> Response:
        try:
            given = await _body(request)
            return inner(request, given)
        except HoldfastError as error:
            return _line(403 if isinstance(error, RefusedError) else 503, str(error))
        except (KeyError, TypeError, ValidationError):
            return _line(400, "a field of this request is missing or has the wrong type")

    return handler


def _post_handler(service: ReviewService, action: Action, *, known: bool) -> Handler:
    """Return a handler of an action for signed-in persons (`known`) or for anyone."""

    def inner(request: Request, given: Any) -> Response:
        person = ""
        if known:
            session = service.sessions.find(request.cookies.get(_COOKIE, ""))
            if session is None or request.headers.get("x-holdfast") != session.token:
                raise RefusedError("you are not signed in", remedy="load the page again")
            person = session.person
        return JSONResponse(action(service, person, given | request.path_params))

    return _json_handler(service, inner)


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type") != "application/json":
        raise RefusedError("the content type must be application/json")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            raise RefusedError(f"the request is larger than {_LARGEST} bytes")
    given = json.loads(raw)
    if not isinstance(given, dict):
        raise TypeError
    return given


def _line(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _enrol_options(service: ReviewService, person: str, given: Any) -> Any:
    own, name, role = (str(given.get(key, "")).strip() for key in ("person", "name", "role"))
    service.code.check(str(given["code"]))
    service.persons.check_names(own, name, role)
    challenge = passkeys.new_challenge()
    service.challenges.give(challenge, "enrol", own, name, role)
    return passkeys.to_enrol(service.site, own, name, challenge, service.passkeys())


def _enrol(service: ReviewService, person: str, given: Any) -> Any:
    challenge = passkeys.challenge_in(given["credential"])
    kind, own, name, role = (*service.challenges.take(challenge), "", "", "")[:4]
    if kind != "enrol":
        raise RefusedError("this challenge was issued for another purpose", remedy="try again")
    service.persons.enrol(passkeys.enrolled(service.site, (own, name, role), challenge, given["credential"]))
    return {"go": "/"}


def _sign_in_options(service: ReviewService, person: str, given: Any) -> Any:
    challenge = passkeys.new_challenge()
    service.challenges.give(challenge, "sign-in")
    return passkeys.to_sign(service.site, challenge, [])


def _sign_in(service: ReviewService, request: Request, given: Any) -> Response:
    challenge, proof = passkeys.challenge_in(given["credential"]), passkeys.proof_of(given["credential"])
    if service.challenges.take(challenge) != ("sign-in",):
        raise RefusedError("this challenge was issued for another purpose", remedy="try again")
    owner = next((c for c in service.persons.credentials() if c.id == proof.credential), None)
    if owner is None:
        raise RefusedError("this passkey is not enrolled", remedy="enrol it with the admin code")
    service.persons.check(owner.person, challenge, proof)
    response = JSONResponse({"go": "/"})
    secure = service.site.startswith("https:")
    cookie = service.sessions.begin(owner.person)
    response.set_cookie(_COOKIE, cookie, httponly=True, samesite="strict", secure=secure)
    return response


def _sign_out(service: ReviewService, request: Request, given: Any) -> Response:
    service.sessions.end(request.cookies.get(_COOKIE, ""))
    return JSONResponse({"go": "/"})


def _ticket_options(service: ReviewService, person: str, given: Any) -> Any:
    return service.sign(person, _ticket_statement(service, person, given))


def _ticket_statement(service: ReviewService, person: str, given: Any) -> bytes:
    ticket, yes, reason = service.approvals.ticket(given["id"]), _flag(given["yes"]), str(given["reason"])
    purpose = "reconciling" if ticket.state == "indeterminate" else "approval"
    return ticket.statement(person, yes, reason, purpose=purpose)


def _ticket_answer(service: ReviewService, person: str, given: Any) -> Any:
    ticket, proof = service.approvals.ticket(given["id"]), passkeys.proof_of(given["credential"])
    answer = service.approvals.reconcile if ticket.state == "indeterminate" else service.approvals.answer
    answer(ticket.id, person, _flag(given["yes"]), proof, str(given["reason"]))
    return {"go": f"/tickets/{ticket.id}"}


def _case_options(service: ReviewService, person: str, given: Any) -> Any:
    case = service.concerns.case(given["id"], person)
    return service.sign(person, case.statement(person, _verdict(given)))


def _case_answer(service: ReviewService, person: str, given: Any) -> Any:
    service.concerns.answer(given["id"], person, _verdict(given), passkeys.proof_of(given["credential"]))
    return {"go": f"/cases/{given['id']}"}


def _stop_options(service: ReviewService, person: str, given: Any) -> Any:
    return service.sign(person, stop_statement(str(given["run"]), person))


def _stop(service: ReviewService, person: str, given: Any) -> Any:
    service.concerns.stop(str(given["run"]), person, passkeys.proof_of(given["credential"]))
    return {"go": "/"}


def _verdict(given: Any) -> ReviewOutcome:
    return ReviewOutcome(finding=given["finding"], release=_flag(given["release"]), reply=str(given["reply"]))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value
