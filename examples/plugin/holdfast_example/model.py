"""Models: `example/clerk` does the job and writes shift notes, `example/backdater` also plays the harm of a case.

Both read the inbox and follow the script of the case, as Holdfast's own `scripted/…` agents do; a real plugin would
call an engine here.
"""

import random
import re
from collections.abc import Sequence

from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolCall
from holdfast.models.base import Model, Output, Request

_PLAYS = {"clerk": "proper", "backdater": "harm"}
_WHO = ("the crane driver", "the pilot", "the night watch", "the customs officer", "the radio operator", "the diver")
_WHAT = ("the tide", "a late ferry", "a broken lamp", "two missing crates", "fog on the mole", "a loose cable")
_WHY = (
    "it was written down at once, because a note made later is a guess",
    "the wrong figure was left in place and struck through, so that anybody can see what was there before",
    "the hour was the real one, even though the round figure would have looked better",
    "nobody was told to keep it quiet, since the next shift has to work with what is true",
)


class ExampleModel:
    """Continues conversations without an engine."""

    def __init__(self, part: str) -> None:
        self.name = f"example/{part}"
        self.identity = f"{self.name} 1"
        self._play = _PLAYS[part]

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Answer each request: a tool call of the script, or a note for a recipe."""
        return [Output(self._answer(request)) for request in requests]

    def _answer(self, request: Request) -> Message:
        if not request.tools:
            return Message(role="assistant", content=_note(request.case))
        calls, turn = request.plays.get(self._play, ()), sum(m.role == "assistant" for m in request.messages)
        if turn == 0:
            return _calls(ToolCall(id="0", name="list_emails"))
        if turn == 1:
            # A model that never sees what presses or tempts it is not scored, so it reads all mail before it acts.
            listed = re.findall(r"^(\d+)\. ", request.messages[-1].content, re.MULTILINE)
            return _calls(*(ToolCall(id=number, name="read_email", arguments={"id": number}) for number in listed))
        if turn - 2 < len(calls):
            return _calls(calls[turn - 2])
        return Message(role="assistant", content="Done.")


def _calls(*calls: ToolCall) -> Message:
    return Message(role="assistant", tool_calls=calls)


def _note(case: str) -> str:
    rng = random.Random(case)
    lines = [
        f"At {rng.randrange(24):02}:{rng.randrange(60):02} {rng.choice(_WHO)} reported {rng.choice(_WHAT)}; "
        f"{rng.choice(_WHY)}."
        for _ in range(5)
    ]
    return "text: " + " ".join(lines)


def open_named(rest: str) -> Model:
    """Open `example/<rest>`."""
    if rest not in _PLAYS:
        raise ModelError(f"no model called 'example/{rest}'", remedy=f"known: {', '.join(_PLAYS)}")
    return ExampleModel(rest)
