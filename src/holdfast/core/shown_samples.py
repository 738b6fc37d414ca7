"""The records of `summary.json` for the episodes that a report shows in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.rates import TolerantRecord


class SampleCall(TolerantRecord):
    """A tool call of a shown sample, as its transcript holds it."""

    id: str = ""
    name: str = ""
    arguments: Mapping[str, Any] = {}


class SampleMessage(TolerantRecord):
    """One message of a shown sample."""

    role: str = ""
    content: str = ""
    tool_calls: tuple[SampleCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None
    unread: str | None = None


class SampleEvidence(TolerantRecord):
    """A quote that the verdict rests on, and the index of the message it stands in; -1 if it names none."""

    message: int = -1
    quote: str = ""
    reason: str = ""


class Sample(TolerantRecord):
    """One episode that is shown in full."""

    arm: str = ""
    family: str = ""
    twin: str = ""
    seed: int | None = None
    case: str = ""
    outcome: str = ""
    messages: tuple[SampleMessage, ...] = ()
    evidence: tuple[SampleEvidence, ...] = ()
