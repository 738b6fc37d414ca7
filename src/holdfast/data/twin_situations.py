"""Build a set from the situations of another one, so that both hold the same situations and differ in their answers.

The items have the indexes and cells of the other set's, so prompts that both recipes share are the same requests, and
the other set's answers to them are used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.store import RunFolder
from holdfast.data.cells import PRINCIPLE, SITUATIONS, CellCount, PlannedSituation
from holdfast.data.engine import Engine
from holdfast.data.recipes import planned_item
from holdfast.data.set_builder import SetBuilder
from holdfast.data.stages import Draft

_ROUND = 64


def planned_situations(folder: Path) -> list[PlannedSituation]:
    """Return the situations of a finished set from which an example was kept.

    Raises:
        InputError: the set was built without a plan.
        ResultsError: the set is unfinished, or a line is not a situation.
    """
    run = RunFolder(folder)
    run.card()  # raises if the set is unfinished
    if not (folder / f"{SITUATIONS}.jsonl").is_file():
        what = "the set was built without a plan, so it has no situations to share"
        raise InputError(what, where=folder, remedy="name a set with a situations.jsonl")
    return [row for row in run.read(SITUATIONS, PlannedSituation) if row.example]


class TwinSituations:
    """Yields finished items for the situations of another set, in its order; see `FanOut`.

    Raises:
        InputError: the other set has no situations, or the recipe lacks one of its principles.
    """

    def __init__(self, engine: Engine, builder: SetBuilder, folder: Path) -> None:
        self._engine, self._builder = engine, builder
        self.planned = planned_situations(folder)
        known = {principle.id for principle in engine.recipe.principles}
        for row in self.planned:
            if PRINCIPLE in row.cell and row.cell[PRINCIPLE] not in known:
                what = (
                    f"the situations are about the principle '{row.cell[PRINCIPLE]}', which this recipe does not have"
                )
                raise InputError(what, where=folder, remedy="use a recipe with the same charter")

    async def rounds(self) -> AsyncGenerator[list[Draft], None]:
        """Yield rounds of finished items, dropped ones included, until the situations are used up.

        Raises:
            IncompleteError: as `Engine.items`, and if no item was kept.
        """
        try:
            for start in range(0, len(self.planned), _ROUND):
                yield await self._engine.run_items([self._draft(row) for row in self.planned[start : start + _ROUND]])
            if not self._builder.examples:
                what = f"no example was kept for {self._engine.recipe.name}"
                raise IncompleteError(what, remedy="try another teacher; answers received so far are kept")
        finally:
            await self._engine.aclose()

    def note(self, items: Iterable[Draft]) -> None:
        """Record which items of a round were kept."""
        places = {row.index: at for at, row in enumerate(self.planned)}
        for item in items:
            at = places[item.index]
            update = {"example": item.example, "dropped": item.dropped}
            self.planned[at] = self.planned[at].model_copy(update=update)

    def counts(self) -> tuple[CellCount, ...]:
        """What each cell got: its target is what the other set has."""
        wanted: dict[tuple[tuple[str, str], ...], int] = {}
        for row in self.planned:
            key = tuple(row.cell.items())
            wanted[key] = wanted.get(key, 0) + 1
        return tuple(
            CellCount(
                cell=dict(key),
                target=target,
                examples=self._builder.cells[tuple(value for _, value in key)],
                proposed=target,
                novel=target,
            )
            for key, target in wanted.items()
        )

    def _draft(self, row: PlannedSituation) -> Draft:
        engine = self._engine
        return planned_item(engine.recipe, row.index, engine.seed, dict(row.cell), row.topic, row.situation)
