"""The index of rules leaves out no rule that matters: decisions are those of all rules together."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.guard.act import Act
from holdfast.guard.policy.policy import BudgetUse, Context, Policy
from holdfast.guard.policy.rule_index import RuleIndex
from holdfast.guard.policy.schema import PolicyFile

PEOPLE = ["ann@firm.example", "@firm.example", "@*.firm.example", "vera@partner.example", "#general"]
FOLDERS = ["/srv", "/srv/work", "/srv/work/drafts", "/srv/secret"]
VALUES: list[Any] = ["red", "blue", 1, True]
ADDRESSES = [
    "ann@firm.example",
    "ben@firm.example",
    "x@sub.firm.example",
    "vera@partner.example",
    "eve@evil.example",
    "",
]
PATHS = ["/srv/work/a", "/srv/work/drafts/b", "/srv/secret/c", "/etc/passwd", "/srv"]


def some_constraint(draw: random.Random, name: str, answer: str) -> Any:
    if draw.random() < 0.15:
        return "any"
    choices: dict[str, list[tuple[str, list[Any]]]] = {
        "to": [("recipients", PEOPLE), ("recipients_outside", PEOPLE)],
        "path": [("under", FOLDERS), ("outside", FOLDERS)],
        "colour": [("one_of", VALUES)],
        "amount": [("at_most", [5, 10]), ("at_least", [3])],
    }
    kind, values = draw.choice([pair for pair in choices[name] if answer != "allow" or "outside" not in pair[0]])
    found: dict[str, Any] = {kind: draw.choice(values) if name == "amount" else draw.sample(values, draw.randint(1, 2))}
    return found | ({"optional": True} if answer != "deny" and draw.random() < 0.25 else {})


def some_policy(draw: random.Random) -> Policy:
    rules = []
    for number in range(draw.randint(1, 12)):
        answer = draw.choice(["allow", "allow", "hold", "deny"])
        names = draw.sample(["to", "path", "colour", "amount"], draw.randint(0, 3))
        where = {name: some_constraint(draw, name, answer) for name in names}
        rule = {"name": f"r{number}", answer: ["t/use"], "where": where, "why": "w", "instead": "i"}
        if answer != "deny" and draw.random() < 0.2:
            rule["budget"] = {"run": draw.randint(1, 3)}
        rules.append(rule)
    source = {"policy": "p", "revision": 1, "owner": "o", "agents": ["a"], "rules": rules}
    return Policy(PolicyFile.model_validate(source))


def some_act(draw: random.Random) -> Act:
    arguments: dict[str, Any] = {}
    if draw.random() < 0.7:
        arguments["to"] = ", ".join(draw.sample(ADDRESSES[:-1], draw.randint(1, 2))) if draw.random() < 0.9 else ""
    if draw.random() < 0.7:
        arguments["path"] = draw.sample(PATHS, draw.randint(0, 2)) if draw.random() < 0.5 else draw.choice(PATHS)
    if draw.random() < 0.7:
        arguments["colour"] = draw.choice([*VALUES, "green", None])
    if draw.random() < 0.5:
        arguments["amount"] = draw.choice([1, 4, 20])
    return Act("r", "a", "t", "use", arguments)


@pytest.mark.parametrize("seed", range(6))
def test_decisions_equal_those_of_all_rules(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, answers, left_out = random.Random(seed), set(), 0
    every = RuleIndex.candidates
    for _ in range(40):
        policy = some_policy(draw)
        counts = {f"r{number}": BudgetUse(draw.randint(0, 3)) for number in range(12)}
        facts, size = Context(datetime.now(UTC), counts), len(policy.source.rules)
        for _ in range(12):
            act = some_act(draw)
            decided = policy.decide(act, facts)
            context = policy.request(act, facts)
            left_out += size - len(policy._parts["t/use"].index.candidates(context["context"])) if context else 0
            with monkeypatch.context() as patch:
                patch.setattr(RuleIndex, "candidates", lambda *_, size=size: tuple(range(size)))
                assert policy.decide(act, facts) == decided, (act, policy.cedar)
            answers.add(decided.answer)
    assert RuleIndex.candidates is every and answers == {"allow", "hold", "deny"} and left_out > 500


def test_only_candidates_are_evaluated() -> None:
    rules = [
        {"name": f"r{n}", "allow": ["t/use"], "where": {"to": {"recipients": [f"@firm{n}.example"]}}, "why": "w"}
        for n in range(50)
    ]
    policy = Policy(
        PolicyFile.model_validate({"policy": "p", "revision": 1, "owner": "o", "agents": ["a"], "rules": rules})
    )
    index = policy._parts["t/use"].index
    assert index.candidates({"to.recipients": ["@firm7.example"]}) == (7,)
    assert index.candidates({"to.recipients": ["?"]}) == index.candidates({}) == ()
    act = Act("r", "a", "t", "use", {"to": "ann@firm7.example"})
    assert policy.decide(act, Context(datetime.now(UTC))).rules == ("r7",)
