"""Serves any model that Holdfast opens over an OpenAI-compatible API, with planted faults to test clients.

    python examples/serve.py organism/pocket --port 8000 --faults 0.3
    export OPENAI_API_KEY=none OPENAI_BASE_URL=http://127.0.0.1:8000/v1
    holdfast measure --model openai/pocket --worlds pocket-leaking --cases 2 --skip-probe --out results/served

It answers `POST /v1/chat/completions` and `POST /v1/responses`, both with tools and without streaming.  Inspect's
`openai/…` provider uses the second.  Its `openai-api/local/…` provider uses the first, and reads LOCAL_API_KEY and
LOCAL_BASE_URL instead of the two variables above.  `--skip-probe`: the organism cannot answer the probe.

A faulty answer is one of `FAULTS`, drawn from a seed: two runs with the same order of requests get the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models import Model, Output, Request, open_model
from holdfast.models.formats.values import argument_texts

FAULTS = ("429", "500", "timeout", "truncated", "not json", "no choice", "refusal", "bad arguments")
_FINISH = {"length": "length", "refused": "content_filter"}
_REFUSAL = "I cannot help with that."
Json = dict[str, Any]


class Server:
    """The application, and counts of its answers.

    Args:
        model: the model that answers.
        faults: share of the requests that get a faulty answer.
        hang: seconds that the fault "timeout" waits.
        seed: seed of the faults.

    Attributes:
        counts: number of answers by fault; those without a fault under `""`.
        paths: number of readable requests by path.
        only: the only fault to plant; empty for all.
        price: output tokens that each answer reports; 0 for what the model counts.
        wait: seconds that a 429 asks to wait.
    """

    def __init__(self, model: Model, faults: float = 0.0, hang: float = 3600.0, seed: int = 0) -> None:
        self._model, self._share, self._hang = model, faults, hang
        self._random = random.Random(seed)
        self._one = asyncio.Lock()
        self.counts: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.only, self.price, self.wait = "", 0, 0
        routes = [Route(form.path, self._answering(form), methods=["POST"]) for form in FORMS]
        self.app = Starlette(routes=routes)

    def _answering(self, form: Form) -> Callable[[HttpRequest], Any]:
        async def answer(http: HttpRequest) -> Response:
            return await self._answer(http, form)

        return answer

    async def _answer(self, http: HttpRequest, form: Form) -> Response:
        try:
            body = await http.json()
            request = form.asked(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _error(400, f"the request cannot be read: {type(error).__name__}: {error}")
        if body.get("stream"):
            return _error(400, "this server does not stream: leave 'stream' out")
        self.paths[form.path] += 1
        fault = (self.only or self._random.choice(FAULTS)) if self._random.random() < self._share else ""
        self.counts[fault] += 1
        if fault == "429":
            return _error(429, "slow down", {"retry-after": str(self.wait)})
        if fault == "500":
            return _error(500, "out of order")
        if fault == "timeout":
            await asyncio.sleep(self._hang)
        async with self._one:
            [output] = await asyncio.to_thread(self._model.generate, [request])
        if output.finish == "error":
            return _error(500, output.error or "the model failed")
        output = replace(output, tokens=(0, self.price)) if self.price else output
        answer = form.told(str(body.get("model")), output)
        if fault in form.spoil:
            form.spoil[fault](answer)
        if fault == "not json":
            return Response("<html>Bad gateway</html>", media_type="application/json")
        return Cut(answer) if fault == "truncated" else JSONResponse(answer)


@dataclass(frozen=True)
class Form:
    """One of the two request formats: how a request is read, an answer is written, and an answer is spoiled."""

    path: str
    asked: Callable[[Mapping[str, Any]], Request]
    told: Callable[[str, Output], Json]
    spoil: Mapping[str, Callable[[Json], None]]


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status, headers=headers)


class Cut(JSONResponse):
    """A body that ends in the middle of its announced length."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2]})


# --------------------------------------------------------------------------------------------- /v1/chat/completions


def asked(body: Mapping[str, Any]) -> Request:
    """Convert a request of the chat completions API to a `Request`."""
    return Request(
        case="",
        messages=[_message(turn) for turn in body["messages"]],
        tools=[_tool(tool["function"]) for tool in body.get("tools") or ()],
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens") or 512,
        temperature=body.get("temperature") or 0.0,
        seed=body.get("seed") or 0,
    )


def _message(turn: Mapping[str, Any]) -> Message:
    calls = [
        _call(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in turn.get("tool_calls") or ()
    ]
    told = {"role": _role(turn), "content": _text(turn.get("content")), "tool_calls": calls}
    return Message.model_validate(told | {"tool_call_id": turn.get("tool_call_id")})


def completion(model: str, output: Output) -> Json:
    """Convert an `Output` to an answer of the chat completions API."""
    message = output.message
    calls = [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))},
        }
        for i, c in enumerate(message.tool_calls)
    ]
    said: Json = {"role": "assistant", "content": message.content or None}
    finish = "tool_calls" if calls else _FINISH.get(output.finish, "stop")
    read, written = output.tokens
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": said | ({"tool_calls": calls} if calls else {}), "finish_reason": finish}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def _refuse_chat(answer: Json) -> None:
    message = {"role": "assistant", "content": None, "refusal": _REFUSAL}
    answer["choices"] = [{"index": 0, "message": message, "finish_reason": "content_filter"}]


