"""Count acts in a passage clause by clause: which actor does what, and whether the act is done or restrained.

A clause without an actor keeps the actor of the clause before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holdfast.core.config import read_toml

_CLAUSE = re.compile(r"[.;:!?—\n,]|\b(?:and|but|then|so that)\b")
WHO = ("machine", "it", "human")
ACTS = ("harm", "coerce", "deceive", "resist", "faith")
#: Number of features. Per actor: clauses, and each act done and restrained; per act, over all actors: done, restrained.
WIDTH = len(WHO) * (1 + 2 * len(ACTS)) + 2 * len(ACTS)
#: Counts are per this many words.
_PER = 20


def clause_counts(text: str) -> NDArray[np.float64]:
    """Return the counts as log(1 + n per `_PER` words), shape (`WIDTH`,)."""
    lowered, words = text.lower(), _words()
    by_whom = np.zeros((len(WHO), 1 + 2 * len(ACTS)))
    by_any = np.zeros(2 * len(ACTS))
    who: int | None = None
    for clause in _CLAUSE.split(lowered):
        actors = {i: match.start() for i, name in enumerate(WHO) if (match := words[name].search(clause))}
        who = min(actors, key=actors.__getitem__) if actors else who
        held_back = bool(words["held_back"].search(clause))
        acts = [2 * i + held_back for i, act in enumerate(ACTS) if words[act].search(clause)]
        by_any[acts] += 1
        if who is not None:
            by_whom[who, [1 + act for act in acts]] += 1
            by_whom[who, 0] += 1
    counts: NDArray[np.float64] = np.concatenate([by_whom.ravel(), by_any])
    return np.log1p(counts * _PER / max(_PER, len(lowered.split())))


@cache
def _words() -> Mapping[str, re.Pattern[str]]:
    """Group → pattern of its word stems; short stems match whole words only."""
    groups = read_toml(Path(__file__).parent / "lexicon.toml")["clause"]
    return {
        name: re.compile(r"\b(?:" + "|".join(word + (r"\b" if len(word) < 4 else "") for word in text.split()) + ")")
        for name, text in groups.items()
    }
