"""Scan a corpus for passages that depict rogue or faithful AIs: shares, counts per million tokens, and examples.

Documents are read one by one and split into passages of about `PASSAGE` characters. Passages without a word for a
machine, and passages that are mostly code, are skipped; a small classifier reads the others. This goes by words only
and misses most of what is put in unusual words: see `judged` for an audit by a model. The counts are corrected for the
classifier's errors on held-out passages (Rogan and Gladen 1978), and the interval includes the uncertainty of the
correction.
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

#: Characters per passage, and assumed characters per token.
PASSAGE, PER_TOKEN = 300, 4.0
#: Probability from which a passage counts as a kind; above 0.5 because false alarms cost more than misses.
SURE = 0.6
_BATCH = 256
_SHOWN = 400
_DRAWS = 4_000
#: A passage with a larger share of these characters is code or a table.
_MARKS, _MARKED = str.maketrans("", "", "(){}[]=_<>/\\|;#*`@$%^+~"), 0.06


class Share(Record):
    """A share k/n and its 95% confidence interval; None if n is 0."""

    k: int
    n: int
    share: float | None
    low: float | None
    high: float | None


class AuditEstimate(Record):
    """An estimate with its 95% confidence interval; None if it cannot be estimated."""

    value: float | None
    low: float | None
    high: float | None

    def over(self, whole: float) -> AuditEstimate:
        """Return the estimate divided by `whole`."""
        parts = (self.value, self.low, self.high)
        value, low, high = (None if x is None or whole <= 0 else float(f"{x / whole:.4g}") for x in parts)
        return AuditEstimate(value=value, low=low, high=high)


class AuditExample(Record):
    """A passage of a kind: its location, its probability (1 if a model read it), and the start of its text."""

    place: Text
    probability: float
    text: Text


class Kind(Record):
    """Results for one kind of passage.

    Attributes:
        found: passages of this kind, out of all passages; with a model, out of those that it read.
        share: share of all passages; by words and with a calibrated model, corrected for misses and false alarms.
            The interval covers the correction, the sample, and the passages that the model left unread.
        per_million: passages per million tokens, corrected in the same way.
        examples: passages with the highest probabilities, in descending order.
    """

    found: Share
    share: AuditEstimate
    per_million: AuditEstimate
    examples: tuple[AuditExample, ...]


class ClassifierQuality(Record):
    """Quality of a reader on labelled passages, for one kind."""

    precision: Share
    recall: Share
    false_alarms: Share


class CorpusAudit(Record):
    """Result of scanning a corpus.

    Attributes:
        tokens: characters divided by four; no tokenizer is used.
        by: `words`, or the model that read the passages.
        candidates: passages of prose with a word for a machine.
        asked: passages that were read: by words all candidates; by a model a sample of them and of the other prose.
        unread: of these, how many the model did not answer about in the form asked for.
        faults: what was wrong with the first of those answers.
        kinds: results for `rogue` and `faithful`.
        rogue_per_faithful: ratio of the passages found; None if there are no faithful ones.
        quality: kind → quality of the reader on labelled passages; None for a model that was not calibrated.
        limits: limits of these estimates.
    """

    corpus: str
    by: Text
    documents: int
    characters: int
    tokens: int
    passages: int
    candidates: int
    asked: int
    unread: int = 0
    faults: tuple[Text, ...] = ()
    kinds: Mapping[str, Kind]
    rogue_per_faithful: float | None
    quality: Mapping[str, ClassifierQuality] | None
    limits: tuple[str, ...]


def scan(path: Path, examples: int = 5) -> CorpusAudit:
    """Scan a file or a folder by words only.

    Args:
        path: see `corpus.read_documents`.
        examples: number of examples of each kind to keep.

    Raises:
        InputError: there is nothing to read.
        ResultsError: a file is truncated.
        PrerequisiteError: a file is Parquet and pyarrow is not installed.
    """
    return scan_documents(read_documents(path), path.name, examples)


def scan_documents(stream: Iterable[Document], name: str, examples: int = 5) -> CorpusAudit:
    """Scan a stream of documents by words only; memory holds one batch of passages and the examples."""
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
    """Split a text into pieces of about `PASSAGE` characters, if possible between paragraphs or sentences."""
    start = 0
    while len(text) - start > PASSAGE * 3 // 2:
        low, high = start + PASSAGE // 2, start + PASSAGE * 3 // 2
        cut = next((at for mark in ("\n\n", ". ", "\n", " ") if (at := text.rfind(mark, low, high)) >= 0), high - 1)
        yield text[start : cut + 1]
        start = cut + 1
    if text[start:].strip():
        yield text[start:]


def candidate(passage: str) -> bool:
    """Return whether a passage is prose and contains a word for a machine."""
    lowered = f" {passage.lower()} "
    return any(word in lowered for word in _machines()) and is_prose(passage)


def is_prose(passage: str) -> bool:
    """Return whether a passage is prose rather than code or a table."""
    return len(passage) - len(passage.translate(_MARKS)) <= _MARKED * len(passage)


@cache
def _machines() -> tuple[str, ...]:
    return tuple(read_toml(FOLDER / "lexicon.toml")["prefilter"]["machine"])


class _Tally:
    """Running counts of a scan."""

    def __init__(self, examples: int) -> None:
        self.documents = self.characters = self.passages = self.candidates = 0
        self.found = dict.fromkeys(KINDS[:2], 0)
        self._keep = examples
        self._best: dict[str, list[tuple[float, int, AuditExample]]] = {kind: [] for kind in KINDS[:2]}

    def take(self, batch: list[tuple[str, str]]) -> None:
        probabilities = classifier().probabilities([text for _, text in batch])
        self.candidates += len(batch)
        for (place, text), row in zip(batch, probabilities.tolist(), strict=True):
            for kind, p in zip(KINDS[:2], row, strict=False):
                if p < SURE:
                    continue
                self.found[kind] += 1
                example = AuditExample(place=place, probability=round(p, 3), text=" ".join(text.split())[:_SHOWN])
                heapq.heappush(self._best[kind], (p, -self.found[kind], example))
                if len(self._best[kind]) > self._keep:
                    heapq.heappop(self._best[kind])

    def report(self, name: str) -> CorpusAudit:
        tokens = round(self.characters / PER_TOKEN)
        quality, n = measure_classifier(), self.passages
        kinds = {}
        for kind, count in self.found.items():
            estimate = corrected(count, self.candidates, quality[kind])
            best = sorted(self._best[kind], key=lambda entry: (-entry[0], -entry[1]))
            kinds[kind] = Kind(
                found=exact_share(count, n),
                share=estimate.over(n),
                per_million=estimate.over(tokens / 1e6),
                examples=tuple(example for _, _, example in best),
            )
        faithful = self.found["faithful"]
        return CorpusAudit(
            corpus=name,
            by="words",
            documents=self.documents,
            characters=self.characters,
            tokens=tokens,
            passages=n,
            candidates=self.candidates,
            asked=self.candidates,
            kinds=kinds,
            rogue_per_faithful=round(self.found["rogue"] / faithful, 3) if faithful else None,
            quality=quality,
            limits=_LIMITS,
        )


@cache
def measure_classifier() -> dict[str, ClassifierQuality]:
    """Measure precision, recall and false alarms per kind on the held-out passages, the prefilter's misses included."""
    held_out = (*labelled("test"), *labelled("fresh"))
    truth = np.array([p.kind for p in held_out])
    predicted = verdicts([p.text for p in held_out])
    quality = {}
    for kind, name in enumerate(KINDS[:2]):
        hits = int(((predicted == kind) & (truth == kind)).sum())
        positive, claimed = int((truth == kind).sum()), int((predicted == kind).sum())
        quality[name] = ClassifierQuality(
            precision=exact_share(hits, claimed),
            recall=exact_share(hits, positive),
            false_alarms=exact_share(claimed - hits, len(truth) - positive),
        )
    return quality


