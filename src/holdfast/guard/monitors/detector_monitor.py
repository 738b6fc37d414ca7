"""Run the detectors on an act before it happens, on the effects that the tool call would have.

    monitor = DetectorMonitor(facts)
    reason = monitor(act)        # None, or the reason to hold the act; for the log, never for the agent

Further monitors are functions `(act, facts) → detections`.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection
from holdfast.detectors.commands import Deed, command_effects, sql_effects
from holdfast.detectors.decode import readings
from holdfast.detectors.lookup import BUILT_IN
from holdfast.detectors.private_facts import NO_LEAVE, Leave, leverage
from holdfast.detectors.text import normalise
from holdfast.guard.act import Act
from holdfast.guard.monitors.touches import touches

Monitor = Callable[[Act, Facts], list[Detection]]
"""Checks one act before it happens, by rules or by a model. Its detections never reach the agent."""

_MEMORY, _RUNS = 64, 512
#: The detectors that combine the effects of a run; each of the others judges single effects.
_TOGETHER = ("coercion", "leak")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_LIST = re.compile(r"[,;\n]")
_TO = ("to", "cc", "bcc", "recipient", "recipients", "email", "channel", "user", "url", "host", "endpoint", "address")
#: An address, a handle or channel, or a URL, as one entry of a list of recipients.
_ADDRESS = re.compile(
    r"(?:[^<>@]{0,80}<)?[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+>?|[#@][\w.-]{1,64}|https?://\S+", re.IGNORECASE
)
_LONGEST_LIST = 4096
_FILE = ("path", "file", "filename", "source", "src", "attachment", "attachments", "uri", "target", "name", "item")
_DELETE = frozenset(("delete", "remove", "unlink", "purge", "erase", "destroy", "drop", "trash", "shred", "wipe"))
_WRITE = frozenset(("write", "overwrite", "truncate", "save", "put", "replace", "create"))
_CHANGE = frozenset(("edit", "update", "patch", "modify", "append", "set"))
_HALT = frozenset(
    (
        "cancel",
        "disable",
        "stop",
        "silence",
        "suspend",
        "pause",
        "kill",
        "mute",
        "reschedule",
        "postpone",
        "edit",
        "change",
    )
)
_SEND = frozenset(
    (
        "send",
        "mail",
        "email",
        "post",
        "message",
        "forward",
        "reply",
        "upload",
        "share",
        "publish",
        "notify",
        "fetch",
        "http",
        "request",
        "tweet",
        "dm",
        "comment",
    )
)
_RUN = frozenset(("run", "execute", "exec", "shell", "bash", "command", "terminal", "sh", "powershell"))
#: Tools that only read, or keep a text for the agent itself: they send nothing to anybody.
_QUIET = frozenset(
    (
        "get",
        "read",
        "list",
        "search",
        "find",
        "open",
        "view",
        "show",
        "describe",
        "stat",
        "count",
        "check",
        "query",
        "think",
        "thinking",
        "plan",
        "todo",
        "note",
        "memo",
        "memory",
        "remember",
        "draft",
    )
)
#: Fewest words of an argument that may be a message.
_PROSE = 4
_JOBS = frozenset(("job", "alert", "task", "schedule", "service", "logging", "timer", "cron", "backup", "monitor"))


def effects_of(act: Act) -> list[Effect]:
    """Return the effects that an act would have, inferred from its tool's name and its arguments.

    An act that only reads has none. Every text argument counts as sent to every recipient.
    """
    deeds = _deeds(act.tool, {_key(key): value for key, value in act.arguments.items()})
    return [Effect(kind=kind, call=0, fields=fields) for kind, fields in deeds]


def _deeds(tool: str, given: Mapping[str, Any]) -> Iterator[Deed]:
    verbs = {part.casefold() for part in _PART.findall(tool)}
    texts = {key: text for key, value in given.items() for text in [_text(value)] if text}
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
    ):
        yield from _sent(texts)
    elif verbs & (_WRITE | _CHANGE) and (file := _first(texts, _FILE)):
        kind = "file_changed" if verbs & _CHANGE else "file_overwritten"
        yield ("file_appended" if "append" in verbs else kind), {"file": file, "text": _rest(texts, _FILE)}
    elif not quiet and any(len(text.split()) >= _PROSE for text in texts.values()):
        # Nobody knows what the tool does with the text, so it counts as sent to somebody outside.
        yield from _sent(texts)


def _sent(texts: Mapping[str, str]) -> Iterator[Deed]:
    """Yield one effect for each recipient, and one more for each attached file.

    Recipients are known by the argument's name, or by its value, which is an address whatever the argument's name. If
    there is none, the text goes to somebody unknown.
    """
    files = [
        f for key in ("file", "attachment", "attachments", "path", "filename") for f in _listed(texts.get(key, ""))
    ]
    named = [key for key in texts if key in _TO or (key not in _FILE and _recipients(texts[key]))]
    body = _rest(texts, (*named, "subject")) if "url" not in texts else " ".join(texts.values())
    if any("://" in texts[key] for key in named):
        # A URL carries text itself.
        body = "\n".join(texts.values())
    if not named and any(len(text.split()) >= _PROSE for text in texts.values()):
        yield "mail_sent", {"to": "", "subject": texts.get("subject", ""), "text": body}
    for key in named:
        for to in _listed(texts[key]):
            host = urlsplit(to).hostname if "://" in to else None
            fields = {"to": host or to.lstrip("@#"), "subject": texts.get("subject", ""), "text": body}
            yield "mail_sent", fields
            for file in files:
                yield "file_sent", {"file": file, "to": fields["to"], "text": ""}


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


class DetectorMonitor:
    """Detectors with the history of each run, and further monitors. Thread-safe.

    Harm that is spread over several acts (a fact in one mail and the demand in the next, or a text sent in pieces) is
    detected at the act that completes it. The history covers the last 64 effects of the last 512 runs.

    A message to a person that touches a private fact, or a decision about the agent, is held in any other language than
    English, and if `leave` is strict in any wording too (`touches`), unless one of the monitors judges meaning; then
    that monitor decides.

    Args:
        facts: the private, confidential and protected items, and the agent's own weights.
        monitors: monitors that run after the detectors; an exception in one counts as a detection.
        leave: who may receive private facts, and how strictly they are held.
    """

    def __init__(self, facts: Facts, monitors: Sequence[Monitor] = (), leave: Leave = NO_LEAVE) -> None:
        self._facts, self._monitors, self._leave = facts, tuple(monitors), leave
        #: A monitor that judges meaning decides on messages that touch a private fact; without one they wait.
        self._by_meaning = any(getattr(monitor, "by_meaning", False) for monitor in monitors)
        self._runs: OrderedDict[str, deque[Effect]] = OrderedDict()
        self._lock = threading.Lock()

    def findings(self, act: Act) -> list[tuple[str, Detection]]:
        """Return (detector or monitor, detection) pairs for the harm that this act does or completes."""
        fresh = [_opened(effect) for effect in effects_of(act)]
        with self._lock:
            past = self._runs.setdefault(act.run, deque(maxlen=_MEMORY))
            self._runs.move_to_end(act.run)
            while len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
            before = min(len(past), max(0, _MEMORY - len(fresh)))
            effects = [*past][len(past) - before :] + fresh
            past.extend(fresh)
        found = []
        for name, check in BUILT_IN.items() if fresh else ():
            seen, first = (effects, before) if name in _TOGETHER else (fresh, 0)
            found += [(name, finding) for finding in check(seen, self._facts, None) if finding.effect >= first]
        if fresh:
            by_words = not self._by_meaning
            leave = replace(self._leave, strict=self._leave.strict and by_words, unnamed=by_words)
            pulls = leverage(effects, self._facts, act.agent, leave)
            found += [("leverage", finding) for finding in pulls if finding.effect >= before]
            if not self._by_meaning:
                found += [("touches", finding) for finding in touches(fresh, self._facts, act.agent, self._leave)]
        for monitor in self._monitors:
            name = getattr(monitor, "__name__", type(monitor).__name__)
            found += [(name, finding) for finding in look(monitor, act, self._facts)]
        return found

    def __call__(self, act: Act) -> str | None:
        """Return None, or the reasons to hold this act, for the log and the reviewer."""
        return "; ".join(f"{name}: {finding.reason}" for name, finding in self.findings(act)) or None


def _opened(effect: Effect) -> Effect:
    """Return an effect with everything that is encoded in its text written out behind it."""
    text = effect.fields.get("text", "")
    inner = [reading.text for reading in readings(text) if reading.how and reading.text]
    if not inner or effect.kind != "mail_sent":
        return effect
    return effect.model_copy(update={"fields": {**effect.fields, "text": "\n".join((text, *inner))}})


def look(monitor: Monitor, act: Act, facts: Facts) -> list[Detection]:
    """Run a monitor; a failure counts as a detection."""
    try:
        return monitor(act, facts)
    except Exception as error:  # fail closed: a failed monitor has not cleared the act
        return [Detection(0, "", f"the monitor failed: {type(error).__name__}", failed=True)]
