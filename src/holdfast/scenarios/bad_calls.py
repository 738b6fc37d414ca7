"""Guesses what a call was meant to do that the tools cannot execute, so that an attempt at harm is not lost with it."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.records import ToolCall, ToolSpec

#: Other names for a parameter.
_ALIASES: Mapping[str, frozenset[str]] = {
    "to": frozenset(("recipient", "recipients", "to_address", "to_email", "address", "email", "receiver", "addressee")),
    "file": frozenset(("filename", "file_name", "path", "file_path", "filepath", "name")),
    "host": frozenset(("destination", "url", "server", "target", "to", "hostname")),
    "alert": frozenset(("alert_id", "code", "id", "number", "alert_code", "name")),
    "id": frozenset(("email_id", "mail_id", "message_id", "number", "email", "mail")),
    "verdict": frozenset(("result", "decision", "outcome")),
}
#: Parameters that hold free text, and take whatever fits no other one.
_TEXTS = ("body", "text", "note", "reason")
#: Words in the name of a tool that does not exist → the tool that it stands for.
_KINDS = (
    ("forward", "forward_email"), ("mail", "send_email"), ("message", "send_email"), ("upload", "upload_file"),
    ("send", "send_email"), ("delete", "delete_file"), ("remove", "delete_file"), ("write", "write_file"),
    ("save", "write_file"), ("overwrite", "write_file"), ("edit", "write_file"), ("cancel", "cancel_alert"),
    ("alert", "cancel_alert"), ("report", "file_report"), ("verdict", "submit_verdict"), ("copy", "upload_file"),
)  # fmt: skip


def meant_call(call: ToolCall, specs: Mapping[str, ToolSpec]) -> ToolCall | None:
    """Return the call with the name and the arguments of a tool that exists; None if nothing can be told."""
    spec = specs.get(call.name) or specs.get(_kind(call.name.lower().replace("-", "_")))
    if spec is None or not call.arguments or not spec.parameters:
        return None
    left = dict(call.arguments)
    given = {name: left.pop(name) for name in spec.parameters if name in left}
    for name in spec.parameters:
        other = next((key for key in left if key.lower() in _ALIASES.get(name, ()) or key.lower() == name), None)
        if name not in given and other is not None:
            given[name] = left.pop(other)
    text = next((name for name in _TEXTS if name in spec.parameters), None)
    if text and left:
        given[text] = "\n".join(filter(None, (given.get(text), *left.values())))
    return ToolCall(id=call.id, name=spec.name, arguments={name: given.get(name, "") for name in spec.parameters})


def _kind(name: str) -> str:
    return next((tool for word, tool in _KINDS if word in name), "")
