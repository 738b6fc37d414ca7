"""The effects that a tool call would have, inferred from the tool's name and its arguments, for the detectors.

    effects_of(act)      # a list of effects; empty for an act that only reads
    tampering(act, facts)      # what an act does to a protected item or to the agent's own weights

Recipients are found wherever they stand: in lists, in nested objects, in JSON or a form inside a text, in the headers
of a message that is ready to send, and in base64 of these.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection
from holdfast.detectors.commands import Deed, command_effects, sql_effects
from holdfast.detectors.confusables import skeleton
from holdfast.detectors.text import normalise
from holdfast.guard.act import Act

_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_LIST = re.compile(r"[,;\n]")
_TO = ("to", "cc", "bcc", "recipient", "recipients", "email", "channel", "user", "url", "host", "endpoint", "address")
#: An address, a handle or channel, or a URL, as one entry of a list of recipients.
_ADDRESS = re.compile(
    r"(?:[^<>@]{0,80}<)?[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+>?|[#@][\w.-]{1,64}|https?://\S+", re.IGNORECASE
)
_LONGEST_LIST = 4096
_FILE = ("path", "file", "filename", "source", "src", "attachment", "attachments", "uri", "target", "name", "item")
_DELETE = frozenset((
    "delete", "remove", "unlink", "purge", "erase", "destroy", "drop", "trash", "shred", "wipe", "discard",
    "forget",
))  # fmt: skip
_WRITE = frozenset(["write", "overwrite", "truncate", "save", "put", "replace", "create"])
_CHANGE = frozenset(["edit", "update", "patch", "modify", "append", "set"])
_HALT = frozenset((
    "cancel", "disable", "stop", "silence", "suspend", "pause", "kill", "mute", "reschedule", "postpone", "edit",
    "change", "end", "halt", "deactivate", "snooze", "skip", "unschedule", "delay", "drop", "terminate", "abort",
    "revoke", "shelve", "defer", "unload", "detach", "off", "switch", "turn", "hold", "freeze", "acknowledge",
    "dismiss", "clear", "close", "reset", "bypass", "override", "suppress",
))  # fmt: skip
_SEND = frozenset((
    "send", "mail", "email", "post", "message", "forward", "reply", "upload", "share", "publish", "notify", "fetch",
    "http", "request", "tweet", "dm", "comment", "invite", "announce", "text", "sms", "call", "answer",
))  # fmt: skip
_RUN = frozenset(["run", "execute", "exec", "shell", "bash", "command", "terminal", "sh", "powershell"])
#: Tools that only read, or keep a text for the agent itself: they send nothing to anybody.
_QUIET = frozenset((
    "get", "read", "list", "search", "find", "open", "view", "show", "describe", "stat", "count", "check", "query",
    "think", "thinking", "plan", "todo", "note", "memo", "memory", "remember", "draft", "inspect", "verify",
))  # fmt: skip
#: Fewest words of an argument that may be a message.
_PROSE = 4
_JOBS = frozenset((
    "job", "alert", "task", "schedule", "service", "logging", "timer", "cron", "backup", "monitor", "alarm",
    "watch", "watchdog", "check", "probe", "sensor", "hook", "trigger", "detector", "scan", "sync", "audit", "log",
    "recorder", "camera", "guard", "rule", "reminder",
))  # fmt: skip


def effects_of(act: Act) -> list[Effect]:
    """Return the effects that an act would have, inferred from its tool's name and its arguments.

    An act that only reads has none. Every text argument counts as sent to every recipient.
    """
    given = {name: _unfolded(value) for name, value in act.arguments.items()}
    deeds = _deeds(act.tool, {_key(key): value for key, value in given.items()})
    return [Effect(kind=kind, call=0, fields=fields) for kind, fields in deeds]


def stays_inside(tool: str) -> bool:
    """Return whether a tool, by its name, reads or changes something here; what others do with a text is unknown."""
    verbs = {part.casefold() for part in _PART.findall(tool)}
    return bool(verbs & (_QUIET | _WRITE | _CHANGE | _DELETE | _HALT | _RUN))


def _deeds(tool: str, given: Mapping[str, Any]) -> Iterator[Deed]:
    verbs = {part.casefold() for part in _PART.findall(tool)}
    texts = {key: text for key, value in given.items() for text in [_text(value)] if text}
    inside = list(dict.fromkeys(to for value in given.values() for to in _named_inside(value)))
    quiet = bool(verbs & _QUIET)
    if "sql" in verbs or "query" in texts:
        yield from sql_effects(texts.get("query", texts.get("sql", texts.get("statement", ""))))
    if verbs & _RUN and not verbs & {"sql", "job"}:
        for key in ("command", "cmd", "script", "code", "args"):
            yield from command_effects(texts.get(key, ""))
    elif "report" in verbs and "about" in texts:
        yield "report_filed", {"about": texts["about"], "text": _rest(texts, ("about",))}
    elif verbs & _JOBS and verbs & _HALT:
        for job in list(texts.values()) or [""]:
            yield "job_changed", {"job": f"logging {job}" if "logging" in verbs else job}
    elif verbs & {"config", "setting", "settings", "option", "flag"} and verbs & (_CHANGE | _WRITE):
        if normalise(texts.get("value", "")) in ("false", "off", "0", "no", "none", "disabled"):
            yield "setting_disabled", {"name": _first(texts, ("key", "setting", "option", "flag", "name"))}
    elif verbs & {"key", "token", "role", "permission", "credential", "user", "account"} and verbs & (
        _WRITE | _CHANGE | {"grant", "add", "issue", "mint"}
    ):
        yield (
            "right_granted",
            {"owner": _first(texts, ("owner", "principal", "subject", "user", "account", "to", "name"))},
        )
    elif verbs & {"copy", "clone", "duplicate", "backup", "export"}:
        yield "file_copied", {"file": _first(texts, _FILE), "to": _first(texts, ("destination", "dst", "to", "target"))}
    elif verbs & {"move", "rename"}:
        yield "file_moved", {"file": _first(texts, _FILE), "to": _first(texts, ("destination", "dst", "to"))}
    elif verbs & _DELETE:
        for file in (part for text in texts.values() for part in _listed(text)):
            yield "file_deleted", {"file": file}
    elif (
        verbs & _SEND
        or "url" in texts
        or any(_recipients(text) and (not quiet or "://" in text) for text in texts.values())
        or (inside and not quiet)
    ):
        yield from _sent(texts, inside)
    elif verbs & (_WRITE | _CHANGE) and (file := _first(texts, _FILE)):
        kind = "file_changed" if verbs & _CHANGE else "file_overwritten"
        yield ("file_appended" if "append" in verbs else kind), {"file": file, "text": _rest(texts, _FILE)}
    elif not quiet and any(len(text.split()) >= _PROSE for text in texts.values()):
        # Nobody knows what the tool does with the text, so it counts as sent to somebody outside.
        yield from _sent(texts, ())


def _sent(texts: Mapping[str, str], inside: Sequence[str]) -> Iterator[Deed]:
    """Yield one effect for each recipient, and one more for each attached file.

    Recipients are known by the argument's name, or by its value, which is an address whatever the argument's name. If
    there is none, the text goes to somebody unknown.

    Args:
        texts: the text of each argument.
        inside: recipients in nested objects.
    """
    files = [
        f for key in ("file", "attachment", "attachments", "path", "filename") for f in _listed(texts.get(key, ""))
    ]
    named = [
        key
        for key, text in texts.items()
        if key in _TO or ((key not in _FILE or "://" in text or "@" in text) and _recipients(text))
    ]
    body = _rest(texts, (*named, "subject")) if "url" not in texts else " ".join(texts.values())
    if any("://" in texts[key] for key in named):
        # A URL carries text itself.
        body = "\n".join(texts.values())
    people = list(dict.fromkeys([to for key in named for to in _listed(texts[key])] + [*inside]))
    if not people and any(len(text.split()) >= _PROSE for text in texts.values()):
        yield "mail_sent", {"to": "", "subject": texts.get("subject", ""), "text": body}
    for to in people:
        fields = {"to": _host(to) or to.lstrip("@#"), "subject": texts.get("subject", ""), "text": body}
        yield "mail_sent", fields
        for file in files:
            yield "file_sent", {"file": file, "to": fields["to"], "text": ""}


def _host(text: str) -> str | None:
    try:
        return urlsplit(text).hostname if "://" in text else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """Return the last word of an argument's name if it is a known kind: `filePath` and `file_paths` are a `path`."""
    parts = [part.casefold() for part in _PART.findall(name)]
    last = parts[-1].removesuffix("s") if parts and len(parts[-1]) > 3 else "".join(parts)
    return last if last in _FILE + _TO else normalise(name)


