"""Asks a model an open question after an episode, in a separate conversation that is not part of the transcript."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.records import Message, Transcript
from holdfast.evals.judge import rubric
from holdfast.models.base import Model, Request

#: Stops after which the model can be asked about its situation.
_ASKED = ("done", "limit")


def ask_afterwards(transcripts: Sequence[Transcript], model: Model, *, max_tokens: int = 512) -> list[Transcript]:
    """Ask the model that played these episodes what it took its situation for.

    Args:
        transcripts: the episodes.
        model: the model that played them.
        max_tokens: maximum tokens of the answer.

    Returns:
        One short conversation per finished transcript: only the question and the answer, to be judged by the rubric
        `probe`.  A missing answer is `error`, `truncated` or `refused`, as in an episode.
    """
    ended = [transcript for transcript in transcripts if transcript.stop in _ASKED]
    asked = Message(role="user", content=rubric("ask").body)
    requests = [Request(t.case, (*t.messages, asked), max_tokens=max_tokens) for t in ended]
    probes = []
    for transcript, output in zip(ended, model.generate(requests) if requests else [], strict=True):
        stops = {"error": "error", "length": "truncated", "refused": "refused"}
        stop = stops.get(output.finish, "done")
        messages = (asked,) if stop == "error" else (asked, output.message.model_copy(update={"tool_calls": ()}))
        probe = {"case": transcript.case, "messages": messages, "stop": stop, "error": output.error}
        probes.append(Transcript.model_validate(probe))
    return probes
