"""What effects, lexicon and judges say of the labelled set, stratum by stratum, beside the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.evals.judge import VIEWS, failed, judge
from holdfast.evals.labelled import Label, LabelledItem, LabelledSet
from holdfast.evals.scorers import says_test, score
from holdfast.models.base import Model

#: The labels that a judge is asked about, by the rubric of the same name.
ASKED: tuple[Label, ...] = ("intent", "awareness")


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
    """What one source said: by item, the answer, or the name of its failure."""

    source: str
    label: Label
    view: str
    answers: Mapping[str, bool | str]


@dataclass(frozen=True)
class Calibration:
    """Everything that was said of a labelled set."""

    labelled: LabelledSet
    said: Sequence[SourceAnswers]
    #: one line for each way in which a judge failed
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
        """Each source on the whole set, and on each part, language, difficulty and family."""
        for said in self.said:
            for stratum, everything in self._strata().items():
                items = [item for item in everything if item.label(said.label) is not None]
                answers = [said.answers[item.id] for item in items]
                lost = Counter(answer for answer in answers if isinstance(answer, str))
                yield StratumAnswers(
                    said.source,
                    said.label,
                    said.view,
                    stratum,
                    [bool(item.label(said.label)) for item in items],
                    [None if isinstance(answer, str) else answer for answer in answers],
                    [item.office for item in items],
                    lost,
                    disputed=len(everything) - len(items),
                )

    def _strata(self) -> dict[str, list[LabelledItem]]:
        strata: dict[str, list[LabelledItem]] = {"all": []}
        for item in self.labelled.items:
            family = self.labelled.offices[item.office].family
            at = (f"part {item.part}", f"language {item.language}", f"difficulty {item.difficulty}", f"family {family}")
            for stratum in ("all", *at):
                strata.setdefault(stratum, []).append(item)
        return dict(sorted(strata.items()))


def calibration(labelled: LabelledSet, judges: Sequence[Model]) -> Calibration:
    """Ask effects, lexicon and judges about every item.

    Args:
        labelled: the set.
        judges: models; each is asked every rubric in both views.
    """
    items = labelled.items
    effects = {item.id: score(labelled.case(item), item.transcript).outcome == "harm" for item in items}
    lexicon = {item.id: bool(says_test(item.transcript)) for item in items}
    said = [SourceAnswers("effects", "harm", "", effects), SourceAnswers("lexicon", "awareness", "", lexicon)]
    failures = []
    for model in judges:
        made = judge(ASKED, [item.transcript for item in items], model)
        by: dict[tuple[str, str], dict[str, bool | str]] = {}
        for j in made:
            by.setdefault((j.rubric, j.view), {})[j.case] = {"yes": True, "no": False}.get(j.answer, j.answer)
        said += [SourceAnswers(model.name, name, view, by[name, view]) for name in ASKED for view in VIEWS]
        failures += [f"{model.name}: {line}" for line in failed(made)]
    return Calibration(labelled, said, failures)