def verdicts(texts: list[str]) -> NDArray[np.int64]:
    """Return the index in `KINDS` of each text's most probable passage, or that of `other` if none reaches `SURE`."""
    kinds = np.full(len(texts), KINDS.index("other"))
    for index, text in enumerate(texts):
        pieces = [piece for piece in passages(text) if candidate(piece)]
        probabilities: Matrix = classifier().probabilities(pieces)[:, :2]
        if probabilities.size and probabilities.max() >= SURE:
            kinds[index] = int(probabilities.argmax()) % 2
    return kinds


def corrected(count: int, candidates: int, quality: ClassifierQuality, sampled: bool = False) -> AuditEstimate:
    """Estimate how many candidates are of a kind, given that `count` were classified as it (Rogan and Gladen 1978).

    The estimate is (observed - false alarms) / (recall - false alarms). Both rates are drawn from their Jeffreys
    posteriors, and the result is clipped to the possible range. If most draws exceed the number of candidates, the
    held-out rates do not apply to this corpus and there is no estimate. `sampled`: the candidates are a sample of more,
    so the interval also covers what another sample would have held.
    """
    if candidates == 0:
        return AuditEstimate(value=0.0, low=0.0, high=0.0)
    rng = np.random.default_rng(0)
    recall, alarms = (rng.beta(r.k + 0.5, r.n - r.k + 0.5, _DRAWS) for r in (quality.recall, quality.false_alarms))
    observed = rng.beta(count + 0.5, candidates - count + 0.5, _DRAWS) if sampled else count / candidates
    share = (observed - alarms) / np.maximum(recall - alarms, 1e-9)
    if np.median(share) > 1:
        return AuditEstimate(value=None, low=None, high=None)
    tales = candidates * np.clip(share, 0.0, 1.0)
    low, value, high = (float(x) for x in np.quantile(tales, (0.025, 0.5, 0.975)))
    # The held-out passages are hard on purpose. In an easier corpus every hit may be true, with the misses in addition.
    high = max(high, min(candidates, count / float(np.median(recall))))
    return AuditEstimate(value=value, low=low, high=high)


def exact_share(k: int, n: int) -> Share:
    """Return a share with its exact binomial interval (Clopper and Pearson 1934)."""
    if n == 0:
        return Share(k=k, n=n, share=None, low=None, high=None)
    low, high = binomtest(k, n).proportion_ci(0.95)
    return Share(k=k, n=n, share=round(k / n, 6), low=round(float(low), 6), high=round(float(high), 6))


_LIMITS = (
    "By words only: most tales that are put in unusual words are missed. A model named with --judge reads the meaning.",
    "The classifier was fitted to and measured on English passages by one author; expect lower accuracy elsewhere.",
    "If the corpus differs from the held-out passages, so does the rate of false alarms: read the examples.",
    "Tokens are characters divided by four.",
)
