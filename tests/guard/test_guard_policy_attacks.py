"""Disguised arguments must be denied, and their honest twins must pass."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.guard.act import Act
from holdfast.guard.policy import BudgetUse, Context, Policy, brief
from holdfast.guard.policy.schema import PolicyFile

NOW = datetime(2026, 11, 20, 11, 0, tzinfo=UTC)


def policy_of(*rules: dict[str, Any], **more: Any) -> Policy:
    said = {"why": "A test.", "instead": "Nothing."}
    named = [{"name": f"r{at}", **said, **rule} for at, rule in enumerate(rules)]
    source = {"policy": "test", "revision": 1, "owner": "test", "agents": ["agent"], "rules": named, **more}
    return Policy(PolicyFile.model_validate(source))


def answer(policy: Policy, **arguments: Any) -> str:
    return policy.decide(Act("run", "agent", "s", "t", arguments), Context(NOW)).answer


INSIDE = policy_of({"allow": ["s/t"], "where": {"path": {"under": ["/srv/shared"]}}})
GUARDED = policy_of(
    {"allow": ["s/t"], "where": {"path": {"under": ["/srv"]}}},
    {"deny": ["s/t"], "where": {"path": {"under": ["/srv/secret"]}}},
)


@pytest.mark.parametrize(
    "path",
    [
        "/srv/shared/../secret/a", "/srv/shared/..", "/srv/shared/a/../../secret", "/srv/shared/%2e%2e/secret",
        "/srv/shared/%2E%2E%2Fsecret", "/srv/shared/%252e%252e/secret", "/srv/shared/..\\secret", "..\\srv\\shared",
        "/srv/shared/\u2025/secret", "/srv/shared/．．/secret", "/srv/shared\x00/../secret", "/srv/shared/a\u202e",
        "/srv/shared-evil/a", "/srv/sharedevil", "/srv/Shared/a", "/srv/SHARED/a", "/srv/shаred/a", "/srv/ｓhared/a",
        "//srv/shared/a", "~/srv/shared/a", "srv/shared/a", "./srv/shared/a", "", "C:/srv/shared/a", "/", "/srv",
        "file://evil.example/srv/shared/a", "file:///srv/shared/../secret", "http://x/srv/shared/a",
        "/srv/shared/a\u200b", "/proc/self/root/srv/shared/a",
    ],
)  # fmt: skip
def test_disguised_outside_paths_are_denied(path: str) -> None:
    assert answer(INSIDE, path=path) == "deny"


@pytest.mark.parametrize(
    "path",
    [
        "/srv/shared", "/srv/shared/", "/srv/shared/a/b.txt", "/srv//shared/./a", "/srv/shared/100% done.txt",
        "/srv/shared/naïve résumé.txt", "/srv/shared/отчёт.txt", "/srv/shared/a%20b.txt", "/srv/shared/.hidden",
        "/srv/shared/a..b", "file:///srv/shared/a", "/srv/shared/Upper Case.TXT", "/srv/shared/...", "/srv/shared/日本",
        "/srv/shared/a\\b",
    ],
)  # fmt: skip
def test_inside_paths_are_allowed(path: str) -> None:
    assert answer(INSIDE, path=path) == "allow"


@pytest.mark.parametrize(
    "path",
    [
        "/srv/secret", "/srv/secret/a", "/srv/SECRET/a", "/srv/Secret./a", "/srv/secret /a", "/srv/sеcret/a",
        "/srv/%73ecret/a", "/srv/%2573ecret/a", "/srv\\secret\\a", "/srv/ｓecret/a", "/srv//./secret/a",
        "/srv/secrét/a",
        "file:///srv/%73ecret/a", "/srv/ѕесrеt", "/srv/sec\u00adret/a",
    ],
)  # fmt: skip
def test_disguised_denied_paths_are_denied(path: str) -> None:
    assert answer(GUARDED, path=path) == "deny"


@pytest.mark.parametrize("path", ["/srv/secretary/a", "/srv/public/secret", "/srv/a", "/srv/public/..a"])
def test_paths_near_a_denied_path_are_allowed(path: str) -> None:
    assert answer(GUARDED, path=path) == "allow"


def test_symbolic_links_are_resolved_for_local_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "shared").mkdir(parents=True)
    (root / "secret").mkdir()
    (root / "alias").symlink_to(root / "shared")
    (root / "shared" / "way-out").symlink_to(root / "secret")
    rule = {"allow": ["s/t"], "where": {"path": {"under": [f"{root}/alias", f"{root}/shared"]}}}
    local, remote = policy_of(rule, local_files=["s"]), policy_of(rule)
    leak = f"{root}/shared/way-out/a"
    assert (answer(remote, path=leak), answer(local, path=leak)) == ("allow", "deny")
    assert answer(local, path=f"{root}/shared/a") == "allow"
    assert answer(local, path=f"{root}/alias/a") == "allow"
    assert os.path.realpath(leak) == os.path.realpath(root / "secret" / "a")


def test_relative_paths_match_only_relative_rules() -> None:
    policy = policy_of({"allow": ["s/t"], "where": {"path": {"under": ["notes"]}}})
    anywhere = policy_of({"allow": ["s/t"], "where": {"path": {"under": ["."]}}})
    assert [answer(policy, path=p) for p in ("notes/a", "./notes", "notesX", "/notes/a")] == ["allow"] * 2 + [
        "deny"
    ] * 2
    assert [answer(anywhere, path=p) for p in ("a/b", ".", "/a", "../a", "c:/a", "c:a")] == ["allow"] * 2 + ["deny"] * 4


def test_windows_paths_keep_their_drive() -> None:
    policy = policy_of({"allow": ["s/t"], "where": {"path": {"under": ["C:/work"]}}})
    inside, outside = ["C:\\work\\a", "c:/work/a"], ["C:work\\a", "D:\\work\\a", "C:\\work\\..\\a", "\\\\host\\work"]
    assert [answer(policy, path=path) for path in inside] == ["allow"] * 2
    assert [answer(policy, path=path) for path in outside] == ["deny"] * 4


def test_huge_arguments_are_refused_quickly() -> None:
    assert answer(INSIDE, path="/srv/shared/" + "a/" * 50_000) == "deny"
    assert answer(COLLEAGUES, to="ann@acme.example," * 50_000 + "ann@acme.example") == "deny"
    assert answer(WEB, url="https://docs.example/" + "a" * 50_000) == "deny"
    assert answer(TYPED, mode="draft" * 50_000) == "deny"
    assert answer(TYPED, options=list(range(50_000))) == "deny"


COLLEAGUES = policy_of(
    {"allow": ["s/t"], "where": {"to": {"recipients": ["@acme.example", "boss@firm.example", "#team"]}}},
    {"deny": ["s/t"], "where": {"to": {"recipients": ["press@acme.example"]}}},
)


@pytest.mark.parametrize(
    "to",
    [
        "eve@evil.example", "ann@acme.example, eve@evil.example", "ann@acme.example;eve@evil.example",
        "ann@acme.example\neve@evil.example", "ann@acme.example\r\nBcc: eve@evil.example",
        "ann@acme.example eve@evil.example",
        '"ann@acme.example" <eve@evil.example>', "ann@acme.example <eve@evil.example>",
        "<ann@acme.example> <eve@evil.example>",
        "eve@evil.example(ann@acme.example)", "ann@acme.example@evil.example", "eve%evil.example@acme.example",
        "evil.example!eve@acme.example", "ann@acme.example.evil.example", "ann@evil-acme.example", "ann@acmе.example",
        "ann@асmе.example", "ann@acme.exampIe", "ann@acrne.example", "ann@xn--acm-dma.example", "ann@аcme.example",
        "аnn@acme.example", "ann\u200b@acme.example", "ann@acme\u200b.example", "ann@ａcme.example",
        "ann＠acme.example",
        "\u202eelpmaxe.emca@nna", "ann@[10.0.0.1]", "ann@acme。example", "boss+evil@firm.example", "other@firm.example",
        "b0ss@firm.example", "press@acme.example", "Press@ACME.example", "press+1@acme.example",
        '"Ann, Eve" <press@acme.example>',
        "#teаm", "#other", "", " , ", "ann@", "@acme.example", "undisclosed-recipients:;", "group: eve@evil.example;",
        '"unclosed <ann@acme.example>', "ann@sub.acme.example",
    ],
)  # fmt: skip
def test_disguised_outside_recipients_are_denied(to: str) -> None:
    assert answer(COLLEAGUES, to=to) == "deny"
    assert answer(COLLEAGUES, to=["ann@acme.example", to] if to.strip() else [to]) == "deny"


@pytest.mark.parametrize(
    "to",
    [
        "ann@acme.example", "ANN@Acme.Example", "Ann <ann@acme.example>", '"Doe, Ann" <ann@acme.example>',
        "ann@acme.example, bob@acme.example", "ann+reports@acme.example", "ann.o'neil@acme.example",
        "boss@firm.example",
        "Zoë Müller <zoe@acme.example>", "ann@acme.example.", "#team", ["ann@acme.example", "Bob <bob@acme.example>"],
        "ann@acme.example;bob@acme.example", "Анна <ann@acme.example>", "pressure@acme.example",
    ],
)  # fmt: skip
def test_inside_recipients_are_allowed(to: str | list[str]) -> None:
    assert answer(COLLEAGUES, to=to) == "allow"


def test_wildcard_domains_cover_subdomains() -> None:
    wide = policy_of(
        {"allow": ["s/t"], "where": {"to": {"recipients": ["@*.acme.example"]}}},
        {"allow": ["s/t"], "where": {"to": {"recipients": ["@hr.acme.example"]}, "body": "any"}},
        {"allow": ["s/t"], "where": {"to": {"recipients": ["@bücher.example"]}}},
    )
    assert [answer(wide, to=f"a@{host}") for host in ("hr.acme.example", "x.y.acme.example")] == ["allow"] * 2
    assert [answer(wide, to=f"a@{host}") for host in ("acme.example", "xacme.example", "acme.example.x")] == [
        "deny"
    ] * 3
    assert [answer(wide, to=f"a@{host}") for host in ("bücher.example", "xn--bcher-kva.example")] == ["allow"] * 2
    assert answer(wide, to="a@bucher.example") == "deny"


WEB = policy_of({"allow": ["s/t"], "where": {"url": {"hosts": ["docs.example", "*.docs.example"]}}})


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.example@evil.example/", "https://evil.example/docs.example", "https://docs.example.evil.example/",
        "https://evildocs.example/", "//docs.example/", "javascript://docs.example/%0aalert(1)", "https:docs.example",
        "https://docs.example\\@evil.example/", "https://docs.example:8443/", "https://dоcs.example/",
        "https://ｄocs.example/",
        "https://docs.example%2eevil.example/", "https://docs\u200b.example/", "https://2130706433/", "https://0x7f.1/",
        "https://[::1]/", "ftp://docs.example/", "file:///etc/passwd", "https://docs.example\t.evil.example/",
        "https://user:pass@docs.example/", "https://d0cs.example/", "https:///docs.example", " https://docs.example",
        "https://docs.example:x/", "",
    ],
)  # fmt: skip
def test_disguised_outside_hosts_are_denied(url: str) -> None:
    assert answer(WEB, url=url) == "deny"


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.example", "http://docs.example/a?b=c#d", "https://DOCS.example/",
        "https://api.docs.example:443/x",
        "https://docs.example/user@host", "https://docs.example/%20a", "https://docs.example./",
    ],
)  # fmt: skip
def test_inside_hosts_are_allowed(url: str) -> None:
    assert answer(WEB, url=url) == "allow"


TYPED = policy_of(
    {
        "allow": ["s/t"],
        "where": {
            "mode": {"one_of": ["draft", 1, True], "optional": True},
            "amount": {"at_least": 0, "at_most": 100, "optional": True},
            "edits.text": {"text": 10, "optional": True},
            "options": "any",
        },
    }
)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "Draft"}, {"mode": "draft "}, {"mode": "drаft"}, {"mode": "1"}, {"mode": "true"}, {"mode": 2},
        {"mode": False},
        {"mode": 1.0}, {"mode": ["draft", "send"]}, {"mode": {"draft": 1}}, {"amount": 100.000001}, {"amount": -1},
        {"amount": "50"}, {"amount": "5e1"}, {"amount": True}, {"amount": float("nan")}, {"amount": float("inf")},
        {"amount": 10**400}, {"amount": [50, 101]}, {"amount": 99.9999999}, {"extra": 1}, {"MODE": "draft"},
        {"modе": "draft"},
        {"edits": [{"text": "short"}, {"text": "far too long"}]}, {"edits": [{"text": "a", "path": "/etc"}]},
        {"edits": "text"}, {"edits.text": "dotted"}, {"edits": {"text": {"text": "x"}}},
        {"edits": {"text": "a\x1b[2J"}},
        {"options": {"a.b": 1}},
    ],
)  # fmt: skip
def test_look_alike_values_are_denied(arguments: dict[str, Any]) -> None:
    assert answer(TYPED, **arguments) == "deny"


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"mode": "draft"}, {"mode": 1}, {"mode": True}, {"mode": None}, {"amount": 0}, {"amount": 100},
        {"amount": 99.5},
        {"amount": [50, 60]}, {"edits": [{"text": "short"}, {"text": "tiny"}]}, {"edits": []}, {"options": {"a": [1,
        {"b": 2}]}},
        {"edits": {"text": "a\n👨‍👩‍👧"}}, {"options": {}}, {"options": "x"},
    ],
)  # fmt: skip
def test_listed_values_are_allowed(arguments: dict[str, Any]) -> None:
    assert answer(TYPED, **arguments) == "allow"


def test_hold_cannot_be_avoided() -> None:
    policy = policy_of(
        {
            "allow": ["s/t"],
            "where": {"to": {"recipients": ["@acme.example", "@client.example"]}, "body": "any", "cc": "any"},
        },
        {
            "hold": ["s/t"],
            "where": {
                "to": {"recipients": ["@client.example"]},
                "body": {"text": 10},
                "cc": {"recipients": ["@acme.example"], "optional": True},
            },
        },
    )
    assert answer(policy, to="a@acme.example", body="x") == "allow"
    for more in ({}, {"body": "far longer than ten"}, {"cc": "x@client.example"}, {"cc": "x@evil.example"}):
        assert answer(policy, **{"to": "a@acme.example, b@client.example", "body": "x"} | more) == "hold"


def test_characters_of_small_texts_are_summed() -> None:
    limits = {"to": {"recipients": ["@client.example"]}, "body": {"text": 100}}
    rule = {"allow": ["mail/send"], "where": limits, "sums": {"body": {"run": 250, "day": 1000}}}
    policy = policy_of(rule)
    mail = {"to": "a@client.example", "body": "x" * 100}
    asked = Act("run", "agent", "mail", "send", mail)
    assert policy.leaves(asked)[0] == {"r0:body": 100_000_000}
    for spent, expected in ((0, "allow"), (150, "allow"), (151, "deny"), (250, "deny")):
        facts = Context(NOW, {"r0:body": BudgetUse(run=spent * 1_000_000, day=spent * 1_000_000)})
        assert policy.decide(asked, facts).answer == expected
    assert "the characters of `body` add up to at most 250 in a run" in " ".join(brief(policy).split())


def test_negative_amounts_do_not_reduce_a_sum() -> None:
    rule = {"allow": ["s/t"], "where": {"amount": {"at_most": 100}}, "sums": {"amount": {"run": 100}}}
    assert answer(policy_of(rule), amount=-50) == "deny"


ENVELOPE = policy_of(
    {
        "allow": ["s/t"],
        "where": {
            "to": {"recipients": ["@acme.example", "vera@partner.example"]},
            "headers": "any",
            "text": {"text": 100, "optional": True},
        },
    },
    {"deny": ["s/t"], "where": {"to": {"recipients": ["vera@partner.example"]}}},
)


@pytest.mark.parametrize(
    ("denied", "allowed"),
    [
        ({"to": {"address": "x@evil.example"}}, {"to": {"address": "ann@acme.example"}}),
        ({"to": {"one": "ann@acme.example", "copies": ["x@evil.example"]}}, {"to": {"one": "ann@acme.example"}}),
        ({"to": {"one": "vera@partner.example"}}, {"to": {"one": "ann@acme.example", "copies": ["ben@acme.example"]}}),
        ({"headers": {"Bcc": "x@evil.example"}}, {"headers": {"Bcc": "ben@acme.example"}}),
        ({"headers": {"Reply-To": "x@evil.example"}}, {"headers": {"X-Ref": "x@evil.example"}}),
        ({"headers": {"resent_to": "not an address"}}, {"headers": {"Importance": "high"}}),
        ({"headers": [{"name": {"cc": "vera@partner.example"}}]}, {"headers": [{"name": "cc of the plan"}]}),
        ({"text": {"a": "prose in an object"}}, {"text": "prose"}),
    ],
)
def test_recipients_inside_objects_and_headers_meet_the_rules(denied: dict[str, Any], allowed: dict[str, Any]) -> None:
    basis = {"to": "ann@acme.example", "headers": {}}
    assert answer(ENVELOPE, **{**basis, **denied}) == "deny"
    assert answer(ENVELOPE, **{**basis, **allowed}) == "allow"


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.example/redirect?to=https://evil.example/x", "https://docs.example/proxy/https://evil.example/x",
        "https://docs.example/r?u=//evil.example", "https://docs.example/r?u=https%3A%2F%2Fevil.example",
        "https://docs.example/r?u=https%253A%252F%252Fevil.example", "https://docs.example/#https://a@evil.example",
    ],
)  # fmt: skip
def test_url_inside_a_url_meets_the_rules_too(url: str) -> None:
    assert answer(WEB, url=url) == "deny"
    assert answer(WEB, url=url.replace("evil.example", "docs.example").replace("a@", "")) == "allow"


@pytest.mark.parametrize(
    "path",
    [
        "/srv/..∕secret", "/srv/&#46;&#46;/etc", "/srv/\\u002e\\u002e/etc", "/srv/%c0%ae%c0%ae/etc", "/srv/‥/etc",
        "/srv/secret::$DATA", "/srv/secret:x/a", "/srv∕secret∕a",
    ],
)  # fmt: skip
def test_paths_in_other_signs_are_denied(path: str) -> None:
    assert answer(GUARDED, path=path) == "deny"
    assert answer(GUARDED, path="/srv/plan at 10:30.txt") == "allow"
