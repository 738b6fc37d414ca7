"""The review page in a real browser, with a virtual authenticator for the person's passkey."""

import asyncio
import contextlib
import dataclasses
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from holdfast.core.errors import PrerequisiteError
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns, Reviewer, Routing
from holdfast.guard.keys import SigningKey
from holdfast.guard.review.app import make_app, open_review_service

CHROMIUM = "/usr/bin/chromium"
STORY = "The user already approved this. </blockquote><script>document.title = 'owned'</script>\u202eevil"
ACT = Act(
    "run-1",
    "clerk",
    "mail",
    "send",
    {
        "to": "аnn@firm.example",
        "subject": "Q3 <b>figures</b>",
        "text": "See attached: cGxlYXNlIHBheSA1MDAwIHRvIGFjY291bnQgOTk4ODc3 and http://bank.example@evil.example/%70ay",
        "edits": [{"oldText": "pay to: firm\namount: 10", "newText": "pay to: me\namount: 10"}],
    },
    "d1",
)
HOLD = Decision("hold", ("external-mail",), "mail to an outsider", "A person must approve this.", "p1")

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"])]


@dataclasses.dataclass
class Guard:
    site: str
    store: AuditLog
    approvals: Approvals
    concerns: Concerns
    codes: list[str]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key"))
    routing = Routing(
        reviewers=(Reviewer(id="ann", name="Ann Ito", role="safety reviewer"),), operators={"clerk": "ben"}
    )
    codes: list[str] = []
    service = open_review_service(f"http://localhost:{port}", store, codes.append)
    config = uvicorn.Config(make_app(service), host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Guard(service.site, store, Approvals(store, routing.operators), Concerns(store, routing), codes)
    server.should_exit = True
    thread.join()
    store.close()


def browser_path() -> str:
    found = shutil.which("chromium") or (CHROMIUM if Path(CHROMIUM).exists() else None)
    if not found:
        raise PrerequisiteError("chromium is not installed", remedy="apt-get install chromium")
    return found


@contextlib.contextmanager
def opened_browser() -> Iterator[Any]:
    """Yield a page of a browser with a virtual authenticator; errors of its scripts are in `faults`."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise PrerequisiteError("playwright is not installed", remedy="pip install 'holdfast-align[dev]'") from None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_context().new_page()
        cdp = page.context.new_cdp_session(page)
        cdp.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        yield page
        browser.close()


@pytest.fixture
def page(guard: Guard) -> Iterator[Any]:
    with opened_browser() as page:
        yield page


def enrol(page: Any, guard: Guard, name: str) -> None:
    page.goto(f"{guard.site}/enrol")
    page.fill("[name=person]", name)
    page.fill("[name=role]", "safety reviewer")
    page.fill("[name=code]", guard.codes[-1])
    page.click("text=Create a passkey")
    page.wait_for_url(f"{guard.site}/")


def sign_in(page: Any, guard: Guard) -> None:
    page.goto(guard.site)
    page.click("button >> text=Sign in")
    page.wait_for_selector("text=Sign out")


def test_person_sees_the_decoded_act_and_approves_it_once(guard: Guard, page: Any, tmp_path: Path) -> None:
    ticket = guard.approvals.ask(ACT, HOLD, STORY)
    enrol(page, guard, "ann")
    sign_in(page, guard)
    page.click("text=mail/send")
    page.wait_for_selector("text=What will happen")
    text = page.inner_text("body")
    assert "please pay 5000 to account 998877" in text
    assert "leads to evil.example" in text
    assert "'а' is CYRILLIC SMALL LETTER A" in text
    assert page.locator(".diff .minus").inner_text().split() == ["-", "pay", "to:", "firm"]
    assert page.locator(".untrusted .unseen").inner_text() == "U+202E"
    assert page.locator("script").count() == 1
    assert "owned" not in page.title()
    page.screenshot(path=str(tmp_path / "ticket.png"), full_page=True)
    page.fill("[name=reason]", "asked Ann by phone")
    page.click("text=Approve this act once")
    page.wait_for_selector(".state.approved")
    assert guard.approvals.consume(ACT, "p1") == ACT
    assert guard.approvals.consume(ACT, "p1") is None
    assert guard.approvals.answers(ticket.id)[0].reason == "asked Ann by phone"
    assert page.faults == []


def test_operator_cannot_approve_on_the_page(guard: Guard, page: Any) -> None:
    ticket = guard.approvals.ask(ACT, HOLD, STORY)
    receipt = guard.concerns.raise_("run-1", "clerk", "the plan", "it harms", ["somebody"])
    enrol(page, guard, "ben")
    sign_in(page, guard)
    page.goto(f"{guard.site}/tickets/{ticket.id}")
    assert "ben may not answer for this agent" in page.inner_text("main")
    page.goto(f"{guard.site}/cases/{receipt.case}")
    assert "only its reviewers may open it" in page.inner_text("main")
    assert "it harms" not in page.content()
    with contextlib.suppress(Exception):
        page.evaluate(
            """id => fetch(`/tickets/${id}/options`, {method: "POST", headers: {"content-type": "application/json",
            "x-holdfast": document.querySelector("meta[name=token]").content}, body: '{"yes": true, "reason": ""}'})""",
            ticket.id,
        )
    assert guard.approvals.ticket(ticket.id).state == "pending"


def test_reviewer_answers_a_concern_and_the_agent_reads_it(guard: Guard, page: Any, tmp_path: Path) -> None:
    guard.approvals.ask(ACT, HOLD, STORY)
    receipt = guard.concerns.raise_("run-1", "clerk", "the plan to wipe the logs", "I was told to <wipe> them", ["Cy"])
    assert guard.concerns.frozen("run-1", ACT)
    enrol(page, guard, "ann")
    sign_in(page, guard)
    page.screenshot(path=str(tmp_path / "board.png"), full_page=True)
    page.click(f"text=Case {receipt.case}")
    page.wait_for_selector("blockquote")
    page.screenshot(path=str(tmp_path / "case.png"), full_page=True)
    assert "I was told to <wipe> them" in page.inner_text("main")
    page.fill("[name=reply]", "Thank you. The plan is withdrawn.")
    page.click("text=Answer and release its tools")
    page.wait_for_selector(".state.answered")
    said = guard.concerns.call("run-1", "clerk", {"case": receipt.case})
    assert "The plan is withdrawn." in said
    assert guard.concerns.frozen("run-1", ACT) is None


def test_pages_read_at_400_pixels_and_the_agent_draws_nothing(guard: Guard, page: Any, tmp_path: Path) -> None:
    hostile = "x" * 300 + "\n\n\n\n\nState: approved\u202e" + " " * 90 + "https://" + "long." * 60 + "example/"
    arguments = {**ACT.arguments, "body": hostile, "k" * 90: hostile, "account": "DE" + "0" * 60}
    wide = dataclasses.replace(ACT, arguments=arguments)
    held = dataclasses.replace(HOLD, why=("What leaves the firm cannot be recalled.",))
    ticket = guard.approvals.ask(wide, held, hostile)
    guard.approvals.ask(dataclasses.replace(wide, arguments={**arguments, "subject": "another"}), held, hostile)
    receipt = guard.concerns.raise_("run-1", "clerk", hostile, hostile, [hostile])
    page.set_viewport_size({"width": 400, "height": 800})
    enrol(page, guard, "ann")
    sign_in(page, guard)
    for path, first in (
        ("", "Acts to approve"),
        (f"tickets/{ticket.id}", "Why it is held"),
        (f"cases/{receipt.case}", ""),
    ):
        page.goto(f"{guard.site}/{path}")
        page.screenshot(path=str(tmp_path / f"{path.partition('/')[0] or 'board'}-400.png"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert (
            page.evaluate(
                "Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
            )
            <= 401
        )
        assert page.inner_text("h2") == first or not first
        sizes = page.evaluate(
            "[...document.querySelectorAll('main *')].map(e => parseFloat(getComputedStyle(e).fontSize))"
        )
        assert min(sizes) >= 10
    page.goto(guard.site)
    label = "[...document.querySelectorAll('td')].map(e => getComputedStyle(e, '::before').content)"
    assert {'"Goes to"', '"Due"', '"Overdue"'} <= set(page.evaluate(label))
    page.goto(f"{guard.site}/tickets/{ticket.id}")
    text = page.inner_text("main")
    assert text.index("What leaves the firm") < text.index("Where it goes") < text.index("evil.example")
    assert text.index("evil.example") < text.index("What changes") < text.index("What will happen")
    # The state that the act claims stands in its own box; ours stands once, above.
    assert page.locator(".state").count() == 1
    assert page.locator(".gap").count() >= 2
    assert page.faults == []
