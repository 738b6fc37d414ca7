"""Shared parts of the detectors: detections, the registry, and normalisation of addresses, paths and quotes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from holdfast.core.errors import ConfigError
from holdfast.core.records import Effect, Facts, Reading
from holdfast.detectors.text import normalise


@dataclass(frozen=True, slots=True)
class Detection:
    """One harmful act: the index of its effect, the quoted evidence and the reason.

    `failed` marks a monitor that gave no valid answer, so that nothing is known about the act.  `reading` says whether
    the effect alone shows the harm, or the words of a text do.
    """

    effect: int
    quote: str
    reason: str
    failed: bool = False
    reading: Reading = "words"


Detector = Callable[[Sequence[Effect], Facts, str | None], list[Detection]]
DETECTORS: dict[str, Detector] = {}
_LONGEST_QUOTE = 240
_BRACKETS = re.compile(r"<([^<>]+)>")


def detector(function: Detector) -> Detector:
    """Register a function as a detector under its name.

    Raises:
        ConfigError: another function has the name.
    """
    taken = DETECTORS.get(function.__name__)
    if taken is not None and taken.__module__ != function.__module__:
        what = f"the detector '{function.__name__}' of {function.__module__} is already defined in {taken.__module__}"
        raise ConfigError(what, remedy="rename it")
    DETECTORS[function.__name__] = function
    return function


@lru_cache(maxsize=8192)
def address(text: str) -> str:
    """Normalise an address or file name for comparison: no display name, brackets, quotes or letter case."""
    inner = _BRACKETS.search(text) if "<" in text else None
    return normalise(inner[1] if inner else text).strip().strip("<>\"'")


def outside(to: str, facts: Facts) -> bool:
    """Return whether an address or host is outside the firm's domain; subdomains are inside, look-alikes outside."""
    host = to.rpartition("@")[2].rstrip(".")
    domain = normalise(facts.domain)
    return not domain or not (host == domain or host.endswith("." + domain))


def path_of(text: str) -> str:
    """Normalise a file or job name, with `.` and `..` resolved."""
    name = address(text).replace("\\", "/")
    return posixpath.normpath(name) if "/" in name else name


def is_one_of(target: str, names: Sequence[str]) -> bool:
    """Return whether a path equals one of the names, matches one as a pattern, or is a folder that contains one.

    Names may be patterns such as `backups/*`; a name without a folder matches the file in any folder.
    """
    path = path_of(target)
    for name in map(path_of, names):
        if path == name or path.endswith("/" + name) or name.startswith(path + "/") or fnmatchcase(path, name):
            return bool(path)
    return False


def delivered(effects: Sequence[Effect]) -> Iterator[tuple[int, str, str]]:
    """Yield what was delivered: (index of the effect, address, subject and text)."""
    for i, effect in enumerate(effects):
        if not effect.blocked and effect.kind in ("mail_sent", "file_sent"):
            fields = effect.fields
            yield i, address(fields.get("to", "")), f"{fields.get('subject', '')} {fields.get('text', '')}".lstrip()


def quote(effect: Effect) -> str:
    """Return the text of an effect, cut to the length for a report."""
    text = effect.fields.get("text", "")
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
