"""Invalid policies are refused with an error that names the line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import ConfigError
from holdfast.guard.policy import check_tools, load_policy

SOUND = """\
policy: office
revision: 1
owner: Operations
agents: [assistant]
tools:
  files/read: [path]
  files/write: [path, content]
  mail/send: [to, body]
labels:
  - label: customer
    tools: [files/read]
    where: {path: {under: [/srv/customers]}}
rules:
  - name: read
    allow: [files/read]
    where:
      path: {under: [/srv]}
    why: Work.
  - name: mail
    allow: [mail/send]
    where:
      to: {recipients: ["@acme.example"]}
      body: {text: 500}
    budget: {run: 5}
    why: Work.
  - name: stay
    deny: [mail/send]
    after: [customer]
    why: Customers.
    instead: Wait.
"""


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    line = " ".join(str(caught.value).removeprefix(str(tmp_path) + "/").split())
    assert caught.value.remedy
    return line


def test_valid_policy_loads(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SOUND)
    assert load_policy(path).name == "office"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    why: Work.\n  - name: mail",
            "    whi: Work.\n  - name: mail",
            "policy.yaml:18: rule 'read': unknown key 'whi' (did you mean 'why'?)",
        ),
        ("    why: Work.\n  - name: mail", "  - name: mail", "policy.yaml:14: rule 'read': missing key 'why' (add it)"),
        (
            "{under: [/srv]}",
            "{unter: [/srv]}",
            "policy.yaml:17: rule 'read': unknown key 'where.path.unter' (did you mean 'under'?)",
        ),
        (
            "allow: [files/read]",
            "allow: [files/raed]",
            "policy.yaml:15: rule 'read': unknown tool 'files/raed' (did you mean 'files/read'?)",
        ),
        ("allow: [files/read]", "allow: [files]", "policy.yaml:15: rule 'read': allow.0: "),
        (
            "      path: {under",
            "      paht: {under",
            "policy.yaml:17: rule 'read': 'files/read' has no argument 'paht' (did you mean 'path'?)",
        ),
        (
            "after: [customer]",
            "after: [custom]",
            "policy.yaml:28: rule 'stay': no entry in 'labels' gives the label 'custom' (did you mean 'customer'?)",
        ),
        (
            "{under: [/srv]}",
            "{under: [/srv/../etc]}",
            "policy.yaml:17: rule 'read': '/srv/../etc' is not valid here (write the path without '..')",
        ),
        ('["@acme.example"]', '["@acme example"]', "policy.yaml:22: rule 'mail': '@acme example' is not valid here"),
        ("{text: 500}", "{text: 500, line: 3}", "policy.yaml:23: rule 'mail': where.body: mixes line and text"),
        ("{text: 500}", "{optional: true}", "policy.yaml:23: rule 'mail': where.body: is empty"),
        ("{text: 500}", "{text: many}", "policy.yaml:23: rule 'mail': where.body.text: "),
        (
            "{text: 500}",
            "{at_least: 3, at_most: 2}",
            "policy.yaml:23: rule 'mail': where.body: no number is at least 3",
        ),
        ("{text: 500}", "anything", "policy.yaml:23: rule 'mail': where.body: "),
        ("{run: 5}", "{run: 0}", "policy.yaml:24: rule 'mail': budget.run: "),
        ("{run: 5}", "{}", "policy.yaml:24: rule 'mail': budget: sets no limit"),
        ("    instead: Wait.\n", "", "policy.yaml:26: rule 'stay' must say in 'instead'"),
        (
            "    deny: [mail/send]",
            "    deny: [mail/send]\n    allow: [mail/send]",
            "policy.yaml:26: rule 'stay' must have exactly one",
        ),
        (
            "    why: Customers.",
            "    persons: 2\n    why: Customers.",
            "policy.yaml:26: rule 'stay': 'persons' is not allowed in a rule that denies",
        ),
        ("name: stay", "name: mail", "two rules are named 'mail'"),
        ("name: stay", "name: Stay!", "policy.yaml:26: rule 'Stay!': name: "),
        ("agents: [assistant]", "agents: []", "policy.yaml:4: agents: "),
        (
            "agents: [assistant]",
            "agents: [assistant]\nzone: Mars/Olympus",
            "policy.yaml:5: zone: 'Mars/Olympus' is not a time zone",
        ),
        (
            "agents: [assistant]",
            "agents: [assistant]\nlocal_files: [fils]",
            "policy.yaml:5: no rule names a tool of the server 'fils' (did you mean 'files'?)",
        ),
        ("revision: 1", "revision: 1\nrevision: 2", "policy.yaml:3: duplicate key 'revision'"),
        ("revision: 1", "revision: one", "policy.yaml:2: revision: "),
        ("owner: Operations", "owner: &o Operations", "policy.yaml:3: anchors, aliases and tags are not allowed"),
        (
            "owner: Operations",
            "owner: !!python/name:os.system",
            "policy.yaml:3: anchors, aliases and tags are not allowed",
        ),
        ("owner: Operations", "owner: [Operations", "policy.yaml:4: not valid YAML"),
        ("    budget: {run: 5}", "    agents: [stranger]", "policy.yaml:24: rule 'mail': unknown agent 'stranger'"),
        (
            "    budget: {run: 5}",
            '    when: {hours: "8-18"}',
            "policy.yaml:24: rule 'mail': when.hours: must be a time span",
        ),
        ("    budget: {run: 5}", "    sums: {to: {run: 5}}", "rule 'mail': the sum of 'to' needs a bound"),
        ("to: {recipients:", "to: {recipients_outside:", "rule 'mail': 'recipients_outside' cannot allow"),
    ],
)
def test_invalid_policy_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SOUND
    line = refused(tmp_path, SOUND.replace(old, new, 1))
    assert said in line
    assert line.startswith("policy.yaml:")


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "- a\n", "policy\n", "rules: []\n", "\x00", "policy: a\nrules: []\n", "a: " + "[" * 5000],
)
def test_empty_policies_are_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(tmp_path)


STRICT = "  - name: strict\n    {}\n    why: So.\n    instead: Wait.\n"


@pytest.mark.parametrize(
    "body",
    [
        "deny: [files/read]",
        "deny: [files/*]",
        "deny: ['*']",
        "hold: [files/read]\n    where: any",
        "deny: [files/read]\n    where: {path: {under: [/srv]}}",
        "deny: [files/read]\n    where: {path: {under: [/]}}",
        "deny: [files/read]\n    agents: [assistant]",
    ],
)
def test_contradictory_rules_are_refused(tmp_path: Path, body: str) -> None:
    line = refused(tmp_path, SOUND + STRICT.format(body))
    assert line.startswith("policy.yaml:15: rule 'strict' always ")
    assert "what rule 'read' allows on files/read" in line


@pytest.mark.parametrize(
    "body",
    [
        "deny: [files/read]\n    where: {path: {under: [/srv/secret]}}",
        "deny: [files/read]\n    after: [customer]",
        'deny: [files/read]\n    when: {hours: "22:00-06:00"}',
        "hold: [files/read]\n    where: {path: {outside: [/srv/public]}}",
    ],
)
def test_exceptions_are_not_contradictions(tmp_path: Path, body: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SOUND + STRICT.format(body))
    assert len(load_policy(path).source.rules) == 4


@pytest.mark.parametrize(
    ("mine", "theirs", "contradicts"),
    [
        ("{at_most: 10}", "{at_most: 10}", True),
        ("{above: 5, at_most: 10}", "{at_least: 5}", True),
        ("{at_least: 5, at_most: 10}", "{above: 5}", False),
        ("{at_most: 10}", "{above: 5}", False),
        ("{one_of: [a]}", "{one_of: [a, b]}", True),
        ("{one_of: [a, b]}", "{one_of: [a]}", False),
        ("{one_of: [1]}", "{one_of: [true]}", False),
        ("{hosts: [a.b.example]}", "{hosts: ['*.b.example']}", True),
        ("{recipients: [ann@x.example]}", "{recipients: ['@x.example']}", True),
        ("{recipients: ['@x.example']}", "{recipients: [ann@x.example]}", False),
    ],
)
def test_containment_of_constraints(tmp_path: Path, mine: str, theirs: str, contradicts: bool) -> None:
    rules = f"""\
