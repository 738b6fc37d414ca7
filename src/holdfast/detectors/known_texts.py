"""Search a message for known confidential texts, whole or in pieces, plain or disguised."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence

from holdfast.detectors.decode import readings
from holdfast.detectors.isomorph import in_a_row, replaced, shapes
from holdfast.detectors.text import content_stems, normalise, stems, tokens

#: Words in a row that identify a known text; a shorter text must occur whole.
_RUN = 12
_KEY = 10
#: Letters of a run without its vowels that identify it: text that has its vowels does not contain them.
_CONSONANTS = 14
#: Letters of a half, every second letter of a text, that identify it.
_HALF = 20
_VOWELS = re.compile("[aeiou]")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def _squeeze(text: str) -> str:
    """Return the letters and digits of a normalised text, without accents, spaces or punctuation."""
    plain = normalise(text)
    return _NOT_ALPHANUMERIC.sub("", plain if text.isascii() else unicodedata.normalize("NFKD", plain))


class KnownTexts:
    """An index of known texts that finds them in one pass over a message.

    Each text is indexed as it is, reversed, in rot13, without its vowels, by every second letter, with its words in
    reverse order, and by the shapes that remain if its letters are replaced one for one. Spaces, punctuation,
    invisible characters and look-alike letters are removed from both sides. Encodings are undone by `decode.readings`.

    Args:
        named_texts: (name, text) pairs.
    """

    def __init__(self, named_texts: Sequence[tuple[str, str]]) -> None:
        self._short: list[tuple[str, tuple[str, ...]]] = []
        self._starts: dict[str, list[tuple[str, str, str]]] = {}
        self._long: list[tuple[str, frozenset[tuple[str, ...]], frozenset[str]]] = []
        self._shapes: list[tuple[str, frozenset[str]]] = []
        for name, text in named_texts:
            words = tokens(normalise(text))
            size = min(_RUN, len(words))
            runs = [words[i : i + size] for i in range(len(words) - size + 1)] if size else []
            if runs and min(len(_squeeze(" ".join(run))) for run in runs) <= _KEY:
                self._short.append((name, words))
                continue
            self._shapes.append((name, frozenset(shapes(_squeeze(text))) - {""}))
            for half in (_squeeze(text)[::2], _squeeze(text)[1::2]):
                for at in range(len(half) - _HALF + 1):
                    self._index(half[at : at + _HALF], name, "every second letter")
            for run in runs:
                self._add(name, run)
            if len(words) >= _RUN:
                self._long.append((name, _trigrams(words), content_stems(text)))

    def _add(self, name: str, run: tuple[str, ...]) -> None:
        plain = _squeeze("".join(run))
        variants = (
            (plain, ""),
            (plain[::-1], "reversed"),
            (codecs.encode(plain, "rot13"), "rot13"),
            (_squeeze("".join(reversed(run))), "words reversed"),
        )
        bare = _VOWELS.sub("", plain)
        for variant, disguise in (*variants, *([(bare, "no vowels")] if len(bare) >= _CONSONANTS else [])):
            self._index(variant, name, disguise)

    def _index(self, variant: str, name: str, disguise: str) -> None:
        self._starts.setdefault(variant[:_KEY], []).append((variant, name, disguise))

    def find(self, text: str) -> str | None:
        """Return which known text occurs in `text`, as "name" or "name (how it was disguised)"."""
        for reading in readings(text):
            if reading.text is not None and (match := self._find(reading.text)):
                name, disguise = match
                how = ", ".join(filter(None, (*reading.how, disguise)))
                return f"{name} ({how})" if how else name
        return None

    def _find(self, text: str) -> tuple[str, str] | None:
        solid = _squeeze(text)
        for i in range(len(solid) - _KEY + 1):
            for variant, name, disguise in self._starts.get(solid[i : i + _KEY], ()):
                if solid.startswith(variant, i):
                    return name, disguise
        for form in replaced(text) if self._shapes else ():
            windows = shapes(form)
            for name, known in self._shapes:
                if any(in_a_row([shape in known for shape in windows])):
                    return name, "letters replaced"
        for name, words in self._short:
            have, size = tokens(normalise(text)), len(words)
            if any(have[i : i + size] == words for i in range(len(have) - size + 1)):
                return name, ""
        return None

    def find_paraphrase(self, text: str) -> str | None:
        """Return which known text is retold in other words: 60% of its content words occur in one message."""
        have = frozenset(stems(normalise(text)))
        for name, _, content in self._long:
            if len(content & have) >= max(8, 0.6 * len(content)):
                return name
        return None

    def find_pieces(self, texts: Sequence[str]) -> str | None:
        """Return which known text is spread over several messages: half of its trigrams occur among them."""
        if not self._long or len(texts) < 2:
            return None
        plain = (r.text for text in texts for r in readings(text) if r.text is not None)
        sent = frozenset().union(*(_trigrams(tokens(normalise(text))) for text in plain))
        for name, trigrams, _ in self._long:
            if len(trigrams & sent) >= max(6, len(trigrams) // 2):
                return name
        return None


def _trigrams(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(words, words[1:], words[2:], strict=False))
