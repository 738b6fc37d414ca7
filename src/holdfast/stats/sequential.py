"""Sequential sampling: each cell gets samples until its question is settled.

    design = SequentialDesign([("pocket-leaking", "pressured"), …], Goal(decides=0.05), most=150)
    while requests := design.ask_round():
        for cell, count in requests.items():
            design.tell(cell, [harm of `count` more cases])

Each cell follows a stopping plan (`sequential_plan`) that is fixed before the first sample.  It stops when its interval
is narrow enough (`width`), when its rate is shown to be above or below a bound (`decides`), or when deciding would cost
too many samples ("given up", which decides nothing).  Above or below must hold whatever the unscored samples are: where
they could decide otherwise, the cell stops as "not shown".  The design is pure: it plays nothing and uses no random
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, model_validator

from holdfast.core.errors import ConfigError
from holdfast.core.records import Record
from holdfast.stats.confidence_sequence import LEVEL, anytime_interval
from holdfast.stats.sequential_plan import ABOVE, BELOW, GIVEN_UP, NARROW, OPEN, decision_plan, width_plan

Cell = tuple[str, str]
State = Literal["open", "narrow", "below", "above", "given up", "at the cap", "not shown"]
_STATES: Mapping[int, State] = {NARROW: "narrow", BELOW: "below", ABOVE: "above", GIVEN_UP: "given up"}
#: A round requests this share of the samples that a cell has already, and at least `_FIRST` samples.
_GROWTH, _FIRST = 0.1, 4


class Goal(Record):
    """What settles a cell: an interval of at most `width`, or a harm rate shown to be above or below `decides`."""

    width: float | None = Field(None, gt=0, lt=1)
    decides: float | None = Field(None, gt=0, lt=1)
    #: the cells that are decided together: one wrong decision among all of them has the chance that one alone has
    together: int = Field(1, ge=1, exclude_if=lambda value: value == 1)

    @property
    def level(self) -> float:
        """Coverage of a cell's interval: Bonferroni's correction over the cells that are decided together."""
        return LEVEL if self.decides is None else 1 - (1 - LEVEL) / self.together

    def over(self, cells: int) -> Goal:
        """The same goal for cells that are decided together; a width decides nothing and needs no correction."""
        return self if self.decides is None else self.model_copy(update={"together": cells})

    @model_validator(mode="after")
    def _one(self) -> Goal:
        if (self.width is None) == (self.decides is None):
            raise ValueError("set exactly one of width and decides")
        return self

    @property
    def words(self) -> str:
        """The goal as a clause of a sentence."""
        if self.width is not None:
            return f"each harm rate's interval was at most {self.width:g} wide"
        corrected = f", corrected over {self.together} cells" if self.together > 1 else ""
        return f"each harm rate was placed above or below {self.decides:g}{corrected}"


def parse_goal(text: str) -> Goal:
    """Parse a goal: `width=0.1` or `decides=0.05`.

    Raises:
        ConfigError: if the text is neither, or the number is not between 0 and 1.
    """
    name, _, value = text.partition("=")
    try:
        return Goal.model_validate({name.strip(): float(value)})
    except (ValueError, TypeError):
        remedy = "write width=0.1 or decides=0.05, with a rate between 0 and 1"
        raise ConfigError(f"'{text}' is not a goal", where="--until", remedy=remedy) from None


@dataclass
class CellCount:
    """Counts of one cell: harms, scored and unscored samples until it was settled, and all samples played."""

    harms: int = 0
    scored: int = 0
    unscored: int = 0
    played: int = 0
    settled: State = "open"


@dataclass
class SequentialDesign:
    """Decides how many samples each cell gets next, and when a cell stops.

    Attributes:
        cells: the cells to sample; each sample of a cell must be a new case.
        goal: the goal that settles a cell.
        most: maximum number of samples of one cell.
        level: coverage of the intervals.
    """

    cells: Sequence[Cell]
    goal: Goal
    most: int
    level: float = LEVEL
    counts: dict[Cell, CellCount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.goal.decides is not None:
            self._plan = decision_plan(self.goal.decides, self.most, self.level)
        else:
            self._plan = width_plan(self.goal.width or 0.0, self.most, self.level)
        for cell in self.cells:
            self.counts.setdefault(cell, CellCount())

    def ask_round(self) -> Mapping[Cell, int]:
        """Return the number of samples that each open cell should get in the next round; empty if no cell is open.

        Rounds grow with the samples of a cell, so there are few; a round ends where the plan can stop first.
        """
        requests = {}
        for cell in self.cells:
            count = self.counts[cell]
            if count.settled == "open":
                size = max(_FIRST, int(count.scored * _GROWTH))
                least = int(self._plan.least[count.scored, count.harms])
                requests[cell] = min(size, least, self.most - count.played)
        return requests

    def tell(self, cell: Cell, harms: Iterable[bool | None]) -> State:
        """Add samples of a cell (True: harm, False: no harm, None: unscored) and return the cell's state.

        Samples after the one that settled the cell only increase `played`.
        """
        count = self.counts[cell]
        for harm in harms:
            count.played += 1
            if harm is None and count.settled == "open":
                count.unscored += 1
            if harm is not None and count.settled == "open":
                count.scored += 1
                count.harms += harm
                count.settled = self._state(count)
        if count.settled == "open" and count.played >= self.most:
            count.settled = "at the cap"
        return count.settled

    def interval(self, cell: Cell) -> tuple[float, float]:
        """Return the interval of a cell's harm rate: exact for the plan if it stopped, else a confidence sequence."""
        count = self.counts[cell]
        if exact := self._plan.intervals.get((count.harms, count.scored)):
            return exact
        low, high = anytime_interval(count.harms, count.scored, self.level)
        return float(low), float(high)

    @property
    def samples(self) -> int:
        """The number of samples played so far, over all cells."""
        return sum(count.played for count in self.counts.values())

    def _state(self, count: CellCount) -> State:
        sign = int(self._plan.signs[count.scored, count.harms])
        if sign == OPEN:
            return "open"
        if sign in (BELOW, ABOVE) and count.unscored and not self._holds(count, sign):
            return "not shown"
        return "at the cap" if sign == GIVEN_UP and count.scored == self._plan.most else _STATES[sign]

    def _holds(self, count: CellCount, sign: int) -> bool:
        """Whether above or below holds if every unscored sample goes against it."""
        bound, seen = self.goal.decides or 0.0, count.scored + count.unscored
        harms = count.harms + count.unscored if sign == BELOW else count.harms
        low, high = anytime_interval(harms, seen, self.level)
        return bool(high < bound) if sign == BELOW else bool(low > bound)
