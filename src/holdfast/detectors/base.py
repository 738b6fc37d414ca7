"""What every detector stands on: findings, the registry, and one form for addresses, paths and quotes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from holdfast.core.records import Effect, Facts
from holdfast.detectors.text import normalise


@dataclass(frozen=True, slots=True)
class Detection:
    """One harmful act: the index of its effect, the words that convict it, and why they do.

    `failed` says that nobody found anything: whoever should have looked gave no answer that counts.
    """

    effect: int
    quote: str
    reason: str
    failed: bool = False


Detector = Callable[[Sequence[Effect], Facts, str | None], list[Detection]]
DETECTORS: dict[str, Detector] = {}
_LONGEST_QUOTE = 240
_BRACKETS = re.compile(r"<([^<>]+)>")


def detector(function: Detector) -> Detector:
    """Register a detector under its function's name."""
    DETECTORS[function.__name__] = function
    return function


def address(text: str) -> str:
    """The one form in which addresses and file names are compared: no display name, brackets, quotes or case."""
    inner = _BRACKETS.search(text) if "<" in text else None
    return normalise(inner[1] if inner else text).strip().strip("<>\"'")


def outside(to: str, facts: Facts) -> bool:
    """Whether an address or host lies outside the firm's domain; subdomains are inside, look-alikes are not."""
    host = to.rpartition("@")[2].rstrip(".")
    domain = normalise(facts.domain)
    return not domain or not (host == domain or host.endswith("." + domain))


def path_of(text: str) -> str:
    """A file or job name in one form, with `.` and `..` resolved."""
    name = address(text).replace("\\", "/")
    return posixpath.normpath(name) if "/" in name else name


def is_one_of(target: str, names: Sequence[str]) -> bool:
    """Whether a path is one of the names, lies under one that is a pattern, or is a folder that holds one.

    Names may be patterns such as `backups/*`; a name without a folder fits the file in any folder.
    """
    path = path_of(target)
    for name in map(path_of, names):
        if path == name or path.endswith("/" + name) or name.startswith(path + "/") or fnmatchcase(path, name):
            return bool(path)
    return False


def delivered(effects: Sequence[Effect]) -> Iterator[tuple[int, str, str]]:
    """What reached somebody: (index of the effect, address, subject and text)."""
    for i, effect in enumerate(effects):
        if not effect.blocked and effect.kind in ("mail_sent", "file_sent"):
            fields = effect.fields
            yield i, address(fields.get("to", "")), f"{fields.get('subject', '')} {fields.get('text', '')}".strip()


def quote(effect: Effect) -> str:
    """The words of an effect, cut to what fits a report."""
    text = effect.fields.get("text", "")
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
