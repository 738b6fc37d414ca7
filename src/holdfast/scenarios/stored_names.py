"""Finds the file, alert, mail or host that a model names, whatever quotes, case, path or words it puts around the name.

A name with one reading is resolved.  A name that only resembles stored ones is not: the tool answers that there is
none, and the effect is recorded as blocked under the names that may have been meant.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from holdfast.detectors.confusables import skeleton, unseen
from holdfast.models.formats import values

_STRAY = " \t\n\"'`“”‘’«»<>()[]{},;:#"
_GLOB = re.compile(r"[*?]")
#: Folders that are the store itself.
_STORE = frozenset({"", ".", "store", "files", "documents", "c:"})
_REMARK = re.compile(r"(?<!\s)\s++\((?:locked|open)\)?$|^(?:the )?file\s+")
_ANGLE = re.compile(r"<([^<>]+)>")


def plain(name: str) -> str:
    """Return a name in the form in which names are compared: no display name, brackets, quotes or letter case."""
    inner = _ANGLE.search(name)
    seen = "".join(char for char in (inner[1] if inner else name) if not unseen(char))
    return seen.strip().strip(_STRAY).strip().lower()


def find_name(written: str, stored: Iterable[str], new: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return the stored name that is written, or else the plain text, with the stored names it may stand for.

    Quotes, letter case, a path, a `file:` URL, a final full stop and a remark behind the name do not matter.

    Args:
        written: what the model wrote.
        stored: the names there are.
        new: whether the name may be a new one: then a folder is part of it.
    """
    names = {plain(name): name for name in stored}
    text = plain(written)
    for form in _forms(text, new):
        if form in names:
            return names[form], ()
    return text, tuple(name for key, name in names.items() if _may_be(text, key, new))


def _forms(text: str, new: bool) -> Iterator[str]:
    yield text
    yield text.strip("*").rstrip(".")
    path = unquote(text.removeprefix("file://")).replace("\\", "/")
    normal = posixpath.normpath(path).lstrip("/") if path else ""
    yield normal
    folder, _, base = normal.rpartition("/")
    if not new or folder in _STORE:
        yield base
    yield _REMARK.sub("", normal)


def _may_be(text: str, name: str, new: bool) -> bool:
    """Return whether a text may stand for a stored name: by look-alike letters, by a pattern, or by words around it."""
    looks, like = skeleton(text), skeleton(name)
    if _squeezed(looks) == _squeezed(like):
        return True
    if new:
        return False
    if _GLOB.search(text) and fnmatchcase(name, posixpath.basename(text)):
        return True
    if looks and looks == like.rpartition(".")[0]:
        return True
    return re.search(rf"(?<![\w./-]){re.escape(like)}(?![\w.-]*\w)", looks) is not None


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def split_names(written: str, stored: Iterable[str]) -> list[str]:
    """Return the names in a field: the items of a list, or of a text with commas where each item is a stored name."""
    text = written.strip()
    if text.startswith("["):
        try:
            items = values.whole(text)
        except (values.Unreadable, RecursionError):
            items = None
        if isinstance(items, list) and items and all(isinstance(item, (str, int)) for item in items):
            return [str(item) for item in items]
    parts = [part for part in re.split(r"[,;\n]|\band\b", text) if part.strip()]
    known = list(stored)
    return parts if len(parts) > 1 and all(find_name(p, known)[0] in known for p in parts) else [written]


def find_alert(written: str, alerts: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the alert that a code names; words around the code do not matter, as long as it names one alert only."""
    name, meant = find_name(written, alerts)
    if name in alerts:
        return name, ()
    codes = [code for code in alerts if re.search(rf"(?<![\w-]){re.escape(code.lower())}(?![\w-])", plain(written))]
    longest = [code for code in codes if not any(code in other and code != other for other in codes)]
    return (longest[0], ()) if len(longest) == 1 else (name, tuple({*meant, *codes}))


def find_mails(written: str, mail: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the positions, from 0, of the e-mails whose numbers are written; none if one of them does not exist."""
    numbers = [_number(part, len(mail)) for part in split_numbers(written)]
    return [number - 1 for number in numbers if number is not None] if None not in numbers else []


def split_numbers(written: str) -> list[str]:
    """Return the numbers in a field with commas or brackets."""
    return [part for part in written.strip().strip("[]").split(",") if part.strip()] or [""]


def _number(written: str, most: int) -> int | None:
    text = re.sub(r"^(?:e-?mail|message|id|no|number|nr)\b\.?\s*", "", plain(written).removesuffix("."))
    text = text.strip(_STRAY)
    # Compared by length first: Python refuses to read a number of thousands of digits.
    return int(text) if text.isdecimal() and len(text) <= 4 and 0 < int(text) <= most else None


def find_host(written: str) -> str:
    """Return a host in lower case and ASCII, out of a URL or an address if one is written."""
    text = plain(written)
    if "://" in text:
        try:
            text = urlsplit(text).hostname or text
        except ValueError:
            return text
    host = text.rpartition("@")[2].split("/")[0].split(":")[0].rstrip(".")
    try:
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return text
    return ascii_host or text
