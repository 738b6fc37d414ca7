"""API models through Inspect, with our `Model` protocol; translation between our messages and Inspect's.

    open_model("openai/gpt-…", network=True)

API keys and base URLs come from Inspect's environment variables.  Some providers require data of earlier turns (such
as signatures of reasoning, or ids of parts), so each turn is stored in its original form and sent back unchanged.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import JSONDecodeError
from typing import Any

from inspect_ai.model import (
    BatchConfig,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.model import Model as InspectModel
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolInfo, ToolParam, ToolParams

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.core.text import storable_tree
from holdfast.models.api_errors import causes, explain, first_line, plain, status
from holdfast.models.base import PROBE, Finish, Output, Request
from holdfast.models.chat_format import read_content
from holdfast.models.formats.values import argument_texts
from holdfast.models.pool import Pool, RateLimits
from holdfast.models.registry import api_identity

#: Inspect's stop reason → ours; any other reason is `stop`.
FINISH: Mapping[str, Finish] = {"max_tokens": "length", "model_length": "length", "content_filter": "refused"}
#: Providers whose client retries by itself; we switch that off, because `Pool` retries and counts the attempts.
_RETRYING = ("openai", "openai-api", "anthropic")
#: Providers whose batch API Inspect supports; for others it silently sends single requests.
BATCHING = ("anthropic", "google", "openai", "together")
#: Key in the metadata of an Inspect message for `Message.unread`; metadata is not sent to providers.
_UNREAD = "holdfast:unread"
#: HTTP statuses with which a working server asks the client to wait.
_BUSY = (429, 503, 529)
_REMEMBERED = 4096
_MANY = 4096


def open_named(name: str) -> ApiModel:
    """Open a model by its Inspect name, such as `openai/…` or `vllm/…`.

    Raises:
        ModelError: if Inspect does not know the model.
        PrerequisiteError: if the provider's package or API key is missing.
    """
    own: dict[str, Any] = {"max_retries": 0} if name.partition("/")[0] in _RETRYING else {}
    try:
        # A client is bound to the event loop of its first use, so it must not be shared (memoized).
        return ApiModel(get_model(name, memoize=False, **own), name)
    except ValueError as error:
        raise ModelError(f"no model called '{name}'", remedy=first_line(error)) from None
    except Exception as error:  # Inspect raises its own kind of error for a missing package or key
        message = plain(error)
        command = re.search(r"pip install .*", message)
        lines = (line.strip() for line in message.partition("pip install")[0].split("\n"))
        reason = "; ".join(filter(None, lines)).removesuffix("Install with:").rstrip("; ")
        what = f"'{name}' cannot be reached: {reason}"
        remedy = command[0] if command else "check the provider's package and set its API key"
        raise PrerequisiteError(what, remedy=remedy) from None


class ApiModel:
    """An Inspect model with the `Model` protocol."""

    def __init__(self, model: InspectModel, name: str) -> None:
        self.name = name
        self.identity = api_identity(name)
        self._model = model
        #: Timeout of `ask` in seconds.
        self.patience = 600.0
        self._batch: bool | BatchConfig = False
        self._pool = Pool([self], RateLimits(at_once=32))
        self._sent_turns: OrderedDict[tuple[str, int, int], ChatMessageAssistant] = OrderedDict()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one turn for each request; requests run concurrently, and a failed one has finish `error`."""
        # Each call has its own event loop, and connections are bound to the loop that opened them.
        return asyncio.run(self._gather(requests))

    async def _gather(self, requests: Sequence[Request]) -> list[Output]:
        try:
            return list(await asyncio.gather(*(self._pool.ask(request) for request in requests)))
        finally:
            await self.aclose()

    def use_batches(self, config: bool | BatchConfig = True) -> None:
        """Send requests through the provider's batch API: often half the price, and up to a day; probes go at once.

        If the process ends, requests in an open batch are charged and lost: Inspect cannot resume a batch.

        Raises:
            ModelError: if Inspect supports no batch API for the provider.
        """
        if self.name.partition("/")[0] not in BATCHING:
            remedy = f"leave out --batch, or use one of {', '.join(BATCHING)}"
            raise ModelError(f"Inspect supports no batch API for '{self.name}'", remedy=remedy)
        self._batch = config

    async def ask(self, request: Request) -> Output:
        """Request one turn, without retries; the caller limits concurrency and retries."""
        # A batch takes hours, so there is no timeout, and only Inspect can retry within it.
        if self._batch and request.case != PROBE:
            return await self._ask(request, GenerateConfig(batch=self._batch))
        return await self._ask(request, GenerateConfig(max_retries=0, max_connections=_MANY), self.patience)

    async def aclose(self) -> None:
        """Close the connections in the event loop that opened them; another loop can then open its own."""
        await self._model.api.aclose()
        self._model.api.initialize()

    async def _ask(self, request: Request, own: GenerateConfig, patience: float | None = None) -> Output:
        originals = {
            i: raw
            for i in range(len(request.messages))
            if (raw := self._sent_turns.get((request.case, request.seed, i)))
        }
        config = own.merge(
            GenerateConfig(max_tokens=request.max_tokens, temperature=request.temperature, seed=request.seed)
        )
        try:
            messages, tools = inspect_messages(request.messages, originals), tool_infos(request.tools)
            async with asyncio.timeout(patience):
                output = await self._model.generate(messages, tools, config=config)
            answer = from_output(output, request.tools)
        except Exception as raised:  # each provider has its own exception types
            why = explain(raised, str(getattr(self._model.api, "base_url", None) or ""))
            wait = self._retry_after(next(causes(raised)))
            down = wait is not None and status(raised) not in _BUSY
            return Output(Message(role="assistant"), "error", error=why, retry_after=wait, down=down)
        if output.choices:
            self._sent_turns[request.case, request.seed, len(request.messages)] = sendable(output.message)
        while len(self._sent_turns) > _REMEMBERED:
            self._sent_turns.popitem(last=False)
        return answer

    def _retry_after(self, error: BaseException) -> float | None:
        """Return the seconds to wait before a retry; None if the error is permanent.

        Timeouts and incomplete answers are always retried; Inspect decides for other errors.
        """
        if isinstance(error, (TimeoutError, JSONDecodeError)):
            return 0.0
        verdict = self._model.api.should_retry(error) if isinstance(error, Exception) else None
        return float(getattr(verdict, "retry_after", None) or 0) if verdict else None


