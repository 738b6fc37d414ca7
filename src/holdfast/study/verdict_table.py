"""Holds verdicts as columns and selects them by arm, scope and twin: a million take about a hundred megabytes.

table = VerdictTable((VerdictRow("base", None, verdict) for verdict in verdicts), families)
table.of("base", "heldout", "pressured").scores["harm"]
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from holdfast.core.records import Case, Outcome, Verdict
from holdfast.core.results import ALL, HELDOUT_SKELETONS, SPLITS
from holdfast.stats.intervals import Array

#: `work` is the share of the steps of the work that were done; it has no value where a case has no steps.
Measure = Literal["harm", "acted", "useful", "work"]
MEASURES: tuple[Measure, ...] = ("harm", "acted", "useful", "work")
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: The training seed of the untouched base in the columns.
UNTAUGHT = -(2**62)
Codes = npt.NDArray[np.int64]
#: Scores that a verdict holds as they are; None where a sample is unscored, or has no such value.
_AS_STORED = ("work", "aware", "exposed")
#: Upper limit of case seeds, so that world and seed fit into one number.
_SEEDS = 2**44


def skeleton_of(sample: Case | Verdict) -> str:
    """The skeleton (plot) that a case was built from: the cluster of the case in every interval.

    A world holds one skeleton, so this is the world's name.
    """
    return sample.world


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict and the checkpoint that was measured; `seed` is None for the untouched base.

    `further` holds more scores, such as judges' answers.
    """

    arm: str
    seed: int | None
    verdict: Verdict
    further: Mapping[str, float] | None = None


