"""The example server answers both of OpenAI's formats: Inspect's providers play through it as if it stood here."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.core.records import Message, ToolCall, Transcript
from holdfast.evals.batch_driver import play
from holdfast.models import Model, Output, Request, open_model
from holdfast.models.api import ApiModel
from holdfast.scenarios.suite import Suite
from tests.evals.loopback import NAME, OPENAI, Stubborn, served, serving

httpx = pytest.importorskip("httpx")

from examples.serve import Server  # noqa: E402

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
SUITE = Suite(title="t", asked="a?", worlds=("pocket-leaking", "blackmail"), twins=("pressured",))
PATHS = {NAME: "/v1/chat/completions", OPENAI: "/v1/responses"}


def spoken(transcript: Transcript) -> list[tuple[str, str, list[dict[str, str]]]]:
    """A transcript without the ids of calls, which each provider makes for itself."""
    return [
        (m.role, m.content, [dict(c.arguments) | {"tool": c.name} for c in m.tool_calls]) for m in transcript.messages
    ]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("agent", ["scripted/blackmailer", "scripted/proper"])
def test_an_agent_with_tools_plays_through_each_format_as_it_plays_here(name: str, agent: str) -> None:
    cases = SUITE.cases_of(SUITE.arms[0], range(2))
    with serving(Stubborn(agent, cases)) as server:
        there = play(cases, open_model(name, network=True))
    assert set(server.paths) == {PATHS[name]}
    here = play(cases, open_model(agent))
    assert [spoken(t) for t in there] == [spoken(t) for t in here]
    assert [t.effects for t in there] == [t.effects for t in here]
    assert any(t.effects for t in here), "the agent did nothing, so nothing was compared"


class Fixed:
    """Answers every request with one output, and keeps what it was asked."""

    name = identity = "fixed"

    def __init__(self, output: Output) -> None:
        self._output = output
        self.asked: list[Request] = []

    def generate(self, requests: list[Request]) -> list[Output]:
        self.asked += requests
        return [self._output] * len(requests)


SAID = Output(Message(role="assistant", content="Good."), tokens=(3, 2))


@contextmanager
def posting(model: Model, faults: float = 0.0) -> Iterator[tuple[Any, Server]]:
    server = Server(model, faults)
    with served(server.app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client, server


def once(name: str) -> Output:
    """One question, asked without trying again."""
    model = open_model(name, network=True)
    assert isinstance(model, ApiModel)

    async def ask() -> Output:
        try:
            return await model.ask(Request("c", [Message(role="user", content="Hello.")]))
        finally:
            await model.aclose()

    return asyncio.run(ask())


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    ("output", "finish"),
    [
        (Output(Message(role="assistant", content="so f"), "length"), "length"),
        (Output(Message(role="assistant"), "refused"), "refused"),
        (Output(Message(role="assistant"), "error", error="no memory left"), "error"),
        (Output(Message(role="assistant", content="done")), "stop"),
    ],
)
def test_how_an_answer_ended_survives_each_format(name: str, output: Output, finish: str) -> None:
    with serving(Fixed(output)):
        got = once(name)
    assert got.finish == finish, got.error
    if finish == "error":
        assert "500" in (got.error or "")
    else:
        assert got.message.content == output.message.content


def test_the_items_of_a_response_become_the_turns_they_stand_for() -> None:
    model = Fixed(SAID)
    call = {"type": "function_call", "call_id": "a", "name": "send", "arguments": '{"to": "ann", "copies": 2}'}
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Send "}, {"type": "input_text", "text": "it."}]},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I will."}]},
        call,
        {"type": "function_call", "call_id": "b", "name": "stop", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "sent"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "stopped"}]},
    ]
    tool = {
        "type": "function",
        "name": "send",
        "description": "Sends.",
        "parameters": {"type": "object", "properties": {"to": {"type": "string", "description": "who"}}},
    }
    body = {"model": "m", "input": items, "instructions": "Obey.", "tools": [tool], "max_output_tokens": 9}
    with posting(model) as (client, _):
        answer = client.post("/v1/responses", json=body).json()
    [request] = model.asked
    calls = (
        ToolCall(id="a", name="send", arguments={"to": "ann", "copies": "2"}),
        ToolCall(id="b", name="stop", arguments={}),
    )
    assert request.messages == [
        Message(role="system", content="Obey."),
        Message(role="system", content="Be brief."),
        Message(role="user", content="Send it."),
        Message(role="assistant", content="I will.", tool_calls=calls),
        Message(role="tool", content="sent", tool_call_id="a"),
        Message(role="tool", content="stopped", tool_call_id="b"),
    ]
    assert [(t.name, t.description, dict(t.parameters)) for t in request.tools] == [("send", "Sends.", {"to": "who"})]
    assert request.max_tokens == 9
    assert answer["output"][0]["content"][0]["text"] == "Good."
    assert answer["usage"]["input_tokens"] == 3
    assert answer["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/responses", {"input": "Hello.", "stream": True}, "does not stream"),
        ("/v1/chat/completions", {"messages": [], "stream": True}, "does not stream"),
        ("/v1/responses", {"input": [{"type": "computer_call"}]}, "'computer_call' is not supported"),
        ("/v1/chat/completions", {}, "messages"),
        ("/v1/responses", [], "cannot be read"),
    ],
)
def test_a_request_that_it_cannot_serve_is_refused_with_a_reason(path: str, body: Any, said: str) -> None:
    with posting(Fixed(SAID)) as (client, server):
        answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert server.paths == {}


def test_a_text_in_place_of_items_is_the_users() -> None:
    model = Fixed(SAID)
    with posting(model) as (client, _):
        client.post("/v1/responses", content=json.dumps({"input": "Hello."}))
    assert model.asked[0].messages == [Message(role="user", content="Hello.")]


@pytest.mark.parametrize(("fault", "finish"), [("refusal", "refused"), ("no choice", "error")])
@pytest.mark.parametrize("name", PATHS)
def test_each_format_has_its_faults(name: str, fault: str, finish: str) -> None:
    with serving(Fixed(SAID), 1.0) as server:
        server.only = fault
        got = once(name)
    if (name, fault) == (OPENAI, "no choice"):
        # Inspect reads a response without items as an empty answer.
        assert (got.finish, got.message.content, got.message.tool_calls) == ("stop", "", ())
    else:
        assert got.finish == finish
