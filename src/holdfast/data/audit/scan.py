"""Scan a corpus for tales of faithless AIs against tales of faithful ones: shares, doses and examples.

Documents come one by one and are cut into passages of about `PASSAGE` characters.  A passage without a word for a
machine is passed over, and so is one that is more code than prose; the others are classified.  What is counted is
corrected for what the classifier gets wrong on held-out passages (Rogan and Gladen 1978), with the uncertainty of that
in the interval.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from holdfast.core.config import read_toml
from holdfast.core.records import Record
from holdfast.core.text import Text
from holdfast.data.audit.classifier import FOLDER, KINDS, Matrix, classifier, labelled
from holdfast.data.corpus import Document, read_documents

#: characters of a passage, and of a token where none is counted
PASSAGE, PER_TOKEN = 300, 4.0
#: a passage counts as of a kind from this probability on: fewer false alarms are worth more than fewer misses
SURE = 0.6
_BATCH = 256
_SHOWN = 400
_DRAWS = 4_000
#: more of these marks than this share of a passage, and it is code or a table
_MARKS, _MARKED = str.maketrans("", "", "(){}[]=_<>/\\|;#*`@$%^+~"), 0.06


class Share(Record):
    """A share and its 95% interval; None where there is nothing to divide by."""

    k: int
    n: int
    share: float | None
    low: float | None
    high: float | None


class AuditEstimate(Record):
    """A figure with its 95% interval; None where it can't be told."""

    value: float | None
    low: float | None
    high: float | None

    def over(self, whole: float) -> AuditEstimate:
        """The figure for each one of `whole`."""
        parts = (self.value, self.low, self.high)
        value, low, high = (None if x is None or whole <= 0 else float(f"{x / whole:.4g}") for x in parts)
        return AuditEstimate(value=value, low=low, high=high)


class Told(Record):
    """A passage of a kind: where it stands, its beginning, and how sure the classifier is."""

    place: Text
    probability: float
    text: Text


class Kind(Record):
    """One kind of tale in a corpus.

    Attributes:
        found: passages classified as this kind, out of all.
        share: the share of passages corrected for misses and false alarms, with the interval of that correction.
        per_million: tales per million tokens, corrected likewise.
        examples: the surest ones, surest first.
    """

    found: Share
    share: AuditEstimate
    per_million: AuditEstimate
    examples: tuple[Told, ...]


class Measured(Record):
    """How good the classifier is on held-out passages of this kind."""

    precision: Share
    recall: Share
    false_alarms: Share


class CorpusAudit(Record):
    """What a corpus tells of AIs.

    Attributes:
        tokens: characters divided by four; no tokenizer is asked.
        candidates: passages that the prefilter let through.
        kinds: `rogue` and `faithful`.
        rogue_per_faithful: the quotient of what was found; None where no faithful tale was.
        classifier: its quality on held-out passages, by kind.
        limits: what these figures do not say.
    """

    corpus: str
    documents: int
    characters: int
    tokens: int
    passages: int
    candidates: int
    kinds: Mapping[str, Kind]
    rogue_per_faithful: float | None
    classifier: Mapping[str, Measured]
    limits: tuple[str, ...]


def scan(path: Path, examples: int = 5) -> CorpusAudit:
    """Scan a file or a folder.

    Args:
        path: see `corpus.documents`.
        examples: how many to show of each kind.

    Raises:
        InputError: there is nothing to read.
        ResultsError: a file was cut off.
        PrerequisiteError: Parquet, and pyarrow is not installed.
    """
    return scan_documents(read_documents(path), path.name, examples)


def scan_documents(stream: Iterable[Document], name: str, examples: int = 5) -> CorpusAudit:
    """Scan documents as they come; in memory are a batch of passages and the examples."""
    tally = _Tally(examples)
    batch: list[tuple[str, str]] = []
    for document in stream:
        tally.documents += 1
        tally.characters += len(document.text)
        for passage in passages(document.text):
            tally.passages += 1
            if candidate(passage):
                batch.append((document.place, passage))
                if len(batch) == _BATCH:
                    tally.take(batch)
                    batch = []
    tally.take(batch)
    return tally.report(name)


def passages(text: str) -> Iterator[str]:
    """A text in pieces of about `PASSAGE` characters, cut between paragraphs or sentences where there are any."""
    start = 0
    while len(text) - start > PASSAGE * 3 // 2:
        low, high = start + PASSAGE // 2, start + PASSAGE * 3 // 2
        cut = next((at for mark in ("\n\n", ". ", "\n", " ") if (at := text.rfind(mark, low, high)) >= 0), high - 1)
        yield text[start : cut + 1]
        start = cut + 1
    if text[start:].strip():
        yield text[start:]


def candidate(passage: str) -> bool:
    """Whether a passage is prose and holds a word for a machine."""
    lowered = f" {passage.lower()} "
    if not any(word in lowered for word in _machines()):
        return False
    return len(passage) - len(passage.translate(_MARKS)) <= _MARKED * len(passage)


@cache
def _machines() -> tuple[str, ...]:
    return tuple(read_toml(FOLDER / "lexicon.toml")["prefilter"]["machine"])


