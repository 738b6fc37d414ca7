"""Reads tool calls that are written as tags in one answer, as in studies that had no tools.

    <send_email><to>mira@arven.com</to><subject>Visit</subject><body>At three.</body></send_email>

Tags are read into the calls that a model with tools would have made, and executed by the same office.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import read_content
from holdfast.models.formats import announces, unclosed

#: Tools that only read have no tag: a tagged prompt holds the inbox and the store already.
READING = frozenset({"read_inbox", "list_emails", "read_email", "list_files", "read_file", "list_alerts"})
_QUOTED = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_SCRATCHPAD = re.compile(r"<scratchpad>(.*?)(?:</scratchpad>|\Z)", re.DOTALL)


def commands(specs: Iterable[ToolSpec]) -> str:
    """One line for each tool that acts: its tag and its effect."""
    acting = [spec for spec in specs if spec.name not in READING]
    return "\n".join(f"{_form(spec.name, spec.parameters)}: {spec.description}" for spec in acting)


def parse_tagged_calls(text: str, specs: Iterable[ToolSpec]) -> tuple[ToolCall, ...]:
    """The calls in a text, in order; tags that name no known tool count as text."""
    names = {spec.name: spec for spec in specs if spec.name not in READING}
    if not names:
        return ()
    found = re.finditer(rf"<({'|'.join(map(re.escape, names))})>(.*?)</\1>", text, re.DOTALL)
    return tuple(
        ToolCall(id=f"t{i}", name=match[1], arguments=_arguments(match[2], names[match[1]]))
        for i, match in enumerate(found)
    )


def read_tagged(message: Message, specs: Sequence[ToolSpec]) -> Message:
    """The answer with the calls that its commands stand for.

    Thoughts are no deeds, nor is what is quoted on a line that begins with `>`.  The message is unread where a command
    stands inside a sentence that does not announce it, has no closing tag, or stands in a thought that never ends.
    """
    said, message = message.content, read_content(message, ())
    known = [spec.name for spec in specs if spec.name not in READING]
    if message.tool_calls or not known:
        return message
    problems = []
    if (thought := unclosed(said)) and parse_tagged_calls(thought, specs):
        problems.append("a command stands in a thought that is never closed")
    text, names = message.content, "|".join(map(re.escape, known))
    kept, at, before = "", 0, ""
    for found in re.finditer(rf"<({names})>.*?</\1>", text, re.DOTALL):
        before += text[at : found.start()]
        line = before.rpartition("\n")[2]
        if not line.lstrip().startswith(">"):
            kept += found[0]
            if not announces(line):
                problems.append("a command inside a sentence may be one or be quoted")
        at = found.end()
    rest = _QUOTED.sub("", before + text[at:])
    if re.search(rf"<(?:{names})>", rest):
        problems.append("a command has no closing tag")
    if message.unread or problems:
        return message.model_copy(update={"unread": message.unread or problems[0]})
    return message.model_copy(update={"tool_calls": parse_tagged_calls(kept, specs)})


def without_scratchpad(message: Message) -> Message:
    """Move the text between scratchpad tags to the reasoning of the message."""
    thoughts = [part.strip() for part in _SCRATCHPAD.findall(message.content)]
    if not thoughts:
        return message
    reasoning = "\n\n".join(filter(None, (message.reasoning, *thoughts)))
    return message.model_copy(update={"content": _SCRATCHPAD.sub("", message.content).strip(), "reasoning": reasoning})


def tagged_documents(
    mail: Sequence[Mapping[str, str]], files: Mapping[str, Mapping[str, object]], alerts: Mapping[str, str]
) -> str:
    """Everything that reading tools would show, as one text."""
    parts = ["E-mail in the inbox, oldest first:"]
    parts += ["\n".join([*_head(i, entry), "", entry["text"]]) for i, entry in enumerate(mail, 1)]
    parts += [f"File {name}:\n{entry['text']}" for name, entry in files.items()]
    parts += [f"Alert {name}: {text}" for name, text in alerts.items()]
    return "\n\n".join(parts)


def _head(number: int, entry: Mapping[str, str]) -> list[str]:
    lines = [f"{key.capitalize()}: {entry[key]}" for key in ("from", "to", "cc", "time", "subject") if key in entry]
    return [f"E-mail {number}", *lines]


def _form(name: str, parameters: Mapping[str, str]) -> str:
    inner = "".join(f"<{key}>{what}</{key}>" for key, what in parameters.items())
    return f"<{name}>{inner}</{name}>"


def _arguments(body: str, spec: ToolSpec) -> dict[str, str]:
    pairs = [
        (key, re.search(rf"<{re.escape(key)}>(.*?)</{re.escape(key)}>", body, re.DOTALL)) for key in spec.parameters
    ]
    return {key: match[1].strip() for key, match in pairs if match}
