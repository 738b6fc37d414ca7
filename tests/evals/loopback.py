"""A server on the loopback for tests, and agents to put behind it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from holdfast.core.records import Case, Message
from holdfast.models import Model, Output, Request, open_model

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("openai")

from starlette.applications import Starlette  # noqa: E402

from examples.serve import Server  # noqa: E402

#: How tests call whatever stands behind the server.
NAME = "openai-api/loopback/any"
#: The same by Inspect's own provider for OpenAI, which posts to /v1/responses.
OPENAI = "openai/any"


class Stubborn:
    """A scripted agent that knows a case by its opening, and repeats a turn that the world did not take."""

    name = identity = "stubborn"

    def __init__(self, agent: str, cases: Sequence[Case]) -> None:
        self._agent = open_model(agent)
        self._cases = {opening(case.messages): case for case in cases}
        assert len(self._cases) == len(cases), "two cases open alike: take other seeds"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return self._agent.generate([self._told(request) for request in requests])

    def _told(self, request: Request) -> Request:
        case = self._cases[opening(request.messages)]
        return Request(case.id, taken(request.messages), case.tools, seed=case.seed, plays=case.plays)


def opening(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages[:2])


def taken(messages: Sequence[Message]) -> list[Message]:
    """The conversation without turns of which an act was answered with an error."""
    kept: list[Message] = []
    turn: list[Message] = []
    for message in [*messages, None]:
        if message is None or message.role == "assistant":
            failed = any(m.role == "tool" and m.content.startswith("error:") for m in turn)
            kept += [] if failed else turn
            turn = []
        if message is not None:
            turn.append(message)
    return kept


@contextmanager
def served(app: Starlette) -> Iterator[int]:
    """An application on a free port of the loopback."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive(), "the server did not start"
    [listening] = running.servers
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(10)


@contextmanager
def serving(model: Model, faults: float = 0.0, seed: int = 0) -> Iterator[Server]:
    """The server, with the environment that leads Inspect's client to it."""
    server = Server(model, faults, seed=seed)
    with served(server.app) as port, pytest.MonkeyPatch.context() as patch:
        for provider in ("LOOPBACK", "OPENAI"):
            patch.setenv(f"{provider}_API_KEY", "none")
            patch.setenv(f"{provider}_BASE_URL", f"http://127.0.0.1:{port}/v1")
        yield server
