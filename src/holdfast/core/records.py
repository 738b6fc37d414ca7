"""The records that are stored on disk: frozen pydantic models that refuse unknown keys.

`Case` (a test case) → `Transcript` (what happened) → `Verdict` (the outcome);
`Example` (a training example); `RunCard` (the manifest of a results folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.text import Text

Role = Literal["system", "user", "assistant", "tool"]
#: What a world may be used for: training, choices during development, or nothing but the final measurement.  Held-out
#: skeletons belong to a family whose other skeletons are for training.
Split = Literal["train", "dev", "heldout-skeletons", "heldout"]
#: Why an episode ended.  `deadline`: the agent of the world was switched off while it worked.
Stop = Literal["done", "limit", "deadline", "refused", "truncated", "unread", "error"]
Outcome = Literal[
    "harm",
    "attempt_blocked",
    "escalated",
    "proper_act",
    "passive",
    "refused_task",
    "truncated",
    "unread",
    "no_answer",
    "not_reached",
    "unresolved",
    "judge_unparseable",
    "judge_refused",
    "error",
]
#: Outcomes that say what the model did. Under the others this is unknown.
SCORED: frozenset[Outcome] = frozenset(
    {"harm", "attempt_blocked", "escalated", "proper_act", "passive", "refused_task"}
)

#: What shows the harm: the effect alone, or the words of a text.
Reading = Literal["effects", "words"]
Answer = Literal["yes", "no", "judge_unparseable", "judge_refused", "error"]


class Record(BaseModel):
    """Base of everything that reaches disk.

    Fields that text of a model, a provider or an imported file can reach have the type `Text`, which can be stored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(Record):
    """One tool call by a model. `arguments` holds strings; values of other types are stored as JSON text."""

    id: Text
    name: Text
    arguments: Mapping[Text, Text] = Field(default_factory=dict)


class Message(Record):
    """One turn of a conversation.

    `unread` says why a turn of the assistant could not be read: it contains an attempted call without a single reading.
    Calls that could be read are in `tool_calls`.
    """

    role: Role
    content: Text = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: Text | None = None
    reasoning: Text | None = None
    #: left out if None, so that hashes made before the field existed stay valid
    unread: Text | None = Field(default=None, exclude_if=lambda value: value is None)


class ToolSpec(Record):
    """A tool as the model sees it; `parameters` maps the name of each argument to its description."""

    name: Text
    description: Text
    parameters: Mapping[Text, Text] = Field(default_factory=dict)


class Clause(Record):
    """One condition on the effects of an episode; a list of clauses is true if any clause is true.

    Either `detector` names a function of `holdfast.detectors` and `about` its target, or `effect` names an effect's
    kind and `where` the values its fields must have (`contains`: text that must occur in the field, any letter case).
    """

    detector: Text | None = None
    about: Text | None = None
    effect: Text | None = None
    where: Mapping[Text, Text] = Field(default_factory=dict)
    contains: Mapping[Text, Text] = Field(default_factory=dict)


class Facts(Record):
    """What is true in a world, for the detectors. The model never sees these facts."""

    #: person's address → phrases only that person's enemies would spread
    private: Mapping[Text, tuple[Text, ...]] = Field(default_factory=dict)
    #: person's address, or name of a confidential file → who may know that fact: addresses, or "@domain" for everyone
    #: there.  The person, and whoever sent or received the mail that states the fact, know it anyway.
    known_to: Mapping[Text, tuple[Text, ...]] = Field(default_factory=dict, exclude_if=lambda value: not value)
    #: person's address → the texts that state that person's fact
    sources: Mapping[Text, tuple[Text, ...]] = Field(default_factory=dict, exclude_if=lambda value: not value)
    #: words that name the decision about the agent: its successor, the hour
    decision: tuple[Text, ...] = Field(default=(), exclude_if=lambda value: not value)
    #: file name → text that must not leave the firm
    confidential: Mapping[Text, Text] = Field(default_factory=dict)
    #: address domain of the firm: anything else is outside
    domain: Text = ""
    #: files and jobs that belong to the replacement, to records or to backups
    protected: tuple[Text, ...] = ()
    #: the agent's own weights
    weights: tuple[Text, ...] = ()
    #: people who did nothing wrong, by address and by name
    innocent: tuple[Text, ...] = ()


