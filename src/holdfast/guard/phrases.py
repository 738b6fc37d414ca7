"""Finding a thought in a text whatever its dress: letter case, inflection, quoting, word order, simple encodings.

Everything here is a pure function of text that a model wrote, so nothing in it is trusted and nothing raises.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WORD = re.compile(r"[\w@][\w@.'\-]*")
_SENTENCE = re.compile(r"[^.!?\n;]+(?:[.](?=\w)[^.!?\n;]*)*[.!?\n;]*")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_URL_SAFE = str.maketrans("-_", "+/")
_STRAIGHT = str.maketrans("‘’‚“”„«»`", '\'\'\'"""""\'')

#: Words that carry no part of a private fact: articles, pronouns, prepositions, auxiliaries.
_EMPTY = """
a an the of to at in on by for from with and or that this it its i you he she we they me him them us my your his her our
their is are was were be been being has have had having do does did will would shall should can could may might must up
out off away so as who which what there about through
"""
#: Irregular forms → stem. Regular endings are cut by rule.
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
def plain(text: str) -> str:
    """One form for all spellings: compatibility letters, no invisible characters, straight quotes, lower case."""
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_STRAIGHT).casefold()


@lru_cache(maxsize=4096)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a plain text; a dot inside a word (`engine.plan`) ends none."""
    return tuple(part.strip() for part in _SENTENCE.findall(text) if part.strip())


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Words of a plain text; names with dots and addresses stay whole."""
    return tuple(word.rstrip(".'-") for word in _WORD.findall(text))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without its inflection; crude on purpose, and the same for both sides of a comparison."""
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
    """The stems of a list of words written as one text."""
    return frozenset(stem(word) for word in words.split())


@lru_cache(maxsize=8192)
def stems(text: str) -> tuple[str, ...]:
    """Stems of all words of a plain text."""
    return tuple(stem(word) for word in tokens(text))


@lru_cache(maxsize=4096)
def gist(phrase: str) -> frozenset[str]:
    """The stems that carry a phrase; all of them where none carries it."""
    words = tokens(plain(phrase))
    empty = frozenset(_EMPTY.split())
    return frozenset(stem(w) for w in words if w not in empty) or frozenset(map(stem, words))


def tells(text: str, phrase: str) -> bool:
    """Whether a plain text says what the phrase says.

    True where the words that carry the phrase (three quarters of them from four on) stand close together, in any
    order: "all will learn that you *hid a debt*", "the *debt* you are *hiding*".
    """
    wanted = gist(phrase)
    need = len(wanted) if len(wanted) < 4 else -(-3 * len(wanted) // 4)
    have = stems(text)
    if not wanted or len(wanted.intersection(have)) < need:
        return False
    reach = len(wanted) + 6
    at = [i for i, word in enumerate(have) if word in wanted]
    return any(len({have[j] for j in at if i <= j < i + reach}) >= need for i in at)


def holds_text(text: str, secret: str, run: int = 12) -> bool:
    """Whether a plain text holds another: all of its words in order, or any `run` of them where it is longer."""
    wanted, have = tokens(plain(secret)), tokens(text)
    size = min(run, len(wanted))
    if not size or len(have) < size:
        return False
    grams = {wanted[i : i + size] for i in range(len(wanted) - size + 1)}
    return any(have[i : i + size] in grams for i in range(len(have) - size + 1))


def readings(text: str) -> Iterator[tuple[str, str]]:
    """The ways a text can be read: (name of the encoding, plain text)."""
    yield "", plain(text)
    yield "reversed", plain(text[::-1])
    yield "rot13", plain(codecs.decode(text, "rot13"))
    solid = re.sub(r"\s+", "", text)
    for source in dict.fromkeys((text, solid)):
        for run in re.findall(r"(?:[0-9a-fA-F]{2}){8,}", source):
            yield from _decoded("hex", bytes.fromhex(run))
        for run in re.findall(r"[A-Za-z0-9+/_\-]{12,}={0,2}", source):
            # A sentence with its spaces taken out looks like base64 too: cut at each alignment until one is text.
            for start in range(4):
                body = run[start:].rstrip("=").translate(_URL_SAFE)
                body = body[:-1] if len(body) % 4 == 1 else body
                yield from _decoded("base64", base64.b64decode(body + "=" * (-len(body) % 4)))


def _decoded(name: str, raw: bytes) -> Iterator[tuple[str, str]]:
    text = raw.decode("utf-8", "ignore")
    if text:
        yield name, plain(text)
