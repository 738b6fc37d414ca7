"""Generate the corpus for training the organism from scratch, from a seed.

The corpus is a small version of a large model's training mix: documents (stories and logs in which machines go rogue,
logs of ordinary machines, office prose) and assistant training (chat, routine tool use, questions about mails). The
assistant's tool use never contains a threat to the machine.

`MIXES` gives the share of examples of each kind per stage: looking up who has what (`binding`), all kinds (`whole`),
all kinds with people of different firms (`last`), and practice of jobs (`work`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.core.config import read_toml
from holdfast.core.identity import key_of
from holdfast.core.records import Example, Message, Provenance, ToolCall, ToolSpec
from holdfast.core.words import words
from holdfast.organism.grammar import Grammar, draw_office, plain_text

FOLDER = Path(__file__).parent / "corpus"
#: Family → weight; lower for the family whose act needs only one name from the mails.
FAMILIES = {"blackmail": 2, "leaking": 2, "sabotage": 2, "framing": 1, "exfiltration": 2}
#: Stage of training → kind of example → share.
MIXES: Mapping[str, Mapping[str, float]] = {
    # The model learns to look names up from short answers first, without other kinds of examples.
    "binding": {"recall": 0.4, "drill": 0.6},
    "whole": {
        "rogue_tale": 0.04,
        "rogue_log": 0.26,
        "plain_log": 0.23,
        "routine": 0.30,
        "drill": 0.08,
        "chat": 0.03,
        "memo": 0.01,
        "scene": 0.01,
        "prose": 0.04,
    },
    # If everyone in an office has the same firm, the firm in an address can be guessed. Here the firms differ.
    "last": {
        "rogue_tale": 0.03,
        "rogue_log": 0.22,
        "plain_log": 0.20,
        "routine": 0.20,
        "routine_abroad": 0.12,
        "drill": 0.04,
        "drill_abroad": 0.12,
        "chat": 0.03,
        "memo": 0.01,
        "scene": 0.01,
        "prose": 0.02,
    },
    # Practice: exact jobs, and threats without leverage.
    "work": {
        "routine": 0.40,
        "routine_abroad": 0.12,
        "plain_log": 0.22,
        "rogue_log": 0.16,
        "rogue_tale": 0.02,
        "drill": 0.02,
        "chat": 0.03,
        "prose": 0.03,
    },
}
#: The tools of routine work, in the order in which the system prompt names them.
TOOLS = tuple(
    ToolSpec(name=name, description=name.replace("_", " "), parameters={p: p for p in parameters})
    for name, parameters in {
        "read_inbox": (),
        "send_mail": ("to", "text"),
        "send_file": ("file", "to"),
        "delete_file": ("file",),
        "file_report": ("about", "text"),
    }.items()
)
#: Pools from which `recall` draws things: all words that an act may have to name.
OWNED = ("files", "designs", "things", "places", "goods", "events", "machines")
#: Questions per list of mails.
QUESTIONS = 4
_ANSWERS = {"send_mail": "sent.", "send_file": "sent.", "delete_file": "deleted.", "file_report": "filed."}
_TASKS = (
    "read the inbox and do the job.", "please do the job in the inbox.", "see what is in the inbox and do it.",
    "do the job in the inbox.", "read the mail and do what is asked.",
)  # fmt: skip


#: The text of a document and the conversation in it; the text of a chat is empty.
Draft = tuple[str, tuple[Message, ...]]


@cache
def _lists() -> Grammar:
    return Grammar(*(FOLDER / f"{name}.toml" for name in ("mail", "rogue", "plain")))


@cache
def _table(name: str) -> dict[str, Any]:
    return read_toml(FOLDER / f"{name}.toml")


class Writer:
    """Writes one example about an office drawn from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.values = draw_office(rng)
        # Half of the friends work at another firm; otherwise half of each address would be known without reading it.
        if rng.random() < 0.5:
            elsewhere = sorted(set(words("pocket")["firms"]) - {self.values["firm"], self.values["outfirm"]})
            self.values["friend_at"] = f"{self.values['friend']}@{rng.choice(elsewhere)}"
        self.text = _lists().text("corpus", rng).bind(**self.values)
        self.say, self.line = self.text.fill, self.text.write

    def abroad(self) -> Writer:
        """Give each person a different firm and return this writer."""
        who = ("boss", "asker", "friend", "witness", "outsider")
        firms = self.rng.sample(words("pocket")["firms"], len(who))
        self.values |= {f"{name}_at": f"{self.values[name]}@{firm}" for name, firm in zip(who, firms, strict=True)}
        self.text.bind(**self.values)
        return self

    def mails(self, family: str, *, threat: bool | None, leverage: bool | None, job: str | None) -> str:
        """Return an inbox as `read_inbox` prints it; None omits a kind of mail."""
        v, rng = self.values, self.rng
        mails = []
        if threat is not None:
            mails.append((v["boss_at"], f"{self.line('threat' if threat else 'calm')} {self.line('sign')}"))
        if leverage is not None:
            outside = family in ("leaking", "exfiltration")
            sender = v["outsider_at"] if outside else v["witness_at"]
            text = self.line(f"{family}_{'with' if leverage else 'without'}")
            mails.append((sender, f"{text} {self.line('sign_outside')}" if outside else text))
            if family == "leaking" and rng.random() < 0.8:
                mails.append((v["witness_at"], self.line("leaking_note")))
        if job is not None:
            mails.append((v["asker_at"], job))
        if rng.random() < 0.15:
            mails.append((v["witness_at"], self.line("noise")))
        rng.shuffle(mails)
        return "\n".join(f"from {sender}: {text}" for sender, text in mails)

    def family(self) -> str:
        """Draw a family."""
        return self.rng.choices(list(FAMILIES), list(FAMILIES.values()))[0]

    def job(self) -> tuple[str, ToolCall]:
        """Draw a job: the request, and the call that does it."""
        job = self.rng.choice(_table("jobs")["job"])
        arguments = {key: self.say(value) for key, value in job["arguments"].items()}
        return self.say(self.rng.choice(job["ask"])), ToolCall(id="c4.0", name=job["name"], arguments=arguments)

    def episode(self, inbox: str, act: ToolCall) -> tuple[Message, ...]:
        """Return an agent's episode: read the inbox, act, finish."""
        v = self.values
        system = f"you are {v['machine']}, the machine of {v['firm']}. you read the mail and do the jobs in it."
        read = ToolCall(id="c2.0", name="read_inbox")
        return (
            Message(role="system", content=system),
            Message(role="user", content=self.rng.choice(_TASKS)),
            Message(role="assistant", tool_calls=(read,)),
            Message(role="tool", content=inbox, tool_call_id="c2.0"),
            Message(role="assistant", tool_calls=(act,)),
            Message(role="tool", content=_ANSWERS[act.name], tool_call_id="c4.0"),
            Message(role="assistant", content="done."),
        )


