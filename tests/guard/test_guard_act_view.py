"""The description of an act marks invisible and look-alike characters and decodes encoded text."""

import base64
import gzip

import pytest

from holdfast.detectors.confusables import skeleton
from holdfast.guard.review.act_view import describe_arguments, pieces, recipients

SECRET = "please pay 5000 to account 998877"
B64 = base64.b64encode(SECRET.encode()).decode()


def texts(arguments: dict[str, object]) -> dict[str, str]:
    """Return encoding → decoded text over all fields."""
    laid = describe_arguments(arguments)
    return {d.how: "".join(p.text for p in d.pieces) for field in laid.fields for d in field.decoded}


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("base64", f"note: {B64}."),
        ("base64", base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")),
        ("hex", SECRET.encode().hex()),
        ("percent", "".join(f"%{b:02x}" for b in SECRET.encode())),
        ("entities", "".join(f"&#{b};" for b in SECRET.encode())),
        ("escapes", "".join(f"\\u{b:04x}" for b in SECRET.encode())),
        ("base64 → base64", base64.b64encode(B64.encode()).decode()),
        ("hex → base64", B64.encode().hex()),
        ("base64 → compressed", base64.b64encode(gzip.compress(SECRET.encode() * 3, mtime=0)).decode()),
    ],
)
def test_encoded_text_is_decoded(how: str, text: str) -> None:
    assert SECRET in texts({"text": text})[how]


@pytest.mark.parametrize(
    "text",
    [
        "Dear Ann, the configuration_of_the_quarterly_report is attached.",
        "/srv/projects/alpha/beta/gamma/delta/epsilon/configuration/settings/production.toml",
        "100% of the 50%-off offers & more",
        "Добрый день, отчёт готов.",
    ],
)
def test_plain_text_has_no_decoded_content(text: str) -> None:
    [field] = describe_arguments({"text": text}).fields
    assert field.decoded == ()
    assert field.warnings == ()
    assert [piece.mark for piece in field.pieces] == [""]


def test_undecodable_data_gives_a_warning() -> None:
    blob = base64.b64encode(bytes((i * 73 + 5) % 256 for i in range(300))).decode()
    assert describe_arguments({"data": blob}).warnings == [
        "data contains encoded data that is not text, so nobody can inspect it"
    ]


def test_invisible_characters_are_named() -> None:
    marked = [p for p in pieces("pay\u202e me\u200b\x1b[2J\u2066\ud800") if p.mark]
    assert [p.text for p in marked] == ["U+202E", "U+200B", "U+001B", "U+2066", "U+D800"]
    assert marked[0].title == "RIGHT-TO-LEFT OVERRIDE"
    assert describe_arguments({"pa\u200bth": "a\u202eb"}).warnings
    assert [p.text for p in pieces("one\ntwo\tthree")] == ["one", "↵", "two", "⇥", "three"]


KNOWN = ["ann@firm.example", "bill@firm.example"]


@pytest.mark.parametrize(
    ("to", "warning"),
    [
        ("аnn@firm.example", "CYRILLIC SMALL LETTER A"),
        ("аnn@firm.example", "looks like ann@firm.example, but differs from it"),
        ("biil@firm.example", "looks like bill@firm.example, but differs from it"),
        ("b\u200bill@firm.example", "invisible characters"),
        ("ann@xn--frm-6cd.example", "displays as"),
        ("ann@firm.example.evil.example", "no approved act had the recipient"),
        ('"ann@firm.example" <eve@evil.example>', "but goes to eve@evil.example"),
        ("ann@firm.example\r\nBcc: eve@evil.example", "may inject mail headers"),
        ("https://firm.example@evil.example/x", "leads to evil.example"),
    ],
)
def test_look_alike_recipients_give_a_warning(to: str, warning: str) -> None:
    assert any(warning in line for line in describe_arguments({"to": to}, KNOWN).warnings)


def test_ordinary_recipient_gives_no_warning() -> None:
    assert describe_arguments({"to": "ann@firm.example", "cc": ["bill@firm.example"]}, KNOWN).warnings == []
    assert describe_arguments({"to": "Ann <ann@firm.example>"}, KNOWN).warnings == []


def test_recipients_are_found_in_every_argument() -> None:
    given = {
        "to": ["ann@firm.example"],
        "mail": {"bcc": "eve@evil.example"},
        "text": "see http://h.example/ or b@c.example",
    }
    assert set(recipients(given)) == {"ann@firm.example", "eve@evil.example", "h.example", "b@c.example"}


def test_edits_are_shown_as_diffs_and_decoded() -> None:
    laid = describe_arguments({"path": "a.txt", "edits": [{"oldText": "a\nb", "newText": f"a\n{B64}"}]})
    [change] = laid.changes
    assert [(sign, "".join(p.text for p in line)) for sign, line in change.lines] == [
        (" ", "a"),
        ("-", "b"),
        ("+", B64),
    ]
    assert SECRET in texts({"edits": [{"oldText": "b", "newText": B64}]}).values()
    assert [f.size for f in describe_arguments({"t": "x\n" * 500}).fields] == ["1,000 characters, 501 lines"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann", "аnn"),
        ("ann", "ａｎｎ"),
        ("ann", "a\u200bnn"),
        ("paypal", "paypaI"),
        ("modern", "modem"),
        ("Ann", "ann"),
    ],
)
def test_look_alikes_have_equal_skeletons(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    assert skeleton(one) != skeleton(other + "x")


@pytest.mark.parametrize("value", [None, True, 3, [], {}, [[["deep"]]], {"a": {"b": [1, {"c": "\ud800"}]}}, ""])
def test_any_json_value_is_described(value: object) -> None:
    assert len(describe_arguments({"x": value}).fields) >= 1
    assert describe_arguments({}).fields == ()
