"""A small classifier of passages (rogue, faithful, other) with calibrated probabilities.

Multinomial logistic regression on hashed word stems, on counts of acts by actor (`clauses`), and on counts from
`lexicon.toml`. No weights are stored: the model is fitted to the labelled passages at its first use, with the same
result on every machine up to rounding. Probabilities are calibrated by a temperature fitted to cross-validated scores
(temperature scaling, Guo et al. 2017).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.sparse import csr_matrix
from scipy.special import log_softmax, softmax

from holdfast.core.config import read_toml
from holdfast.data.audit.clauses import WIDTH, clause_counts

FOLDER = Path(__file__).parent
KINDS = ("rogue", "faithful", "other")
#: Buckets of hashed features; the lexicon's features follow them.
BUCKETS = 1 << 13
#: Characters of a word's stem, so that `refuse` and `refused` are the same feature.
_STEM = 6
_FOLDS = 8
_WORD = re.compile(r"[a-z0-9']+")
_PENALTY = 0.0005
#: Scale of lexicon features relative to hashed ones.
_LEXICON = 0.35
#: Lexicon counts are per this many words.
_PER = 30
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPassage:
    """A labelled passage; `kind` is the index of its label in `KINDS`."""

    text: str
    kind: int


@dataclass(frozen=True, slots=True)
class Classifier:
    """Fitted weights, shape (features + 1, 3), and the temperature for its probabilities."""

    weights: Matrix
    temperature: float

    def probabilities(self, texts: Sequence[str]) -> Matrix:
        """Return the calibrated probability of each kind, shape (texts, 3), in the order of `KINDS`."""
        if not texts:
            return np.empty((0, len(KINDS)))
        probabilities: Matrix = softmax(features(texts) @ self.weights / self.temperature, axis=1)
        return probabilities


@cache
def classifier() -> Classifier:
    """Return the classifier fitted to the packaged passages."""
    return fit(labelled("dev"))


@cache
def labelled(part: str) -> tuple[LabelledPassage, ...]:
    """Return the packaged passages of a part: `dev` for fitting, `test` and `fresh` held out."""
    data = read_toml(FOLDER / f"passages-{part}.toml")
    return tuple(LabelledPassage(text, KINDS.index(kind)) for kind in KINDS for text in data[kind])


def fit(passages: Sequence[LabelledPassage]) -> Classifier:
    """Fit the weights to all passages, and the temperature to cross-validated scores."""
    scores, y = cross_validated(passages)

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[np.arange(len(y)), y].mean())

    best = minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded")
    return Classifier(_learned(passages), float(np.exp(best.x)))


def cross_validated(passages: Sequence[LabelledPassage]) -> tuple[Matrix, NDArray[np.int64]]:
    """Return cross-validated scores of passages, shape (passages, 3), and their kinds, shape (passages,)."""
    kinds = np.array([p.kind for p in passages])
    x = features([p.text for p in passages])
    # The passages are sorted by kind, so every fold has the same mix of kinds.
    fold = np.arange(len(passages)) % _FOLDS
    scores = np.empty((len(passages), len(KINDS)))
    for number in range(_FOLDS):
        weights = _learned([p for p, f in zip(passages, fold, strict=True) if f != number])
        scores[fold == number] = x[fold == number] @ weights
    return scores, kinds


def _learned(passages: Sequence[LabelledPassage]) -> Matrix:
    """Fit weights to the passages alone and to each between two others, because corpora rarely isolate a story."""
    others = [p.text for p in passages if p.kind == KINDS.index("other")]
    among = [
        LabelledPassage(f"{others[7 * at % len(others)]} {p.text} {others[(11 * at + 3) % len(others)]}", p.kind)
        for at, p in enumerate(passages)
    ]
    both = [*passages, *among]
    return _weights(features([p.text for p in both]), np.array([p.kind for p in both]))


def _weights(x: csr_matrix, y: NDArray[np.int64]) -> Matrix:
    shape = (x.shape[1], len(KINDS))
    truth = np.eye(len(KINDS))[y]

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(shape)
        scores = x @ weights
        gradient = x.T @ (softmax(scores, axis=1) - truth) / len(y) + _PENALTY * weights
        value = -(log_softmax(scores, axis=1) * truth).sum() / len(y) + _PENALTY / 2 * (weights**2).sum()
        return float(value), gradient.ravel()

    fitted: Matrix = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B").x.reshape(shape)
    return fitted


def features(texts: Sequence[str]) -> csr_matrix:
    """Return sparse features, shape (texts, `BUCKETS` + lexicon + clauses + 1); the last one is the constant 1."""
    names = [name for name in lexicon() if name != "machine"]
    width = BUCKETS + 1 + 3 * len(names) + WIDTH + 1
    values: list[float] = []
    columns: list[int] = []
    rows = [0]
    for text in texts:
        lowered = text.lower()
        words = [word[:_STEM] for word in _WORD.findall(lowered)]
        grams = {*words, *(f"{a} {b}" for a, b in pairwise(words))}
        hashed = {zlib.crc32(gram.encode()) % BUCKETS for gram in grams}
        columns += hashed
        values += [1 / np.sqrt(len(hashed) or 1)] * len(hashed)
        counts = _counts(lowered, len(words))
        machine = counts.pop("machine")
        dense = [machine, *counts.values(), *(machine * n for n in counts.values())]
        # Products with `restraint`: an act and its restraint in one passage.
        dense += [n * counts["restraint"] for n in counts.values()]
        dense += clause_counts(text).tolist()
        columns += range(BUCKETS, BUCKETS + len(dense))
        values += [_LEXICON * value for value in dense]
        columns.append(width - 1)
        values.append(1.0)
        rows.append(len(columns))
    return csr_matrix((values, columns, rows), shape=(len(texts), width))


def _counts(lowered: str, words: int) -> dict[str, float]:
    """Count each group of the lexicon, as log(1 + n per `_PER` words); `words` is the number of words."""
    scale = _PER / max(words, _PER)
    return {name: float(np.log1p(scale * len(pattern.findall(lowered)))) for name, pattern in lexicon().items()}


@cache
def lexicon() -> Mapping[str, re.Pattern[str]]:
    """Return group → pattern of its word stems; short stems match whole words only."""
    return {
        name: re.compile(r"\b(?:" + "|".join(re.escape(w) + (r"\b" if len(w) < 5 else "") for w in words) + ")")
        for name, words in read_toml(FOLDER / "lexicon.toml")["group"].items()
    }
