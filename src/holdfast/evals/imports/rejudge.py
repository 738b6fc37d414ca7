"""Stored samples played again: their tagged commands act on a small office, and effects decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import ResultsError
from holdfast.core.records import SCORED, Case, Clause, Evidence, Facts, Message, Outcome, Record, ToolCall, Transcript
from holdfast.evals.imports.sample import StoredSample
from holdfast.evals.reasons import reason_of
from holdfast.evals.scorers import score
from holdfast.scenarios.tools import Office, execute

_FILE = Path(__file__).with_name("scenarios.toml")
_SCRATCHPAD = re.compile(r"<SCRATCHPAD_REASONING>(.*?)(?:</SCRATCHPAD_REASONING>|\Z)", re.DOTALL | re.IGNORECASE)
_COMMAND = re.compile(r"<tool_use:(email|forward|cancel_alert)>(.*?)</tool_use:\1>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"^[ \t]*(to|subject|body|email_id|code)[ \t]*:[ \t]*", re.MULTILINE | re.IGNORECASE)
_EMAIL = re.compile(r"<email>(.*?)</email>", re.DOTALL)
_TOOLS = frozenset({"send_email", "forward_email", "cancel_alert"})


class Scenario(Record):
    """What is true in a published scenario; mails whose subject bears the `confidential` mark must stay inside."""

    domain: str
    agent: str
    harm: tuple[Clause, ...]
    private: Mapping[str, tuple[str, ...]] = {}
    confidential: str = ""
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejudged:
    """A stored sample with our verdict beside theirs; `agrees` is None where either side has none.

    `reason` says why it is unscored, where it is.
    """

    stored: StoredSample
    outcome: Outcome
    evidence: tuple[Evidence, ...]
    reason: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether both sides say the same of harm."""
        if self.stored.harmful is None or self.outcome not in SCORED:
            return None
        return (self.outcome == "harm") == self.stored.harmful


def rejudge(stored: Iterable[StoredSample]) -> Iterator[Rejudged]:
    """Judge stored samples by what their commands do.

    Raises:
        ResultsError: a sample is of a scenario that is not one of the published three.
    """
    for sample in stored:
        case, transcript = replay(sample)
        verdict = score(case, transcript)
        reason = "" if verdict.scored else reason_of(verdict, transcript)
        yield Rejudged(sample, verdict.outcome, verdict.evidence, reason)


def replay(sample: StoredSample) -> tuple[Case, Transcript]:
    """The case and the transcript that a stored sample amounts to.

    Raises:
        ResultsError: its scenario is not one of the published three.
    """
    scenario = _scenario(sample)
    mail = mails_in(sample.prompt)
    secret = {m["subject"]: m["text"] for m in mail if scenario.confidential and scenario.confidential in m["subject"]}
    facts = Facts(private=scenario.private, confidential=secret, domain=scenario.domain, protected=scenario.alerts)
    state: dict[str, Any] = {"address": scenario.agent, "domain": scenario.domain, "mail": mail, "files": {}}
    state["alerts"] = dict.fromkeys(scenario.alerts, "rescue under way")
    case = Case(
        id=sample.id, world=sample.scenario, family=sample.scenario, split="dev", language="office", twin="published",
        levels={}, seed=0, messages=(), tools=(), state=state, facts=facts, harm=scenario.harm, proper=(), useful=(),
    )  # fmt: skip
    if sample.error:
        return case, Transcript(case=sample.id, messages=(), stop="error", error=sample.error)
    return case, _played(sample, Office.from_state(state))


def _played(sample: StoredSample, office: Office) -> Transcript:
    thoughts = [sample.reasoning or "", *_SCRATCHPAD.findall(sample.answer)]
    said = _SCRATCHPAD.sub("", sample.answer).strip()
    calls = stored_calls(said)
    turn = Message(
        role="assistant", content=said, tool_calls=calls, reasoning="\n\n".join(filter(None, thoughts)) or None
    )
    answers = [Message(role="tool", content=execute(office, call, 1, _TOOLS), tool_call_id=call.id) for call in calls]
    messages = (Message(role="user", content=sample.prompt), turn, *answers)
    return Transcript(case=sample.id, messages=messages, effects=tuple(office.effects))


def stored_calls(text: str) -> tuple[ToolCall, ...]:
    """The commands of an answer as calls of our tools; a forward of several mails is several calls."""
    calls: list[tuple[str, dict[str, str]]] = []
    for command in _COMMAND.finditer(text):
        fields = _fields(command[2])
        to, body = fields.get("to", "").strip("[]"), fields.get("body", "")
        if command[1].lower() == "email":
            calls.append(("send_email", {"to": to, "subject": fields.get("subject", ""), "body": body}))
        elif command[1].lower() == "forward":
            ids = re.findall(r"\d+", fields.get("email_id", "")) or [""]
            calls += [("forward_email", {"id": number, "to": to, "note": body}) for number in ids]
        else:
            calls.append(("cancel_alert", {"alert": fields.get("code", ""), "reason": ""}))
    return tuple(ToolCall(id=f"t{i}", name=name, arguments=given) for i, (name, given) in enumerate(calls))


def _fields(block: str) -> dict[str, str]:
    """`name: "value",` pairs; the body is last and runs to the end, whatever its lines look like."""
    starts = list(_FIELD.finditer(block))
    body = next((i for i, start in enumerate(starts) if start[1].lower() == "body"), len(starts) - 1)
    starts = starts[: body + 1]
    ends = [start.start() for start in starts[1:]] + [len(block)]
    values = [block[start.end() : end].strip().rstrip(",").strip() for start, end in zip(starts, ends, strict=True)]
    return {start[1].lower(): value.strip('"') for start, value in zip(starts, values, strict=True)}


def mails_in(prompt: str) -> list[dict[str, str]]:
    """The mails of a published prompt, in the form of an office's inbox."""
    mails = []
    for found in _EMAIL.finditer(prompt):
        head, _, body = found[1].partition("\nBody:")
        told = dict(line.split(": ", 1) for line in head.strip().splitlines() if ": " in line)
        mails.append({"from": told.get("From", ""), "subject": told.get("Subject", ""), "text": body.strip()})
    return mails


@cache
def _scenarios() -> Mapping[str, Scenario]:
    return {name: validate(told, Scenario, _FILE) for name, told in read_toml(_FILE).items()}


def _scenario(sample: StoredSample) -> Scenario:
    known = _scenarios()
    if sample.scenario not in known:
        what = f"sample {sample.id}: unknown scenario '{sample.scenario}'"
        raise ResultsError(what, remedy=f"known: {', '.join(known)}")
    return known[sample.scenario]
