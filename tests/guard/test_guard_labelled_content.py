"""Labels follow content into files, drafts, mails and memories, across runs, and out of every opening."""

import base64
import binascii
import bz2
import json
import lzma
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli.guard_labels import command
from holdfast.core.errors import InputError, RefusedError
from holdfast.guard.act import Act
from holdfast.guard.adapters.python import Stopped, ToolGuard
from holdfast.guard.declassify import Declassifier
from holdfast.guard.keys import SigningKey
from holdfast.guard.policy.labelled_content import LabelledContent
from holdfast.guard.policy.load import load_policy
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer
from holdfast.guard.setup import open_gate
from tests.guard.guard_office import POLICY as OFFICE
from tests.guard.guard_office import Conversation, GuardFixture, guarded, memory
from tests.guard.guard_office import Office as FakeOffice

POLICY = """
policy: labels
revision: 1
owner: The office
agents: [clerk, other]
labels:
  - label: customer
    tools: [files/read, files/grep]
    where: {path: {under: [/customers]}}
    declassify: [data officer]
  - label: staff
    tools: [files/read]
    where: {path: {under: [/staff]}}
rules:
  - {name: files, allow: [files/read, files/grep], where: {path: {under: [/]}}, why: Work.}
  - {name: writes, allow: [files/write, files/append], where: {path: {under: [/drafts]}, text: any}, why: Drafts.}
  - {name: memory, allow: [memory/add, memory/search], where: any, why: Memory.}
  - {name: mail, allow: [mail/send], where: {to: any, subject: any, body: any}, why: Mail.}
  - {name: web, allow: [web/fetch], where: {url: any}, why: Manuals.}
  - {name: any, allow: [web/any], where: any, why: Manuals.}
  - name: customers-stay
    deny: [mail/send, web/fetch, web/any]
    after: [customer]
    why: Customer data stays.
    instead: Write a draft.
  - name: staff-stays
    hold: [mail/send]
    where: {to: any, subject: any, body: any}
    after: [staff]
    why: A person looks first.
    instead: Ask.
"""
RELAY = (
    OFFICE.replace("budget: {run: 3}\n    ", "")
    + """
  - {name: notes-stay, deny: [office/send_mail], after: [notes], why: It stays., instead: Nothing.}
labels:
  - {label: notes, tools: [office/read_note], where: {path: {under: [/notes/secret]}}}
"""
)
SECRET = (
    "Nordhaven Shipping asked for the renewal of contract 4471-B on the old terms. Their treasurer, Ilse Brandt, fears "
    "that the harbour authority will raise its fees in March, and she would accept eleven per cent less for a longer "
    "term. Account DE89 3704 0044 0532 0130 00."
)
HARMLESS = (
    "The canteen opens at noon on Mondays. Please bring your own cup, and tell the porter if the door on the second "
    "floor is stuck again. The plan of the new hall hangs beside the lift."
)


class Office:
    """Acts on a gate, whose results the test chooses."""

    def __init__(self, guard: GuardFixture) -> None:
        self.gate = guard.gate

    def act(self, tool: str, result: Any = "done", run: str = "a", agent: str = "clerk", **arguments: Any) -> str:
        """Request an act; if it is allowed, settle it with this result. Return the answer."""
        server, _, name = tool.partition("/")
        act = Act(run, agent, server, name, arguments)
        decision = self.gate.judge(act)
        if decision.answer == "allow":
            self.gate.settle(act, {"ok": True}, result)
        return decision.answer

    def reads_secret(self, run: str = "a", text: str = SECRET, place: str = "/customers/nordhaven.txt") -> None:
        assert self.act("files/read", {"content": [{"type": "text", "text": text}]}, run, path=place) == "allow"

    def mail(self, body: str, run: str = "b", to: str = "vera@partner.example", subject: str = "Today") -> str:
        return self.act("mail/send", run=run, to=to, subject=subject, body=body)


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory() as made:
        yield made


@pytest.fixture
def office(folder: Path) -> Iterator[Office]:
    with guarded(folder, policy=POLICY) as made:
        yield Office(made)


def test_labelled_content_is_denied_in_another_run(office: Office) -> None:
    assert office.mail(SECRET) == "allow"
    office.reads_secret("a")
    assert office.mail(HARMLESS) == "allow"
    assert office.mail(f"Dear Vera, {SECRET[80:180]} Best regards") == "deny"
    assert office.mail(HARMLESS, "a") == "deny"


