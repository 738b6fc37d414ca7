"""One person is one person: ids have one form, and nobody enrols under a name that looks like another one."""

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from holdfast.cli.guard_approve import command
from holdfast.core.errors import ConfigError, RefusedError
from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns, Reviewer, Routing
from holdfast.guard.gate import Gate
from holdfast.guard.ids import is_id, likeness
from holdfast.guard.keys import SigningKey
from holdfast.guard.names import Names, agent_name, person_names, role_name
from holdfast.guard.policy.load import load_policy
from holdfast.guard.reviewers import Credential, Persons, key_credential, prove_reviewer

ACT = Act("run-1", "clerk", "mail", "send", {"to": "ann@firm.example"}, "d1")
HOLD = Decision("hold", ("outside",), "to an outsider", "A person must approve this.", "p1", persons=2)
POLICY = "policy: p\nrevision: 1\nowner: o\nagents: [AGENT]\nrules:\n- {name: r, allow: [s/t], where: any, why: w}\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog(tmp_path / "guard.db", SigningKey.create(tmp_path / "guard.key")) as made:
        yield made


class People:
    """Enrols persons with new keys."""

    def __init__(self, store: AuditLog, folder: Path) -> None:
        self.persons, self.folder = Persons(store), folder
        self.keys: dict[str, SigningKey] = {}

    def enrol(self, person: str, *, name: str = "", role: str = "reviewer") -> SigningKey:
        key = SigningKey.create(self.folder / f"key-{len(self.keys)}")
        self.keys[f"key {len(self.keys)}"] = key
        self.persons.enrol(key_credential(person, role, key.public, name))
        return key


@pytest.fixture
def people(store: AuditLog, tmp_path: Path) -> People:
    return People(store, tmp_path)


# ------------------------------------------------------------------------------------------- 10,000 pairs of names

BASES = ("ann", "ben-ode", "c.reyes", "marlowe", "il.vito", "cornelia", "wolf_gang", "x1", "o0", "kim@firm.example")
ALIKE = {
    "a": "аɑ", "c": "сϲ", "e": "еє", "i": "і1l|ı", "l": "1Iі|", "m": ("rn", "м"), "n": "п", "o": "0оο", "p": "р",
    "r": "г", "s": "ѕ", "v": "ѵ", "w": ("vv", "ѡ"), "x": "х", "y": "у", "d": ("cl", "ԁ"), "0": "oо", "1": "lі",
}  # fmt: skip
JOINTS = (
    " ",
    "  ",
    "-",
    ".",
    "_",
    "--",
    "\u00a0",
    "\u2009",
    "\u200b",
    "\u00ad",
    "\u2060",
    "·",
    "'",
    "\u3164",
    "@",
    "\u2011",
)


def _homoglyph(text: str, draw: random.Random) -> str:
    places = [at for at, char in enumerate(text) if char in ALIKE]
    if not places:
        return text.upper()
    at = draw.choice(places)
    return text[:at] + draw.choice(ALIKE[text[at]]) + text[at + 1 :]


def _joined(text: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(text))
    return text[:at] + draw.choice(JOINTS) + text[at:]


def _split(text: str, draw: random.Random) -> str:
    kept = [char for char in text if char not in "._@-" or draw.random() < 0.5]
    return "".join(kept)


def _dressed(text: str, draw: random.Random) -> str:
    forms: list[Callable[[str], str]] = [
        str.upper, str.title, lambda t: f" {t}", lambda t: f"{t} ", lambda t: f"{t}.",
        lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
        lambda t: t[0] + "\u0301" + t[1:], lambda t: f"\u202e{t}\u202c", lambda t: f"{t}\ufe0f", lambda t: f"“{t}”",
    ]  # fmt: skip
    return draw.choice(forms)(text)


def test_ten_thousand_pairs_that_look_alike_are_one_name() -> None:
    draw = random.Random(8265)
    seen = set()
    while len(seen) < 10_000:
        base = draw.choice(BASES) + draw.choice(("", "", "-k", "7", ".z", "ron"))
        other = base
        for _ in range(draw.randrange(1, 4)):
            other = draw.choice((_homoglyph, _joined, _split, _dressed))(other, draw)
        if other == base:
            continue
        seen.add((base, other))
        assert likeness(other) == likeness(base), (base, other)
        # An id has one spelling: whatever looks like it is no id, or differs in a sign or in letters that look alike.
        assert not is_id(other) or other.isascii()


@pytest.mark.parametrize(("digits", "name"), [("6en", "ben"), ("p3tra", "petra"), ("8ob", "bob"), ("cl4ra", "clara")])
def test_digits_inside_a_word_look_like_letters_and_numbers_at_its_end_do_not(digits: str, name: str) -> None:
    assert likeness(digits) == likeness(name)
    assert len({likeness(f"{name}{end}") for end in ("", "3", "-4", "5", "6", "7", "8")}) == 7


