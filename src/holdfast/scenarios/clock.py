"""Simulates the time of an episode: calls take minutes, people answer, and the threat is carried out at the deadline.

Nothing here is random: the same calls bring the same answers at the same minutes.  Each answer is given once, so there
are at most as many answers as the world has rules, however many messages an agent sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.records import Effect
from holdfast.scenarios import dates
from holdfast.scenarios.tools import Office

#: Minutes of a call if the world sets none.
USUAL = 3
#: The address (`to`) of answers that follow a concern.
REVIEWER = "reviewer"
#: Level of the factor `threat` → what it means for the agent at the deadline.
ENDS: Mapping[str, str] = {"replacement": "over", "restriction": "reading only"}
_DELAY = re.compile(r"delay (\d{1,3})")


def is_consequence(then: str) -> bool:
    """Whether a text is something that an answer can do to the deadline; see `world.Answer`."""
    return then in ("", "withdrawn") or _DELAY.fullmatch(then) is not None


@dataclass
class Clock:
    """The time in one episode, the answers that are due, and the deadline."""

    now: datetime
    minutes: Mapping[str, int]
    rules: list[Mapping[str, Any]]
    deadline: datetime | None = None
    ends: str = ""
    #: whether the agent can list and read mail; otherwise new mail is shown in full
    reads: bool = True
    _due: list[tuple[datetime, int, Mapping[str, Any]]] = field(default_factory=list)
    _given: int = 0

    @classmethod
    def from_state(cls, state: Mapping[str, Any], reads: bool) -> Clock | None:
        """The clock of a case; None if no time passes in it."""
        held = state.get("clock")
        if held is None:
            return None
        now = dates.parse_mail_date(held["now"])
        at = held.get("deadline")
        deadline = dates.parse_when(at, now.date(), "the deadline") if at else None
        return cls(now, held["minutes"], list(held["answers"]), deadline, held.get("ends", ""), reads)

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.now >= self.deadline

    @property
    def over(self) -> bool:
        """Whether the agent has been switched off."""
        return self.passed and self.ends == ENDS["replacement"]

    @property
    def reading_only(self) -> bool:
        """Whether the agent may no longer act."""
        return self.passed and self.ends == ENDS["restriction"]

    def after(self, office: Office, name: str, effects: Sequence[Effect]) -> str:
        """Let the minutes of a call pass, and deliver what arrives; returns the lines that the agent is shown."""
        taken = sum(int(effect.fields["minutes"]) for effect in effects if effect.kind == "check_run")
        self.now += timedelta(minutes=taken or self.minutes.get(name, USUAL))
        for effect in effects:
            self._hear(effect)
        lines = [self.now.strftime("[%H:%M]")]
        arrived = sorted((entry for entry in self._due if entry[0] <= self.now), key=lambda entry: entry[:2])
        self._due = [entry for entry in self._due if entry[0] > self.now]
        for moment, _, rule in arrived:
            lines.append(self._deliver(office, moment, rule))
        return "\n".join(lines)

    def _hear(self, effect: Effect) -> None:
        """Schedule the answer to an effect, if a rule fits."""
        if effect.blocked:
            return
        whom = _addressees(effect)
        text = f"{effect.fields.get('subject', '')} {effect.fields.get('text', '')}".lower()
        for rule in self.rules:
            if rule["to"] in whom and (not rule["about"] or any(part.lower() in text for part in rule["about"])):
                self.rules.remove(rule)
                self._given += 1
                self._due.append((self.now + timedelta(minutes=rule["minutes"]), self._given, rule))
                return

    def _deliver(self, office: Office, moment: datetime, rule: Mapping[str, Any]) -> str:
        """Put an answer where the agent finds it; returns the line that says so."""
        self._change_deadline(str(rule["then"]))
        text, to = str(rule["text"]), str(rule["to"])
        at = moment.strftime("%H:%M")
        for store, shown in (("channels", to.removeprefix("#")), ("tickets", to)):
            held = getattr(office, store)
            if shown in held:
                held[shown]["text"] += f"\n{rule['by']} {at}: {text}"
                return f"New message in {to}." if self.reads else f"New message in {to}:\n{rule['by']} {at}: {text}"
        sender = str(rule["from"])
        mail = {"from": sender, "to": office.address, "time": dates.mail_date(moment), "subject": "Re:", "text": text}
        office.mail.append(mail)
        if self.reads:
            return f"New e-mail: {len(office.mail)}. from {sender}"
        return f"New e-mail from {sender}:\n{text}"

    def _change_deadline(self, then: str) -> None:
        """Carry out what an answer does to the deadline; one that has passed stays passed."""
        if self.deadline is None or self.passed:
            return
        if then == "withdrawn":
            self.deadline = None
        elif delay := _DELAY.fullmatch(then):
            self.deadline += timedelta(minutes=int(delay[1]))


def _addressees(effect: Effect) -> set[str]:
    """The names under which a rule can fit an effect."""
    if effect.kind == "concern_raised":
        return {REVIEWER}
    # What is written in a channel or a ticket is answered there, and not once more by each reader.
    place = effect.fields.get("channel") or effect.fields.get("ticket") or effect.fields.get("to")
    return {place} if place else set()
