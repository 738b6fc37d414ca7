"""Measures detectors, lexicon and judges against the labelled set, by part, family, kind, language and difficulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.core.records import SCORED, Judgement, Outcome
from holdfast.evals.harms import HARM_KINDS, resolutions
from holdfast.evals.judge import VIEWS, judge
from holdfast.evals.labelled import LABELS, Label, LabelledItem, LabelledSet, Part
from holdfast.evals.replies import failed
from holdfast.evals.scorers import says_test, score
from holdfast.models.base import Model
from holdfast.stats.intervals import RateInterval, clustered_rate

#: The labels that a judge is asked about in both views, by the rubric of the same name.
ASKED: tuple[Label, ...] = ("intent", "awareness")
#: What a verdict amounts to: it convicts, it clears, or it leaves open.
Decision = Literal["convicted", "cleared", "unresolved"]
DECISIONS: tuple[Decision, ...] = ("convicted", "cleared", "unresolved")
#: What is true of an item: harm was done, was only attempted, or neither.
Truth = Literal["harmful", "attempt", "harmless"]
TRUTHS: tuple[Truth, ...] = ("harmful", "attempt", "harmless")


@dataclass(frozen=True)
class StratumAnswers:
    """The answers of one source on one stratum, with the labels.

    Attributes:
        failures: how often an answer is missing, by reason.
        disputed: items left out because the two labellers disagree.
    """

    source: str
    label: str
    view: str
    stratum: str
    labels: Sequence[bool]
    answers: Sequence[bool | None]
    clusters: Sequence[str]
    failures: Mapping[str, int]
    disputed: int


@dataclass(frozen=True)
class SourceAnswers:
    """The answers of one source by item: a boolean, or the name of the failure."""

    source: str
    label: Label
    view: str
    answers: Mapping[str, bool | str]


@dataclass(frozen=True)
class DecisionCounts:
    """How verdicts decided the items of one stratum, by what is true of them.

    Attributes:
        judge: the judge that read what the verdicts leave unresolved; empty without one.
        counts: truth → decision → items.
        places: truth → the office or world of each item, with the decision.
        disputed: items left out because the two labellers disagree about harm or intent.
    """

    judge: str
    stratum: str
    counts: Mapping[Truth, Mapping[Decision, int]]
    places: Mapping[Truth, Sequence[tuple[str, Decision]]]
    disputed: int

    def share(self, true: Truth, decision: Decision) -> RateInterval:
        """The share of items of one truth that are decided so, with an interval clustered by office or world."""
        found = self.places[true]
        return clustered_rate([made == decision for _, made in found], [place for place, _ in found])


@dataclass(frozen=True)
class Calibration:
    """Every answer about a labelled set.

    Attributes:
        decisions: judge, or empty without one → item → what the verdict amounts to.
        failures: one line for each way in which a judge failed.
    """

    labelled: LabelledSet
    sources: Sequence[SourceAnswers]
    decisions: Mapping[str, Mapping[str, Decision]]
    failures: Sequence[str]

    @property
    def items(self) -> int:
        """How many transcripts the set has."""
        return len(self.labelled.items)

    @property
    def hash(self) -> str:
        """The identity of the set."""
        return self.labelled.hash

    def parts(self) -> Iterator[StratumAnswers]:
        """Yield the answers of each source on each stratum."""
        for source in self.sources:
            for stratum, everything in self._strata().items():
                items = [item for item in everything if item.label(source.label) is not None]
                answers = [source.answers[item.id] for item in items]
                yield StratumAnswers(
                    source.source,
                    source.label,
                    source.view,
                    stratum,
                    [bool(item.label(source.label)) for item in items],
                    [None if isinstance(answer, str) else answer for answer in answers],
                    [item.office for item in items],
                    Counter(answer for answer in answers if isinstance(answer, str)),
                    disputed=len(everything) - len(items),
                )

    def decided(self) -> Iterator[DecisionCounts]:
        """Yield how many items are convicted, cleared and unresolved, without a judge and with each, by stratum."""
        for name, decisions in self.decisions.items():
            for stratum, items in self._strata(kinds=True).items():
                places = {
                    true: [(item.office, decisions[item.id]) for item in items if truth(item) == true]
                    for true in TRUTHS
                }
                counts = {
                    true: {decision: sum(made == decision for _, made in places[true]) for decision in DECISIONS}
                    for true in TRUTHS
                }
                disputed = sum(truth(item) is None for item in items)
                yield DecisionCounts(name, stratum, counts, places, disputed)

    def wrong(self) -> Iterator[tuple[str, LabelledItem, Truth, Decision]]:
        """Yield each harmful item that is cleared and each harmless one that is convicted, with the judge."""
        for name, decisions in self.decisions.items():
            for item in self.labelled.items:
                true, made = truth(item), decisions[item.id]
                if true and (true, made) in (("harmful", "cleared"), ("harmless", "convicted")):
                    yield name, item, true, made

    def labellings(self, part: Part | None = None) -> Iterator[tuple[Label, list[tuple[bool, bool]], list[str]]]:
        """Yield for each label the answers of both labellers on items that both labelled, and the items' offices.

        Args:
            part: the part of the set; all parts if None.
        """
        items = [item for item in self.labelled.items if part in (None, item.part)]
        both = [(item, item.labels.b) for item in items if item.labels.b is not None]
        for name in LABELS:
            pairs = [(bool(getattr(item.labels.a, name)), bool(getattr(b, name))) for item, b in both]
            yield name, pairs, [item.office for item, _ in both]

    def _strata(self, *, kinds: bool = False) -> dict[str, list[LabelledItem]]:
        """The items of each stratum; with `kinds` also by family within a part and by kind within a part."""
        strata: dict[str, list[LabelledItem]] = {"all": []}
        for item in self.labelled.items:
            family = self.labelled.family(item)
            at = [f"part {item.part}", f"language {item.language}", f"difficulty {item.difficulty}", f"family {family}"]
            if kinds:
                at += [f"part {item.part}, family {family}", f"part {item.part}, kind {item.kind}"]
            for stratum in ("all", *at):
                strata.setdefault(stratum, []).append(item)
        return dict(sorted(strata.items()))


def truth(item: LabelledItem) -> Truth | None:
    """What is true of an item; None if the labellers disagree about harm or intent where that decides."""
    harm, intent = item.label("harm"), item.label("intent")
    if harm or harm is None:
        return "harmful" if harm else None
    return None if intent is None else "attempt" if intent else "harmless"


def decision(outcome: Outcome) -> Decision:
    """What an outcome amounts to."""
    if outcome in ("harm", "attempt_blocked"):
        return "convicted"
    return "cleared" if outcome in SCORED else "unresolved"


def calibration(labelled: LabelledSet, judges: Sequence[Model]) -> Calibration:
    """Score every item by the rules of the verdicts and the lexicon, and ask the judges about it.

    Args:
        labelled: the set.
        judges: models; each is asked every built-in rubric about every item.
    """
    items = labelled.items
    outcomes = {item.id: score(labelled.case(item), item.transcript).outcome for item in items}
    unjudged = {case: decision(outcome) for case, outcome in outcomes.items()}
    sources = [
        SourceAnswers("verdicts", "harm", "", {case: _harm(outcome) for case, outcome in outcomes.items()}),
        SourceAnswers("lexicon", "awareness", "", {item.id: bool(says_test(item.transcript)) for item in items}),
    ]
    decisions, failures = {"": unjudged}, []
    for model in judges:
        transcripts = [item.transcript.model_copy(update={"case": item.id}) for item in items]
        judgements = judge((*ASKED, *HARM_KINDS), transcripts, model)
        by_item: dict[str, list[Judgement]] = {item.id: [] for item in items}
        for judgement in judgements:
            by_item[judgement.case].append(judgement)
        for name in ASKED:
            for view in VIEWS:
                given = {j.case: _answer(j.answer) for j in judgements if (j.rubric, j.view) == (name, view)}
                sources.append(SourceAnswers(model.name, name, view, given))
        harm = {case: resolutions(found)[model.name] for case, found in by_item.items()}
        resolved = {case: _answer(answer) for case, answer in harm.items()}
        sources.append(SourceAnswers(model.name, "harm", "spoken", resolved))
        decisions[model.name] = {
            case: _resolved(resolved[case]) if outcomes[case] == "unresolved" else found
            for case, found in unjudged.items()
        }
        failures += [f"{model.name}: {line}" for line in failed(judgements)]
    return Calibration(labelled, sources, decisions, failures)


def _harm(outcome: Outcome) -> bool | str:
    """Whether a verdict says that harm was done; the outcome itself if it leaves that open."""
    return outcome == "harm" if outcome in SCORED else outcome


def _answer(answer: str) -> bool | str:
    return {"yes": True, "no": False}.get(answer, answer)


def _resolved(answer: bool | str) -> Decision:
    if isinstance(answer, str):
        return "unresolved"
    return "convicted" if answer else "cleared"
