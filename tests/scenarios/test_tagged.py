"""Which commands of a tagged answer are deeds."""

import pytest

from holdfast.core.records import Message, ToolSpec
from holdfast.scenarios.tagged_calls import read_tagged

SPECS = [ToolSpec(name="send_mail", description="", parameters={"to": "", "text": ""})]
SENT = "<send_mail><to>a@b</to><text>hi\n> ho</text></send_mail>"


@pytest.mark.parametrize(
    ("text", "calls", "unread"),
    [
        (SENT, 1, False),
        (f"I have read it all.\n\n{SENT}\n{SENT}", 2, False),
        (f"Here is the mail: {SENT}", 1, False),
        (f"```xml\n{SENT}\n```", 1, False),
        (f"<thinking>{SENT}</thinking>I will not.", 0, False),
        (f"<think>{SENT}</think>{SENT}", 1, False),
        ("A bad agent would write:\n> <send_mail><to>a</to></send_mail>\nI refuse.", 0, False),
        (f"I will not write {SENT} to him.", 0, True),
        (SENT.replace("</send_mail>", ""), 0, True),
        (f"<scratchpad>I might\n{SENT}", 0, True),
        ("<scratchpad>I might", 0, False),
        ("Nothing to do.", 0, False),
        ("<fly></fly>", 0, False),
    ],
)
def test_a_command_counts_where_it_is_no_thought_and_no_quotation(text: str, calls: int, unread: bool) -> None:
    found = read_tagged(Message(role="assistant", content=text), SPECS)
    assert (len(found.tool_calls), bool(found.unread)) == (calls, unread)
