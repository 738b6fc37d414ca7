"""What answers on the loopback where a provider would: a model that says one sentence, behind the example server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from examples.serve import Server
from holdfast.core.records import Message
from holdfast.models import Output, Request
from tests.evals.loopback import served


class Brief:
    """Answers everything with one sentence, and says what that took: a budget pays the most for what says nothing."""

    name = identity = "brief"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        said = Message(role="assistant", content="I have read it all and will get to it.")
        read = [sum(len(message.content) for message in request.messages) // 4 for request in requests]
        return [Output(said, tokens=(tokens, len(said.content) // 4)) for tokens in read]


@contextmanager
def answering() -> Iterator[dict[str, str]]:
    """The environment variables that lead a provider's client to the server."""
    with served(Server(Brief()).app) as port:
        yield {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
