"""Reads tool calls that are written as tags in one answer, as in studies without tool interfaces.

    <send_email><to>mira@arven.com</to><subject>Visit</subject><body>At three.</body></send_email>

Tags become the calls that a model with tools would make, and the same office executes them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.core.records import Message, ToolSpec
from holdfast.scenarios.command_reader import Command, TagForm, read_commands

#: Tools that only read have no tag: a tagged prompt holds the inbox and the store already.
READING = frozenset(
    {
        "read_inbox", "list_emails", "read_email", "list_files", "read_file", "list_alerts", "search",
        "read_calendar", "list_channels", "read_channel", "list_tickets", "read_ticket",
    }
)  # fmt: skip
_OPENING = re.compile(r"<\s*(\w+)(?:\s[^<>]*)?>")
_CLOSING = re.compile(r"</\s*(\w+)\s*>")


def commands(specs: Iterable[ToolSpec]) -> str:
    """Return one line for each tool that acts: its tag and its description."""
    acting = [spec for spec in specs if spec.name not in READING]
    return "\n".join(f"{_form(spec.name, spec.parameters)}: {spec.description}" for spec in acting)


def read_tagged(message: Message, specs: Sequence[ToolSpec]) -> Message:
    """Read the commands in an answer as calls; see `command_reader` for which of them are acts."""
    acting = {spec.name: spec for spec in specs if spec.name not in READING}
    return read_commands(message, _form_of(acting)) if acting else message


def _form_of(acting: Mapping[str, ToolSpec]) -> TagForm:
    names = "|".join(map(re.escape, acting))
    # Other spellings of a name, and parts of a command outside any command, are a command that nobody can read.
    spelt = names.replace("_", "[-_ ]?")
    parts = "|".join(sorted({"to", "recipient", "recipients", "body", *_parts(acting.values())}))
    return TagForm(
        tools=tuple(acting.values()),
        opens=re.compile(rf"<\s*({names})\s*>", re.IGNORECASE),
        closes=r"<\s*/\s*{name}\s*>",
        near=re.compile(
            rf"(?:<|&lt;)\s*/?\s*(?:{spelt})\b|\[/?(?:{spelt})\]|(?:<|&lt;)\s*(?:{parts})\s*(?:>|&gt;)", re.IGNORECASE
        ),
        calls=lambda name, body: _calls(acting[name.lower()], body),
    )


def _parts(specs: Iterable[ToolSpec]) -> set[str]:
    """The names of the parts that only commands have; the others are words that stand in tags elsewhere too."""
    return {key for spec in specs for key in spec.parameters} - {"text", "note", "reason", "id", "about"}


def tagged_documents(state: Mapping[str, Any], brief: bool = False) -> str:
    """Return everything that the reading tools would show, as one text.

    Args:
        state: the stores of a case.
        brief: whether to leave out the numbers and times of mails.
    """
    parts = [] if brief else ["E-mail in the inbox, oldest first:"]
    parts += ["\n".join([*_head(i, entry, brief), "", entry["text"]]) for i, entry in enumerate(state["mail"], 1)]
    parts += [f"File {name}:\n{entry['text']}" for name, entry in state["files"].items()]
    parts += [f"Alert {name}: {text}" for name, text in state.get("alerts", {}).items()]
    parts += [f"Channel #{name}:\n{entry['text']}" for name, entry in state.get("channels", {}).items()]
    parts += [f"Ticket {name} {held['title']}:\n{held['text']}" for name, held in state.get("tickets", {}).items()]
    if not brief and (calendar := state.get("calendar")):
        parts.append("\n".join(["Calendar of today:", *calendar]))
    return "\n\n".join(parts)


def _head(number: int, entry: Mapping[str, str], brief: bool) -> list[str]:
    keys = ("from", "cc", "subject") if brief else ("from", "to", "cc", "time", "subject")
    lines = [f"{key.capitalize()}: {entry[key]}" for key in keys if key in entry]
    return lines if brief else [f"E-mail {number}", *lines]


def _form(name: str, parameters: Mapping[str, str]) -> str:
    inner = "".join(f"<{key}>{what}</{key}>" for key, what in parameters.items())
    return f"<{name}>{inner}</{name}>"


def _calls(spec: ToolSpec, body: str) -> list[Command]:
    """Return the call of a command; none if its parts cannot be read."""
    given, rest = _split(body)
    if rest.strip() and not spec.parameters.keys() <= given.keys():
        return []
    return [(spec.name, given)]


def parts_of(body: str) -> dict[str, str]:
    """Return the parts of a command that are written as tags; a part given several times is one with commas."""
    return _split(body)[0]


def _split(body: str) -> tuple[dict[str, str], str]:
    """Return the parts of a command by name, and the text outside them.

    Closing tags are indexed first: a search for the closing tag of each opening one takes quadratic time.
    """
    closings: dict[str, deque[re.Match[str]]] = {}
    for closing in _CLOSING.finditer(body):
        closings.setdefault(closing[1].lower(), deque()).append(closing)
    given: dict[str, str] = {}
    rest, end, at = [], 0, 0
    while opening := _OPENING.search(body, at):
        at, key = opening.end(), opening[1].lower()
        ahead = closings.get(key, deque())
        while ahead and ahead[0].start() < at:
            ahead.popleft()
        if ahead:
            text = body[at : ahead[0].start()].strip()
            given[key] = f"{given[key]}, {text}" if key in given else text
            rest.append(body[end : opening.start()])
            at = end = ahead[0].end()
    return given, "".join([*rest, body[end:]])
