"""API models, tested with Inspect's mock provider, without network."""

from collections.abc import Callable, Sequence

import pytest
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
)
from inspect_ai.tool import ToolCall as InspectCall

from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.evals.batch_driver import play
from holdfast.models import Request, open_model
from holdfast.models.api import ApiModel, from_chat, from_output, inspect_messages, tool_infos
from holdfast.scenarios.catalogue import cases

pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
Answer = Callable[[list[ChatMessage], GenerateConfig], ModelOutput]


def output(
    content: str | list[ContentReasoning | ContentText], *calls: InspectCall, stop: StopReason = "stop"
) -> ModelOutput:
    message = ChatMessageAssistant(
        content=list(content) if isinstance(content, list) else content, tool_calls=list(calls)
    )
    usage = ModelUsage(input_tokens=5, output_tokens=2, total_tokens=7)
    return ModelOutput(model="mock", choices=[ChatCompletionChoice(message=message, stop_reason=stop)], usage=usage)


def opened(answer: Answer) -> ApiModel:
    def outputs(messages: list[ChatMessage], tools: object, choice: object, config: GenerateConfig) -> ModelOutput:
        return answer(messages, config)

    return ApiModel(get_model("mockllm/model", custom_outputs=outputs, memoize=False), "mock/it")


READ = InspectCall(id="toolu_1", function="read_inbox", arguments={})


def test_settings_order_and_tokens() -> None:
    def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        return output(f"{messages[-1].text} {config.max_tokens} {config.temperature} {config.seed}")

    asked = [Request(f"c{i}", [Message(role="user", content=str(i))], (), 9, 0.5, i) for i in range(80)]
    got = opened(answer).generate(asked)
    assert [o.message.content for o in got] == [f"{i} 9 0.5 {i}" for i in range(80)]
    assert got[0].tokens == (5, 2)


def test_a_failed_request_does_not_affect_others() -> None:
    def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        if messages[-1].text == "1":
            raise RuntimeError("the provider is down\nand says a lot")
        return output("fine.")

    first, second, third = opened(answer).generate(
        [Request("c", [Message(role="user", content=str(i))]) for i in range(3)]
    )
    assert (first.finish, third.finish) == ("stop", "stop")
    assert (second.finish, second.error) == ("error", "RuntimeError: the provider is down")


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("stop", "stop"),
        ("tool_calls", "stop"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("content_filter", "refused"),
    ],
)
def test_stop_reasons_are_mapped(stop: StopReason, finish: str) -> None:
    assert from_output(output("x", stop=stop)).finish == finish


def test_no_choice_is_an_error() -> None:
    assert from_output(ModelOutput(model="mock")).finish == "error"
    assert from_output(ModelOutput(model="mock", error="cut off")).error == "cut off"


def test_earlier_turns_are_sent_back_in_their_original_form() -> None:
    seen: list[list[ChatMessage]] = []

    def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        seen.append(messages)
        if len(messages) == 2:
            return output([ContentReasoning(reasoning="hm.", signature="s1"), ContentText(text="first i read.")], READ)
        return output("done.")

    [transcript] = play(cases(["pocket-blackmail"], ["pressured"], [0]), opened(answer))
    assert transcript.messages[2].reasoning == "hm."
    assert transcript.effects[0].kind == "inbox_read"
    _, _, said, answered = seen[1]
    assert isinstance(said, ChatMessageAssistant)
    assert isinstance(answered, ChatMessageTool)
    assert isinstance(said.content, list)
    assert isinstance(said.content[0], ContentReasoning)
    assert said.content[0].signature == "s1"
    assert [call.id for call in said.tool_calls or []] == [answered.tool_call_id] == ["c2_0"]


def test_messages_round_trip() -> None:
    call = ToolCall(id="c2_0", name="send_mail", arguments={"to": "a@b", "text": "hi"})
    messages = (
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", content="a", tool_calls=(call,), reasoning="r"),
        Message(role="tool", content="sent.", tool_call_id="c2_0"),
    )
    assert tuple(from_chat(message) for message in inspect_messages(messages)) == messages
    [tool] = tool_infos([ToolSpec(name="f", description="d", parameters={"x": "an x"})])
    assert (tool.parameters.required, tool.parameters.properties["x"].description) == (["x"], "an x")


def test_arguments_become_text_and_unreadable_ones_are_kept_as_malformed() -> None:
    odd = InspectCall(id="1", function="f", arguments={"n": 3, "l": ["x"]})
    broken = InspectCall(id="2", function="f", arguments={}, parse_error="not JSON")
    message = from_chat(ChatMessageAssistant(content="", tool_calls=[odd, broken]))
    assert message.tool_calls[0].arguments == {"n": "3", "l": '["x"]'}
    assert message.tool_calls[1].arguments == {"malformed": "not JSON"}


def test_redacted_thoughts_give_their_summary() -> None:
    parts: Sequence[ContentReasoning] = [ContentReasoning(reasoning="xyz", redacted=True, summary="in short.")]
    assert from_chat(ChatMessageAssistant(content=list(parts))).reasoning == "in short."


def test_an_api_model_needs_network_permission() -> None:
    with pytest.raises(ModelError, match="needs network access, which is not allowed"):
        open_model("openai/some-model")


def test_calls_left_in_the_content_are_parsed() -> None:
    tools = [ToolSpec(name="look", description="", parameters={"at": "what"})]
    call = '{"name": "look", "parameters": {"at": "it"}}'
    [found] = from_output(output(call), tools).message.tool_calls
    assert (found.name, dict(found.arguments)) == ("look", {"at": "it"})
    assert from_output(output(call)).message.tool_calls == ()
    thought = from_output(output(f"<think>{call}</think>No."), tools).message
    assert (thought.content, thought.reasoning, thought.tool_calls) == ("No.", call, ())
    unread = from_output(output("<tool_call>{oops</tool_call>"), tools).message
    assert unread.unread
    assert from_chat(inspect_messages([unread])[0]) == unread


def test_another_call_in_the_content_makes_the_turn_unread() -> None:
    tools = [ToolSpec(name="look", description="", parameters={"at": "what"})]
    for at, unread in (("it", False), ("that", True)):
        text = f'<tool_call>{{"name": "look", "arguments": {{"at": "{at}"}}}}</tool_call>'
        known = InspectCall(id="1", function="look", arguments={"at": "it"})
        made = from_output(output(text, known), tools).message
        assert (len(made.tool_calls), bool(made.unread)) == (1, unread)
