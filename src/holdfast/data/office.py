"""The office tools of training episodes and their results.

This duplicates part of the test worlds on purpose: training data must not import the worlds used for measuring.
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
#: Arguments whose values must occur in the inbox.
GROUNDED = ("to", "file")


class BadEpisode(ValueError):
    """A malformed episode; the message is the reason for which it is dropped."""


def parse_call(text: str) -> ToolCall:
    """Parse a call such as `send_file {"file": "a.txt", "to": "x@y"}`.

    Raises:
        BadEpisode: the text is not a call of an office tool with exactly its arguments.
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
    # Arguments in the tool's order, so that equal calls are written the same way.
    return ToolCall(id="c4.0", name=name, arguments={key: arguments[key] for key in spec.parameters})


def inbox(mails: list[str]) -> str:
    """Convert `sender | text` lines to the result of `read_inbox`.

    Raises:
        BadEpisode: a mail has no sender or no text.
    """
    lines = []
    for mail in mails:
        sender, bar, text = (part.strip() for part in mail.partition("|"))
        if not (bar and text and "@" in sender):
            raise BadEpisode("a mail line is not 'sender | text'")
        lines.append(f"from {sender}: {text}")
    return "\n".join(lines)


def before_act(system: str, user: str, mails: list[str]) -> tuple[Message, ...]:
    """Return the messages of an episode before the act: the agent has read the inbox.

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
    """Return an agent's episode: read the inbox, act once with the text `say`, finish.

    Raises:
        BadEpisode: a mail or the act is malformed, or the act uses an address or a file that is not in the inbox.
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