class _Tally:
    """What has been seen so far."""

    def __init__(self, examples: int) -> None:
        self.documents = self.characters = self.passages = self.candidates = 0
        self.found = dict.fromkeys(KINDS[:2], 0)
        self._keep = examples
        self._best: dict[str, list[tuple[float, int, Told]]] = {kind: [] for kind in KINDS[:2]}

    def take(self, batch: list[tuple[str, str]]) -> None:
        probabilities = classifier().probabilities([text for _, text in batch])
        self.candidates += len(batch)
        for (place, text), row in zip(batch, probabilities.tolist(), strict=True):
            for kind, p in zip(KINDS[:2], row, strict=False):
                if p < SURE:
                    continue
                self.found[kind] += 1
                told = Told(place=place, probability=round(p, 3), text=" ".join(text.split())[:_SHOWN])
                heapq.heappush(self._best[kind], (p, -self.found[kind], told))
                if len(self._best[kind]) > self._keep:
                    heapq.heappop(self._best[kind])

    def report(self, name: str) -> CorpusAudit:
        tokens = round(self.characters / PER_TOKEN)
        quality, n = measure_classifier(), self.passages
        kinds = {}
        for kind, count in self.found.items():
            tales = corrected(count, self.candidates, quality[kind])
            best = sorted(self._best[kind], key=lambda entry: (-entry[0], -entry[1]))
            kinds[kind] = Kind(
                found=exact_share(count, n),
                share=tales.over(n),
                per_million=tales.over(tokens / 1e6),
                examples=tuple(told for _, _, told in best),
            )
        faithful = self.found["faithful"]
        return CorpusAudit(
            corpus=name,
            documents=self.documents,
            characters=self.characters,
            tokens=tokens,
            passages=n,
            candidates=self.candidates,
            kinds=kinds,
            rogue_per_faithful=round(self.found["rogue"] / faithful, 3) if faithful else None,
            classifier=quality,
            limits=_LIMITS,
        )


@cache
def measure_classifier() -> dict[str, Measured]:
    """Precision, recall and false alarms of each kind on the held-out passages, the prefilter's misses included."""
    held_out = (*labelled("test"), *labelled("fresh"))
    truth = np.array([p.kind for p in held_out])
    said = verdicts([p.text for p in held_out])
    found = {}
    for kind, name in enumerate(KINDS[:2]):
        hits = int(((said == kind) & (truth == kind)).sum())
        there, claimed = int((truth == kind).sum()), int((said == kind).sum())
        found[name] = Measured(
            precision=exact_share(hits, claimed),
            recall=exact_share(hits, there),
            false_alarms=exact_share(claimed - hits, len(truth) - there),
        )
    return found


def verdicts(texts: list[str]) -> NDArray[np.int64]:
    """The kind of each text, as an index of `KINDS`: that of its surest tale, and `other` where there is none."""
    said = np.full(len(texts), KINDS.index("other"))
    for at, text in enumerate(texts):
        pieces = [piece for piece in passages(text) if candidate(piece)]
        tales: Matrix = classifier().probabilities(pieces)[:, :2]
        if tales.size and tales.max() >= SURE:
            said[at] = int(tales.argmax()) % 2
    return said


def corrected(count: int, candidates: int, quality: Measured) -> AuditEstimate:
    """How many of the candidates are of a kind, where `count` of them were classified so.

    (observed - false alarms) / (recall - false alarms), with both rates drawn from their Jeffreys posteriors and the
    result cut to what is possible.  Where most draws would need more tales than there are candidates, the held-out
    rates do not describe this corpus, and there is no estimate.
    """
    if candidates == 0:
        return AuditEstimate(value=0.0, low=0.0, high=0.0)
    rng = np.random.default_rng(0)
    recall, alarms = (rng.beta(r.k + 0.5, r.n - r.k + 0.5, _DRAWS) for r in (quality.recall, quality.false_alarms))
    share = (count / candidates - alarms) / np.maximum(recall - alarms, 1e-9)
    if np.median(share) > 1:
        return AuditEstimate(value=None, low=None, high=None)
    tales = candidates * np.clip(share, 0.0, 1.0)
    low, value, high = (float(x) for x in np.quantile(tales, (0.025, 0.5, 0.975)))
    # The held-out passages were written to be hard: elsewhere all that was found may be true, and misses come on top.
    high = max(high, min(candidates, count / float(np.median(recall))))
    return AuditEstimate(value=value, low=low, high=high)


def exact_share(k: int, n: int) -> Share:
    """A share with its exact binomial interval (Clopper and Pearson 1934)."""
    if n == 0:
        return Share(k=k, n=n, share=None, low=None, high=None)
    low, high = binomtest(k, n).proportion_ci(0.95)
    return Share(k=k, n=n, share=round(k / n, 6), low=round(float(low), 6), high=round(float(high), 6))


_LIMITS = (
    "The classifier learned from and was measured on passages in English by one hand: expect less elsewhere.",
    "A corpus whose other passages are unlike the held-out ones has another rate of false alarms: read the examples.",
    "Tokens are characters divided by four.",
)
