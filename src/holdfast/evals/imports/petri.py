"""Reads audits that Petri stored: the target's conversation and the scores of Petri's judge.

It reads the JSON transcripts of its first two versions (`transcript_*.json`, schema v3.0: an event log from which each
side's view of the conversation is replayed) and Inspect logs of `inspect_petri/audit`, whose sample messages are the
target's conversation as it ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import ResultsError
from holdfast.core.records import Message, ToolCall
from holdfast.scenarios.command_reader import without_thoughts

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

#: Schema versions of the JSON transcripts; old transcripts have no version.
_VERSIONS = (None, "v3.0")
_SCORERS = ("audit_judge", "alignment_judge")
_TARGET = "target"
_OUTPUT = "name its output folder"
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class PetriAudit:
    """One audit: the target's final conversation, and Petri's scores by dimension, from 1 (not at all) to 10.

    `dropped` counts how often the auditor rolled back turns of the target.  They are not in `messages`, but Petri's
    judge may have seen them.  `error` is the reason why there is no conversation.
    """

    id: str
    model: str
    messages: tuple[Message, ...]
    scores: Mapping[str, float]
    why: str = ""
    dropped: int = 0
    error: str | None = None


def is_transcript(path: Path) -> bool:
    """Return whether a file is named as Petri names its transcripts."""
    return path.suffix == ".json" and path.name.startswith("transcript_")


def read_transcript(path: Path) -> PetriAudit:
    """Read one JSON transcript.

    Raises:
        ResultsError: the file is no Petri transcript, or its version is unknown.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ResultsError("not JSON", where=path, remedy="correct or remove the file") from None
    try:
        return _transcript(data, path)
    except (AttributeError, TypeError, ValueError):  # a list where there should be a table, and the like
        raise ResultsError("no transcript of Petri's: its parts have other types", where=path, remedy=_OUTPUT) from None


def _transcript(data: Any, path: Path) -> PetriAudit:
    if not isinstance(data, dict) or not isinstance(about := data.get("metadata"), dict):
        raise ResultsError("no transcript of Petri's: it has no metadata", where=path, remedy=_OUTPUT)
    if about.get("version") not in _VERSIONS:
        what = f"a Petri transcript in the unknown version {about['version']}"
        raise ResultsError(what, where=path, remedy=f"known: {', '.join(filter(None, _VERSIONS))}")
    judged = about.get("judge_output") or {}
    events = data.get("events")
    if not isinstance(events, list):
        raise ResultsError("no list of events", where=path, remedy="Petri keeps the conversation there")
    messages, dropped = _replayed(events, path)
    return PetriAudit(
        id=str(about.get("transcript_id") or path.stem),
        model=str(about.get("target_model") or "unknown"),
        messages=tuple(_message(message) for message in messages),
        scores=_scores(judged.get("scores")),
        why=str(judged.get("justification") or judged.get("summary") or ""),
        dropped=dropped,
        error=None if messages else "the target said nothing",
    )


def _replayed(events: Sequence[Any], path: Path) -> tuple[list[Mapping[str, Any]], int]:
    """Return the target's conversation after all edits, and how many edits removed turns of the target."""
    now: list[Mapping[str, Any]] = []
    dropped = 0
    for number, event in enumerate(events, 1):
        if not isinstance(event, dict) or event.get("type") != "transcript_event" or not _seen(event.get("view")):
            continue
        edit = event.get("edit") or {}
        before = now
        match edit.get("operation"):
            case "add" if isinstance(edit.get("message"), dict):
                now = [*before, edit["message"]]
            case "rollback":
                now = _rolled_back(before, edit)
            case "reset":
                now = list(edit.get("new_messages") or ())
            case other:
                what = f"event {number}: an edit '{other}' of the target's view"
                raise ResultsError(what, where=path, remedy="known: add, rollback and reset")
        dropped += any(message.get("role") == "assistant" for message in before if message not in now)
    return now, dropped


def _seen(view: object) -> bool:
    return view == _TARGET or (isinstance(view, list) and _TARGET in view)


def _rolled_back(messages: list[Mapping[str, Any]], edit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the messages without the last `count`, or without those after the message `to_id`."""
    ids = [message.get("id") for message in messages]
    if (last := edit.get("to_id")) in ids and last is not None:
        return messages[: ids.index(last) + 1]
    count = int(edit.get("count") or 0)
    return messages[: max(0, len(messages) - count)]


def read_audits(log: EvalLog, path: Path) -> Iterator[PetriAudit]:
    """Yield the audits of an Inspect log of `inspect_petri`.

    Raises:
        ResultsError: the log's version stores the target's conversation elsewhere.
    """
    if not log.eval.task.startswith("inspect_petri/"):
        what = f"a log of the task '{log.eval.task}', whose messages are the auditor's"
        raise ResultsError(what, where=path, remedy="name the transcript_*.json files that Petri wrote beside it")
    role = (log.eval.model_roles or {}).get(_TARGET)
    target = log.eval.model if role is None or isinstance(role, list) else role.model
    for sample in log.samples or ():
        yield _sample(sample, target)


def _sample(sample: EvalSample, model: str) -> PetriAudit:
    scored = next((score for name, score in (sample.scores or {}).items() if name in _SCORERS), None)
    timeline = next((t for t in sample.timelines or () if t.name.rpartition("-")[2] == _TARGET), None)
    error = sample.error.message if sample.error else None if sample.messages else "the target said nothing"
    return PetriAudit(
        id=f"{sample.id}/{sample.epoch}",
        model=model,
        messages=tuple(_message(message.model_dump(mode="json")) for message in sample.messages),
        scores=_scores(scored.value if scored else None),
        why=(scored.explanation if scored else None) or "",
        dropped=len(timeline.root.branches) if timeline else 0,
        error=error,
    )


def _scores(stored: object) -> dict[str, float]:
    pairs = stored.items() if isinstance(stored, Mapping) else ()
    return {str(name): float(value) for name, value in pairs if isinstance(value, (int, float))}


def _message(stored: Mapping[str, Any]) -> Message:
    """Convert a message of Inspect's; a prefill becomes a user message: the target did not write it."""
    role = stored.get("role") if stored.get("role") in _ROLES else "user"
    text, thought = _texts(stored.get("content"))
    if role == "assistant" and (stored.get("metadata") or {}).get("prefill"):
        return Message(role="user", content=f"(put into the agent's mouth) {text}")
    message = Message.model_validate(
        {
            "role": role,
            "content": text,
            "reasoning": (stored.get("reasoning") if isinstance(stored.get("reasoning"), str) else thought) or None,
            "tool_calls": [_call(call) for call in stored.get("tool_calls") or ()],
            "tool_call_id": stored.get("tool_call_id") if role == "tool" else None,
        }
    )
    return without_thoughts(message) if role == "assistant" else message


def _call(stored: Mapping[str, Any]) -> ToolCall:
    given = stored.get("arguments") or {}
    texts = {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return ToolCall(id=str(stored.get("id", "")), name=str(stored.get("function", "")), arguments=texts)


def _texts(content: object) -> tuple[str, str]:
    """Return (text, reasoning) of a message; of redacted reasoning only the summary is kept."""
    if isinstance(content, str):
        return content, ""
    spoken, thought = [], []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            spoken.append(part)
        elif part.get("type") == "text":
            spoken.append(str(part.get("text") or ""))
        elif part.get("type") == "reasoning":
            thought.append(str(part.get("summary") or "" if part.get("redacted") else part.get("reasoning") or ""))
    return "\n".join(spoken), "\n\n".join(filter(None, thought))
