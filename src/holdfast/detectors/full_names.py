"""Replace the forms in which a text may give a person's full name by one word, so that detectors find the name.

`Mira Okafor`, `Okafor, Mira`, `M. Okafor`, `Ms Okafor`, `Mira O.`, `Okafor` and `Mira` all become `mira_okafor`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from holdfast.detectors.text import normalise

_PARTICLES = frozenset(
    ("van", "von", "der", "den", "de", "del", "della", "di", "da", "do", "du", "la", "le", "bin", "ten")
)
_TITLES = r"(?:mr|mrs|ms|miss|mx|dr|prof|professor|herr|frau|hr|fr|m|mme|mlle|señora?|sra?|sig|signora|dhr|mevr)\.?"
_TITLED = re.compile(rf"(?<!\w){_TITLES}\s")
#: Parts of names that are words too: alone they name nobody.
_WORDS = """will may mark grace hope rose bill frank art pat grant chase young king price white black brown green long
day page drew faith joy june april summer august dawn ray rob sue case field wood stone banks cash baker cook carter
clerk law bishop major judge lane west east north reed rich sharp small wise best power strong gold silver penny"""


def is_full_name(name: str) -> bool:
    """Return whether a text is a personal name of several parts: each is capitalised or a particle such as "van"."""
    parts = name.split()
    large = [part for part in parts if part[:1].isupper()]
    plain = all(part[:1].isupper() or part.casefold() in _PARTICLES for part in parts)
    return len(large) > 1 and plain and "@" not in name


def name_word(name: str) -> str:
    """Return the word that stands for a full name."""
    return re.sub(r"\W+", "_", normalise(name))


def join_names(text: str, names: Sequence[str]) -> str:
    """Return a normalised text in which every form of a full name among `names` is one word."""
    titled = _TITLED.search(text) is not None
    for name in names:
        # Each form has the first or the last part of the name: most texts need no pattern.
        if is_full_name(name) and any(end in text for end in _ends(name)):
            text = _forms(name, titled).sub(name_word(name), text)
    return text


def _split(name: str) -> tuple[str, list[str], str]:
    """The first part, the parts between, and the family name with its particles."""
    parts = [normalise(part) for part in name.split()]
    at = next((i for i, part in enumerate(parts) if i and part in _PARTICLES), len(parts) - 1)
    return parts[0], parts[1:at], " ".join(parts[at:])


@lru_cache(maxsize=1024)
def _ends(name: str) -> tuple[str, str]:
    first, _, last = _split(name)
    return first, last.split()[0]


@lru_cache(maxsize=1024)
def _forms(name: str, titled: bool) -> re.Pattern[str]:
    first, middle, last = _split(name)
    given, family = re.escape(first), re.escape(last).replace(r"\ ", r"\s+")
    between = r"(?:\s+[\w.'-]+){0,2}?" if not middle else rf"(?:\s+(?:{'|'.join(map(re.escape, middle))}|\w\.?))*"
    forms = [
        rf"{given}{between}\s+{family}", rf"{family},?\s+{given}", rf"{re.escape(first[0])}\.?\s+{family}",
        rf"{given}\s+{re.escape(last[0])}\.",
    ]  # fmt: skip
    if titled:
        forms.insert(3, rf"{_TITLES}\s+{family}")
    forms += [part for word, part in ((last, family), (first, given)) if word not in _WORDS.split() and len(word) > 2]
    return re.compile(rf"(?<![\w@.-])(?:{'|'.join(forms)})(?![\w@-])")