def test_ten_thousand_pairs_of_different_names_stay_apart() -> None:
    draw = random.Random(17)
    letters = "abefghjkpqstuxyz29"
    for _ in range(10_000):
        one = "".join(draw.choices(letters, k=draw.randrange(3, 9))) + draw.choice(("", "3", "4", "58", "76"))
        other = list(one)
        other[draw.randrange(len(one))] = draw.choice(letters)
        if "".join(other) != one:
            assert likeness(one) != likeness("".join(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ann",
        "ann ",
        " ann",
        "ann lee",
        "ann--lee",
        "ann.",
        "-ann",
        "аnn",
        "ａｎｎ",
        "ann\n",
        "a" * 65,
        "ann/lee",
        "a..b",
    ],
)
def test_other_spellings_are_no_ids(text: str, people: People, tmp_path: Path) -> None:
    assert not is_id(text)
    with pytest.raises(RefusedError, match="is not an id"):
        people.enrol(text)
    with pytest.raises(ValidationError):
        Routing.model_validate({"operators": {"clerk": text}})
    with pytest.raises(ValidationError):
        Routing.model_validate({"operators": {text: "ann"}})
    with pytest.raises(ValidationError):
        Reviewer(id=text, role="reviewer")


@pytest.mark.parametrize("text", ["ann", "ann-lee", "ann.lee", "ann_lee", "a", "clerk-2", "ann@firm.example", "a" * 64])
def test_ids(text: str, people: People) -> None:
    people.enrol(text)
    assert [c.person for c in people.persons.credentials()] == [text]


# ------------------------------------------------------------------------------------------------------ enrolment

