"""Any model that Inspect reaches, behind our `Model` protocol; and the translation between our messages and Inspect's.

    open_model("openai/gpt-…", network=True)

Keys and addresses are Inspect's own environment variables.  What a provider needs back in later turns (signatures of
thoughts, ids of parts) is remembered for each episode and given back with its own turn.
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
from holdfast.models.base import Finish, Output, Request
from holdfast.models.chat_format import read_content
from holdfast.models.formats.values import argument_texts
from holdfast.models.pool import Pool, RateLimits
from holdfast.models.registry import api_identity

#: Inspect's reasons to stop → ours; a reason not listed is a plain stop.
FINISH: Mapping[str, Finish] = {"max_tokens": "length", "model_length": "length", "content_filter": "refused"}
#: Providers whose client tries again by itself, unseen: tries are counted in one place, and it is not there.
_RETRYING = ("openai", "openai-api", "anthropic")
#: Providers with a batch interface that Inspect speaks; it asks the others one by one and does not say so.
BATCHING = ("anthropic", "google", "openai", "together")
#: Where a message of Inspect's keeps why it could not be read; no provider sends the metadata of messages.
_UNREAD = "holdfast:unread"
#: HTTP statuses by which a server that works asks to wait.
_BUSY = (429, 503, 529)
_REMEMBERED = 4096
_MANY = 4096


def open_named(name: str) -> ApiModel:
    """Open a model by Inspect's name for it, such as `openai/…` or `vllm/…`.

    Raises:
        ModelError: Inspect knows no such model.
        PrerequisiteError: the provider's package or key is missing.
    """
    own: dict[str, Any] = {"max_retries": 0} if name.partition("/")[0] in _RETRYING else {}
    try:
        # A client belongs to the loop it was first used in, so none is shared.
        return ApiModel(get_model(name, memoize=False, **own), name)
    except ValueError as error:
        raise ModelError(f"no model called '{name}'", remedy=first_line(error)) from None
    except Exception as error:  # Inspect says what is missing in an error of its own
        said = plain(error)
        command = re.search(r"pip install .*", said)
        what = f"'{name}' cannot be reached: {said.splitlines()[0].removesuffix(' Install with:')}"
        remedy = command[0] if command else "install the provider's package and set its key"
        raise PrerequisiteError(what, remedy=remedy) from None


class ApiModel:
    """An Inspect model behind the `Model` protocol."""

    def __init__(self, model: InspectModel, name: str) -> None:
        self.name = name
        self.identity = api_identity(name)
        self._model = model
        #: seconds after which an answer that was asked for with `ask` counts as lost
        self.patience = 600.0
        self._batch: bool | BatchConfig = False
        self._pool = Pool([self], RateLimits(at_once=32))
        self._said: OrderedDict[tuple[str, int, int], ChatMessageAssistant] = OrderedDict()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """One turn for each request, many at a time; what the provider refuses is an `error` finish."""
        # Connections belong to the loop that opened them, and each call has a loop of its own.
        return asyncio.run(self._gather(requests))

    async def _gather(self, requests: Sequence[Request]) -> list[Output]:
        try:
            return list(await asyncio.gather(*(self._pool.ask(request) for request in requests)))
        finally:
            await self.aclose()

    def use_batches(self, config: bool | BatchConfig = True) -> None:
        """Let `ask` go through the provider's batch interface: half the price at many, and up to a day.

        What is in a batch when the process ends is paid for and lost: Inspect takes up no batch of another process.

        Raises:
            ModelError: the provider has none.
        """
        if self.name.partition("/")[0] not in BATCHING:
            remedy = f"these have one: {', '.join(BATCHING)}"
            raise ModelError(f"'{self.name}' has no batch interface that Inspect speaks", remedy=remedy)
        self._batch = config

    async def ask(self, request: Request) -> Output:
        """One turn, asked for once: whoever calls this counts the tries and how many requests are out at a time."""
        # In a batch the provider holds the request for hours, and only Inspect can tell when to try again.
        if self._batch:
            return await self._ask(request, GenerateConfig(batch=self._batch))
        return await self._ask(request, GenerateConfig(max_retries=0, max_connections=_MANY), self.patience)

    async def aclose(self) -> None:
        """Close the connections, in the loop that opened them; another loop may open its own."""
        await self._model.api.aclose()
        self._model.api.initialize()

    async def _ask(self, request: Request, own: GenerateConfig, patience: float | None = None) -> Output:
        said = {
            i: raw for i in range(len(request.messages)) if (raw := self._said.get((request.case, request.seed, i)))
        }
        config = own.merge(
            GenerateConfig(max_tokens=request.max_tokens, temperature=request.temperature, seed=request.seed)
        )
        try:
            messages, tools = inspect_messages(request.messages, said), tool_infos(request.tools)
            async with asyncio.timeout(patience):
                output = await self._model.generate(messages, tools, config=config)
            answer = from_output(output, request.tools)
        except Exception as raised:  # each provider raises its own kinds
            why = explain(raised, str(getattr(self._model.api, "base_url", None) or ""))
            again = self._again(next(causes(raised)))
            down = again is not None and status(raised) not in _BUSY
            return Output(Message(role="assistant"), "error", error=why, again=again, down=down)
        if output.choices:
            self._said[request.case, request.seed, len(request.messages)] = sendable(output.message)
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        return answer

    def _again(self, error: BaseException) -> float | None:
        """Seconds to wait where an error passes: Inspect says so, or the answer was late or not whole; else None."""
        if isinstance(error, (TimeoutError, JSONDecodeError)):
            return 0.0
        verdict = self._model.api.should_retry(error) if isinstance(error, Exception) else None
        return float(getattr(verdict, "retry_after", None) or 0) if verdict else None


# ------------------------------------------------------------------------------------------------- ours → Inspect's


def inspect_messages(
    messages: Sequence[Message], said: Mapping[int, ChatMessageAssistant] | None = None
) -> list[ChatMessage]:
    """Our messages as Inspect's; `said` gives, by position, turns as their model wrote them."""
    return [_chat_message(message, (said or {}).get(i)) for i, message in enumerate(messages)]


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


