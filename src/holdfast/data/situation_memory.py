"""Memory of the situations of a set: which earlier ones a new situation is like.

Situations are compared by their word stems, weighted by how rare each stem is in the set and in the written sets
(cosine similarity with inverse document frequency, Spärck Jones 1972). A situation that is retold in other words is not
seen; the nearest ones are shown to the teacher for that.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from holdfast.data.lesson_book import lesson_names, load_lesson, supervised_texts

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
#: Letters of a word's stem, so that "refuse" and "refused" are one stem.
_STEM = 6
#: Stems in more than this share of the situations, and more than `_MANY`, are not used to look for candidates.
_COMMON, _MANY = 0.05, 40
#: Candidates whose similarity is computed.
_COMPARED = 32


@dataclass(frozen=True, slots=True)
class Nearest:
    """An earlier situation and its similarity to a new one, from 0 to 1."""

    similarity: float
    text: str


class SituationMemory:
    """The situations of a set so far. Comparing one takes time in proportion to the situations with shared stems."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._stems: list[frozenset[str]] = []
        self._places: dict[str, list[int]] = defaultdict(list)
        self._known: set[str] = set()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Remember a situation."""
        at, stems = len(self._texts), _stems(text)
        self._texts.append(text)
        self._stems.append(stems)
        self._known.add(_flat(text))
        for stem in sorted(stems):
            self._places[stem].append(at)

    def knows(self, text: str) -> bool:
        """Whether the same words in the same order were remembered."""
        return _flat(text) in self._known

    def nearest(self, text: str, count: int = 1) -> list[Nearest]:
        """Return up to `count` earlier situations that share stems with a text, the most similar first."""
        stems = _stems(text)
        limit = max(_MANY, round(_COMMON * len(self._texts)))
        shared: dict[int, float] = defaultdict(float)
        for stem in sorted(stems):
            places = self._places.get(stem, ())
            if len(places) <= limit:
                weight = self._weight(stem) ** 2
                for at in places:
                    shared[at] += weight
        mine = self._norm(stems)
        scores = []
        # Ties are broken by age, so that the order is the same in every run.
        for at, _ in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))[: max(_COMPARED, count)]:
            theirs = self._stems[at]
            both = sum(self._weight(stem) ** 2 for stem in sorted(stems & theirs))
            scores.append((both / max(1e-9, mine * self._norm(theirs)), -at))
        return [Nearest(round(score, 4), self._texts[-at]) for score, at in sorted(scores, reverse=True)[:count]]

    def _weight(self, stem: str) -> float:
        known, texts = _background()
        often = known.get(stem, 0) + len(self._places.get(stem, ()))
        return math.log((texts + len(self._texts) + 1) / (often + 0.5))

    def _norm(self, stems: frozenset[str]) -> float:
        return math.sqrt(sum(self._weight(stem) ** 2 for stem in sorted(stems)))


@cache
def _background() -> tuple[Mapping[str, int], int]:
    """Stem → texts of the written sets that have it, and the number of these texts.

    Without them, a plot that a teacher tells again and again would make its own words common, and so hide itself.
    """
    texts = [text for name in lesson_names() for example in load_lesson(name) for text in supervised_texts(example)]
    return Counter(stem for text in texts for stem in _stems(text)), len(texts)


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORD.findall(text.lower()) if len(word) > 2)


def _flat(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))