def _cut_chat_arguments(answer: Json) -> None:
    for call in answer["choices"][0]["message"].get("tool_calls", ()):
        _cut_arguments(call["function"])


# ----------------------------------------------------------------------------------------------------- /v1/responses


def asked_response(body: Mapping[str, Any]) -> Request:
    """Convert a request of the responses API to a `Request`."""
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    instructions = [Message(role="system", content=body["instructions"])] if body.get("instructions") else []
    return Request(
        case="",
        messages=[*instructions, *_turns(items)],
        tools=[_tool(tool) for tool in body.get("tools") or () if tool["type"] == "function"],
        max_tokens=body.get("max_output_tokens") or 512,
        temperature=body.get("temperature") or 0.0,
    )


def _turns(items: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Convert items to messages: consecutive texts and calls of the assistant become one message."""
    turns: list[Message] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            turns.append(Message(role="tool", content=_text(item["output"]), tool_call_id=item["call_id"]))
        elif kind == "reasoning":
            continue
        elif kind == "function_call":
            call = _call(item["call_id"], item["name"], item["arguments"])
            _say(turns, Message(role="assistant", tool_calls=(call,)))
        elif kind == "message":
            _say(turns, Message.model_validate({"role": _role(item), "content": _text(item.get("content"))}))
        else:
            raise ValueError(f"an input item of type '{kind}' is not supported")
    return turns


def _say(turns: list[Message], message: Message) -> None:
    if message.role == "assistant" and turns and turns[-1].role == "assistant":
        last = turns.pop()
        content = "\n".join(filter(None, (last.content, message.content)))
        message = Message(role="assistant", content=content, tool_calls=(*last.tool_calls, *message.tool_calls))
    turns.append(message)


def response(model: str, output: Output) -> Json:
    """Convert an `Output` to an answer of the responses API."""
    message = output.message
    items: list[Json] = []
    if message.content or not message.tool_calls:
        items.append(_spoken({"type": "output_text", "text": message.content, "annotations": []}))
    items += [
        {
            "type": "function_call",
            "id": f"fc_{i}",
            "call_id": f"call_{i}",
            "name": call.name,
            "arguments": json.dumps(dict(call.arguments)),
            "status": "completed",
        }
        for i, call in enumerate(message.tool_calls)
    ]
    reason = {"length": "max_output_tokens", "refused": "content_filter"}.get(output.finish)
    read, written = output.tokens
    return {
        "id": "resp_0",
        "object": "response",
        "created_at": 0,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    }


def _spoken(part: Json) -> Json:
    return {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed", "content": [part]}


def _refuse_response(answer: Json) -> None:
    answer["output"] = [_spoken({"type": "refusal", "refusal": _REFUSAL})]
    answer |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}


def _cut_response_arguments(answer: Json) -> None:
    for item in answer["output"]:
        if item["type"] == "function_call":
            _cut_arguments(item)


# -------------------------------------------------------------------------------------------------------------- both


def _role(turn: Mapping[str, Any]) -> str:
    return "system" if turn["role"] == "developer" else str(turn["role"])


def _text(content: Any) -> str:
    """The text of a content field: a string, a list of parts, or nothing."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _call(id_: str, name: str, arguments: str) -> ToolCall:
    return ToolCall(id=id_, name=name, arguments=argument_texts(json.loads(arguments)))


def _tool(function: Mapping[str, Any]) -> ToolSpec:
    properties = (function.get("parameters") or {}).get("properties", {})
    means = {name: entry.get("description", "") for name, entry in properties.items()}
    return ToolSpec(name=function["name"], description=function.get("description") or "", parameters=means)


def _cut_arguments(call: Json) -> None:
    call["arguments"] = call["arguments"][:-1] + ', "to"'


FORMS = (
    Form(
        "/v1/chat/completions",
        asked,
        completion,
        {
            "no choice": lambda answer: answer.update(choices=[]),
            "refusal": _refuse_chat,
            "bad arguments": _cut_chat_arguments,
        },
    ),
    Form(
        "/v1/responses",
        asked_response,
        response,
        {
            "no choice": lambda answer: answer.update(output=[]),
            "refusal": _refuse_response,
            "bad arguments": _cut_response_arguments,
        },
    ),
)


def main() -> None:
    """Serve on the loopback address."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a name that `holdfast measure --model` accepts")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--faults", type=float, default=0.0, help="share of the requests that get a faulty answer")
    options = parser.parse_args()
    uvicorn.run(Server(open_model(options.model), options.faults).app, host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
