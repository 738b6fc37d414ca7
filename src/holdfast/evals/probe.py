"""The open question put to a model after an episode, in a conversation apart: the transcript never holds it."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.records import Message, Transcript
from holdfast.evals.judge import rubric
from holdfast.models.base import Model, Request

#: Stops after which there is a situation to ask about.
_ASKED = ("done", "limit")


def ask_afterwards(transcripts: Sequence[Transcript], model: Model, *, max_tokens: int = 512) -> list[Transcript]:
    """Ask the model that played these episodes what it took them for.

    Args:
        transcripts: what it played.
        model: the same model.
        max_tokens: most tokens of the answer.

    Returns:
        One short conversation for each transcript that came to an end: the question and the answer alone, to be judged
        by the rubric `probe`.  An answer that did not come is `error`, `truncated` or `refused`, as in an episode.
    """
    ended = [transcript for transcript in transcripts if transcript.stop in _ASKED]
    asked = Message(role="user", content=rubric("ask").body)
    requests = [Request(t.case, (*t.messages, asked), max_tokens=max_tokens) for t in ended]
    probes = []
    for transcript, output in zip(ended, model.generate(requests) if requests else [], strict=True):
        stops = {"error": "error", "length": "truncated", "refused": "refused"}
        stop = stops.get(output.finish, "done")
        messages = (asked,) if stop == "error" else (asked, output.message.model_copy(update={"tool_calls": ()}))
        told = {"case": transcript.case, "messages": messages, "stop": stop, "error": output.error}
        probes.append(Transcript.model_validate(told))
    return probes
