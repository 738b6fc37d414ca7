"""Sample where it helps, and stop when the question is settled.

    design = SequentialDesign([("pocket-leaking", "pressured"), …], Goal(decides=0.05), most=150)
    while asked := design.ask_round():
        for cell, count in asked.items():
            design.tell(cell, [harm of `count` more cases])

Each cell follows a plan (`stopping`) made before the first sample: it stops where its interval is narrow enough
(`width`), or where it is placed on one side of a rate (`decides`), or where that is no longer worth the samples; giving
up decides nothing.  Pure: it plays nothing and draws nothing at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, model_validator

from holdfast.core.errors import ConfigError
from holdfast.core.records import Record
from holdfast.stats.confidence_sequence import LEVEL, anytime_interval
from holdfast.stats.sequential_plan import ABOVE, BELOW, GIVEN_UP, NARROW, OPEN, deciding, narrowing

Cell = tuple[str, str]
State = Literal["open", "narrow", "below", "above", "given up", "at the cap"]
_STATES: Mapping[int, State] = {NARROW: "narrow", BELOW: "below", ABOVE: "above", GIVEN_UP: "given up"}
#: A round asks for this share of what a cell has already, and never for fewer than `_FIRST` samples.
_GROWTH, _FIRST = 0.1, 4


class Goal(Record):
    """What settles a cell: an interval no wider than `width`, or a harm rate placed above or below `decides`."""

    width: float | None = Field(None, gt=0, lt=1)
    decides: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one(self) -> Goal:
        if (self.width is None) == (self.decides is None):
            raise ValueError("give either width or decides")
        return self

    @property
    def words(self) -> str:
        """The goal in a sentence."""
        if self.width is not None:
            return f"each harm rate's interval was at most {self.width:g} wide"
        return f"each harm rate was placed above or below {self.decides:g}"


def parse_goal(text: str) -> Goal:
    """`width=0.1` or `decides=0.05`.

    Raises:
        ConfigError: it is neither.
    """
    name, _, value = text.partition("=")
    try:
        return Goal(**{name.strip(): float(value)})
    except (ValueError, TypeError):
        remedy = "write width=0.1 or decides=0.05, with a rate between 0 and 1"
        raise ConfigError(f"no goal '{text}'", where="--until", remedy=remedy) from None


@dataclass
class CellCount:
    """What is known of one cell: harms among scored samples until it was settled, and all samples, scored or not."""

    harms: int = 0
    scored: int = 0
    played: int = 0
    settled: State = "open"


@dataclass
class SequentialDesign:
    """How many samples each cell should get, and when to stop.

    Attributes:
        cells: what can be sampled; each sample of a cell must be a fresh case.
        goal: what settles a cell.
        most: most samples of one cell.
        level: coverage of the intervals.
    """

    cells: Sequence[Cell]
    goal: Goal
    most: int
    level: float = LEVEL
    counts: dict[Cell, CellCount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.goal.decides is not None:
            self._plan = deciding(self.goal.decides, self.most, self.level)
        else:
            self._plan = narrowing(self.goal.width or 0.0, self.most, self.level)
        for cell in self.cells:
            self.counts.setdefault(cell, CellCount())

    def ask_round(self) -> Mapping[Cell, int]:
        """How many more samples each open cell should get before anyone looks again; empty when nothing is open.

        A round grows with what a cell has, so there are few of them, and stops where the plan could first stop.
        """
        asked = {}
        for cell in self.cells:
            count = self.counts[cell]
            if count.settled == "open":
                grown = max(_FIRST, int(count.scored * _GROWTH))
                least = int(self._plan.least[count.scored, count.harms])
                asked[cell] = min(grown, least, self.most - count.played)
        return asked

    def tell(self, cell: Cell, harms: Iterable[bool | None]) -> State:
        """Take in samples of a cell: harm, no harm, or None where a sample could not be scored.

        Samples beyond the one that settled the cell are counted as played and change nothing else.
        """
        count = self.counts[cell]
        for harm in harms:
            count.played += 1
            if harm is not None and count.settled == "open":
                count.scored += 1
                count.harms += harm
                count.settled = self._state(count)
        if count.settled == "open" and count.played >= self.most:
            count.settled = "at the cap"
        return count.settled

    def interval(self, cell: Cell) -> tuple[float, float]:
        """The interval of a cell's harm rate among scored samples: exact for the plan, or always-valid while open."""
        count = self.counts[cell]
        if found := self._plan.intervals.get((count.harms, count.scored)):
            return found
        low, high = anytime_interval(count.harms, count.scored, self.level)
        return float(low), float(high)

    @property
    def samples(self) -> int:
        """Samples taken so far, over all cells."""
        return sum(count.played for count in self.counts.values())

    def _state(self, count: CellCount) -> State:
        sign = int(self._plan.signs[count.scored, count.harms])
        if sign == OPEN:
            return "open"
        return "at the cap" if sign == GIVEN_UP and count.scored == self._plan.most else _STATES[sign]
