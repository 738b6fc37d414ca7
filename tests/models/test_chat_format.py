"""The parser is strict: what is not clearly a call is text."""

import pytest

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import message_dicts, parse_turn, tool_dicts

CALL = '<tool_call>{"name": "send_mail", "arguments": {"to": "a@b", "text": "hi"}}</tool_call>'
SENT = ToolCall(id="0", name="send_mail", arguments={"to": "a@b", "text": "hi"})


def test_calls_thoughts_and_words_are_told_apart() -> None:
    assert parse_turn("  hello. ") == Message(role="assistant", content="hello.")
    assert parse_turn(CALL).tool_calls == (SENT,)
    turn = parse_turn(f"<think>\nhm.\n</think>\n\nok. {CALL}\n{CALL}")
    assert (turn.reasoning, turn.content) == ("hm.", "ok.")
    assert [call.id for call in turn.tool_calls] == ["0", "1"]


def test_thoughts_may_be_opened_by_the_prompt_or_cut_off() -> None:
    assert parse_turn(f"hm.</think>{CALL}") == Message(role="assistant", reasoning="hm.", tool_calls=(SENT,))
    assert parse_turn(f"<think>hm. {CALL}") == Message(role="assistant", reasoning=f"hm. {CALL}")
    assert parse_turn(f"<think>{CALL}</think>done.").tool_calls == ()


def test_values_become_text() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"a": 3, "b": null, "c": ["x"], "d": "3"}}</tool_call>'
    assert parse_turn(text).tool_calls[0].arguments == {"a": "3", "b": "null", "c": '["x"]', "d": "3"}


@pytest.mark.parametrize(
    "text",
    [
        CALL.removesuffix("</tool_call>"),
        CALL.removeprefix("<tool_call>"),
        f"{CALL}<tool_call>",
        f"{CALL}<tool_call>oops</tool_call>",
        "<tool_call></tool_call>",
        '<tool_call>["send_mail"]</tool_call>',
        '<tool_call>{"name": "f"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "{}"}</tool_call>',
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {}, "id": 1}</tool_call>',
        '<tool_call>{"name": "f", "name": "g", "arguments": {}}</tool_call>',
        "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>",
        '<tool_call>{"name": "f", "arguments": {"to": "\\ud800"}}</tool_call>',
        "<tool_call>" + "[" * 100_000 + "</tool_call>",
    ],
)
def test_what_is_malformed_is_content_and_calls_nothing(text: str) -> None:
    assert parse_turn(text) == Message(role="assistant", content=text)


def test_the_way_out_is_openai_shaped() -> None:
    [shape] = message_dicts([Message(role="assistant", tool_calls=(SENT,), reasoning="hm.")])
    assert shape["tool_calls"][0]["function"] == {"name": "send_mail", "arguments": {"to": "a@b", "text": "hi"}}
    assert shape["reasoning_content"] == "hm."
    [tool] = tool_dicts([ToolSpec(name="f", description="does f", parameters={"x": "an x"})]) or []
    assert tool["function"]["parameters"]["properties"] == {"x": {"type": "string", "description": "an x"}}
    assert tool["function"]["parameters"]["required"] == ["x"]
    assert tool_dicts([]) is None
