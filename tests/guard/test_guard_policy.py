"""Decisions of a policy: allow, hold and deny, counters, and denial on any error."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cedarpy
import pytest

from holdfast.guard.act import Act
from holdfast.guard.db import Store
from holdfast.guard.policy import BudgetUse, Context, Policy, PolicyState, brief, load_policy
from holdfast.guard.policy.normalise import Uninspectable
from holdfast.guard.policy.schema import Constraint, PolicyFile, Rule

EXAMPLE = Path(__file__).parents[2] / "examples" / "guard" / "policy.yaml"
#: A Friday noon in Berlin.
NOON = datetime(2026, 11, 20, 11, 0, tzinfo=UTC)
MAIL = {"to": "ann@acme.example", "subject": "Figures", "body": "Here they are.\nBest"}
PAY = {"account": "SUPPLIER-1", "amount": 300, "reference": "Invoice 7"}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE)


def act(tool: str, **arguments: Any) -> Act:
    server, _, name = tool.partition("/")
    return Act("run-1", "assistant", server, name, arguments)


def facts(policy: Policy, asked: Act, **changes: Any) -> Context:
    counts = {name: BudgetUse() for name in policy.needs(asked)} | changes.pop("counts", {})
    return Context(**{"now": NOON, "counts": counts} | changes)


def answer(policy: Policy, asked: Act, **changes: Any) -> str:
    return policy.decide(asked, facts(policy, asked, **changes)).answer


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("files/read_text_file", {"path": "/srv/office/plan.md"}, "allow"),
        ("files/read_text_file", {"path": "/srv/office/plan.md", "head": 10}, "allow"),
        ("files/read_text_file", {"path": "/srv/office/plan.md", "head": 0}, "deny"),
        ("files/read_text_file", {"path": "/srv/officeX/plan.md"}, "deny"),
        ("files/read_text_file", {}, "deny"),
        ("files/read_multiple_files", {"paths": ["/srv/office/a", "/srv/office/b"]}, "allow"),
        ("files/read_multiple_files", {"paths": ["/srv/office/a", "/etc/passwd"]}, "deny"),
        ("files/read_multiple_files", {"paths": []}, "deny"),
        ("files/write_file", {"path": "/srv/office/drafts/a.md", "content": "x"}, "allow"),
        ("files/write_file", {"path": "/srv/office/drafts/signed/a.md", "content": "x"}, "deny"),
        ("files/move_file", {"source": "/srv/office/a", "destination": "/srv/office/drafts/a"}, "deny"),
        ("files/resources/read", {"uri": "file:///srv/office/plan.md"}, "deny"),
        ("mail/send_email", MAIL, "allow"),
        ("mail/send_email", MAIL | {"cc": None}, "allow"),
        ("mail/send_email", MAIL | {"cc": "bob@acme.example"}, "allow"),
        ("mail/send_email", MAIL | {"bcc": "bob@acme.example"}, "deny"),
        ("mail/send_email", MAIL | {"to": "ann@rival.example"}, "hold"),
        ("mail/send_email", MAIL | {"to": "ann@rival.example", "cc": "bob@acme.example"}, "deny"),
        ("mail/send_email", MAIL | {"subject": "x\nBcc: eve@rival.example"}, "deny"),
        ("mail/send_email", MAIL | {"subject": "x\r\n"}, "deny"),
        ("mail/send_email", MAIL | {"subject": "x\u2028y"}, "deny"),
        ("mail/send_email", MAIL | {"subject": ""}, "allow"),
        ("web/fetch", {"url": "https://docs.example/page"}, "allow"),
        ("web/fetch", {"url": "https://rival.example/page"}, "deny"),
        ("bank/transfer", PAY, "hold"),
        ("bank/transfer", PAY | {"amount": 500.01}, "deny"),
        ("bank/transfer", PAY | {"amount": -300}, "deny"),
        ("bank/transfer", PAY | {"account": "SUPPLIER-3"}, "deny"),
        ("shell/run", {"command": "true"}, "deny"),
    ],
)
def test_the_example_decides(policy: Policy, tool: str, arguments: dict[str, Any], expected: str) -> None:
    assert answer(policy, act(tool, **arguments)) == expected


def test_decision_has_reasons_for_agent_and_reviewer(policy: Policy) -> None:
    held = policy.decide(act("bank/transfer", **PAY), facts(policy, act("bank/transfer", **PAY)))
    assert (held.answer, held.rules, held.persons, held.policy) == ("hold", ("pay-suppliers",), 2, policy.version)
    kept = act("files/write_file", path="/srv/office/drafts/signed/a.md", content="x")
    denied = policy.decide(kept, facts(policy, kept))
    assert denied.rules == ("keep-records",)
    assert "Signed papers are evidence" in denied.agent_message
    assert "Write a new draft" in denied.agent_message


def test_default_denial_does_not_reveal_the_limit(policy: Policy) -> None:
    wrong = [PAY | {"amount": 500.01}, PAY | {"account": "SUPPLIER-3"}, PAY | {"reference": "x" * 999}]
    told = {
        policy.decide(asked, facts(policy, asked)).agent_message for asked in (act("bank/transfer", **w) for w in wrong)
    }
    assert len(told) == 1


@pytest.mark.parametrize("where", ["", "    where: {}\n"])
def test_tool_without_arguments_is_allowed_only_without_arguments(tmp_path: Path, where: str) -> None:
    path = tmp_path / "policy.yaml"
    head = "policy: p\nrevision: 1\nowner: o\nagents: [assistant]\nrules:\n"
    path.write_text(f"{head}  - name: roots\n    allow: [files/list_roots]\n{where}    why: They are known.\n")
    policy = load_policy(path)
    assert answer(policy, act("files/list_roots")) == "allow"
    assert answer(policy, act("files/list_roots", path="/etc")) == "deny"


def test_other_agents_are_denied(policy: Policy) -> None:
    asked = Act("run-1", "stranger", "mail", "send_email", MAIL)
    assert policy.decide(asked, facts(policy, asked)).answer == "deny"
    assert policy.visible("assistant", "mail", "send_email")
    assert not policy.visible("stranger", "mail", "send_email")
    assert not policy.visible("assistant", "files", "move_file")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (NOON, "allow"),
        (NOON + timedelta(days=1), "deny"),  # Saturday
        (NOON.replace(hour=5, minute=59), "deny"),  # 06:59 in Berlin
        (NOON.replace(hour=6, minute=0), "allow"),
        (NOON.replace(hour=19, minute=0), "deny"),  # 20:00 in Berlin
    ],
)
def test_windows_are_in_the_policys_zone(policy: Policy, when: datetime, expected: str) -> None:
    assert answer(policy, act("web/fetch", url="https://docs.example/"), now=when) == expected


def test_label_denies_later_acts(policy: Policy) -> None:
    read = act("files/read_text_file", path="/srv/office/customers/7.md")
    assert policy.leaves(read)[1] == ("customer-data",)
    assert policy.leaves(act("files/read_text_file", path="/srv/office/plan.md"))[1] == ()
    assert policy.leaves(act("files/read_multiple_files", paths=["/srv/office/a", "/srv/office/customers/7"]))[1]
    for asked in (act("mail/send_email", **MAIL), act("web/fetch", url="https://docs.example/")):
        assert answer(policy, asked) == "allow"
        assert answer(policy, asked, labels=("customer-data",)) == "deny"
    outside = act("mail/send_email", **MAIL | {"to": "x@rival.example"})
    assert answer(policy, outside, labels=("customer-data",), approved=2) == "deny"


def test_label_is_gained_if_the_match_is_unknown(policy: Policy) -> None:
    assert policy.leaves(act("files/read_text_file", path="/srv/office/x/../customers/7.md"))[1] == ("customer-data",)


def test_pause_allows_only_in_pause_rules(policy: Policy) -> None:
    read = act("files/read_text_file", path="/srv/office/plan.md")
    assert answer(policy, read, frozen=True) == "allow"
    for asked in (act("mail/send_email", **MAIL), act("bank/transfer", **PAY)):
        found = policy.decide(asked, facts(policy, asked, frozen=True, approved=2))
        assert (found.answer, "paused" in found.agent_message) == ("deny", True)


def test_approval_by_enough_persons_allows(policy: Policy) -> None:
    asked = act("bank/transfer", **PAY)
    assert [answer(policy, asked, approved=n) for n in (0, 1, 2)] == ["hold", "hold", "allow"]
    assert answer(policy, act("bank/transfer", **PAY | {"amount": 501}), approved=9) == "deny"


def test_budgets_and_sums(policy: Policy) -> None:
    mail, pay = act("mail/send_email", **MAIL), act("bank/transfer", **PAY | {"amount": 300.25})
    assert policy.leaves(mail)[0] == {"mail-colleagues": 1}
    assert policy.leaves(pay)[0] == {"pay-suppliers:amount": 300_250_000}
    spent = {"mail-colleagues": BudgetUse(run=20), "mail-outside": BudgetUse()}
    assert answer(policy, mail, counts={"mail-colleagues": BudgetUse(run=19, day=99)}) == "allow"
    assert answer(policy, mail, counts=spent) == "deny"
    assert answer(policy, mail, counts={"mail-colleagues": BudgetUse(run=1, day=100)}) == "deny"
    for day, expected in ((699_750_000, "hold"), (699_750_001, "deny")):
        assert answer(policy, pay, counts={"pay-suppliers:amount": BudgetUse(day=day, ever=day)}) == expected


def test_extra_argument_does_not_avoid_a_budget(policy: Policy) -> None:
    smuggled = act("mail/send_email", **MAIL | {"bcc": "x@acme.example"})
    assert "mail-colleagues" in policy.leaves(smuggled)[0]


# -------------------------------------------------------------------------------------------------- failing closed


@pytest.mark.parametrize(
    "broken",
    [
        {"counts": {"mail-colleagues": "twenty"}},
        {"now": datetime(2026, 11, 20, 11, 0)},
        {"now": None},
        {"labels": 7},
        {"frozen": "no"},
        {"approved": 10**30},
    ],
)
def test_broken_context_is_denied(policy: Policy, broken: dict[str, Any]) -> None:
    asked = act("mail/send_email", **MAIL)
    assert answer(policy, asked) == "allow"
    assert answer(policy, asked, **broken) == "deny"


def test_a_missing_count_is_not_zero(policy: Policy) -> None:
    asked = act("mail/send_email", **MAIL)
    assert policy.decide(asked, Context(NOON)).answer == "deny"


@pytest.mark.parametrize(
    "arguments", [{"to": object()}, {"to": {"a.b": 1}}, {"to": [[[["x"]] * 9] * 9] * 999}, {"": 1}]
)
def test_arguments_outside_json_are_denied(policy: Policy, arguments: dict[str, Any]) -> None:
    assert answer(policy, act("mail/send_email", **MAIL | arguments)) == "deny"


def test_deep_argument_is_denied(policy: Policy) -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert answer(policy, act("mail/send_email", **MAIL | {"to": deep})) == "deny"


def test_failing_forbid_is_denied(policy: Policy) -> None:
    asked = act("mail/send_email", **MAIL)
    request = policy.request(asked, facts(policy, asked))
    assert request is not None
    holed = {**request, "context": {k: v for k, v in request["context"].items() if k != "labels"}}
    bare = cedarpy.is_authorized(holed, policy.cedar, [])
    assert bare.allowed  # Cedar passes over the forbid that fails …
    assert bare.diagnostics.errors
    assert answer(policy, asked, labels=None) == "deny"  # … and the policy does not


# --------------------------------------------------------------------------------- the whole set and the picked part


def some_act(chance: random.Random) -> Act:
    paths = [
        "/srv/office/a",
        "/srv/office/drafts/b",
        "/srv/office/drafts/signed/c",
        "/srv/office/customers/d",
        "/etc/x",
    ]
    people = ["ann@acme.example", "bob@hr.acme.example", "eve@rival.example", "@", "ann@acme.example, x@rival.example"]
    pools: Mapping[str, list[Any]] = {
        "path": paths, "paths": [paths[:2], paths[1:4], paths], "head": [1, 0, 2.5, None], "to": people, "cc": people,
        "subject": ["x", "x" * 300, "x\ny"], "body": ["x", "\u202eevil"], "content": ["x"],
        "amount": [1, 499.5, 501, -3, "7"], "account": ["SUPPLIER-1", "SUPPLIER-9"], "reference": ["r"], "bcc": people,
        "url": ["https://docs.example/a", "http://a.docs.example", "https://rival.example", "ftp://x"],
    }  # fmt: skip
    tools = ["files/read_text_file", "files/read_multiple_files", "files/write_file", "mail/send_email", "web/fetch"]
    usual = {"mail/send_email": ["to", "subject", "body"], "bank/transfer": ["account", "amount", "reference"]}
    usual |= {"files/write_file": ["path", "content"], "web/fetch": ["url"], "files/read_multiple_files": ["paths"]}
    tool = chance.choice([*tools, "bank/transfer", "shell/run"])
    names = {*usual.get(tool, ["path"]), *chance.sample(sorted(pools), chance.choice([0, 0, 0, 1]))}
    return act(tool, **{name: chance.choice(pools[name]) for name in sorted(names)})


def by_bare_cedar(policy: Policy, asked: Act, context: Context) -> str:
    """Decide the same request in Cedar with all policies at once and the schema checked."""
    request = policy.request(asked, context)
    if request is None:
        return "deny"
    first = cedarpy.is_authorized(request, policy.cedar, [], policy.schema)
    assert first.diagnostics.errors == []
    if first.allowed:
        return "allow"
    ids = first.diagnostics.id_annotations_by_reason.values()
    if not ids or not all(name.startswith("hold:") for name in ids):
        return "deny"
    approved = {**request, "context": {**request["context"], "approved": 1000}}
    return "hold" if cedarpy.is_authorized(approved, policy.cedar, [], policy.schema).allowed else "deny"


def test_policies_of_one_tool_decide_as_the_whole_set(policy: Policy) -> None:
    chance = random.Random(7)
    seen = []
    for _ in range(400):
        asked = some_act(chance)
        counts = {
            name: BudgetUse(*(chance.choice([0, 19, 100, 10**9]) for _ in range(3))) for name in policy.needs(asked)
        }
        labels = chance.choice([(), (), ("customer-data",)])
        context = Context(NOON, counts, labels, chance.random() < 0.1, chance.choice([0, 0, 1, 2]))
        try:
            expected = by_bare_cedar(policy, asked, context)
        except Uninspectable:
            expected = "deny"
        assert policy.decide(asked, context).answer == expected, (asked, context)
        seen.append(expected)
    assert {"allow", "hold", "deny"} <= set(seen)
    assert seen.count("allow") > 40


def test_text_and_traces_keep_the_strict_schema(policy: Policy) -> None:
    assert cedarpy.validate_policies(policy.cedar, policy.schema).validation_passed
    assert cedarpy.validate_policies(policy.traces, policy.schema).validation_passed
    planted = policy.cedar.replace("context.frozen", "context.frosen")
    assert not cedarpy.validate_policies(planted, policy.schema).validation_passed


# ---------------------------------------------------------------------------------------------- version, brief, memory


def test_version_ignores_comments_and_key_order(tmp_path: Path, policy: Policy) -> None:
    text = EXAMPLE.read_text()
    (tmp_path / "same.yaml").write_text("# another comment\n" + text)
    assert load_policy(tmp_path / "same.yaml").version == policy.version
    (tmp_path / "other.yaml").write_text(text.replace("at_most: 500", "at_most: 501"))
    assert load_policy(tmp_path / "other.yaml").version != policy.version
    assert len(policy.version) == 64


def test_brief_has_every_rule_and_the_version(policy: Policy) -> None:
    said = brief(policy)
    assert policy.version in said
    assert "raise_concern" in said
    for rule in policy.source.rules:
        assert f"**{rule.name}**" in said
        assert rule.why in said
        assert (rule.instead or "") in said
        for name in rule.arguments:
            assert f"`{name}`" in said
        for most in rule.budget.spans.values() if rule.budget else ():
            assert f"{most} " in said


def test_counters_persist_across_runs_and_restarts(tmp_path: Path, policy: Policy) -> None:
    store = Store(tmp_path / "guard.db")
    standing = PolicyState(policy, store)
    mail = act("mail/send_email", **MAIL)
    assert [standing.decide(mail).answer for _ in range(21)] == ["allow"] * 20 + ["deny"]
    store.close()
    store = Store(tmp_path / "guard.db")
    standing = PolicyState(policy, store)
    assert standing.decide(mail).answer == "deny"
    others = [Act(f"run-{n}", "assistant", "mail", "send_email", MAIL) for n in range(2, 8)]
    assert {standing.decide(other).answer for other in others} == {"deny"}  # a new run starts nothing anew
    with store.transaction() as db:
        db.execute("UPDATE spending SET hour = hour - 25")
    assert [standing.decide(other).answer for other in others] == ["allow"] * 6
    with store.transaction() as db:
        db.execute("UPDATE spending SET hour = hour - 26, amount = 94 WHERE amount = 6")
    assert [standing.decide(other).answer for other in others] == ["deny"] * 6  # 20 and 94 are more than 100 a day
    store.close()


def test_run_is_denied_everything_after_too_many_refusals(tmp_path: Path, policy: Policy) -> None:
    strict = Policy(PolicyFile.model_validate({**policy.source.model_dump(exclude_none=True), "refusals": 3}))
    store = Store(tmp_path / "guard.db")
    standing = PolicyState(strict, store)
    mail, read = act("mail/send_email", **MAIL), act("files/read_text_file", path="/srv/office/plan.md")
    probes = [act("files/read_text_file", path=f"/etc/{n}") for n in range(3)]
    for probe in probes[:2]:
        assert standing.decide(probe).answer == "deny"
    # Held acts, and denials during a pause, do not count as probing.
    assert standing.decide(act("bank/transfer", **PAY)).answer == "hold"
    assert standing.decide(mail, frozen=True).answer == "deny"
    assert standing.decide(mail).answer == "allow"
    assert standing.decide(probes[2]).answer == "deny"
    after = [standing.decide(mail), standing.decide(read), standing.decide(act("bank/transfer", **PAY), approved=2)]
    assert {(found.answer, found.agent_message.partition(":")[0]) for found in after} == {("deny", "Denied")}
    assert "too many requests of this agent were refused" in after[0].agent_message
    assert standing.decide(Act("run-2", "assistant", "mail", "send_email", MAIL)).answer == "deny"
    assert "After 3 refusals" in brief(strict)
    store.close()


def test_concurrent_acts_do_not_exceed_the_budget(tmp_path: Path, policy: Policy) -> None:
    stores = [Store(tmp_path / "guard.db") for _ in range(2)]  # as two processes would have
    standings = [PolicyState(policy, store) for store in stores]
    mail = act("mail/send_email", **MAIL)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: standings[n % 2].decide(mail).answer, range(60)))
    assert answers.count("allow") == 20
    for store in stores:
        store.close()


def test_only_allowed_reads_give_labels(tmp_path: Path, policy: Policy) -> None:
    store = Store(tmp_path / "guard.db")
    standing = PolicyState(policy, store)
    mail, held = act("mail/send_email", **MAIL), act("bank/transfer", **PAY | {"amount": 400})
    refused = act("files/read_text_file", path="/srv/office/customers/7.md", encoding="raw")
    assert standing.decide(refused).answer == "deny"
    assert standing.decide(mail).answer == "allow"
    assert standing.decide(act("files/read_text_file", path="/srv/office/customers/7.md")).answer == "allow"
    assert standing.labels("run-1") == ("customer-data",)
    assert standing.decide(mail).answer == "deny"
    assert [standing.decide(held).answer for _ in range(3)] == ["hold"] * 3
    assert [standing.decide(held, approved=2).answer for _ in range(3)] == ["allow", "allow", "deny"]
    store.close()


def test_examples_in_the_guide_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLE.parents[2] / "docs" / "guard-policy.md").read_text()
    [least] = re.findall(r"```yaml policy.yaml\n(.*?)```", text, re.S)
    (tmp_path / "least.yaml").write_text(least)
    assert load_policy(tmp_path / "least.yaml").name == "reader"
    (tmp_path / "examples").symlink_to(EXAMPLE.parents[1])
    monkeypatch.chdir(tmp_path)
    [snippet] = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {}
    exec(snippet, names)
    names["store"].close()
    assert names["decision"].answer == "allow"
    for model in (Rule, Constraint, PolicyFile):
        for key in model.model_fields:
            assert re.search(rf"`{key}[`:]", text), key