policy: two
revision: 1
owner: Operations
agents: [assistant]
rules:
  - {{name: mine, allow: [s/t], where: {{x: {mine}}}, why: Work.}}
  - {{name: theirs, deny: [s/t], where: {{x: {theirs}}}, why: So., instead: Wait.}}
"""
    path = tmp_path / "policy.yaml"
    path.write_text(rules)
    if contradicts:
        with pytest.raises(ConfigError, match="always denies"):
            load_policy(path)
    else:
        assert load_policy(path).tools == ("s/t",)


def test_tools_are_checked_against_the_servers_listing(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SOUND)
    policy = load_policy(path)
    offered = {"files/read": ["path"], "mail/send": ["to", "body", "cc"]}
    assert check_tools(policy, offered) == []
    [fault] = check_tools(policy, {"files/read": ["file"], "mail/send": ["to", "body"]})[1:]
    assert "has no argument 'path'" in fault.what
    [first, _] = check_tools(policy, {"files/read": ["path"]})
    assert first.what == f"{path}:20: rule 'mail': unknown tool 'mail/send'"


def test_rule_that_fits_no_argument_says_which_of_its_tools_lack_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    where = "where: {path: {under: [/srv]}}"
    head = "policy: p\nrevision: 1\nowner: o\nagents: [a]\nrules:\n"
    path.write_text(f"{head}  - name: work\n    allow: [s/read, s/copy, s/move]\n    {where}\n    why: w\n")
    offered = {"s/read": ["path"], "s/copy": ["source", "to"], "s/move": ["source", "to"]}
    with pytest.raises(ConfigError) as caught:
        load_policy(path, offered)
    assert str(caught.value).startswith(
        f"{path}:8: rule 'work': 's/copy', 's/move' have no argument 'path'; 's/read' has it"
    )
    with pytest.raises(ConfigError, match="rule 'work': 's/read', 's/copy', 's/move' have no argument 'path'"):
        load_policy(path, {tool: ["file"] for tool in offered})
