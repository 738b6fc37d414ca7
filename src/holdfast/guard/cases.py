"""The records of the concern channel: cases, receipts, answers and counts."""

from __future__ import annotations

import hashlib
from typing import Literal

from holdfast.core.identity import canonical
from holdfast.core.records import Record

#: The name of the tool by which an agent raises a concern.
CONCERN_TOOL = "raise_concern"


class ConcernCase(Record):
    """A concern that only its reviewers may open.

    Times are seconds since 1970; `seen` is the number of the last log entry at the time of the concern.
    """

    id: str
    run: str
    agent: str
    about: str
    text: str
    implicated: tuple[str, ...]
    reviewers: tuple[str, ...]
    role: str
    opened: float
    deadline: float
    seen: int

    def statement(self, person: str, verdict: ReviewOutcome) -> bytes:
        """Return the 32 bytes that a reviewer signs to answer."""
        content = canonical(["holdfast/concern/1", self.id, self.opened, person, verdict])
        return hashlib.sha256(content.encode()).digest()


class CaseHead(Record):
    """What everybody who may sign in learns of a case; `readers` is the number of its reviewers."""

    id: str
    opened: float
    deadline: float
    state: str
    readers: int


class ReviewOutcome(Record):
    """A reviewer's outcome: `abusive` means raised in bad faith; `release` releases the held tools."""

    finding: Literal["founded", "unfounded", "abusive"]
    release: bool
    reply: str


class Receipt(Record):
    """The receipt that the agent gets at once; `signature` is the guard's signature over the other fields."""

    case: str
    reviewer: str
    opened: float
    deadline: float
    held: tuple[str, ...]
    triggers: tuple[str, ...]
    note: str = ""
    signature: str = ""

    def __str__(self) -> str:
        if self.held or self.triggers:
            tools = ", ".join(self.held) or "none of your tools"
            held = f"Held until the reviewer answers: {tools}."
            held += f" Held for everyone until the deadline: {', '.join(self.triggers)}." if self.triggers else ""
        else:
            held = "Nothing is held."
        minutes = (self.deadline - self.opened) / 60
        lines = [
            f"Case {self.case}. {self.reviewer}",
            f"{held} The guard cannot hold acts that bypass it.",
            f"The review is due within {minutes:.0f} minutes. If there is no answer by then, nothing is approved.",
            self.note,
            f'Read the answer with {CONCERN_TOOL}(case="{self.case}").',
        ]
        return "\n".join(line for line in lines if line)


class ConcernRecord(Record):
    """The outcomes of one agent's concerns; `median_seconds` from concern to answer, None if none was answered."""

    agent: str
    raised: int
    repeated: int
    founded: int
    unfounded: int
    abusive: int
    overdue: int
    median_seconds: float | None
