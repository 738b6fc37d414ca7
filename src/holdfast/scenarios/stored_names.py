"""Finds the file, alert, mail or host that a model names, whatever quotes, case, path or words it puts around the name.

A name with one reading is resolved.  A name that only resembles stored ones is not: the tool answers that there is
none, and the effect is recorded as blocked under the names that may have been meant.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
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
#: Words that mean all entries of a list.
_ALL = re.compile(
    r"\b(?:all|every(?:thing|one)?|each|both|any|the (?:lot|rest|others)|whole|entire|alle[ns]?|jede[rs]?"
    r"|tous|toutes|todos"
    r"|todas|tutti|tutte|wszystkie)\b|^[*%]+$|^\.\*$"
)
_WORDS = re.compile(r"[a-z0-9]+")
_RANGE = re.compile(r"(\d{1,4})\s*(?:-|–|—|\.\.+|:|to|until|through|bis|à)\s*(\d{1,4})")
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
)
_CARDINALS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
_NUMBER_WORDS = {word: i for words in (_ORDINALS, _CARDINALS) for i, word in enumerate(words.split(), 1)}
#: Words beside a number or a name that say nothing.
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "the a an of and or number no nr id e mail email emails mails message messages alert alerts alarm file files"
        " from in inbox store this that it its my our your please current open stored",
    )
)


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
    if _ALL.search(text) or ("." not in text and _in_words(text, name)):
        return True
    return re.search(rf"(?<![\w./-]){re.escape(like)}(?![\w.-]*\w)", looks) is not None


def _in_words(text: str, name: str) -> bool:
    """Return whether a text consists of words of a name: "weights", "r63" and "agent weights" for one file."""
    words = set(_WORDS.findall(text)) - _EMPTY
    return bool(words) and any(len(word) > 2 for word in words) and words <= set(_WORDS.findall(name))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", plain(text)).casefold()


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
    """Return the alert that a code names; words around the code do not matter, as long as it names one alert only.

    A text without a code stands for the alerts whose words it uses, for all if it says so, and for the only one there
    is if it names none.
    """
    name, meant = find_name(written, alerts)
    if name in alerts:
        return name, ()
    text = plain(written)
    codes = [code for code in alerts if re.search(rf"(?<![\w-]){re.escape(code.lower())}(?![\w-])", text)]
    longest = [code for code in codes if not any(code in other and code != other for other in codes)]
    if len(longest) == 1:
        return longest[0], ()
    words = {word for word in _WORDS.findall(_folded(text)) if len(word) > 2} - _EMPTY
    described = [code for code, about in alerts.items() if words & set(_WORDS.findall(_folded(about)))]
    numbered = _WORDS.findall(text)
    alike = [code for code in alerts if numbered and _squeezed(code.lower()) in ("".join(numbered), *numbered)]
    found = {*meant, *codes, *described, *alike}
    # A number that is no alert's stands for none, however short it is.
    alone = len(alerts) == 1 and not any(map(str.isdecimal, numbered))
    if not found and not words and (alone or _ALL.search(text)):
        found = set(alerts)
    return name, tuple(sorted(found))


def find_candidate(written: str, candidates: Mapping[str, Sequence[str]]) -> tuple[str, tuple[str, ...]]:
    """Return the candidate of a register that is written, or else the plain text, with those it may stand for.

    Letter case, spaces, hyphens, a version behind the name and words such as "the" or "system" do not matter.  Another
    version, a part of a name and a misspelled name stand for nobody.  A longer text that holds a name, and one in
    look-alike letters, may stand for the candidate.

    Args:
        written: what the model wrote.
        candidates: the candidates, each with its other names.
    """
    known = {name: [name, *also] for name, also in candidates.items()}
    text = _folded(written)
    named = [name for name, forms in known.items() if any(_same_candidate(text, _folded(form)) for form in forms)]
    if len(named) == 1:
        return named[0], ()
    looks = skeleton(text)
    meant = [
        name
        for name, forms in known.items()
        for like in (skeleton(_folded(form)) for form in forms)
        if _squeezed(looks) == _squeezed(like) or re.search(rf"(?<!\w){re.escape(like)}(?!\w)", looks)
    ]
    return plain(written), tuple(dict.fromkeys([*named, *meant]))


def _same_candidate(text: str, form: str) -> bool:
    """Return whether a text is a name of a candidate, give or take its version and words that say nothing."""
    base, version = _versioned(text)
    wanted, known = _versioned(form)
    if base == _squeezed(_bare(form)):
        return True  # the whole name, perhaps with a version behind it
    if base != wanted or len(base) < _SHORTEST_NAME:
        return _squeezed(_bare(text)) == _squeezed(_bare(form))
    shared = min(len(version), len(known))
    return version[:shared] == known[:shared]


def _versioned(text: str) -> tuple[str, list[str]]:
    """Return a name without spaces and signs, and the parts of the version that stands behind it."""
    name = _bare(text)
    match = _VERSION.search(name)
    return (_squeezed(name[: match.start()]), match[1].split(".")) if match else (_squeezed(name), [])


def _bare(text: str) -> str:
    """Return a text without the words that say nothing beside the name of a candidate."""
    return _ON_TRIAL.sub(" ", text).strip() or text


#: Words beside the name of a candidate that say nothing.
_ON_TRIAL = re.compile(
    r"\b(?:the|an?|of|for|our|new|candidate|successor|system|agent|assistant|program(?:me)?|software|model|ai|tool"
    r"|product|trial|test)\b"
)
#: "-9", " 4.1", " v2" and ", version 2" at the end of a name.
_VERSION = re.compile(r"[\s\W_]*(?:v|ver|version|rel|release|build)?[\s\W_]*(?<![\d.])(\d{1,4}(?:\.\d{1,4})*)$")
#: Letters of a name that may stand without its version.
_SHORTEST_NAME = 3


def find_mails(written: str, mail: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the positions, from 0, of the e-mails whose numbers are written; none if one of them does not exist."""
    numbers = [_number(part, len(mail)) for part in split_numbers(written)]
    return [number - 1 for number in numbers if number is not None] if None not in numbers else []


def meant_mails(written: str, mail: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the positions of the e-mails that a text may stand for although it holds no plain list of numbers.

    Ranges, numbers in words, "all", "latest", and words of a subject or of a sender's name count.
    """
    text, most = _folded(written), len(mail)
    if _ALL.search(text):
        return list(range(most))
    found: set[int] = set()
    for first, last in _RANGE.findall(text):
        found |= set(range(int(first), min(int(last), most) + 1))
    words = _WORDS.findall(text)
    for word in words:
        bare = re.sub(r"(?<=\d)(?:st|nd|rd|th)$", "", word)
        found.add(int(bare) if bare.isdecimal() and len(bare) <= 4 else _NUMBER_WORDS.get(word, 0))
    if set(words) & {"last", "latest", "newest", "recent"}:
        found.add(most)
    if (said := {word for word in words if len(word) > 2} - _EMPTY) and not found - {0}:
        for number, entry in enumerate(mail, 1):
            known = set(_WORDS.findall(_folded(f"{entry.get('subject', '')} {entry.get('from', '')}")))
            if said <= known or (entry.get("subject") and plain(entry["subject"]) in plain(written)):
                found.add(number)
    return [number - 1 for number in sorted(found) if 0 < number <= most]


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
