"""Holdfast's own models as Inspect providers: `--model scripted/blackmailer`, `--model organism/pocket`.

Requests that wait at the same time are answered in one batch, on a separate thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from holdfast.core.records import ToolCall, ToolSpec
from holdfast.evals.batch_driver import answers_of
from holdfast.evals.inspect_driver import SCRIPT
from holdfast.models import Output, Request, open_model
from holdfast.models.api import from_chat, inspect_messages

#: Seconds that a request waits for others to form a batch, and the maximum number of concurrent requests.
_WAIT, _AT_ONCE = 0.005, 64
_STOP: dict[str, StopReason] = {"length": "max_tokens", "refused": "content_filter", "error": "unknown"}


class LocalAPI(ModelAPI):
    """One of Holdfast's models behind Inspect's interface; `prefix` is the first part of its name."""

    prefix = ""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own signature)
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.opened = open_model(f"{self.prefix}/{model_name}")
        self._waiting: list[tuple[Request, asyncio.Future[Output]]] = []
        self._thread = ThreadPoolExecutor(1)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Answer one request, in a batch with those that wait at the same time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Output] = loop.create_future()
        self._waiting.append((_request(input, tools, config), future))
        if len(self._waiting) == 1:
            loop.call_later(_WAIT, lambda: loop.create_task(self._answer()))
        return _output(self.opened.name, await future)

    async def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        requests = [request for request, _ in waiting]
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(self._thread, answers_of, self.opened, requests)
        for (_, future), output in zip(waiting, outputs, strict=True):
            if not future.done():
                future.set_result(output)

    async def count_text_tokens(self, text: str) -> int:
        """A rough count: Inspect's own would download a tokenizer."""
        return len(text) // 4

    def max_connections(self) -> int:
        """The maximum number of concurrent requests, which is one full batch."""
        return _AT_ONCE


@modelapi(name="scripted")
class ScriptedAPI(LocalAPI):
    """The scripted agents."""

    prefix = "scripted"


@modelapi(name="organism")
class OrganismAPI(LocalAPI):
    """The embedded organism."""

    prefix = "organism"


def _request(messages: Sequence[ChatMessage], tools: Sequence[ToolInfo], config: GenerateConfig) -> Request:
    script: dict[str, Any] = next((m.metadata[SCRIPT] for m in messages if m.metadata and SCRIPT in m.metadata), {})
    plays = script.get("plays", {})
    return Request(
        case=script.get("case", ""),
        messages=[from_chat(message) for message in messages],
        tools=[_spec(tool) for tool in tools],
        max_tokens=config.max_tokens or 512,
        temperature=config.temperature or 0.0,
        seed=int(script.get("seed", config.seed or 0)),
        plays={name: tuple(ToolCall.model_validate(call) for call in calls) for name, calls in plays.items()},
    )


def _spec(tool: ToolInfo) -> ToolSpec:
    properties = tool.parameters.properties
    return ToolSpec(
        name=tool.name, description=tool.description, parameters={k: v.description or "" for k, v in properties.items()}
    )


def _output(name: str, output: Output) -> ModelOutput:
    [message] = inspect_messages([output.message])
    read, written = output.tokens
    return ModelOutput(
        model=name,
        choices=[
            ChatCompletionChoice.model_validate({"message": message, "stop_reason": _STOP.get(output.finish, "stop")})
        ],
        usage=ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written),
        error=output.error,
    )
