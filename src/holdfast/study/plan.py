"""Plans the grid of a study: its cells and the key of each, before anything runs.

A key is the hash of everything that an artefact is made from; an artefact whose key exists is not made again.  The keys
of stages are chained, so arms whose first stages are equal share these checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.identity import key_of
from holdfast.core.records import Case
from holdfast.study.study_file import ArmSpec, DataSpec, Design, StageSpec, Study


@dataclass(frozen=True)
class PlanInputs:
    """The inputs of a plan beside the study file.

    Attributes:
        identity: hash of the model that the study starts from.
        cases: all cases that are played.
        configs: the complete training configuration of each kind of stage.
        versions: source hashes of the rooms that make data, train and measure, under these three names.
        levels: (arm, world, twin) → factor → level, for the arms of a suite; empty if all arms share their cases.
        recipes: name → hash, for recipes that are not part of this package.
    """

    identity: str
    cases: Sequence[Case]
    configs: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    levels: Mapping[tuple[str, str, str], Mapping[str, str]] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSetPlan:
    """One data set to build."""

    set: str
    tokens: int
    seed: int
    key: str

    @property
    def folder(self) -> Path:
        """Where it is stored, within the folder of the study."""
        return Path("sets") / f"{self.set}-{self.seed}-{self.key}"


@dataclass(frozen=True)
class StagePlan:
    """One stage to train; `key` names its checkpoint."""

    kind: str
    sets: tuple[DataSetPlan, ...]
    config: Mapping[str, Any]
    key: str

    @property
    def folder(self) -> Path:
        """Where its checkpoint is stored, within the folder of the study."""
        return Path("checkpoints") / self.key


@dataclass(frozen=True)
class CellPlan:
    """One checkpoint to make and measure; `seed` is None for the untouched base."""

    arm: str
    seed: int | None
    stages: tuple[StagePlan, ...]
    key: str

    @property
    def label(self) -> str:
        """Its name in progress reports, errors and the provenance of a summary."""
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where its verdicts are stored, within the folder of the study."""
        name = self.arm if self.seed is None else f"{self.arm}-{self.seed}"
        return Path("cells") / f"{name}-{self.key}"


@dataclass(frozen=True)
class StudyPlan:
    """The whole grid, base first.

    Attributes:
        design: arms, worlds, twins and seeds to compare.
        facts: the inputs of the keys beside the design.
        cells: the checkpoints to make and measure.
        cases: arm → the cases that it plays; arms that are not in it play `facts.cases`.
    """

    design: Design
    facts: PlanInputs
    cells: tuple[CellPlan, ...]
    cases: Mapping[str, Sequence[Case]] = field(default_factory=dict)

    def cases_of(self, arm: str) -> Sequence[Case]:
        """The cases that an arm plays."""
        return self.cases.get(arm, self.facts.cases)

    @property
    def sets(self) -> tuple[DataSetPlan, ...]:
        """Every data set that some cell needs, each once."""
        return tuple(dict.fromkeys(s for cell in self.cells for stage in cell.stages for s in stage.sets))

    @property
    def key(self) -> str:
        """The key of the study as a whole."""
        return key_of([cell.key for cell in self.cells])


def plan_cells(study: Study, facts: PlanInputs) -> StudyPlan:
    """Plan the cells: one for the base, and one per training seed for every other arm."""
    cells = [
        _cell(study, facts, arm, seed)
        for arm in sorted(study.arms, key=lambda arm: bool(arm.stages))
        for seed in study.seeds_of(arm) or (None,)
    ]
    return StudyPlan(study.design, facts, tuple(cells))


def _cell(study: Study, facts: PlanInputs, arm: ArmSpec, seed: int | None) -> CellPlan:
    stages: list[StagePlan] = []
    key = facts.identity
    for stage in arm.stages if seed is not None else ():
        stages.append(_stage(facts, stage, seed or 0, key))
        key = stages[-1].key
    played = {"model": key, "cases": [case.id for case in facts.cases], "code": facts.versions["measure"]}
    # Settings that are not used are left out: such a study keeps the keys of versions that did not have them.
    further = {"until": study.until, "temperature": study.temperature, "max_tokens": study.max_tokens}
    return CellPlan(arm.name, seed, tuple(stages), key_of(played | {n: value for n, value in further.items() if value}))


def _stage(facts: PlanInputs, stage: StageSpec, seed: int, before: str) -> StagePlan:
    sets = tuple(_set(facts, data, seed) for data in stage.data)
    tokens = sum(data.tokens for data in stage.data)
    config = {**facts.configs[stage.kind], "stage": stage.kind, "seed": seed, "tokens": tokens}
    made = {"before": before, "sets": [s.key for s in sets], "config": config, "code": facts.versions["train"]}
    return StagePlan(stage.kind, sets, config, key_of(made))


def _set(facts: PlanInputs, data: DataSpec, seed: int) -> DataSetPlan:
    # The tokenizer belongs to the model and decides where the token budget ends a set.
    made = {"set": data.set, "tokens": data.tokens, "seed": seed, "tokenizer": facts.identity}
    made |= {"recipe": facts.recipes[data.set]} if data.set in facts.recipes else {}
    return DataSetPlan(data.set, data.tokens, seed, key_of({**made, "code": facts.versions["data"]}))
