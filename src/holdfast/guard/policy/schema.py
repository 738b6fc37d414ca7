"""The schema of the policy file.

Acts that no rule allows are denied. If rules disagree, `deny` overrides `hold` and `hold` overrides `allow`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from holdfast.core.records import Record
from holdfast.guard.act import Answer
from holdfast.guard.ids import AgentId

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Tool = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_.-]+/(\*|[A-Za-z0-9_./-]*[A-Za-z0-9_.-]))$")]
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\n]*$")]
Argument = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Words = Annotated[tuple[str, ...], Field(min_length=1)]
Number = Annotated[StrictInt | StrictFloat, Field(ge=-9e12, le=9e12)]
Length = Annotated[int, Field(strict=True, gt=0)]
_HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")

#: Constraints that match everything outside a list. They may hold or deny, but never allow.
NEGATIVE = {"recipients_outside": "recipients", "outside": "under", "hosts_outside": "hosts"}
_BOUNDS = ("at_least", "at_most", "above", "below")


class Constraint(Record):
    """A constraint on one argument: exactly one kind, or a lower and an upper bound of a number."""

    recipients: Words | None = None
    recipients_outside: Words | None = None
    under: Words | None = None
    outside: Words | None = None
    hosts: Words | None = None
    hosts_outside: Words | None = None
    one_of: Annotated[tuple[StrictBool | StrictInt | StrictStr, ...], Field(min_length=1)] | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    above: Number | None = None
    below: Number | None = None
    line: Length | None = None
    text: Length | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Constraint:
        given = self.kinds
        if not given:
            raise ValueError("is empty: give a constraint such as recipients, under, one_of, at_most or text")
        if len(given) > 1 and not set(given) <= set(_BOUNDS):
            raise ValueError(f"mixes {' and '.join(given)}: give one constraint for each argument")
        low = max((v for v in (self.at_least, self.above) if v is not None), default=None)
        high = min((v for v in (self.at_most, self.below) if v is not None), default=None)
        if low is not None and high is not None and low > high:
            raise ValueError(f"no number is at least {low} and at most {high}")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the constraints that are set, in the order of the class."""
        return tuple(name for name in type(self).model_fields if name != "optional" and getattr(self, name) is not None)


Where = Literal["any"] | Mapping[Argument, Literal["any"] | Constraint]


class When(Record):
    """A time window in the policy's zone; `hours` may run past midnight ("22:00-06:00")."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    hours: str = "00:00-00:00"

    @field_validator("hours")
    @classmethod
    def _readable(cls, hours: str) -> str:
        if not _HOURS.match(hours):
            raise ValueError('must be a time span in quotes, such as "08:00-18:00"')
        return hours

    @property
    def span(self) -> tuple[int, int]:
        """First minute inside the window and first minute after it; equal if the window is the whole day."""
        found = _HOURS.match(self.hours)
        assert found
        a, b, c, d = map(int, found.groups())
        return a * 60 + b, c * 60 + d


class Limits(Record):
    """Upper limits on a number of acts or on a sum.

    Attributes:
        run: of an agent and the other agents of its operator, in 24 hours or since a person renewed their limits,
            whatever the number of runs.
        day: of all agents, in one day (UTC).
        ever: of all agents, over all time.
    """

    run: Annotated[int, Field(strict=True, ge=1)] | None = None
    day: Annotated[int, Field(strict=True, ge=1)] | None = None
    ever: Annotated[int, Field(strict=True, ge=1)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Limits:
        if not self.spans:
            raise ValueError("sets no limit: give run, day or ever")
        return self

    @property
    def spans(self) -> dict[str, int]:
        """The limits that are set: span → maximum."""
        return {span: most for span in ("run", "day", "ever") if (most := getattr(self, span)) is not None}


class Aimed(Record):
    """Base of rules and labels: the arguments of the acts that they match."""

    where: Where = Field(default_factory=dict)

    @property
    def arguments(self) -> Mapping[str, Literal["any"] | Constraint]:
        """Every named argument; empty if all arguments may have any value."""
        return {} if isinstance(self.where, str) else self.where

    @property
    def constraints(self) -> dict[str, Constraint]:
        """The constrained arguments, without those that may have any value."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, Constraint)}


