"""The plan of a set: cells, such as a principle in an area of life, each with a target share of the examples.

A plan is the table `[plan]` of a recipe, or a TOML file with the keys of that table (`holdfast teach --plan FILE`). It
may set the values of axes:

    cells = ["principle", "area"]

    [axes]
    area = ["work", "family", "family", "money"]

Each combination of the values is a cell. A value that is listed twice has twice the share.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pydantic import Field

from holdfast.core.config import line_of, load_toml
from holdfast.core.errors import ConfigError
from holdfast.core.records import Record
from holdfast.core.text import Text

#: File with the situations of a set, in its folder.
SITUATIONS = "situations"
#: Name in `cells` that stands for the principles of the charter.
PRINCIPLE = "principle"


class PlanFile(Record):
    """How situations fan out over the cells of a plan.

    Attributes:
        cells: axes whose combinations are the cells; `principle` stands for the charter's principles.
        axes: axis → values, in place of the recipe's.
        topics: topics of a cell to ask for at a time.
        situations: situations of a topic to ask for at a time.
        alike: similarity from which a situation counts as a repeat of an earlier one, see `memory`.
        novelty: a cell is closed when a smaller share of its last situations was new.
    """

    cells: tuple[str, ...] = Field(min_length=1)
    axes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    topics: int = Field(default=6, ge=1, le=50)
    situations: int = Field(default=8, ge=1, le=50)
    alike: float = Field(default=0.55, gt=0, le=1)
    novelty: float = Field(default=0.2, ge=0, le=1)


Cell = tuple[str, ...]


def load_plan(path: Path) -> PlanFile:
    """Read a plan file.

    Raises:
        ConfigError: with file and line: the file cannot be read, or a key is unknown or has an invalid value.
    """
    return load_toml(path, PlanFile)


def check_plan(plan: PlanFile, axes: Mapping[str, Sequence[str]], principles: Sequence[str], where: Path) -> None:
    """Check that every cell of a plan has a name, and that the axes exist.

    Args:
        plan: the plan.
        axes: all axes of the recipe, with those of the plan.
        principles: ids of the recipe's principles.
        where: the file with the plan.

    Raises:
        ConfigError: an axis is unknown or named twice, has no values, or a value is blank: its cells would be empty.
    """
    for name in plan.cells:
        line = f"{where}:{line_of(where, ['plan', 'cells'] if where.name == 'recipe.toml' else ['cells'])}"
        if plan.cells.count(name) > 1:
            raise ConfigError(f"the plan names '{name}' twice in 'cells'", where=line, remedy="name it once")
        if name == PRINCIPLE and not principles:
            raise ConfigError("the plan needs principles, but the recipe has none", where=line, remedy="set 'charter'")
        if name != PRINCIPLE and name not in axes:
            known = ", ".join([PRINCIPLE, *axes])
            raise ConfigError(f"the plan names an unknown axis '{name}'", where=line, remedy=f"known: {known}")
    for name, values in axes.items():
        line = f"{where}:{line_of(where, ['axes', name])}"
        if not values:
            raise ConfigError(f"the axis '{name}' has no values", where=line, remedy="add values, or remove the axis")
        if blank := [at for at, value in enumerate(values, 1) if not value.strip()]:
            what = f"value {blank[0]} of the axis '{name}' is blank, so the plan has an empty cell"
            raise ConfigError(what, where=line, remedy="write the value, or remove it")


@dataclass(frozen=True, slots=True)
class Quotas:
    """Cells and their shares of a set; shares sum to 1.

    Attributes:
        names: the axes of a cell, in order.
        shares: cell → its share of the examples.
        seed: decides between cells that are equally far from their targets.
    """

    names: tuple[str, ...]
    shares: Mapping[Cell, float]
    seed: int

    def target(self, cell: Cell, examples: float) -> float:
        """Return how many examples a cell should have in a set of `examples` examples."""
        return self.shares[cell] * examples

    def choose(self, kept: Mapping[Cell, int], closed: frozenset[Cell], examples: float, count: int) -> list[Cell]:
        """Choose cells for the next items: each time the one that is furthest from its target.

        Ties go to the cell whose values are rarest so far, so that a set with fewer examples than cells is balanced
        over each axis; then to chance.

        Args:
            kept: cell → examples so far.
            closed: cells that get no more items.
            examples: expected size of the finished set.
            count: most items.

        Returns:
            The cells, in order; fewer than `count` if the others have reached their targets.
        """
        have = Counter({cell: kept.get(cell, 0) for cell in self.shares})
        values = Counter[tuple[int, str]]()
        for cell, number in have.items():
            for axis, value in enumerate(cell):
                values[axis, value] += number
        order = list(self.shares)
        random.Random(f"{self.seed}:cells").shuffle(order)
        rank = {cell: at for at, cell in enumerate(order)}
        open_cells = [cell for cell in order if cell not in closed]
        chosen: list[Cell] = []
        while len(chosen) < count:
            short = [cell for cell in open_cells if have[cell] < math.ceil(self.target(cell, examples) - 1e-9)]
            if not short:
                break
            best = min(
                short,
                key=lambda cell: (
                    have[cell] / self.shares[cell],
                    sum(values[axis, value] for axis, value in enumerate(cell)),
                    rank[cell],
                ),
            )
            have[best] += 1
            for axis, value in enumerate(best):
                values[axis, value] += 1
            chosen.append(best)
        return chosen


def quotas_of(plan: PlanFile, axes: Mapping[str, Sequence[str]], principles: Sequence[str], seed: int) -> Quotas:
    """Return the cells of a plan and their shares."""
    columns = [principles if name == PRINCIPLE else axes[name] for name in plan.cells]
    counts = Counter(product(*columns))
    total = counts.total()
    return Quotas(plan.cells, {cell: number / total for cell, number in counts.items()}, seed)


class PlannedSituation(Record):
    """A situation of a set: its item's index, its cell, and the example written from it (None: it was dropped)."""

    index: int
    cell: Mapping[Text, Text]
    topic: Text
    situation: Text
    example: Text | None = None
    dropped: Text | None = None


class CellCount(Record):
    """Target and counts of a cell of the plan.

    Attributes:
        cell: axis → value.
        target: examples it should have in a set that fills the budget.
        examples: examples it has.
        proposed: situations that the teacher proposed.
        novel: those that were not like an earlier one.
        closed: why it got no more items; None if it was open to the end.
    """

    cell: Mapping[Text, Text]
    target: float
    examples: int
    proposed: int
    novel: int
    closed: Text | None = None
