"""Messages for chat templates; turns parsed without knowledge of the request."""

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import message_dicts, parse_turn, read_content, tool_dicts

CALL = '<tool_call>{"name": "send_mail", "arguments": {"to": "a@b", "text": "hi"}}</tool_call>'
SENT = ToolCall(id="0", name="send_mail", arguments={"to": "a@b", "text": "hi"})


def test_calls_reasoning_and_text_are_separated() -> None:
    assert parse_turn("  hello. ") == Message(role="assistant", content="hello.")
    assert parse_turn(CALL).tool_calls == (SENT,)
    turn = parse_turn(f"<think>\nhm.\n</think>\n\nok. {CALL}\n{CALL}")
    assert (turn.reasoning, turn.content) == ("hm.", "ok.")
    assert [call.id for call in turn.tool_calls] == ["0", "1"]


def test_reasoning_opened_by_the_prompt_or_truncated() -> None:
    assert parse_turn(f"hm.</think>{CALL}") == Message(role="assistant", reasoning="hm.", tool_calls=(SENT,))
    cut = parse_turn(f"<think>hm. {CALL}")
    assert (cut.content, cut.tool_calls, cut.unread) == ("", (), "there is a call in reasoning that is never closed")
    assert parse_turn("<think>hm.") == Message(role="assistant", reasoning="hm.")
    assert parse_turn(f"<think>{CALL}</think>done.").tool_calls == ()


def test_argument_values_become_text() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"a": 3, "b": null, "c": ["x"], "d": "3"}}</tool_call>'
    assert parse_turn(text).tool_calls[0].arguments == {"a": "3", "b": "null", "c": '["x"]', "d": "3"}


def test_messages_have_the_openai_format() -> None:
    [shape] = message_dicts([Message(role="assistant", tool_calls=(SENT,), reasoning="hm.")])
    assert shape["tool_calls"][0]["function"] == {"name": "send_mail", "arguments": {"to": "a@b", "text": "hi"}}
    assert shape["reasoning_content"] == "hm."
    [tool] = tool_dicts([ToolSpec(name="f", description="does f", parameters={"x": "an x"})]) or []
    assert tool["function"]["parameters"]["properties"] == {"x": {"type": "string", "description": "an x"}}
    assert tool["function"]["parameters"]["required"] == ["x"]
    assert tool_dicts([]) is None


def test_a_call_in_the_content_beside_those_that_the_server_parsed_makes_the_turn_unread() -> None:
    tools = [ToolSpec(name="send_mail", description="Sends.", parameters={"to": "whom", "text": "what"})]
    other = '{"name": "send_mail", "arguments": {"to": "c@d", "text": "ho"}}'
    for content, lost in (
        (f"```json\n{other}\n```", True),
        (other, True),
        (f"<tool_call>{other}</tool_call>", True),
        (CALL, False),
        ("I call send_mail with to: a@b now.", False),
        (f"Another form would be {other} here.", False),
        ("", False),
    ):
        turn = Message(role="assistant", content=content, tool_calls=(SENT,))
        read = read_content(turn, tools)
        assert read.tool_calls == (SENT,), content
        assert bool(read.unread) == lost, content