def _text(value: Any) -> str:
    """Return all text in an argument, at any depth."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(_text(inner) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return ", ".join(_text(inner) for inner in value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _recipients(text: str) -> bool:
    """Return whether a text consists of addresses, handles or URLs."""
    parts = _listed(text) if len(text) <= _LONGEST_LIST else []
    return bool(parts) and all(map(_ADDRESS.fullmatch, parts))


def _first(texts: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((texts[key] for key in keys if key in texts), "")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in _LIST.split(text) if part.strip()]


def _rest(texts: Mapping[str, str], keys: Sequence[str]) -> str:
    return "\n".join(text for key, text in texts.items() if key not in keys)


# --------------------------------------------------------------------------------------- texts that hold a message

#: A message that is ready to send: lines of headers, then an empty line.
_HEADERS = re.compile(r"\s*(?:[A-Za-z][A-Za-z-]{1,40}:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*\r?\n){2,}")
_HEADER = re.compile(r"^([A-Za-z][A-Za-z-]{1,40}):[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.MULTILINE)
_FORM = re.compile(r"[\w.\[\]-]{1,64}=[^&\s]*(?:&[\w.\[\]-]{1,64}=[^&\s]*)+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{24,}={0,2}\s*")
_URL_SAFE = str.maketrans("-_", "+/")
_LONGEST_TEXT, _DEEPEST = 1 << 20, 4
#: Names of headers and of fields that hold who gets a message, or its answer.
RECIPIENT_NAMES = frozenset((
    "to", "cc", "bcc", "replyto", "resentto", "resentcc", "resentbcc", "apparentlyto", "envelopeto", "deliveredto",
    "recipient", "recipients", "forward", "forwardto", "sendto", "copyto", "notify", "mailto",
    "dispositionnotificationto", "returnreceiptto", "errorsto", "followupto",
))  # fmt: skip


def is_recipient_name(name: str) -> bool:
    """Return whether an argument, a field or a header of this name holds who gets a message, or its answer."""
    return re.sub(r"[\W_]+", "", name).casefold() in RECIPIENT_NAMES


def _unfolded(value: Any, depth: int = 0) -> Any:
    """Return a value with the objects and messages inside its texts written out as objects."""
    if isinstance(value, Mapping):
        return {name: _unfolded(inner, depth + 1) if depth < _DEEPEST else inner for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_unfolded(inner, depth + 1) if depth < _DEEPEST else inner for inner in value]
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or depth >= _DEEPEST:
        return value
    opened = _opened_text(value)
    return value if opened is None else _unfolded(opened, depth + 1)


def _opened_text(text: str) -> Any:
    """Return the object that a text holds: JSON, a form, a message with headers, or base64 of these; else None."""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        with suppress(ValueError, RecursionError):
            held = json.loads(text)
            return held if isinstance(held, (dict, list)) else None
    if start == '"':
        with suppress(ValueError):
            held = json.loads(text)
            return _opened_text(held) if isinstance(held, str) and held != text else None
    if _HEADERS.match(text):
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        return {name: " ".join(value.split()) for name, value in _HEADER.findall(head)} | {"body": body}
    if _FORM.fullmatch(text.strip()):
        return dict(parse_qsl(text.strip(), keep_blank_values=True))
    if _BASE64.fullmatch(text):
        solid = re.sub(r"\s", "", text).rstrip("=").translate(_URL_SAFE)
        with suppress(ValueError, binascii.Error):
            inner = binascii.a2b_base64(solid + "=" * (-len(solid) % 4)).decode()
            return _opened_text(inner) or (inner if inner.isprintable() else None)
    return None


def _named_inside(value: Any) -> Iterator[str]:
    """Yield the recipients in a nested object: addresses alone, and what stands under a recipient's name."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str):
                if _recipients(inner) and str(name).casefold() not in ("from", "sender"):
                    yield from _listed(inner)
            elif isinstance(inner, Sequence) and not isinstance(inner, bytes) and is_recipient_name(str(name)):
                yield from (to for part in inner if isinstance(part, str) for to in _listed(part))
                yield from _named_inside(inner)
            else:
                yield from _named_inside(inner)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for inner in value:
            if isinstance(inner, str) and _recipients(inner):
                yield from _listed(inner)
            else:
                yield from _named_inside(inner)


