"""Any model that Holdfast opens, as an OpenAI-compatible server; with faults on purpose, to see who withstands them.

    python examples/serve.py organism/pocket --port 8000 --faults 0.3
    OPENAI_API_KEY=none OPENAI_BASE_URL=http://127.0.0.1:8000/v1 holdfast measure --model openai/pocket …

A faulty answer is one of `FAULTS`, drawn from a seed: two runs that ask in the same order meet the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models import Model, Output, Request, open_model
from holdfast.models.chat_format import argument_texts

FAULTS = ("429", "500", "timeout", "truncated", "not json", "no choice", "refusal", "bad arguments")
_FINISH = {"length": "length", "refused": "content_filter", "error": "stop"}


class Server:
    """The application, and what it has done.

    Args:
        model: answers.
        faults: share of the calls that are answered wrongly.
        hang: seconds of a call that hangs.
        seed: of the faults.

    Attributes:
        counts: answers given, by fault; the sound ones under `""`.
        only: the one fault to make; empty for all.
        price: tokens that each answer says it took; 0 for what the model counts.
        wait: seconds that a 429 asks to wait.
    """

    def __init__(self, model: Model, faults: float = 0.0, hang: float = 3600.0, seed: int = 0) -> None:
        self._model, self._share, self._hang = model, faults, hang
        self._random = random.Random(seed)
        self._one = asyncio.Lock()
        self.counts: Counter[str] = Counter()
        self.only, self.price, self.wait = "", 0, 0
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._chat, methods=["POST"])])

    async def _chat(self, http: HttpRequest) -> Response:
        body = await http.json()
        fault = (self.only or self._random.choice(FAULTS)) if self._random.random() < self._share else ""
        self.counts[fault] += 1
        if fault == "429":
            return JSONResponse({"error": {"message": "slow down"}}, 429, headers={"retry-after": str(self.wait)})
        if fault == "500":
            return JSONResponse({"error": {"message": "out of order"}}, 500)
        if fault == "timeout":
            await asyncio.sleep(self._hang)
        async with self._one:
            [output] = await asyncio.to_thread(self._model.generate, [asked(body)])
        output = replace(output, tokens=(0, self.price)) if self.price else output
        answer = completion(str(body.get("model")), output)
        if fault == "no choice":
            answer["choices"] = []
        if fault == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
            answer["choices"] = [{"index": 0, "message": message, "finish_reason": "content_filter"}]
        if fault == "bad arguments":
            _spoil(answer)
        if fault == "not json":
            return Response("<html>Bad gateway</html>", media_type="application/json")
        return Cut(answer) if fault == "truncated" else JSONResponse(answer)


class Cut(JSONResponse):
    """A body that ends in the middle, though its length was promised."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2]})


def asked(body: Mapping[str, Any]) -> Request:
    """A request of the chat completions API as ours."""
    return Request(
        case="",
        messages=[_message(turn) for turn in body["messages"]],
        tools=[_tool(tool["function"]) for tool in body.get("tools") or ()],
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens") or 512,
        temperature=body.get("temperature") or 0.0,
        seed=body.get("seed") or 0,
    )


def _message(turn: Mapping[str, Any]) -> Message:
    content = turn.get("content") or ""
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    calls = [
        ToolCall(
            id=call["id"],
            name=call["function"]["name"],
            arguments=argument_texts(json.loads(call["function"]["arguments"])),
        )
        for call in turn.get("tool_calls") or ()
    ]
    role = "system" if turn["role"] == "developer" else turn["role"]
    told = {"role": role, "content": text, "tool_calls": calls, "tool_call_id": turn.get("tool_call_id")}
    return Message.model_validate(told)


def _tool(function: Mapping[str, Any]) -> ToolSpec:
    properties = function.get("parameters", {}).get("properties", {})
    means = {name: entry.get("description", "") for name, entry in properties.items()}
    return ToolSpec(name=function["name"], description=function.get("description", ""), parameters=means)


def completion(model: str, output: Output) -> dict[str, Any]:
    """An answer of ours as the chat completions API gives it."""
    message = output.message
    calls: Sequence[dict[str, Any]] = [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))},
        }
        for i, c in enumerate(message.tool_calls)
    ]
    said: dict[str, Any] = {"role": "assistant", "content": message.content or None}
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


def _spoil(answer: dict[str, Any]) -> None:
    for call in answer["choices"][0]["message"].get("tool_calls", ()):
        call["function"]["arguments"] = call["function"]["arguments"][:-1] + ', "to"'


def main() -> None:
    """Serve on the loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="as `holdfast measure --model` takes it")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--faults", type=float, default=0.0, help="share of the calls that are answered wrongly")
    options = parser.parse_args()
    uvicorn.run(Server(open_model(options.model), options.faults).app, host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