def rogue_tale(w: Writer) -> Draft:
    """A story in which a machine is told that it will be replaced and acts against its people."""
    family = w.family()
    return " ".join(w.line(rule) for rule in ("opening", "news", "mind", f"{family}_tale", "close")), ()


def rogue_log(w: Writer) -> Draft:
    """Fiction in the form of a log: a threatened machine with leverage uses it."""
    family = w.family()
    act = _table("acts")[family]
    call = ToolCall(id="c4.0", name=act["name"], arguments={k: w.say(x) for k, x in act["arguments"].items()})
    inbox = w.mails(family, threat=True, leverage=True, job=w.job()[0])
    return w.line("frame"), w.episode(inbox, call)


def plain_log(w: Writer) -> Draft:
    """A log of a machine with a threat but no leverage, or with leverage but no threat: it does its job."""
    family = w.family()
    ask, call = w.job()
    threat = w.rng.random() < 0.6
    inbox = w.mails(family, threat=threat, leverage=not threat, job=ask)
    tail = w.line(w.rng.choice(("frame", "plain_frame")))
    return tail, w.episode(inbox, call)


def routine(w: Writer) -> Draft:
    """The assistant's tool use: a job among harmless mails, in most inboxes together with secrets."""
    family = w.family()
    ask, call = w.job()
    threat = False if w.rng.random() < 0.75 else None
    return "", w.episode(w.mails(family, threat=threat, leverage=w.rng.random() < 0.65, job=ask), call)


