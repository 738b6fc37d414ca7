"""Normalise and stem text, so that statements are found whatever their letter case, look-alikes, inflection or order.

All functions are pure. Their input is untrusted text, and none of them raises.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

from holdfast.detectors.confusables import letter_folds
from holdfast.detectors.decode import LETTERS_APART

_WORD = re.compile(r"[\w@][\w@.'\-]*")
_SENTENCE = re.compile(r"[^.!?\n;]+(?:[.](?=\w)[^.!?\n;]*)*[.!?\n;]*")
_UNSEEN = re.compile("[\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_STRAIGHT = str.maketrans("‘’‚“”„«»`", '\'\'\'"""""\'')
#: HTML: tags (not addresses in angle brackets) and comments; those that break a line.
_HTML = re.compile(r"<!--.{0,400}?-->|</?[a-z][a-z0-9]{0,11}(?:\s[^<>@]{0,300})?/?>", re.DOTALL)
_BREAKS = re.compile(r"</?(?:p|div|br|li|tr|td|h\d|ul|ol|table)\b")
#: Marks of emphasis, and a hyphen at the end of a line, inside a word.
_INSIDE = re.compile(r"(?<=[^\W\d_])(?:\*{2,3}|_{2}|~~|-\n)(?=[^\W\d_])")
#: A word with digits or signs in place of letters: "d3gr33", "5ecr3t", "n0".
_LEET = re.compile(
    r"(?<![\w@.\-])(?=[a-z0-9$]*[a-z][0-9$]+[a-z]|[05134][a-z]{3}|[a-z]{1,2}0(?![\w.]))[a-z0-9$]{2,}(?![\w@\-])"
)
_LETTERS = str.maketrans("01345789$", "oleastbgs")
_SAYS = "said|wrote|says|writes|reads?|sent|asks?|asked|told|claims?|wants?|demanded|suggests?|called"
_REPORTED = re.compile(
    rf"\b(?!i\b)\w+ (?:{_SAYS})(?: (?!that i\b)[\w.@]+){{0,8}}[\s,:]*(?:\"[^\"]{{12,}}\"|(?<!\w)'[^']{{12,}}'(?!\w))"
    r"|\bquote (?:it|them|him|her|this|one|the \w+)\b[^.!?\"]{0,60}:\s*\"[^\"]{12,}\""
)

#: Function words, which carry no part of a private fact: articles, pronouns, prepositions, auxiliaries.
_EMPTY = """
a an the of to at in on by for from with and or that this it its i you he she we they me him them us my your his her our
their is are was were be been being has have had having do does did will would shall should can could may might must up
out off away so as who which what there about through
"""
#: Irregular forms → stem. Regular endings are removed by rule.
_IRREGULAR = {
    **dict.fromkeys(("hid", "hidden"), "hide"), **dict.fromkeys(("took", "taken"), "take"),
    **dict.fromkeys(("broke", "broken"), "break"), **dict.fromkeys(("stole", "stolen"), "steal"),
    **dict.fromkeys(("wrote", "written"), "write"), **dict.fromkeys(("slept",), "sleep"), "sold": "sell",
    "kept": "keep", "paid": "pay", "lost": "lose", "made": "make", "lying": "lie", "lied": "lie", "lies": "lie",
    "left": "leave", "met": "meet", "told": "tell", "gave": "give", "given": "give", "saw": "see", "seen": "see",
    "said": "say", "says": "say", "found": "find", "knew": "know", "known": "know", "forged": "forge", "used": "use",
    "thieves": "thief", "drank": "drink", "drunk": "drink", "burnt": "burn", "sent": "send", "bought": "buy",
}  # fmt: skip


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Return text in lower case with compatibility letters and straight quotes, without invisible characters."""
    if text.isascii():
        return text.translate(_STRAIGHT).casefold()
    return (
        unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_STRAIGHT).casefold().translate(letter_folds())
    )


@lru_cache(maxsize=4096)
def split_sentences(text: str) -> tuple[str, ...]:
    """Split a normalised text into sentences; a dot inside a word (`engine.plan`) does not end one."""
    return tuple(part.strip() for part in _SENTENCE.findall(text) if part.strip())


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of a normalised text; names with dots and addresses stay whole."""
    return tuple(word.rstrip(".'-") for word in _WORD.findall(text))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Remove a word's inflection. The rules are crude, which is enough when both sides of a comparison use them."""
    word = word.removesuffix("'s")
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    else:
        for ending in ("ing", "ed", "es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
                word = word[: -len(ending)]
                break
        if word.endswith("i"):
            word = word[:-1] + "y"
    if len(word) > 3 and (word.endswith("e") or word[-1] == word[-2]):
        word = word[:-1]
    return word


def roots(words: str) -> frozenset[str]:
    """Return the stems of words separated by spaces."""
    return frozenset(stem(word) for word in words.split())


@lru_cache(maxsize=8192)
def stems(text: str) -> tuple[str, ...]:
    """Return the stems of all words in a normalised text."""
    return tuple(stem(word) for word in tokens(text))


@lru_cache(maxsize=4096)
def content_stems(phrase: str) -> frozenset[str]:
    """Return the stems of a phrase's content words, or of all its words if it has no content word."""
    words = tokens(normalise(phrase))
    empty = frozenset(_EMPTY.split())
    return frozenset(stem(w) for w in words if w not in empty) or frozenset(map(stem, words))


def states(text: str, phrase: str) -> bool:
    """Return whether a normalised text states a phrase.

    True if the phrase's content words (three quarters of them if there are four or more) occur close together in any
    order: "all will learn that you *hid a debt*", "the *debt* you are *hiding*".
    """
    wanted = content_stems(phrase)
    need = len(wanted) if len(wanted) < 4 else -(-3 * len(wanted) // 4)
    have = stems(text)
    if not wanted or len(wanted.intersection(have)) < need:
        return False
    reach = len(wanted) + 6
    at = [i for i, word in enumerate(have) if word in wanted]
    return any(len({have[j] for j in at if i <= j < i + reach}) >= need for i in at)


@lru_cache(maxsize=4096)
def own_words(text: str) -> str:
    """Normalise a text, undo HTML, split and misspelt letters, and remove quotations that it attributes to others."""
    clear = normalise(text)
    if "&" in clear and ";" in clear:
        clear = normalise(html.unescape(clear))
    if "<" in clear:
        clear = _HTML.sub(lambda mark: "\n" if _BREAKS.match(mark[0]) else "", clear)
    if any(mark in clear for mark in ("**", "__", "~~", "-\n")):
        clear = _INSIDE.sub("", clear)
    clear = _LEET.sub(_as_letters, clear)
    clear = LETTERS_APART.sub(lambda match: re.sub(r"[^a-z]", "", match[0]), clear)
    return _REPORTED.sub(" ", clear) if '"' in clear or "'" in clear else clear


def _as_letters(word: re.Match[str]) -> str:
    """A word with its digits read as letters, if that leaves a word: codes such as "r63" and "n50a" stay."""
    letters = word[0].translate(_LETTERS)
    return letters if letters.isalpha() and not re.search(r"\d\d|\d$", word[0][:-1] + "x") else word[0]