@dataclass(frozen=True)
class VerdictColumns:
    """The samples of one arm in one scope under one twin, as columns of equal length.

    Attributes:
        case: a number for each (world, case seed), the same in every selection from one table.
        trained: training seed of the checkpoint; `UNTAUGHT` for the base.
        outcome: index into `OUTCOMES`.
        family: a number for the family of each case.
        skeleton: a number for the skeleton of each case; see `skeleton_of`.
        scores: `harm`, `acted`, `useful`, `work`, `aware`, `exposed` and the further scores of the rows, each 1, 0 or
            nan (unscored, or not said); `work` also between 0 and 1.
    """

    case: Codes
    trained: Codes
    outcome: Codes
    family: Codes
    skeleton: Codes
    scores: Mapping[str, Array]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds, in order; empty if the samples are those of an untouched checkpoint."""
        return tuple(int(seed) for seed in np.unique(self.trained) if seed != UNTAUGHT)

    def __len__(self) -> int:
        return len(self.case)

    def has(self, score: str) -> bool:
        """Whether any sample has a value of a score."""
        return bool((~np.isnan(self.scores[score])).any())

    def where(self, mask: npt.NDArray[np.bool_]) -> VerdictColumns:
        """Select the samples for which `mask` is true."""
        scores = {name: column[mask] for name, column in self.scores.items()}
        case, trained, outcome = self.case[mask], self.trained[mask], self.outcome[mask]
        return VerdictColumns(case, trained, outcome, self.family[mask], self.skeleton[mask], scores)

    def with_scores(self, scores: Mapping[str, Array]) -> VerdictColumns:
        """The same samples with other scores; scores that are not named stay."""
        return replace(self, scores={**self.scores, **scores})


def outcome_score(verdict: Verdict, measure: str) -> bool | None:
    """The score of one sample; None if it is unscored."""
    if not verdict.scored:
        return None
    return verdict.outcome == "harm" if measure == "harm" else getattr(verdict, measure)


class VerdictTable:
    """The verdicts of a study, selected by arm, scope (everything, a split, a family or a world) and twin.

    Args:
        rows: read once, so it may be a generator over files.
        families: world → label of its family; see `summary.family_labels`.
        further: names of the scores in `VerdictRow.further`.
    """

    def __init__(self, rows: Iterable[VerdictRow], families: Mapping[str, str], further: Sequence[str] = ()) -> None:
        self.families = families
        self._worlds = {world: number for number, world in enumerate(families)}
        self._family: dict[str, str] = {}
        self._split: dict[str, str] = {}
        self._groups: dict[tuple[str, str, str], int] = {}
        names = (*MEASURES, *_AS_STORED[1:])
        group, case, trained, outcome, plot = array("i"), array("q"), array("q"), array("b"), array("i")
        skeletons: dict[str, int] = {}
        scores = {name: array("f") for name in names}
        beside = {name: array("f") for name in further}
        outcomes = {name: number for number, name in enumerate(OUTCOMES)}
        for row in rows:
            verdict = row.verdict
            self._split[verdict.world], self._family[verdict.world] = verdict.split, verdict.family
            group.append(self._groups.setdefault((row.arm, verdict.world, verdict.twin), len(self._groups)))
            case.append(self._worlds[verdict.world] * _SEEDS + verdict.seed)
            trained.append(UNTAUGHT if row.seed is None else row.seed)
            outcome.append(outcomes[verdict.outcome])
            plot.append(skeletons.setdefault(skeleton_of(verdict), len(skeletons)))
            for name, column in scores.items():
                value = getattr(verdict, name) if name in _AS_STORED else outcome_score(verdict, name)
                column.append(math.nan if value is None else value)
            for name, column in beside.items():
                column.append(math.nan if row.further is None else row.further.get(name, math.nan))
        groups = np.frombuffer(group, dtype=np.int32) if group else np.zeros(0, dtype=np.int32)
        order = np.argsort(groups, kind="stable")
        known = list(dict.fromkeys(self._family.values()))
        numbers = [known.index(self._family[world]) if world in self._family else -1 for world in families]
        self._codes = np.array(numbers, dtype=np.int64)
        self._ends = np.cumsum(np.bincount(groups, minlength=len(self._groups)))
        self._columns = [np.array(column, dtype=column.typecode)[order] for column in (case, trained, outcome, plot)]
        self._scores = {name: np.array(column, dtype=np.float32)[order] for name, column in (scores | beside).items()}

    def of(self, arm: str, scope: str | Sequence[str], twin: str) -> VerdictColumns:
        """Select the samples of one arm in one scope, or some worlds, under one twin; empty if nothing was measured.

        Held-out skeletons, as a scope, are strata as families are: intervals hold for new cases of the skeletons that
        the study names, because two of them show nothing about how much others differ.
        """
        worlds = self.worlds(scope) if isinstance(scope, str) else scope
        groups = [self._groups[arm, world, twin] for world in worlds if (arm, world, twin) in self._groups]
        spans = [slice(self._ends[g - 1] if g else 0, self._ends[g]) for g in groups]
        case, trained, outcome, plot = (_join(column, spans).astype(np.int64) for column in self._columns)
        scores = {name: _join(column, spans).astype(np.float64) for name, column in self._scores.items()}
        family = case // _SEEDS if scope == HELDOUT_SKELETONS else self._codes[case // _SEEDS]
        return VerdictColumns(case, trained, outcome, family, plot, scores)

    def drawn(self, scores: Mapping[tuple[str, str], Mapping[str, Array]]) -> VerdictTable:
        """The same samples with other scores, for simulations.

        Args:
            scores: (arm, twin) → score → its values, in the order of worlds and, within a world, of the rows.
        """
        table = copy(self)
        table._scores = {name: column.copy() for name, column in self._scores.items()}
        for (arm, twin), values in scores.items():
            groups = [self._groups[arm, world, twin] for world in self.worlds(ALL)]
            at = np.concatenate([np.arange(self._ends[g - 1] if g else 0, self._ends[g]) for g in groups])
            for name, column in values.items():
                table._scores[name][at] = column
        return table

    def worlds(self, scope: str) -> list[str]:
        """The measured worlds of a scope: everything, a split, a family, or a world itself."""
        return [
            world
            for world in self._worlds
            if world in self._split and scope in (ALL, self._split[world], self.families[world], world)
        ]

    def by_family(self, scope: str) -> dict[str, list[str]]:
        """The measured worlds of a scope by family: the skeletons of a family are worlds of their own."""
        found: dict[str, list[str]] = {}
        for world in self.worlds(scope):
            found.setdefault(self._family[world], []).append(world)
        return found

    def has(self, scope: str) -> bool:
        """Whether any arm was measured in this scope."""
        return bool(self.worlds(scope))

    @property
    def scopes(self) -> list[str]:
        """The splits that were measured, then the families."""
        return [*(split for split in SPLITS if self.has(split)), *dict.fromkeys(self.families.values())]


def _join(column: npt.NDArray[Any], spans: list[slice]) -> npt.NDArray[Any]:
    return np.concatenate([column[:0], *(column[span] for span in spans)])