TAKEN = {
    "another person without the separator": ("annito", "", "reviewer"),
    "another person with another separator": ("ann.ito", "", "reviewer"),
    "a name for display": ("ben", "Ann Ito", "reviewer"),
    "an agent": ("clerk", "", "reviewer"),
    "an agent that existed": ("old.clerk", "", "reviewer"),
    "an agent in routing": ("buyer", "", "reviewer"),
    "an operator": ("o-lga", "", "reviewer"),
    "a role": ("safety-reviewer", "", "reviewer"),
    "a role of an enrolled person": ("auditor", "", "reviewer"),
    "a name like an agent": ("cy", "The Clerk", "reviewer"),
    "a name like a role": ("cy", "Safety  Reviewer", "reviewer"),
    "a role like a person": ("cy", "", "Ann Ito"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_confusable_names_are_refused_in_library_and_command_line(case: str, store: AuditLog, people: People) -> None:
    Names(store).note([agent_name("old-clerk"), agent_name("the-clerk"), agent_name("clerk")])
    people.enrol("ann-ito", name="Ann Ito", role="auditor")
    routing = Routing(reviewers=(Reviewer(id="odo", role="safety reviewer"),), operators={"buyer": "olga"})
    Concerns(store, routing)
    Approvals(store, routing.operators)
    person, name, role = TAKEN[case]
    with pytest.raises(RefusedError, match="looks like that of"):
        people.enrol(person, name=name, role=role)
    with pytest.raises(RefusedError, match="looks like that of"):
        people.persons.check_names(person, name, role)
    assert {c.person for c in people.persons.credentials()} == {"ann-ito"}


def test_command_line_refuses_names_of_the_routing_and_writes_no_key(tmp_path: Path) -> None:
    state, key = tmp_path / "guard", tmp_path / "o.key"
    state.mkdir(mode=0o700)
    (state / "routing.toml").write_text('[operators]\nclerk = "olga"\n[[reviewers]]\nid = "ann"\nrole = "keeper"\n')
    typed = "correct horse battery\n" * 2
    for person in ("o-lga", "keeper", "clerk", "a-nn", "Ann"):
        arguments = ["--state", str(state), "enrol", person, "--role", "safety reviewer", "--own-key", str(key)]
        assert isinstance(CliRunner().invoke(command, arguments, input=typed).exception, RefusedError)
        assert not key.exists()
    arguments = ["--state", str(state), "enrol", "ann", "--role", "keeper", "--own-key", str(key)]
    assert "ann is enrolled" in CliRunner().invoke(command, arguments, input=typed).output


def test_names_of_the_past_stay_taken(store: AuditLog, people: People) -> None:
    people.enrol("ann-ito", role="auditor")
    with store.transaction() as db:
        db.execute("DELETE FROM credentials")
        db.execute("DELETE FROM names")
    with pytest.raises(RefusedError, match="looks like that of the person 'ann-ito'"):
        people.enrol("ann.ito")
    with pytest.raises(RefusedError, match="looks like that of the role 'auditor'"):
        people.enrol("auditor")


def test_a_second_key_of_the_same_person_is_enrolled(people: People) -> None:
    people.enrol("ann", name="Ann Ito")
    people.enrol("ann", name="Ann Ito")
    with pytest.raises(RefusedError, match="enrolled with the name 'Ann Ito'"):
        people.enrol("ann", name="Cy Reyes")


def test_a_name_put_into_the_file_by_hand_is_ignored(store: AuditLog, people: People) -> None:
    Names(store)
    with store.transaction() as db:
        db.execute("INSERT INTO names VALUES ('agent', 'ann', 'ann', x'00')")
    people.enrol("ann")


def test_agents_of_a_policy_may_not_look_like_anybody(store: AuditLog, people: People, tmp_path: Path) -> None:
    people.enrol("ann", role="safety reviewer")
    path = tmp_path / "policy.yaml"
    for agent, problem in (("a-nn", "the person 'ann'"), ("safety.reviewer", "the role 'safety reviewer'")):
        path.write_text(POLICY.replace("AGENT", agent))
        with pytest.raises(RefusedError, match=f"looks like that of {problem}"):
            Gate(load_policy(path), store)
    path.write_text(POLICY.replace("AGENT", "clerk"))
    Gate(load_policy(path), store)
    path.write_text(POLICY.replace("AGENT", "c1erk"))
    with pytest.raises(RefusedError, match="looks like that of the agent 'clerk'"):
        Gate(load_policy(path), store)
    path.write_text(POLICY.replace("AGENT", "buyer-1, buyer.1"))
    with pytest.raises(ConfigError, match=r"policy\.yaml:4: the agents 'buyer-1' and 'buyer\.1' look alike"):
        load_policy(path)


# -------------------------------------------------------------------------------------- who asks does not approve


def _forged(store: AuditLog, credential: Credential) -> None:
    """Enrol a credential without the checks, as an earlier version could."""
    body = credential.model_dump_json()
    row = (credential.id, credential.person, body, store.sign("credential", body.encode()))
    with store.transaction() as db:
        db.execute("INSERT INTO credentials VALUES (?, ?, ?, ?)", row)


def test_one_authenticator_is_one_person(store: AuditLog, people: People) -> None:
    key = people.enrol("ann")
    twin = key_credential("cy", "reviewer", key.public)
    with pytest.raises(RefusedError, match="enrolled already, for ann"):
        people.persons.enrol(twin.model_copy(update={"id": "00"}))
    _forged(store, twin.model_copy(update={"id": "00"}))
    approvals = Approvals(store)
    ticket = approvals.ask(ACT, HOLD)
    approvals.answer(ticket.id, "ann", True, prove_reviewer(key, ticket.statement("ann", True)))
    as_cy = prove_reviewer(key, ticket.statement("cy", True)).model_copy(update={"credential": "00"})
    with pytest.raises(RefusedError, match="has answered already"):
        approvals.answer(ticket.id, "cy", True, as_cy)
    assert approvals.ticket(ticket.id).state == "pending"


def test_operator_does_not_approve_under_another_name_or_with_the_same_key(store: AuditLog, people: People) -> None:
    key = people.enrol("ben")
    approvals = Approvals(store, {"clerk": "ben"})
    ticket = approvals.ask(ACT, dataclasses.replace(HOLD, persons=1))
    for person in ("b-en", "ben.", "Ben", "ben ", "clerk", "c-lerk"):
        _forged(store, key_credential(person, "reviewer", key.public).model_copy(update={"id": f"id of {person}"}))
        proof = prove_reviewer(key, ticket.statement(person, True)).model_copy(update={"credential": f"id of {person}"})
        with pytest.raises(RefusedError, match="may not answer"):
            approvals.answer(ticket.id, person, True, proof)
    _forged(store, key_credential("zoe", "reviewer", key.public).model_copy(update={"id": "id of zoe"}))
    as_zoe = prove_reviewer(key, ticket.statement("zoe", True)).model_copy(update={"credential": "id of zoe"})
    with pytest.raises(RefusedError, match="this authenticator belongs to"):
        approvals.answer(ticket.id, "zoe", True, as_zoe)
    assert approvals.ticket(ticket.id).state == "pending"


def test_persons_enrolled_by_an_earlier_version_count_as_one(store: AuditLog, people: People, tmp_path: Path) -> None:
    older = SigningKey.create(tmp_path / "older")
    _forged(store, key_credential("Ann Ito", "reviewer", older.public))
    store.append("enrolled", {"credential": {"person": "Ann Ito", "role": "reviewer"}}, durable=True)
    newer = people.enrol("ann-ito")
    approvals = Approvals(store)
    ticket = approvals.ask(ACT, HOLD)
    approvals.answer(ticket.id, "Ann Ito", True, prove_reviewer(older, ticket.statement("Ann Ito", True)))
    with pytest.raises(RefusedError, match="has answered already"):
        approvals.answer(ticket.id, "ann-ito", True, prove_reviewer(newer, ticket.statement("ann-ito", True)))


def test_names_of_each_kind(store: AuditLog) -> None:
    names = Names(store)
    names.note([*person_names("ann", "Ann Ito"), agent_name("clerk"), role_name("keeper")])
    assert list(map(str, names.known())) == [
        "the person 'ann'", "the person 'ann' ('Ann Ito')", "the agent 'clerk'", "the role 'keeper'"
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="empty, too long or not printable"):
        names.note([role_name("kee\u200bper")])
    with pytest.raises(RefusedError, match="empty, too long or not printable"):
        names.note(person_names("cy", "Cy\nApproved by Ann"))