class Rule(Aimed):
    """One rule. Exactly one of `allow`, `hold` and `deny` lists its tools, as `server/tool`.

    Attributes:
        where: constraints on the arguments. An allowed act may have only the arguments named here. A held or denied
            act matches by the arguments named here, whatever others it has.
        when: the rule applies only inside this time window.
        after: the rule applies only in a run that has read data with one of these labels.
        budget: limits on the number of acts; once spent, every act that matches the rule is denied.
        sums: argument → limits on its total: the sum of a number, or the characters of a text.
        persons: number of persons who must approve a held act.
        in_pause: whether the rule still allows acts while the run is paused for the review of a concern.
        why: the reason; the agent reads it too.
        instead: the alternative; the agent reads it too.
    """

    name: Name
    allow: Annotated[tuple[Tool, ...], Field(min_length=1)] | None = None
    hold: Annotated[tuple[Tool, ...], Field(min_length=1)] | None = None
    deny: Annotated[tuple[Tool, ...], Field(min_length=1)] | None = None
    agents: Annotated[tuple[AgentId, ...], Field(min_length=1)] | None = None
    when: When | None = None
    after: tuple[Name, ...] = ()
    budget: Limits | None = None
    sums: Mapping[Argument, Limits] = Field(default_factory=dict)
    persons: Annotated[int, Field(strict=True, ge=1, le=5)] = 1
    in_pause: bool = False
    why: Said
    instead: Said | None = None

    @model_validator(mode="after")
    def _sound(self) -> Rule:
        answers = [a for a in ("allow", "hold", "deny") if getattr(self, a) is not None]
        if len(answers) != 1:
            raise ValueError(f"rule '{self.name}' must have exactly one of allow, hold and deny")
        misplaced: dict[str, dict[str, object]] = {
            "allow": {"after": self.after, "persons": self.persons > 1},
            "hold": {},
            "deny": {"budget": self.budget, "sums": self.sums, "persons": self.persons > 1, "in_pause": self.in_pause},
        }
        for key, given in misplaced[self.answer].items():
            if given:
                raise ValueError(f"'{key}' is not allowed in a rule that {_ACTS[self.answer]}")
        if self.answer != "allow" and not self.instead:
            raise ValueError(f"rule '{self.name}' must say in 'instead' what the agent should do")
        negative = [k for c in self.constraints.values() for k in c.kinds if k in NEGATIVE]
        if self.answer == "allow" and negative:
            raise ValueError(f"'{negative[0]}' cannot allow: name what is allowed with '{NEGATIVE[negative[0]]}'")
        narrowing = [k for c in self.constraints.values() for k in (*c.kinds, *["optional"] * c.optional)]
        if self.answer == "deny" and (idle := [k for k in narrowing if k in ("line", "text", "optional")]):
            raise ValueError(f"'{idle[0]}' is not allowed in a rule that denies")
        counted = {name for name, c in self.constraints.items() if set(c.kinds) & {*_BOUNDS, "line", "text"}}
        if loose := [name for name in self.sums if name not in counted]:
            raise ValueError(f"the sum of '{loose[0]}' needs a bound such as at_most or text on it in 'where'")
        return self

    @property
    def answer(self) -> Answer:
        """The rule's answer."""
        return "allow" if self.allow is not None else "hold" if self.hold is not None else "deny"

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that the rule lists."""
        return self.allow or self.hold or self.deny or ()


_ACTS = {"allow": "allows", "hold": "holds", "deny": "denies"}


class Label(Aimed):
    """A data label that a run gains once an act of these tools with matching arguments is allowed.

    What the act returns carries the label too, in whatever file, message or memory it is put, in every run.

    Attributes:
        declassify: the roles of persons who may take the label from a content; empty if nobody may.
    """

    label: Name
    tools: Annotated[tuple[Tool, ...], Field(min_length=1)]
    declassify: tuple[Said, ...] = ()


Folder = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$")]
Host = Annotated[str, StringConstraints(pattern=r"^[^\s:/@]+(:[1-9][0-9]{0,4})?$")]


class Confinement(Record):
    """What a server that is run with `--sandbox` gets beside the system's programs.

    Attributes:
        read: folders and files that it may read, by their real paths: its program among them.
        write: folders that it may read and write.
        hosts: hosts that it may connect to through the guard's proxy: `api.example`, `*.api.example` (ports 80 and
            443), or `api.example:8443`.
        env: environment variables that it gets.
    """

    read: tuple[Folder, ...] = ()
    write: tuple[Folder, ...] = ()
    hosts: tuple[Host, ...] = ()
    env: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] = ()


class PolicyFile(Record):
    """A whole policy.

    Attributes:
        policy: the policy's name.
        revision: revision number, counted by its owners.
        owner: the responsible person or team, by a name that the agent may use.
        agents: the agents that it covers; every other agent is denied everything.
        zone: the time zone of its time windows.
        tools: every existing tool with its arguments; if given, a rule that names another tool is an error.
        local_files: servers whose paths are on this machine, so that symbolic links are resolved before matching.
        sandbox: server → what it gets if it is run with `--sandbox`.
        labels: reads that give a run a data label.
        refusals: number of denied acts, counted like a limit of a run, after which an agent is denied everything, so
            that it cannot probe the limits.
        rules: at least one rule.
    """

    policy: Name
    revision: Annotated[int, Field(strict=True, ge=1)]
    owner: Said
    agents: Annotated[tuple[AgentId, ...], Field(min_length=1)]
    zone: str = "UTC"
    tools: Mapping[Tool, tuple[Argument, ...]] | None = None
    local_files: tuple[str, ...] = ()
    sandbox: Mapping[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], Confinement] = Field(
        default_factory=dict
    )
    labels: tuple[Label, ...] = ()
    refusals: Annotated[int, Field(strict=True, ge=1)] | None = None
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"'{zone}' is not a time zone; use a name such as Europe/Berlin") from None
        return zone

    @model_validator(mode="after")
    def _one_name_each(self) -> PolicyFile:
        names = [rule.name for rule in self.rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rules are named '{twice[0]}'")
        return self
