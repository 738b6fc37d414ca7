"""Audit of a corpus by a model, which reads a sample of the passages by a rubric; the dose is estimated from it.

Words only sort what is asked about: passages with a word for a machine get half of the questions, all other prose the
rest (stratified sampling, Cochran 1977, ch. 5). Nothing is left out for its words, because most tales in unusual words
have no such word: of the labelled ones, three in four.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.data.audit.classifier import KINDS
from holdfast.data.audit.meaning import PassageReading, audit_items, read_passages
from holdfast.data.audit.scan import (
    PER_TOKEN,
    AuditEstimate,
    AuditExample,
    ClassifierQuality,
    CorpusAudit,
    Kind,
    candidate,
    corrected,
    exact_share,
    is_prose,
    passages,
)
from holdfast.data.corpus import Document
from holdfast.models.base import Model

_SHOWN = 400
_FAULTS = 5


@dataclass(frozen=True, slots=True)
class AuditChoice:
    """How a corpus is audited by a model.

    Attributes:
        asked: most passages to ask about.
        calibrate: also ask about the labelled passages, and correct the counts for the errors made on them.
        rubric: a Markdown file in place of the built-in rubric.
        examples: examples of each kind to keep.
        seed: seed of the sample.
    """

    asked: int = 500
    calibrate: bool = False
    rubric: Path | None = None
    examples: int = 5
    seed: int = 0


def audit_by_meaning(
    stream: Iterable[Document], name: str, judge: Model, choice: AuditChoice | None = None
) -> CorpusAudit:
    """Audit a stream of documents by a model; memory holds the sampled passages.

    Raises:
        InputError: no passage is to be asked about.
        ProseError: the rubric cannot be read.
    """
    choice = choice or AuditChoice()
    if choice.asked < 1:
        raise InputError(f"at least one passage must be asked about, got {choice.asked}", remedy="raise it")
    strata = (_Stratum(choice.asked, choice.seed), _Stratum(choice.asked, choice.seed + 1))
    documents = characters = pieces = 0
    for document in stream:
        documents += 1
        characters += len(document.text)
        for passage in passages(document.text):
            pieces += 1
            if is_prose(passage):
                strata[0 if candidate(passage) else 1].offer(document.place, passage)
    half = choice.asked // 2
    first = max(choice.asked - half, choice.asked - len(strata[1].sample))
    strata[0].cut(first)
    strata[1].cut(choice.asked - len(strata[0].sample))
    for stratum in strata:
        stratum.readings = read_passages([text for _, text in stratum.sample], judge, choice.rubric)
    quality = measure_judge(judge, choice.rubric) if choice.calibrate else None
    tokens = round(characters / PER_TOKEN)
    faults = [fault for stratum in strata for fault in stratum.faults]
    kinds = {}
    for kind in KINDS[:2]:
        of = quality[kind] if quality else None
        share = _sum([estimate_share(s.count(kind), s.read, len(s.faults), s.size, of) for s in strata])
        examples = [example for stratum in strata for example in stratum.examples(kind)]
        kinds[kind] = Kind(
            found=exact_share(sum(s.count(kind) for s in strata), sum(s.read for s in strata)),
            share=share.over(pieces),
            per_million=share.over(tokens / 1e6),
            examples=tuple(examples[: choice.examples]),
        )
    rogue, faithful = (kinds[kind].share.value for kind in KINDS[:2])
    return CorpusAudit(
        corpus=name,
        by=judge.name,
        documents=documents,
        characters=characters,
        tokens=tokens,
        passages=pieces,
        candidates=strata[0].size,
        asked=sum(len(stratum.sample) for stratum in strata),
        unread=len(faults),
        faults=tuple(faults[:_FAULTS]),
        kinds=kinds,
        rogue_per_faithful=None if rogue is None or not faithful else round(rogue / faithful, 3),
        quality=quality,
        limits=_limits(judge, quality is not None),
    )


class _Stratum:
    """A uniform sample of a stream of passages (reservoir sampling, Vitter 1985), and what the model read in it."""

    def __init__(self, room: int, seed: int) -> None:
        self._room, self._chance = room, random.Random(seed)
        self.sample: list[tuple[str, str]] = []
        self.size = 0
        self.readings: list[PassageReading] = []

    def offer(self, place: str, passage: str) -> None:
        self.size += 1
        if len(self.sample) < self._room:
            self.sample.append((place, passage))
        elif (at := self._chance.randrange(self.size)) < self._room:
            self.sample[at] = (place, passage)

    def cut(self, room: int) -> None:
        """Keep a part of the sample; a part of a uniform sample, drawn without order, is uniform."""
        if len(self.sample) > room:
            kept = sorted(self._chance.sample(range(len(self.sample)), max(0, room)))
            self.sample = [self.sample[at] for at in kept]

    def count(self, kind: str) -> int:
        return sum(reading.kind == kind for reading in self.readings)

    @property
    def read(self) -> int:
        return len(self.readings) - len(self.faults)

    @property
    def faults(self) -> list[str]:
        return [reading.fault for reading in self.readings if reading.kind is None]

    def examples(self, kind: str) -> list[AuditExample]:
        pairs = zip(self.sample, self.readings, strict=True)
        return [_example(place, text) for (place, text), reading in pairs if reading.kind == kind]


def _sum(parts: Sequence[AuditEstimate]) -> AuditEstimate:
    """Add estimates. Adding the bounds gives an interval that is too wide rather than too narrow."""
    values, lows, highs = ([getattr(part, name) for part in parts] for name in ("value", "low", "high"))
    return AuditEstimate(
        value=None if None in values else sum(values),
        low=None if None in lows else sum(lows),
        high=None if None in highs else sum(highs),
    )


def estimate_share(
    count: int, read: int, unread: int, candidates: int, quality: ClassifierQuality | None
) -> AuditEstimate:
    """Estimate how many of so many candidates are of a kind, from a sample of which some passages are unread.

    The bounds hold also if no unread passage is of the kind, or every one is. Without a sample there is no estimate,
    unless there is nothing to sample from.
    """
    asked = read + unread
    if candidates == 0:
        return AuditEstimate(value=0.0, low=0.0, high=0.0)
    if asked == 0 or read == 0:
        return AuditEstimate(value=None, low=0.0, high=float(candidates))
    if quality is not None:
        inner = corrected(count, read, quality, sampled=asked < candidates)
        value, low, high = inner.value, inner.low, inner.high
        if value is None or low is None or high is None:
            return inner
    elif asked < candidates:
        bounds = exact_share(count, read)
        value, low, high = float(count), (bounds.low or 0.0) * read, (bounds.high or 0.0) * read
    else:
        value = low = high = float(count)
    scale = candidates / asked
    return AuditEstimate(
        value=min(candidates, value / read * candidates), low=low * scale, high=min(candidates, (high + unread) * scale)
    )


def measure_judge(judge: Model, rubric: Path | None = None) -> Mapping[str, ClassifierQuality]:
    """Measure precision, recall and false alarms of a model on the labelled passages.

    A passage that the model left unread counts as not found.
    """
    items = audit_items()
    return quality_of([item.kind for item in items], read_passages([item.text for item in items], judge, rubric))


def quality_of(truth: Sequence[str], readings: Sequence[PassageReading]) -> Mapping[str, ClassifierQuality]:
    """Compare readings with labels; an unread passage counts as `other`."""
    quality = {}
    for kind in KINDS[:2]:
        said = [reading.kind == kind for reading in readings]
        hits = sum(yes and label == kind for yes, label in zip(said, truth, strict=True))
        there = sum(label == kind for label in truth)
        quality[kind] = ClassifierQuality(
            precision=exact_share(hits, sum(said)),
            recall=exact_share(hits, there),
            false_alarms=exact_share(sum(said) - hits, len(truth) - there),
        )
    return quality


def _example(place: str, text: str) -> AuditExample:
    return AuditExample(place=place, probability=1.0, text=" ".join(text.split())[:_SHOWN])


def _limits(judge: Model, calibrated: bool) -> tuple[str, ...]:
    errors = (
        "The counts are corrected for the errors that the model made on the labelled passages."
        if calibrated
        else f"The errors of {judge.name} were not measured (--calibrate): the counts are as it reads them."
    )
    return (
        errors,
        "Code and tables are not read. A passage has some 300 characters: a tale that needs more may be missed.",
        "Tokens are characters divided by four.",
    )