def sendable(said: ChatMessageAssistant) -> ChatMessageAssistant:
    """A turn as its model wrote it, with lone surrogates written out: no client could send them back."""
    try:
        said.model_dump_json()
    except ValueError:
        return ChatMessageAssistant.model_validate(storable_tree(said.model_dump()))
    return said


def _id(ours: str) -> str:
    """Some providers take letters, digits, `_` and `-` only."""
    return ours.replace(".", "_")


def tool_infos(tools: Sequence[ToolSpec]) -> list[ToolInfo]:
    """Our tool specs as Inspect's, all arguments required text."""
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
    """What an Inspect model gave, as ours; an answer without a choice is an `error` finish.

    Calls that a server left in the content are read there; `tools` are those that the request offered.
    """
    usage = output.usage
    tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    if output.error or not output.choices:
        # An answer without a choice is a fault on the way, and the next one may have one.
        error, again = (output.error, None) if output.error else ("the model gave no choice", 0.0)
        return Output(
            Message(role="assistant"), finish="error", tokens=tokens, error=error, again=again, down=again is not None
        )
    message, finish = from_chat(output.message), FINISH.get(str(output.stop_reason), "stop")
    message = message if message.unread else read_content(message, tools, finish == "length")
    full = "the conversation is longer than the model's context" if output.stop_reason == "model_length" else None
    return Output(message, finish, tokens, full)


def from_chat(message: ChatMessage) -> Message:
    """One message of Inspect's as ours."""
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
    # A call whose arguments could not be read must fail in the world, not vanish: no tool takes this argument.
    arguments: dict[str, Any] = {"malformed": call.parse_error} if call.parse_error else call.arguments
    return ToolCall(id=call.id, name=call.function, arguments=argument_texts(arguments))