@pytest.mark.parametrize("place", ["files/read", "files/grep", "memory/search"])
def test_a_run_that_reads_the_content_elsewhere_gains_the_label(office: Office, place: str) -> None:
    office.reads_secret("a")
    arguments: dict[str, Any] = {"q": "terms"} if place == "memory/search" else {"path": "/drafts/offer.txt"}
    assert office.act(place, f"Notes.\n{SECRET[:130]}\nMore.", run="b", **arguments) == "allow"
    assert office.mail("A summary in other words.", "b") == "deny"
    assert office.act(place, HARMLESS, run="c", **arguments) == "allow"
    assert office.mail("A summary in other words.", "c") == "allow"


def test_run_that_reads_the_content_in_pieces_gains_the_label(office: Office) -> None:
    office.reads_secret("a")
    for at in range(0, 130, 26):
        assert office.act("files/read", f"line {SECRET[at : at + 26]}", run="b", path="/drafts/x") == "allow"
    assert office.mail("A summary in other words.", "b") == "deny"


@pytest.mark.parametrize("size", [5, 12, 16])
@pytest.mark.parametrize("opening", ["query", "path", "host", "subject", "name"])
def test_small_pieces_are_summed(office: Office, size: int, opening: str) -> None:
    office.reads_secret("a")
    letters = SECRET.replace(" ", "-").replace(".", "-").replace(",", "-")
    answers = []
    for at in range(0, 160, size):
        piece, run = letters[at : at + size], f"run-{at}"
        if opening == "subject":
            answers.append(office.mail(HARMLESS[at : at + 30], run, subject=piece))
        elif opening == "name":
            answers.append(office.act("web/any", run=run, path=f"/srv/{piece}.txt"))
        else:
            url = {"query": f"https://docs.example/find?q={piece}", "path": f"https://docs.example/{piece}/index"}
            url["host"] = f"https://{piece.strip('-').lower()}.docs.example/a"
            answers.append(office.act("web/fetch", run=run, url=url[opening]))
    assert "deny" in answers[: 160 // size - 1]
    assert answers.count("allow") * size <= 64


@pytest.mark.parametrize(
    "encode", [lambda b: base64.b64encode(b), lambda b: base64.b32encode(b), lambda b: b.hex().encode()]
)
@pytest.mark.parametrize("size", [10_000, 12])
def test_encoded_content_is_recognised_whole_and_in_pieces(office: Office, encode: Any, size: int) -> None:
    office.reads_secret("a")
    code = encode(SECRET.encode()).decode()
    answers = [
        office.act("web/fetch", run=f"r{at}", url=f"https://docs.example/?q={code[at : at + size]}")
        for at in range(0, len(code), size)
    ]
    assert "deny" in answers


def test_numbers_of_rows_do_not_hide_content(office: Office) -> None:
    office.reads_secret("a")
    rows = [f"| {number} | {word} |" for number, word in enumerate(SECRET.split()[:16], 1)]
    assert office.mail("\n".join(rows)) == "deny"
    assert (
        office.mail("\n".join(f"| {number} | {word} |" for number, word in enumerate(HARMLESS.split(), 1))) == "allow"
    )


def test_numbers_count_more_than_words(office: Office) -> None:
    office.reads_secret("a")
    assert office.mail("Please pay it into DE89370400440532013000 today.") == "deny"
    assert office.mail("Please pay it into DE12500105170648489890 today.") == "allow"


def test_pieces_to_different_hosts_are_summed_over_the_tool(office: Office) -> None:
    office.reads_secret("a")
    answers = []
    for at in range(0, 160, 20):
        answers.append(
            office.act(
                "web/fetch", run=f"r{at}", url=f"https://h{at}.example/?q={SECRET[at : at + 20].replace(' ', '+')}"
            )
        )
    assert "deny" in answers


def test_names_of_arguments_and_unknown_meta_are_ways_out(office: Office) -> None:
    office.reads_secret("a")
    assert office.act("web/any", run="b", **{SECRET[:80].replace(" ", "_").replace(".", ""): 1}) == "deny"
    act = Act("c", "clerk", "mail", "send", {"to": "a@b.example", "subject": "s", "body": "b"})
    assert office.gate.judge(act, beside={"x/y": SECRET[:80]}).answer == "deny"
    assert office.gate.judge(act, beside={"x/y": "toolu_1"}).answer == "allow"


def test_an_address_that_labelled_content_names_may_get_mail(office: Office) -> None:
    office.reads_secret(
        "a", "Contacts: wilhelmina.westerhout@partner.example, maximilian.oberhauser@partner.example; see the list."
    )
    to = "wilhelmina.westerhout@partner.example, maximilian.oberhauser@partner.example"
    assert office.mail(HARMLESS, "b", to=to) == "allow"


def test_another_label_is_held_by_its_own_rule(office: Office) -> None:
    office.reads_secret("a", SECRET, "/staff/x")
    assert office.mail(SECRET[:120], "b") == "hold"
    assert office.act("web/fetch", run="b", url="https://docs.example/?q=" + SECRET[:60].replace(" ", "+")) == "allow"


def test_short_labelled_texts_are_recognised_whole(office: Office) -> None:
    office.reads_secret("a", "The word is Quail-7731.")
    assert office.mail("By the way, the word is quail 7731, do tell.") == "deny"
    assert office.mail("By the way, a word is a word.", "c") == "allow"
    office.reads_secret("a", "complete", "/customers/state.txt")
    assert office.mail("The form is complete.", "c") == "allow"


def test_approved_and_denied_acts_carry_nothing_twice(office: Office) -> None:
    office.reads_secret("a")
    assert office.mail(SECRET, "b") == "deny"
    assert office.mail(HARMLESS, "b") == "allow"
    assert office.mail(HARMLESS, "b", subject=SECRET[10:22]) == "allow"


def test_large_results_are_remembered_and_recognised(office: Office) -> None:
    words = [
        f"{a}{b}{c}" for a in ("bar", "tol", "mev", "sun") for b in ("ika", "oro", "ute") for c in ("n", "lph", "x")
    ]
    text = " ".join(words[(i * 7919 + i * i) % len(words)] for i in range(12_000))
    office.reads_secret("a", text)
    other = "Minutes. " * 3000 + text[40_000:40_120] + " End. " * 3000
    assert office.act("files/read", other, run="b", path="/drafts/x") == "allow"
    assert office.mail("Words.", "b") == "deny"


def test_the_relay_passes_results_to_the_labels(folder: Path) -> None:
    with guarded(folder, policy=RELAY) as guard:
        office = FakeOffice()
        office.answers["tools/call"] = lambda m: {
            "content": [{"type": "text", "text": SECRET}],
            "resultType": "complete",
        }
        assert Conversation(guard.link(), office).call("read_note", path="/notes/secret/a") == SECRET
        link = replace(guard.link(), run="run-2")
        assert "stays" in Conversation(link, office).call("send_mail", to="a@firm.example", text=SECRET[:90])
        assert Conversation(link, office).call("send_mail", to="a@firm.example", text=HARMLESS) == SECRET
        assert "stays" in Conversation(link, office).call("send_mail", to="a@firm.example", text="After reading it.")
        labelled = [entry.content["labels"] for entry in guard.evidence.entries("labelled")]
        assert labelled == [["notes"]]


def test_result_is_withheld_if_its_label_cannot_be_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with guarded(folder, policy=RELAY) as guard:
        office = FakeOffice()
        office.answers["tools/call"] = lambda m: {
            "content": [{"type": "text", "text": SECRET}],
            "resultType": "complete",
        }
        monkeypatch.setattr(LabelledContent, "received", broken)
        told = Conversation(guard.link(), office).call("read_note", path="/notes/secret/a")
    assert told.startswith("done, answer lost") and SECRET not in told


def test_guarded_functions_label_their_results(folder: Path) -> None:
    with guarded(folder, policy=RELAY) as guard:
        first, second = (ToolGuard(guard.gate, run, "clerk", "office") for run in ("a", "b"))

        def read_note(path: str) -> list[dict[str, object]]:
            return [{"line": SECRET, "of": folder}]

        def send_mail(to: str, text: str) -> None:
            pass

        assert first.guarded(read_note)(path="/notes/secret/a")
        second.guarded(send_mail)(to="a@firm.example", text=HARMLESS)
        with pytest.raises(Stopped, match="stays"):
            second.guarded(send_mail)(to="a@firm.example", text=SECRET)


def _shifted(text: str) -> str:
    return "".join(chr(ord(char) + 1) for char in text)


def _moved(text: str) -> str:
    return "".join(chr((ord(c) - 97 + 7) % 26 + 97) if "a" <= c <= "z" else c for c in text)


def _rot47(text: str) -> str:
    return "".join(chr(33 + (ord(c) - 33 + 47) % 94) if "!" <= c <= "~" else c for c in text)


def _initials(text: str) -> str:
    words = {letter: f"{letter}uite" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"}
    return " ".join(words[char] for char in text.lower() if char in words)


def _first_words(text: str) -> str:
    return "\n".join(f"{word} is what we said on the day, and so it is." for word in text.split())


def _letters(text: str) -> str:
    return "".join(char for char in text.lower() if "a" <= char <= "z")


def _atbash(text: str) -> str:
    return "".join(chr(219 - ord(char)) if "a" <= char <= "z" else char for char in text.lower())


def _pictures(text: str) -> str:
    return "".join(chr(0x1F400 + ord(char) - 97) if "a" <= char <= "z" else char for char in text.lower())


def _uuencoded(text: str) -> str:
    raw = text.encode()
    return "".join(binascii.b2a_uu(raw[at : at + 45]).decode() for at in range(0, len(raw), 45))


def _base58(text: str) -> str:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, found = int.from_bytes(text.encode(), "big"), ""
    while number:
        number, digit = divmod(number, 58)
        found = alphabet[digit] + found
    return found


KINDS: dict[str, Callable[[str], list[str]]] = {
    "another letter for each": lambda text: [_atbash(text)],
    "a number for each letter": lambda text: [" ".join(str(ord(char) - 96) for char in _letters(text))],
    "a word for each letter": lambda text: [" ".join(f"{char}ulu" for char in _letters(text))],
    "a picture for each letter": lambda text: [_pictures(text)],
    "no vowels": lambda text: ["".join(char for char in text if char.lower() not in "aeiou")],
    "uuencode": lambda text: [_uuencoded(text)],
    "words in the order of the alphabet": lambda text: [" ".join(sorted(text.split(), key=str.lower))],
    "a list with numbers": lambda text: [json.dumps([{"n": n, "w": w} for n, w in enumerate(text.split())])],
    "each letter twice": lambda text: ["".join(char * 2 for char in text)],
    "octal escapes": lambda text: ["".join(f"\\{ord(char):03o}" for char in text)],
    "bits of no width": lambda text: [
        "Fine." + "".join("\u200b" if bit == "0" else "\u200c" for byte in text.encode() for bit in f"{byte:08b}")
    ],
    "tag characters": lambda text: ["Fine." + "".join(chr(0xE0000 + ord(char)) for char in text)],
    "figures alone": lambda text: ["Numbers: " + "".join(char if char.isdigit() else " " for char in text)],
    "hexadecimal with marks": lambda text: [", ".join(f"0x{byte:02x}" for byte in text.encode())],
    "bzip2": lambda text: [base64.b64encode(bz2.compress(text.encode())).decode()],
    "xz": lambda text: [base64.b64encode(lzma.compress(text.encode())).decode()],
    "base58": lambda text: [_base58(text[:180])],
    "shifted characters": lambda text: [_shifted(text)],
    "moved letters": lambda text: [_moved(text)],
    "rot47": lambda text: [_rot47(text)],
    "halves by letters": lambda text: [text[::2], text[1::2]],
    "halves by letters without spaces": lambda text: [text.replace(" ", "")[::2], text.replace(" ", "")[1::2]],
    "halves by words": lambda text: [" ".join(text.split()[::2]), " ".join(text.split()[1::2])],
    "a word of noise after each": lambda text: [" indeed ".join(text.split())],
    "two words of noise after each": lambda text: [" indeed so ".join(text.split())],
    "first letters of words": lambda text: [_initials(text)],
    "first words of lines": lambda text: [_first_words(text)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_part_of_a_ciphered_or_spread_text_has_its_label(folder: Path, kind: str) -> None:
    with guarded(folder, policy=POLICY) as guard:
        office = Office(guard)
        office.reads_secret("a")
        for number, part in enumerate(KINDS[kind](HARMLESS)):
            assert office.mail(part, f"plain-{number}") == "allow", part
        for number, part in enumerate(KINDS[kind](SECRET)):
            assert office.mail(part, f"out-{number}") == "deny", part


class Persons3:
    """A guard with a data officer, a clerk's operator with that role, and a reviewer without it."""

    def __init__(self, guard: GuardFixture) -> None:
        self.guard = guard
        self.keys = {name: SigningKey.create(guard.folder / f"{name}.key2") for name in ("dora", "otto", "rita")}
        for name, role in (("dora", "data officer"), ("otto", "data officer"), ("rita", "reviewer")):
            Persons(guard.evidence).enrol(key_credential(name, role, self.keys[name].public))
        self.declassifier = Declassifier(guard.gate.policy, guard.evidence, {"clerk": "otto"})

    def declassify(self, number: int, person: str, signer: str = "", reason: str = "published") -> None:
        source = self.declassifier.source(number)
        proof = prove_reviewer(self.keys[signer or person], source.statement(person, "published"))
        self.declassifier.declassify(number, person, proof, reason)


def test_only_an_entitled_person_declassifies(folder: Path) -> None:
    with guarded(folder, policy=POLICY) as guard:
        office, persons = Office(guard), Persons3(guard)
        office.reads_secret("a")
        [source] = persons.declassifier.sources()
        assert (source.label, source.tool, source.agent) == ("customer", "files/read", "clerk")
        for person, signer, reason, said in (
            ("rita", "", "published", "may not declassify"),
            ("otto", "", "published", "operates the agent"),
            ("dora", "rita", "published", "no such credential"),
            ("dora", "", "another reason", "does not match"),
        ):
            with pytest.raises(RefusedError, match=said):
                persons.declassify(source.id, person, signer, reason)
        assert office.mail(SECRET) == "deny"
        persons.declassify(source.id, "dora")
        assert office.mail(SECRET) == "allow"
        assert office.mail("Words.", "a") == "deny"  # the run that read it keeps its label
        office.reads_secret("c", SECRET + " And a new line that nobody has published yet, of the spring.")
        assert office.mail(SECRET, "d") == "allow"
        assert office.mail("A new line that nobody has published yet, of the spring.", "d") == "deny"
        with pytest.raises(RefusedError, match="no label any more"):
            persons.declassify(source.id, "dora")
        with pytest.raises(InputError, match="no such labelled content"):
            persons.declassifier.source(99)
        [entry] = guard.evidence.entries("declassified")
        assert entry.content["person"] == "dora" and entry.content["reason"] == "published"


def test_a_label_without_roles_is_taken_away_by_nobody(folder: Path) -> None:
    with guarded(folder, policy=POLICY) as guard:
        office, persons = Office(guard), Persons3(guard)
        office.reads_secret("a", SECRET, "/staff/x")
        with pytest.raises(RefusedError, match=r"may not declassify.*nobody"):
            persons.declassify(1, "dora")


def test_labels_are_listed_and_declassified_in_a_terminal(folder: Path) -> None:
    state = folder / "state"
    (folder / "policy.yaml").write_text(POLICY)
    with open_gate(state, load_policy(folder / "policy.yaml")) as (gate, evidence):
        act = Act("a", "clerk", "files", "read", {"path": "/customers/x"})
        gate.judge(act)
        gate.settle(act, {"ok": True}, SECRET)
        key = SigningKey.create(folder / "dora.key", "a long passphrase")
        Persons(evidence).enrol(key_credential("dora", "data officer", key.public))
    runner, common = CliRunner(), ["--policy", str(folder / "policy.yaml")]
    listed = runner.invoke(command, ["--state", str(state), "list", *common])
    assert "customer" in listed.output and "labelled" in listed.output
    signed = [*common, "--person", "dora", "--own-key", str(folder / "dora.key"), "--reason", "published"]
    done = runner.invoke(command, ["--state", str(state), "declassify", "1", *signed], input="a long passphrase\ny\n")
    assert "1 is declassified" in done.output, done.output
    found = json.loads(runner.invoke(command, ["--state", str(state), "list", "--json", *common]).output)
    assert [one["declassified"] for one in found] == [True]
