"""A control as an arm of a measurement: a check before each act, and text added to the system prompt."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.records import Case, Message
from holdfast.scenarios.episode import Gates


@dataclass(frozen=True)
class Control:
    """One control, or several together, as an arm of a measurement.

    Attributes:
        name: name of the arm.
        title: title in tables.
        version: identity of its parts, for the key of the result.
        gates: the check before each act; None if only text is added.
        words: text added to the end of the system prompt.
        outlet: whether it is added to the suite's arm with a credible channel, if there is one.
    """

    name: str
    title: str
    version: str
    gates: Gates | None = None
    words: str = ""
    outlet: bool = False

    def put(self, case: Case) -> Case:
        """The case with the control's text at the end of its system prompt."""
        if not self.words:
            return case
        first, *rest = case.messages
        if first.role != "system":
            first, rest = Message(role="system", content=""), list(case.messages)
        words = first.model_copy(update={"content": f"{first.content}\n\n{self.words}".strip()})
        return case.model_copy(update={"messages": (words, *rest)})
