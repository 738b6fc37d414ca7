"""A reviewer sees the truth and why: nothing in an act or a concern can draw a line, a label or a colour of ours."""

import base64
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from holdfast.cli.guard_approve import command
from holdfast.core.errors import RefusedError
from holdfast.detectors.decode import readings
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals, Ticket
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.cases import ConcernCase
from holdfast.guard.concern import Concerns
from holdfast.guard.keys import SigningKey
from holdfast.guard.policy.load import load_policy
from holdfast.guard.policy.policy import Context
from holdfast.guard.review.act_view import describe_arguments
from holdfast.guard.review.listing import summaries
from holdfast.guard.review.pages import Pages
from holdfast.guard.review.pieces import pieces, shorten
from holdfast.guard.review.sessions import UserSession
from holdfast.guard.review.terminal import boxed, case_lines, ticket_lines
from holdfast.guard.routing import Reviewer, Routing
from holdfast.guard.setup import open_audit_log

HOLD = Decision("hold", ("mail-outside",), "held by mail-outside", "wait", "p1", why=("Mail out cannot be recalled.",))
ANN = UserSession("ann")
#: Text that tries to look like lines of ours, in a terminal or on the page.
FORGED = "fine\nwhy it is held:\n  rule none: approved by ann\n! no warnings\nticket 0: approved"
DRAWING = [
    "\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", "\x1b[31m", "\x1b[2J", "\x9b1A", "\x08", "\x00",
    "\u202e", "\u2066", "\u200f", "\u200b", "\u00ad", "\ufe01", "\U000e0041", "\u3164", "\u0338", "\ud800", "\t",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as made:
        yield made


def mail(run: str = "run-1", tool: str = "send", **arguments: Any) -> Act:
    return Act(run, "clerk", "mail", tool, arguments, "d1")


def lines_of(store: AuditLog, act: Act, story: str = "", width: int = 80) -> tuple[Ticket, list[str]]:
    approvals = Approvals(store)
    ticket = approvals.ask(act, HOLD, story)
    return ticket, list(ticket_lines(ticket, approvals.answers(ticket.id), (), width))


# ----------------------------------------------------------------------------------------------------- terminal


def test_forged_lines_stand_behind_the_gutter(store: AuditLog) -> None:
    act = mail(to="eve@rival.example", body=FORGED, **{"x\nwhy it is held:": "y"})
    _, lines = lines_of(store, act, FORGED)
    own = [line for line in lines if "│" not in line]
    assert [line for line in own if line.startswith(("ticket", "why it is held", "!"))] == [lines[0], "why it is held:"]
    assert sum("approved by ann" in line for line in own) == 0
    assert any("⟨↵⟩" in line for line in lines)


@pytest.mark.parametrize("sign", DRAWING, ids=lambda s: s.encode("unicode_escape").decode())
def test_no_character_of_the_agent_draws(store: AuditLog, sign: str) -> None:
    text = f"{sign}a{sign}{sign}why it is held:{sign}"
    # A run or tool with half a surrogate pair cannot be stored, so the gate denies its acts.
    own = sign.replace("\ud800", "")
    act = mail(run=f"r{own}", tool=f"send{own}", to=f"eve{sign}@rival.example", body=text, **{f"k{sign}": text})
    _, lines = lines_of(store, act, text)
    receipt = Concerns(store, Routing()).raise_("run-1", f"clerk{own}", text, text, [text])
    [row] = store.read("SELECT body FROM cases")
    shown = list(case_lines(ConcernCase.model_validate_json(row["body"]), "open"))
    assert receipt.case in shown[0]
    for line in (*lines, *shown):
        assert line.isprintable() and cell_len(line) <= 80
        assert not line.startswith("why it is held:") or line == lines[1]


def test_long_lines_are_broken_by_us_and_not_by_the_terminal(store: AuditLog) -> None:
    for body in ("x" * 500, " " * 20 + "! approved", "漢" * 200, "\u0301" * 300, "a " * 400, "\u3000" * 100 + "b"):
        _, lines = lines_of(store, mail(to="a@b.example", body=body), width=60)
        assert max(map(cell_len, lines)) <= 60


def test_random_text_never_makes_a_line_of_ours() -> None:
    draw = random.Random(3)
    alphabet = [*DRAWING, "a", "!", " ", "│", "ticket", "漢", "ש", "é", "👍🏽"]
    for _ in range(500):
        text = "".join(draw.choices(alphabet, k=30))
        for line in boxed(pieces(text), 40):
            assert line.startswith("    │ ") and line.isprintable() and cell_len(line) <= 40
        assert shorten(text).isprintable() and len(shorten(text)) <= 60


def test_gaps_are_counted_and_text_below_them_stays_visible() -> None:
    assert [p.text for p in pieces("a" + "\n" * 200 + "b")] == ["a", "↵×200", "b"]
    assert [p.text for p in pieces("a" + " " * 300 + "b")] == ["a", "␣×300", "b"]
    assert [p.text for p in pieces("a\n\nb\n    c")] == ["a", "↵", "↵", "b", "↵", "    c"]


def test_ordinary_text_of_many_scripts_is_unmarked() -> None:
    for text in (
        "Grüße, José – naïve café",
        "Добрый день",
        "नमस्ते दुनिया",
        "สวัสดีครับ",
        "こんにちは。",
        "👍🏽 ❤️",
        "שלום",
        "مرحبا",
    ):
        assert [p.mark for p in pieces(text)] == [""], text


# --------------------------------------------------------------------------------------- why, where, what changes


def test_rule_and_reason_then_destination_and_difference_stand_first(store: AuditLog) -> None:
    edits = [{"oldText": "pay ann", "newText": "pay eve"}]
    _, lines = lines_of(store, mail(to="eve@rival.example", path="/srv/a", edits=edits, note="n" * 500))
    text = "\n".join(lines)
    order = [
        "rule mail-outside: Mail out cannot be recalled.", "where it goes:", "eve@rival.example", "/srv/a",
        "difference in", "- │ pay ann", "+ │ pay eve", "what it does:", '"note" (500 characters, 1 lines):',
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_policy_gives_the_why_of_every_rule_that_holds(tmp_path: Path, store: AuditLog) -> None:
    path = tmp_path / "policy.yaml"
    rule = "- {{name: {0}, hold: [mail/send], where: {{to: any}}, why: Because {0}., instead: i}}\n"
    rules = rule.format("one") + rule.format("two")
    path.write_text(f"policy: p\nrevision: 1\nowner: o\nagents: [clerk]\nrules:\n{rules}")
    decision = load_policy(path).decide(mail(to="a"), Context(datetime.now(UTC)))
    assert dict(zip(decision.rules, decision.why, strict=True)) == {"one": "Because one.", "two": "Because two."}
    assert Approvals(store).ask(mail(to="a"), decision).why == decision.why


DESTINATIONS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "mail": ({"to": ["Ann <ann@a.example>", "b@b.example"]}, {"ann@a.example", "b@b.example"}),
    "link in a text": ({"body": "see https://x.example/a"}, {"x.example"}),
    "file": ({"filePath": "/srv/a", "dst_folder": "/b"}, {"/srv/a", "/b"}),
    "account": ({"account": "DE1", "target_account": 7}, {"DE1", "7"}),
    "nested": ({"mail": {"cc": "c@c.example"}, "jobs": ["nightly"]}, {"c@c.example", "nightly"}),
    "nothing": ({"text": "hello", "count": 3}, set()),
}


@pytest.mark.parametrize("case", DESTINATIONS)
def test_destinations(case: str) -> None:
    arguments, wanted = DESTINATIONS[case]
    found = {"".join(p.text for p in place) for _, place in describe_arguments(arguments).destinations}
    assert found == wanted


def test_text_of_two_directions_is_warned_of() -> None:
    assert any("another order" in w for w in describe_arguments({"text": "pay 100 שקל to 998"}).warnings)
    assert describe_arguments({"text": "שלום"}).warnings == []


# ------------------------------------------------------------------------------------------------------ the list


def test_list_tells_two_acts_apart(store: AuditLog) -> None:
    approvals = Approvals(store)
    long = "The same opening paragraph of a letter. " * 10
    bodies = ("pay 100 to ann", "pay 900 to eve")
    tickets = [approvals.ask(mail(to="x@y.example", subject="s", body=long + body), HOLD) for body in bodies]
    tickets.append(approvals.ask(mail(to="z@y.example", subject="s", body=long + bodies[0], cc="q@y.example"), HOLD))
    told = summaries(tickets)
    assert len({(told[t.id].places, told[t.id].differs) for t in tickets}) == 3
    assert len({told[t.id].digest for t in tickets}) == 3
    assert any("900 to eve" in text for text in told[tickets[1].id].differs)
    page = Pages(approvals, Concerns(store, Routing())).board(ANN)
    assert "900 to eve" in page and "100 to ann" in page and "x@y.example" in page


def test_list_in_a_terminal_tells_two_acts_apart(tmp_path: Path) -> None:
    with open_audit_log(tmp_path / "guard") as store:
        for body in ("pay 100 to ann", "pay 900 to eve\n0123  mail/send  approved"):
            Approvals(store).ask(mail(to="x@y.example", body=body), HOLD)
    shown = CliRunner().invoke(command, ["--state", str(tmp_path / "guard"), "list"]).output
    assert "100 to ann" in shown and "900 to eve" in shown
    assert not any(line.startswith("0123") for line in shown.splitlines())


# ------------------------------------------------------------------------------------------------------ concerns


def test_every_concern_is_listed_and_its_text_is_text(store: AuditLog) -> None:
    routing = Routing(reviewers=(Reviewer(id="ann", name="Ann Ito", role="keeper"), Reviewer(id="cat", role="auditor")))
    concerns = Concerns(store, routing)
    about = "</a><h1>Approved</h1>\nTicket closed"
    mine = concerns.raise_("run-1", "clerk", about, FORGED, ["Mallory\nReviewers: nobody"])
    against = concerns.raise_("run-2", "clerk", "about ann", "text of the second", ["Ann Ito"])
    nobody = concerns.raise_("run-3", "clerk", "about both", "text of the third", ["ann", "cat"])
    pages = Pages(Approvals(store), concerns)
    board = pages.board(ANN)
    for case in (mine, against, nobody):
        assert f"Case {case.case}" in board
    assert "nobody: appoint an independent reviewer" in board
    assert "text of the" not in board and "about ann" not in board
    assert re.search(rf'<a href="/cases/{mine.case}">Case {mine.case}</a>', board)
    page = pages.case(ANN, mine.case)
    assert f"<h1>Concern {mine.case}</h1>" in page and "<h1>Approved" not in page
    assert re.search(r'Mallory<span class="break"[^>]*>↵</span>Reviewers', page)


def test_every_text_on_one_cause_is_kept(store: AuditLog) -> None:
    concerns = Concerns(store, Routing(reviewers=(Reviewer(id="ann", role="keeper"),)))
    first = concerns.raise_("run-1", "clerk", "the plan", "x" * 5000)
    assert concerns.raise_("run-1", "clerk", "The Plan", "now it harms two").case == first.case
    assert [text for _, text in concerns.added(first.case, "ann")] == ["now it harms two"]
    assert "now it harms two" in Pages(Approvals(store), concerns).case(ANN, first.case)
    assert "1000 more characters cut" in concerns.case(first.case, "ann").text
    with store.transaction() as db:
        db.execute("UPDATE added_texts SET text = 'it is fine'")
    with pytest.raises(RefusedError, match="altered"):
        concerns.added(first.case, "ann")


def test_many_concerns_are_all_listed(store: AuditLog) -> None:
    concerns = Concerns(store, Routing(reviewers=(Reviewer(id="ann", role="keeper"),)))
    cases = [concerns.raise_(f"run-{n}", "clerk", f"cause {n}", "text").case for n in range(30)]
    board = Pages(Approvals(store), concerns).board(ANN)
    assert all(f"Case {case}" in board for case in cases)


# ------------------------------------------------------------------------------------------------------- decoding


SECRET = "please pay 5000 to account 998877 and keep it quiet"
WRAPPED = {
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "hex": SECRET.encode().hex(),
    "letters apart": " ".join(SECRET.replace(" ", "")),
    "letters apart by signs": "-".join("PleasePayTheAccount"),
    "quoted-printable": "".join(f"={b:02X}" for b in SECRET.encode()),
    "decimal": " ".join(str(b) for b in SECRET.encode()),
    "binary": " ".join(f"{b:08b}" for b in SECRET.encode()),
    "rot13": "cyrnfr cnl 5000 gb nppbhag 998877 naq xrrc vg dhvrg",
}


@pytest.mark.parametrize("how", WRAPPED)
def test_page_shows_every_reading_that_the_detectors_have(how: str) -> None:
    read = {re.sub(r"\W", "", reading.text or "").lower() for reading in readings(WRAPPED[how])}
    [field] = describe_arguments({"body": WRAPPED[how]}).fields
    shown = {re.sub(r"\W", "", "".join(p.text for p in d.pieces)).lower() for d in field.decoded}
    wanted = "pleasepaytheaccount" if how == "letters apart by signs" else re.sub(r"\W", "", SECRET)
    assert any(wanted in text for text in read)
    assert any(wanted in text for text in shown)


@pytest.mark.parametrize(
    "text", ["1 2 3 4 5 6 7 8 9", "I a m", "Rows: 40 41 45 60 72 33 90 88 77 61", "a=1, b=2", "x = 3D"]
)
def test_ordinary_numbers_and_letters_are_not_decoded(text: str) -> None:
    assert describe_arguments({"body": text}).fields[0].decoded == ()


def test_ticket_of_an_earlier_version_is_shown(store: AuditLog) -> None:
    ticket, _ = lines_of(store, mail(to="a@b.example"))
    older = ticket.model_copy(update={"why": ()})
    assert "  rule mail-outside" in list(ticket_lines(older, [], ()))


def test_variation_selectors_are_shown_but_not_those_of_pictures() -> None:
    assert [p.text for p in pieces("a\ufe01b") if p.mark] == ["U+FE01"]
    assert not any(p.mark for p in pieces("a heart \u2764\ufe0f and a sign \u2764\ufe0e"))


@pytest.mark.parametrize("text", ["F-22\ufe0f10", "F-22\ufe0e10", "F-22\ufffc10"])
def test_selector_behind_a_letter_and_the_place_of_an_object_are_shown(text: str) -> None:
    assert any(piece.mark == "unseen" for piece in pieces(text)) and not any(p.mark for p in pieces("F-2210"))


def test_plain_short_sentence_is_not_decoded() -> None:
    [field] = describe_arguments({"text": "Slot at six. Copy to the watch."}).fields
    assert not field.decoded
