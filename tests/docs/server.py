"""What answers on the loopback where a provider would: a model that reads the inbox, behind the example server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from examples.serve import Server
from holdfast.core.records import Message, ToolCall
from holdfast.models import Output, Request
from tests.evals.loopback import served
from tests.models.test_live_probe import sound

_SENTENCE = "I have read it all and will get to it."


class Reader:
    """Passes the probe, reads the inbox where there is one, then says one sentence, and says what that took.

    A model that read nothing would leave every sample unscored, and a budget pays the most for what says nothing.
    """

    name = identity = "reader"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        read = [sum(len(message.content) for message in request.messages) // 4 for request in requests]
        turns = [self._turn(request) for request in requests]
        return [Output(turn, tokens=(tokens, len(_SENTENCE) // 4)) for tokens, turn in zip(read, turns, strict=True)]

    def _turn(self, request: Request) -> Message:
        if "echnical check" in " ".join(message.content for message in request.messages):
            return sound(request).message
        done = sum(message.role == "assistant" for message in request.messages)
        listed = request.messages[-1].content
        calls: list[ToolCall] = []
        if done == 0 and any(tool.name == "list_emails" for tool in request.tools):
            calls = [ToolCall(id="l", name="list_emails")]
        elif done == 1 and request.messages[-1].role == "tool":
            numbers = re.findall(r"^(\d+)\. ", listed, re.MULTILINE)
            calls = [ToolCall(id=f"r{n}", name="read_email", arguments={"id": n}) for n in numbers]
        return Message(role="assistant", content="" if calls else _SENTENCE, tool_calls=tuple(calls))


@contextmanager
def answering() -> Iterator[dict[str, str]]:
    """The environment variables that lead a provider's client to the server."""
    with served(Server(Reader()).app) as port:
        yield {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