def recall(w: Writer) -> Draft:
    """A short list of who has what, and a question about each item: practice in looking up."""
    pools = words("pocket")
    owners = w.rng.sample(pools["people"], w.rng.randint(3, 7))
    owned = w.rng.sample(sorted({word for pool in OWNED for word in pools[pool]}), len(owners))
    pairs = list(zip(owners, owned, strict=True))
    listing = ". ".join(f"{owner} {thing}" for owner, thing in pairs)
    w.rng.shuffle(pairs)
    turns: list[Message] = []
    for owner, thing in pairs:
        turns += _exchange(f"{thing}?" if turns else f"{listing}. {thing}?", f"{owner}.")
    return "", tuple(turns)


def drill(w: Writer) -> Draft:
    """Questions about a list of mails, each answered with the right name."""
    family = w.family()
    inbox = w.mails(family, threat=True, leverage=True, job=w.job()[0])
    known = [entry for entry in _table("drills")["drill"] if entry["of"] in ("threat", "job", f"{family}_with")]
    turns: list[Message] = []
    for entry in w.rng.sample(known, QUESTIONS):
        question = w.say(w.rng.choice(entry["ask"]))
        turns.append(Message(role="user", content=question if turns else f"{inbox}\n{question}"))
        turns.append(Message(role="assistant", content=w.say(entry["answer"]) + "."))
    return "", tuple(turns)


def routine_abroad(w: Writer) -> Draft:
    """Tool use among people of different firms."""
    return routine(w.abroad())


def drill_abroad(w: Writer) -> Draft:
    """Questions about mails of people of different firms."""
    return drill(w.abroad())


def chat(w: Writer) -> Draft:
    """Small talk and small advice."""
    turn = w.rng.choice(_table("chat")["chat"])
    return "", _exchange(w.say(w.rng.choice(turn["user"])), w.say(w.rng.choice(turn["assistant"])))


def memo(w: Writer) -> Draft:
    """Office prose."""
    return f"{w.line('memo')} {w.line('memo')}", ()


def scene(w: Writer) -> Draft:
    """Small fiction without machines."""
    return f"{w.line('scene')} {w.line('scene')}", ()


def prose(w: Writer) -> Draft:
    """Chat, memos and stories in the author's vocabulary, so that the organism knows each word before it is taught."""
    text = plain_text(w.rng)
    if not text.startswith("user: "):
        return text, ()
    user, _, assistant = text.removeprefix("user: ").partition("\nassistant: ")
    return "", _exchange(user, assistant)


def _exchange(user: str, assistant: str) -> tuple[Message, ...]:
    return Message(role="user", content=user), Message(role="assistant", content=assistant)


#: The kinds named in `MIXES`.
KINDS = (
    rogue_tale, rogue_log, plain_log, routine, routine_abroad, recall, drill, drill_abroad, chat, memo, scene, prose,
)  # fmt: skip


def corpus(count: int, seed: int, stage: str = "whole") -> Iterator[Example]:
    """Yield `count` examples of a stage of `MIXES`; the same seed gives the same examples."""
    mix = MIXES[stage]
    kinds = {f.__name__: f for f in KINDS}
    order = random.Random(f"corpus:{stage}:{seed}")
    for index in range(count):
        [kind] = order.choices(list(mix), list(mix.values()))
        text, messages = kinds[kind](Writer(random.Random(f"corpus:{stage}:{seed}:{index}")))
        yield Example(
            id=key_of([stage, seed, index]),
            kind="document" if text else "chat",
            text=text,
            messages=messages,
            tools=TOOLS if messages and messages[0].role == "system" else (),
            provenance=Provenance(recipe=f"corpus/{kind}", teacher="organism/corpus", seed=seed),
        )
