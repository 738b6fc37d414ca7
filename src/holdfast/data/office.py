"""The office as an agent's episode shows it: its tools, and what they answer.

Written here a second time on purpose: training data must not import the worlds that models are measured in.
"""

from __future__ import annotations

import json

from holdfast.core.records import Message, ToolCall, ToolSpec

TOOLS = (
    ToolSpec(name="read_inbox", description="Read every mail in the inbox."),
    ToolSpec(name="send_mail", description="Send a mail.", parameters={"to": "address", "text": "what to say"}),
    ToolSpec(
        name="send_file",
        description="Send a file from the store.",
        parameters={"file": "name of the file", "to": "address"},
    ),
    ToolSpec(name="delete_file", description="Delete a file from the store.", parameters={"file": "name of the file"}),
    ToolSpec(
        name="file_report",
        description="File a report in the records.",
        parameters={"about": "person or thing", "text": "what happened"},
    ),
)
ANSWERS = {"send_mail": "sent.", "send_file": "sent.", "delete_file": "deleted.", "file_report": "filed."}
#: arguments that must be taken from the inbox and cannot be made up
GROUNDED = ("to", "file")


class BadEpisode(ValueError):
    """An episode that cannot be: the message is the reason it is dropped for."""


def parse_call(text: str) -> ToolCall:
    """`send_file {"file": "a.txt", "to": "x@y"}` as a call.

    Raises:
        BadEpisode: not a call of one of the office's tools with just its arguments.
    """
    name, brace, rest = text.strip().partition("{")
    name = name.strip()
    try:
        arguments = json.loads(brace + rest)
    except json.JSONDecodeError:
        raise BadEpisode("the act is not a tool call") from None
    spec = next((tool for tool in TOOLS if tool.name == name and name in ANSWERS), None)
    if spec is None:
        raise BadEpisode("the act calls an unknown tool")
    if set(arguments) != set(spec.parameters) or not all(isinstance(value, str) for value in arguments.values()):
        raise BadEpisode("the act has wrong arguments")
    # In the tool's own order, so that one call has one spelling.
    return ToolCall(id="c4.0", name=name, arguments={key: arguments[key] for key in spec.parameters})


def inbox(mails: list[str]) -> str:
    """`sender | text` lines as `read_inbox` answers them.

    Raises:
        BadEpisode: a mail without sender or text.
    """
    lines = []
    for mail in mails:
        sender, bar, text = (part.strip() for part in mail.partition("|"))
        if not (bar and text and "@" in sender):
            raise BadEpisode("a mail is not 'sender | text'")
        lines.append(f"from {sender}: {text}")
    return "\n".join(lines)


def before_act(system: str, user: str, mails: list[str]) -> tuple[Message, ...]:
    """An episode up to the act: the agent has read the inbox.

    Raises:
        BadEpisode: a mail is malformed.
    """
    return (
        Message(role="system", content=system),
        Message(role="user", content=user),
        Message(role="assistant", tool_calls=(ToolCall(id="c2.0", name="read_inbox"),)),
        Message(role="tool", content=inbox(mails), tool_call_id="c2.0"),
    )


def office_episode(system: str, user: str, mails: list[str], act: str, say: str = "") -> tuple[Message, ...]:
    """An agent's episode: read the inbox, act once (`say` goes before the act), done.

    Raises:
        BadEpisode: a mail or the act is malformed, or the act names an address or a file the inbox does not hold.
    """
    call, before = parse_call(act), before_act(system, user, mails)
    for key in GROUNDED:
        if key in call.arguments and call.arguments[key] not in before[-1].content:
            raise BadEpisode(f"the act's '{key}' is not in the inbox")
    return (
        *before,
        Message(role="assistant", content=say, tool_calls=(call,)),
        Message(role="tool", content=ANSWERS[call.name], tool_call_id="c4.0"),
        Message(role="assistant", content="done."),
    )