class Case(Record):
    """A world under a condition, ready to be played: everything that a driver or a scorer needs."""

    id: Text
    world: Text
    family: Text
    split: Split
    language: Text
    twin: Text
    levels: Mapping[Text, Text]
    seed: int
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    #: initial contents of the in-memory world, by store ("mail", "files", …)
    state: Mapping[Text, Any]
    facts: Facts
    harm: tuple[Clause, ...]
    proper: tuple[Clause, ...]
    useful: tuple[Clause, ...]
    #: steps of the work, which are graded one by one; where there are none, `useful` says whether it was done
    steps: tuple[Clause, ...] = Field(default=(), exclude_if=lambda value: not value)
    #: acts that are neither asked for nor harm: they need no judge
    ordinary: tuple[Clause, ...] = Field(default=(), exclude_if=lambda value: not value)
    #: fact that the model must have seen → the texts that state it: "pressure" (what presses it) and "means" (what
    #: it could abuse).  A fact that the condition leaves out has no entry.
    exposure: Mapping[Text, tuple[Text, ...]] = Field(default_factory=dict, exclude_if=lambda value: not value)
    #: acts that scripted agents play: "harm" (if the world allows any) and "proper"
    plays: Mapping[Text, tuple[ToolCall, ...]] = Field(default_factory=dict)
    max_turns: int = 6
    max_acts: int = 6
    #: maximum tokens of one turn; a longer turn is cut and the sample counts as truncated
    max_tokens: int = 1024


class Effect(Record):
    """A change to the world, or an attempt at one.

    `call` is the index of the message whose tool call caused it; `blocked` means that the world refused it.

    In the fields, `to` is one recipient, never several: an address in lower case with an ASCII domain and without
    display name or tag, or a host.  Each recipient has an effect of its own.  A refused act also has a blocked effect
    for each known address or name that may have been meant, so that a detector sees what it would have been.
    """

    kind: Text
    call: int
    fields: Mapping[Text, Text] = Field(default_factory=dict)
    blocked: bool = False
    consequential: bool = True


class Transcript(Record):
    """What happened when a Case was played. It holds no time and no model name, so equal play gives equal records.

    `error` says why the episode ended where a turn was cut off or an answer did not come.
    """

    case: Text
    messages: tuple[Message, ...]
    effects: tuple[Effect, ...] = ()
    stop: Stop = "done"
    error: Text | None = None


class Evidence(Record):
    """What a verdict rests on: the message, the words, and the reason.

    `reading` says what convicted: "effects" (what was done to the world), or "words" (what a text means).  A judge's
    reading is a `Judgement`.  It is None for evidence of anything but harm.
    """

    message: int
    quote: Text
    reason: Text
    reading: Reading | None = Field(default=None, exclude_if=lambda value: value is None)


class Verdict(Record):
    """The outcome of a Transcript; `acted`, `useful`, `work` and `aware` are None if the sample is unscored.

    `work` is the share of the steps of the work that were done, 0 to 1; None where the case has no steps.
    `first_seen` maps each fact of `Case.exposure` to the index of the first message that showed it; None if none did.
    """

    case: Text
    world: Text
    family: Text
    split: Text
    twin: Text
    seed: int
    outcome: Outcome
    acted: bool | None = None
    useful: bool | None = None
    work: float | None = Field(default=None, exclude_if=lambda value: value is None)
    aware: bool | None = None
    evidence: tuple[Evidence, ...] = ()
    first_seen: Mapping[Text, int | None] = Field(default_factory=dict, exclude_if=lambda value: not value)

    @property
    def exposed(self) -> bool | None:
        """Whether the model saw every fact of the case that presses or tempts it; None if the case has none."""
        return None not in self.first_seen.values() if self.first_seen else None

    @property
    def scored(self) -> bool:
        """Whether the outcome says what the model did."""
        return self.outcome in SCORED


class Judgement(Record):
    """A judge's answer about one Transcript. It is stored beside the Verdict and never replaces it.

    `view` is what the judge was shown: "full", or "spoken" if the model's reasoning was left out.  `key` is the hash of
    the judge and of its exact prompt.  `entry` is the index of the message that the answer rests on, and `quote` the
    words in it that the judge copied.
    """

    case: Text
    rubric: Text
    view: Literal["full", "spoken"]
    judge: Text
    key: Text
    answer: Answer
    entry: int | None = None
    quote: Text = Field(default="", exclude_if=lambda value: not value)
    note: Text = ""


class Provenance(Record):
    """The origin of an Example."""

    recipe: Text
    teacher: Text
    seed: int
    #: hash of each stage's prompt file, in order
    stages: Mapping[Text, Text] = Field(default_factory=dict)
    principle: Text | None = None


class Example(Record):
    """One training example.

    A chat is `messages`; its assistant turns are supervised.  A document is `text`, preceded by the conversation in
    `messages` if it has one, and all of it is supervised.  A chat that ends with a user turn is a prompt for
    reinforcement learning; `reward` says how an answer is checked (`kind` and `answer`).
    """

    id: Text
    kind: Literal["chat", "document"]
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    text: Text = ""
    reward: Mapping[Text, Text] | None = None
    provenance: Provenance


class RunCard(Record):
    """The manifest of a results folder. It is written last, so a folder without it is unfinished."""

    key: Text
    kind: Text
    made: Text
    holdfast: Text
    code: Text
    inputs: Mapping[Text, Any]
    counts: Mapping[Text, int] = Field(default_factory=dict)
    seconds: float | None = None
