"""The review page over HTTP: refusals and security headers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.keys import SigningKey
from holdfast.guard.review.app import ReviewService, make_app, open_review_service
from holdfast.guard.reviewers import Persons, key_credential

SITE = "http://localhost:8420"
ACT = Act("run-1", "clerk", "mail", "send", {"to": "<script>alert(1)</script>", "k\u202e\"'><img src=x>": "v"}, "d1")
HOLD = Decision("hold", ("<b>rule</b>",), "<i>why</i>", "wait", "p1")


class Page:
    def __init__(self, folder: Path) -> None:
        self.store = AuditLog(folder / "guard.db", SigningKey.create(folder / "guard.key"))
        self.codes: list[str] = []
        self.office: ReviewService = open_review_service(SITE, self.store, self.codes.append)
        self.client = TestClient(make_app(self.office), base_url=SITE)
        self.approvals = Approvals(self.store, {"clerk": "ben"})

    def post(self, path: str, body: object, **headers: str) -> Any:
        given = {"origin": SITE, "content-type": "application/json"} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        return self.client.post(path, content=json.dumps(body), headers=given)

    def sign_in(self, person: str) -> str:
        """As if the passkey had been shown; returns the token that the page carries."""
        cookie = self.office.sessions.begin(person)
        self.client.cookies.set("holdfast-review", cookie)
        session = self.office.sessions.find(cookie)
        assert session is not None
        return session.token


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(tmp_path)
    yield made
    made.store.close()


def test_anonymous_visitor_sees_only_the_sign_in_page(page: Page) -> None:
    ticket = page.approvals.ask(ACT, HOLD, "story")
    for path in ("/", f"/tickets/{ticket.id}", "/cases/x"):
        answer = page.client.get(path)
        assert answer.status_code == 401
        assert "story" not in answer.text
        assert "mail" not in answer.text
    refused = page.post(f"/tickets/{ticket.id}/options", {"yes": True, "reason": ""})
    assert (refused.status_code, "not signed in" in refused.text) == (403, True)


@pytest.mark.parametrize("host", ["evil.example", "localhost:9999", "127.0.0.1:8420", "localhost:8420.evil.example"])
def test_another_host_is_refused(page: Page, host: str) -> None:
    assert page.client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:8420"])
def test_another_origin_may_not_post(page: Page, origin: str) -> None:
    token = page.sign_in("ann")
    assert page.post("/sign-out", {}, origin=origin, x_holdfast=token).status_code == 421
    assert page.client.post("/sign-out", json={}).status_code == 421


def test_cookie_without_csrf_token_is_refused(page: Page) -> None:
    ticket = page.approvals.ask(ACT, HOLD)
    token = page.sign_in("ann")
    body = {"yes": True, "reason": ""}
    assert "not signed in" in page.post(f"/tickets/{ticket.id}/options", body).text
    assert "not signed in" in page.post(f"/tickets/{ticket.id}/options", body, x_holdfast="wrong").text
    assert "no passkey" in page.post(f"/tickets/{ticket.id}/options", body, x_holdfast=token).text


def test_every_response_has_the_security_headers(page: Page) -> None:
    page.sign_in("ann")
    for path in ("/", "/enrol", "/page.js", "/page.css", "/nowhere"):
        headers = page.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_agent_text_is_escaped(page: Page) -> None:
    ticket = page.approvals.ask(ACT, HOLD, "</blockquote><script>x</script>\u202e")
    page.sign_in("ann")
    for path in ("/", f"/tickets/{ticket.id}"):
        text = page.client.get(path).text
        assert text.count("<script") == 1
        assert "<img" not in text
        assert "<b>rule" not in text
        assert "\u202e" not in text
    assert "U+202E" in text


def test_operator_may_not_see_the_ticket(page: Page) -> None:
    ticket = page.approvals.ask(ACT, HOLD, "story")
    page.sign_in("ben")
    assert "mail" not in page.client.get("/").text
    answer = page.client.get(f"/tickets/{ticket.id}")
    assert (answer.status_code, "ben may not answer" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "body", [{}, [], "x", {"yes": "true", "reason": ""}, {"yes": True}, {"yes": 1, "reason": "", "credential": {}}]
)
def test_malformed_requests_give_a_clear_error(page: Page, body: object) -> None:
    ticket = page.approvals.ask(ACT, HOLD)
    token = page.sign_in("ann")
    for path in ("options", "answer"):
        answer = page.post(f"/tickets/{ticket.id}/{path}", body, x_holdfast=token)
        assert answer.status_code in (400, 403)
        assert answer.json()["error"]
    assert page.post("/sign-in", {"credential": body}).status_code == 403
    assert page.approvals.ticket(ticket.id).state == "pending"


def test_large_and_non_json_bodies_are_refused(page: Page) -> None:
    assert page.post("/sign-in", {"x": "y" * 70_000}).status_code == 403
    assert page.post("/sign-in", {}, content_type="text/plain").status_code == 403


def test_admin_code_is_single_use_and_limited_to_five_tries(page: Page) -> None:
    given = {"person": "ann", "role": "reviewer"}
    for _ in range(5):
        assert page.post("/enrol/options", {**given, "code": "wrong"}).status_code == 403
    assert len(page.codes) == 2
    assert page.post("/enrol/options", {**given, "code": page.codes[0]}).status_code == 403
    assert page.post("/enrol/options", {**given, "code": page.codes[1]}).status_code == 200
    assert page.post("/enrol/options", {**given, "code": page.codes[1]}).status_code == 403
    assert not page.office.persons.credentials()


def test_session_ends_on_sign_out(page: Page) -> None:
    page.sign_in("ann")
    assert page.client.get("/").status_code == 200
    page.post("/sign-out", {})
    assert page.client.get("/").status_code == 401


def test_person_with_a_terminal_key_cannot_sign_in(page: Page, tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "ann")
    Persons(page.store).enrol(key_credential("ann", "reviewer", key.public))
    options = page.post("/sign-in/options", {}).json()
    assert options["userVerification"] == "required"
    assert page.post("/sign-in", {"credential": {"id": "AAAA", "response": {}}}).status_code == 403