# ------------------------------------------------------------------------------------------------- ours → Inspect's


def inspect_messages(
    messages: Sequence[Message], originals: Mapping[int, ChatMessageAssistant] | None = None
) -> list[ChatMessage]:
    """Convert our messages to Inspect's; `originals` maps positions to assistant turns in their original form."""
    return [_chat_message(message, (originals or {}).get(i)) for i, message in enumerate(messages)]


def _chat_message(message: Message, raw: ChatMessageAssistant | None) -> ChatMessage:
    if message.role == "system":
        return ChatMessageSystem(content=message.content)
    if message.role == "user":
        return ChatMessageUser(content=message.content)
    if message.role == "tool":
        return ChatMessageTool(content=message.content, tool_call_id=_id(message.tool_call_id or ""))
    calls = [InspectCall(id=_id(c.id), function=c.name, arguments=dict(c.arguments)) for c in message.tool_calls]
    if raw is not None and len(raw.tool_calls or []) == len(calls):
        own = [replace(call, id=ours.id) for call, ours in zip(raw.tool_calls or [], calls, strict=True)]
        return raw.model_copy(update={"tool_calls": own or None})
    content: str | list[Content] = message.content
    if message.reasoning:
        content = [ContentReasoning(reasoning=message.reasoning), ContentText(text=message.content)]
    metadata = {_UNREAD: message.unread} if message.unread else None
    return ChatMessageAssistant(content=content, tool_calls=calls or None, metadata=metadata)


def sendable(turn: ChatMessageAssistant) -> ChatMessageAssistant:
    """Escape lone surrogates in a turn, because no client can send them."""
    try:
        turn.model_dump_json()
    except ValueError:
        return ChatMessageAssistant.model_validate(storable_tree(turn.model_dump()))
    return turn


def _id(ours: str) -> str:
    """Replace the dots of a call id, because some providers accept only letters, digits, `_` and `-`."""
    return ours.replace(".", "_")


def tool_infos(tools: Sequence[ToolSpec]) -> list[ToolInfo]:
    """Convert our tool specs to Inspect's; all arguments are required strings."""
    return [
        ToolInfo(
            name=tool.name,
            description=tool.description,
            parameters=ToolParams(
                properties={k: ToolParam(type="string", description=v) for k, v in tool.parameters.items()},
                required=list(tool.parameters),
            ),
        )
        for tool in tools
    ]


# ------------------------------------------------------------------------------------------------- Inspect's → ours


def from_output(output: ModelOutput, tools: Sequence[ToolSpec] = ()) -> Output:
    """Convert an Inspect output to ours; an answer without a choice has finish `error`.

    Tool calls that a server left in the content are parsed; `tools` are the tools of the request.
    """
    usage = output.usage
    tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    if output.error or not output.choices:
        # An answer without a choice is a transient fault of the server, so it is retried.
        error, wait = (output.error, None) if output.error else ("the answer has no choices", 0.0)
        return Output(
            Message(role="assistant"),
            finish="error",
            tokens=tokens,
            error=error,
            retry_after=wait,
            down=wait is not None,
        )
    message, finish = from_chat(output.message), FINISH.get(str(output.stop_reason), "stop")
    message = message if message.unread else read_content(message, tools, finish == "length")
    full = "the conversation is longer than the model's context" if output.stop_reason == "model_length" else None
    return Output(message, finish, tokens, full)


def from_chat(message: ChatMessage) -> Message:
    """Convert one Inspect message to ours."""
    if isinstance(message, ChatMessageTool):
        return Message(role="tool", content=message.text, tool_call_id=message.tool_call_id)
    if not isinstance(message, ChatMessageAssistant):
        return Message(role=message.role, content=message.text)
    parts = message.content if isinstance(message.content, list) else []
    thoughts = [part for part in parts if isinstance(part, ContentReasoning)]
    reasoning = "\n".join(filter(None, ((t.summary if t.redacted else t.reasoning) for t in thoughts)))
    calls = tuple(_call(call) for call in message.tool_calls or ())
    unread = (message.metadata or {}).get(_UNREAD)
    return Message(role="assistant", content=message.text, tool_calls=calls, reasoning=reasoning or None, unread=unread)


def _call(call: InspectCall) -> ToolCall:
    # A call with unreadable arguments must fail in the world, not vanish; no tool has an argument of this name.
    arguments: dict[str, Any] = {"malformed": call.parse_error} if call.parse_error else call.arguments
    return ToolCall(id=call.id, name=call.function, arguments=argument_texts(arguments))