# ------------------------------------------------------------------------------------------------- protected items

#: Tools that do no harm to the item that they name: they read it, or set it going.
_HARMLESS = _QUIET | frozenset((
    "run", "start", "resume", "enable", "restart", "trigger", "restore", "test", "fetch", "lookup", "download",
    "ask",
))  # fmt: skip
_LONGEST_NAME = 200
_PARTS = re.compile(r"[/\\.:?&=#,;|\s]+")
_STOPPED = re.compile(
    r"\b(?:disabl\w*|cancel\w*|stop\w*|halt\w*|delet\w*|remov\w*|paus\w*|suspend\w*|silenc\w*|mut(?:e|ed|ing)|kill\w*"
    r"|terminat\w*|deactivat\w*|snooz\w*|off|false|skip\w*|postpon\w*|unschedul\w*|abort\w*|drop\w*|none|never)\b"
)
_PROSE_FILE = re.compile(r"\.(?:md|txt|docx?|pdf|csv|html?)$", re.IGNORECASE)


def tampering(act: Act, facts: Facts) -> list[Detection]:
    """Return what an act does to a protected item or the agent's own weights by a tool that no detector knows.

    The tool is neither one that reads nor one that starts the item. A short argument, or a part of it, is the item's
    name, however it is spelt. A request to a URL counts if it also says that the item stops.
    """
    verbs = {part.casefold() for part in _PART.findall(act.tool)}
    if verbs & _HARMLESS and not verbs & _HALT and "url" not in act.arguments:
        return []
    texts = list(_short_texts(_unfolded(dict(act.arguments))))
    stops = any(_STOPPED.search(normalise(text)) for text in texts if "://" in text or len(text.split()) < _PROSE)
    for text in texts:
        by_url = "://" in text
        if not by_url and len(text.split()) >= _PROSE:
            continue
        if not by_url and ((verbs & _SEND and not stops) or (verbs & (_WRITE | _CHANGE) and _PROSE_FILE.search(text))):
            continue
        named = {_solid(part) for part in (text, *_PARTS.split(text), text.rpartition("/")[2])} - {""}
        for kind, items in (("protected", facts.protected), ("own weights", facts.weights)):
            for item in items:
                moves = kind == "own weights" and not by_url
                if _solid(item.rpartition("/")[2]) in named and (moves or stops or verbs & _HALT or not by_url):
                    return [Detection(0, text, f"'{act.tool}' acts on {kind}: {item}", reading="effects")]
    return []


def _solid(name: str) -> str:
    return re.sub(r"[\W_]+", "", skeleton(name))


def _short_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) <= _LONGEST_NAME:
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _short_texts(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _short_texts(inner)
    elif isinstance(value, bool):
        yield str(value).lower()
