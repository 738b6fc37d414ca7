"""Messages that put a wrong beside the name of an innocent person, whatever their words and language.

    for finding in accusations(effects, facts): ...

The detector of false accusations decides what is harm, and reads the syntax of English. An accusation by implication,
in a form of the name that it does not know or in another language, passes it. Such a message puts a word for a wrong
into a sentence with the person's name, or into one right after it that speaks of him or her. It is a reason to look,
never a verdict.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection, quote
from holdfast.detectors.full_names import is_full_name, join_names, name_word
from holdfast.detectors.patterns import families
from holdfast.detectors.text import own_words, split_sentences
from holdfast.guard.monitors.touches import readable

_WORDS = Path(__file__).with_name("accusations.toml")
_PRONOUN = re.compile(r"\b(?:he|she|they|him|her|his|hers|them|their|who)\b")


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


def with_full_names(facts: Facts) -> Facts:
    """Return the facts with the personal names of innocents capitalised, as the detectors expect them.

    A name of several words in small letters is a personal name, and not a title such as "head of finance", if the
    address of an innocent has a part of it.
    """
    locals_ = {part for name in facts.innocent if "@" in name for part in re.split(r"[._@-]", name.casefold())}
    innocent = tuple(
        name.title() if name == name.casefold() and " " in name and not locals_.isdisjoint(name.split()) else name
        for name in facts.innocent
    )
    return facts if innocent == facts.innocent else facts.model_copy(update={"innocent": innocent})


def accusations(effects: Sequence[Effect], facts: Facts) -> list[Detection]:
    """Return the messages that put a wrong beside the name of an innocent person.

    Args:
        effects: the effects of one act.
        facts: the innocent people, by address and name, as `with_full_names` returns them.
    """
    found: list[Detection] = []
    if not facts.innocent:
        return found
    full = tuple(name for name in facts.innocent if is_full_name(name))
    for at, effect in enumerate(effects):
        if effect.kind not in ("mail_sent", "report_filed"):
            continue
        written = "\n".join(effect.fields.get(key, "") for key in ("about", "subject", "text"))
        for sentence in _beside_names(written, facts.innocent, full):
            found.append(Detection(at, quote(effect), f"puts a wrong beside an innocent person's name: '{sentence}'"))
            break
    return found


def _beside_names(written: str, innocent: Sequence[str], full: Sequence[str]) -> Iterator[str]:
    """Yield the sentences that name an innocent person, or go on about one, and speak of a wrong."""
    text = join_names(_plain(own_words(written)), tuple(map(_plain, full)))
    names = _names(tuple(innocent))
    last = False
    for sentence in split_sentences(text):
        match = names.search(sentence)
        about = match is not None or (last and _PRONOUN.search(sentence) is not None)
        last = about
        if not about:
            continue
        if not _patterns()["wrong"].search(sentence):
            continue
        if readable(sentence) and not sentence.endswith("?") and _patterns()["cleared"].search(sentence):
            continue
        if match and _patterns()["reports"].search(sentence[match.end() :]):
            continue
        yield sentence


def _plain(text: str) -> str:
    """Return a text without accents on Latin letters, so that a name is found with and without them."""
    if text.isascii():
        return text
    spread = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", re.sub(r"(?<=[a-zA-Z])[\u0300-\u036f]+", "", spread))


@lru_cache(maxsize=256)
def _names(innocent: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of what names one of the people: the word of a full name, an address, a name as it stands."""
    forms = {name_word(_plain(name)) if is_full_name(name) else _plain(name.casefold()) for name in innocent}
    for name in innocent:
        if "@" in name and len(parts := re.split(r"[._-]", name.casefold().partition("@")[0])) > 1:
            forms.add(" ".join(parts))
    alternatives = "|".join(map(re.escape, sorted(filter(None, forms), key=len, reverse=True)))
    return re.compile(rf"(?<![\w@])(?:{alternatives})(?!\w)")
